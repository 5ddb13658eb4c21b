//! Captures: every packet as it came and as it left, and what was done to it in between.
//!
//! # Theory of operation
//!
//! [`Taps`] stand beside the loop that moves packets. Each packet that comes in gets a name; a [`Tap`]
//! keeps a copy of its first bytes, lets the engine decide, and writes down both forms with the engine's
//! account of the decision. What it writes goes into a batch; batches go through a
//! bounded queue to a thread of their own, which makes blocks of them and waits for the disk.
//!
//! ```text
//!  loop ─ arrives ─► engine ─ decided ─► batch ─► queue, at most 32 MiB ─► thread ─► file
//!                                          │                                 └ ring ─► files
//!                                          └ no room: counted, not waited for
//! ```
//!
//! The loop takes no lock that may be held: it tries, and tries again with the next packets. A disk
//! that is slow costs packets of the capture, which are counted in the packet that follows
//! (`epb_dropcount`), in the statistics at the end of the file and in the [`Report`]. A disk that is
//! full ends the capture; the file is cut behind its last whole block, and the balancer goes on.
//!
//! With a [`Ring`] the thread keeps batches in memory instead, and writes them to a file of their own
//! once a trigger comes up.
//!
//! Times are those that the engine was given, so that a replay can give them to it again.

mod batch;
mod live;
mod output;
mod queue;
mod ring;
mod tap;
mod tapped;
mod taps;
pub mod transaction;
mod worker;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use l7::transaction::Transaction;
use nat::DropReason;
use netstack::dev::pcapng::Run;
use netstack::wire::text::filter::Filter;
use serde::{Deserialize, Serialize};

pub use live::{Requests, Wanted, begin};
pub use output::Target;
pub use tap::Tap;
pub use tapped::Tapped;
pub use taps::{MAX_TAPS, Taps, TooManyTaps};

use transaction::StatusPattern;

/// Bytes of each packet that are kept if nobody says otherwise: every header that balun looks at, and
/// the beginning of the payload. Whole super-packets are 64 KiB and fill a disk at the speed of the
/// network.
pub const DEFAULT_SNAPLEN: u32 = 256;

/// The most bytes of a packet: all of it.
pub const MAX_SNAPLEN: u32 = 65_535;

/// Files that triggers make if nobody says otherwise.
pub const DEFAULT_FILES: u32 = 10;

/// What is captured, and where to.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which packets: those that match as they came or as they left.
    pub filter: Filter,
    /// On which side.
    pub side: Side,
    /// Only packets that were dropped or refused.
    pub dropped: bool,
    /// Bytes of each packet that are kept.
    pub snaplen: u32,
    /// How much is said of each.
    pub comments: Comments,
    /// Super-packets are written as the segments that a wire would carry, if they are kept whole.
    pub segment: bool,
    /// Keep the last packets in memory until something happens.
    pub ring: Option<Ring>,
    /// End after so many packets, each side counted by itself.
    pub count: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            filter: Filter::default(),
            side: Side::Both,
            dropped: false,
            snaplen: DEFAULT_SNAPLEN,
            comments: Comments::Brief,
            segment: false,
            ring: None,
            count: None,
        }
    }
}

/// The side of the balancer that a packet was seen on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Where the client of its flow is.
    Client,
    /// Where the backend is.
    Backend,
    /// Either.
    #[default]
    Both,
}

impl Side {
    /// By its name.
    pub const NAMES: [(&'static str, Self); 3] =
        [("client", Self::Client), ("backend", Self::Backend), ("both", Self::Both)];
}

/// How much is said of each packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Comments {
    /// Nothing.
    None,
    /// One line.
    #[default]
    Brief,
    /// Every step as a comment of its own.
    Full,
}

impl Comments {
    /// By its name.
    pub const NAMES: [(&'static str, Self); 3] =
        [("none", Self::None), ("brief", Self::Brief), ("full", Self::Full)];
}

/// The last packets, kept in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    /// How far back.
    pub length: Duration,
    /// Bytes that it may hold; the oldest packets give way.
    pub memory: usize,
    /// What writes it to a file.
    pub triggers: Vec<Trigger>,
    /// Files that it makes at most.
    pub files: u32,
}

/// Something that makes the packets before it worth a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// A packet was dropped or refused for this reason, or for any.
    Drop(Option<DropReason>),
    /// A TCP segment with RST came.
    Reset,
    /// A request was answered so.
    Status(StatusPattern),
    /// A request took so long, or longer, from its head to the end of the answer.
    Slow(Duration),
}

impl Trigger {
    /// True if a packet sets it off that was dropped or refused for this reason, or carried a RST.
    fn is_packet(self, reason: Option<DropReason>, is_reset: bool) -> bool {
        match self {
            Self::Drop(None) => reason.is_some(),
            Self::Drop(wanted) => reason.is_some() && reason == wanted,
            Self::Reset => is_reset,
            Self::Status(_) | Self::Slow(_) => false,
        }
    }

    /// True if that request sets it off.
    fn is_request(self, transaction: &Transaction) -> bool {
        match self {
            Self::Drop(_) | Self::Reset => false,
            Self::Status(wanted) => wanted.matches(transaction.status),
            Self::Slow(limit) => transaction.duration >= limit,
        }
    }
}

/// Where a capture comes from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// What a replay needs.
    pub run: Run,
    /// The names of the legs, in the order of their numbers.
    pub legs: Vec<String>,
    /// What the core's time zero is, from the Unix epoch.
    pub epoch: Duration,
}

/// What a capture came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Files written, in that order; none if it went elsewhere.
    pub files: Vec<PathBuf>,
    /// Packets written, each side by itself.
    pub written: u64,
    /// Packets that found no room in the queue.
    pub lost: u64,
    /// Why it ended before its time.
    pub error: Option<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} packets", self.written)?;
        match self.files.as_slice() {
            [] => {}
            [file] => write!(f, " in {}", file.display())?,
            [first, .., last] => {
                let count = self.files.len();
                write!(f, " in {count} files, {} to {}", first.display(), last.display())?;
            }
        }
        if self.lost > 0 {
            write!(f, "; {} lost, the disk was too slow", self.lost)?;
        }
        match &self.error {
            Some(error) => write!(f, "; {error}"),
            None => Ok(()),
        }
    }
}
