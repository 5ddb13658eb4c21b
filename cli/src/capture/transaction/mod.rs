//! Captures of single requests: exactly their packets, on both legs, in a file of their own.
//!
//! # Theory of operation
//!
//! A [`Recorder`] keeps the last packets of all connections that end in this process, each with its
//! place in its connection's streams ([`Segment`]). When the proxy says that a request is over
//! ([`l7::transaction`]) and it is one that is [`Wanted`], the recorder lets a moment pass, in which the
//! last acknowledgments come, picks the packets that belong to the request, and hands them to a thread
//! that writes them.
//!
//! ```text
//!  packets ──► ring ─────────────┐
//!                                ├─► the request's packets ─► thread ─► ID.pcapng
//!  proxy ───► request is over ───┘
//! ```
//!
//! A packet belongs to a request if it carries, or acknowledges, a byte of the request's range of that
//! connection. The handshake belongs to the first request of a connection, and what ends it to the
//! last. A packet that carries bytes of two requests, as pipelining makes them, belongs to both.
//!
//! The loop never waits for a file: what finds the thread busy is counted, and not written.

mod recorder;
mod segment;
mod wanted;
mod writer;

pub use recorder::{MAX_CONNECTIONS, MAX_WAITING, Recorder};
pub use segment::{Belongs, Segment, Way};
pub use wanted::{BadRequest, RequestPattern, StatusPattern, Wanted};

use std::path::PathBuf;
use std::time::Duration;

/// How long after a request its last packets may come.
pub const AFTER: Duration = Duration::from_secs(1);

/// Bytes of packets that are kept if nobody says otherwise.
pub const DEFAULT_MEMORY: usize = 64 << 20;

/// Files that are written if nobody says otherwise.
pub const DEFAULT_COUNT: u32 = 100;

/// Which requests are captured, and where to.
#[derive(Clone, Debug)]
pub struct TransactionOptions {
    /// Which.
    pub wanted: Wanted,
    /// Of these, one in so many; one is each.
    pub every: u32,
    /// How many files, then no more.
    pub count: u32,
    /// Bytes of packets that are kept in memory, of all connections; the oldest give way.
    pub memory: usize,
    /// The secrets of TLS connections are written into the files, which makes them readable for whoever
    /// has the file.
    pub keys: bool,
    /// Where the files go, each named by its request's id.
    pub folder: PathBuf,
}
