//! What is captured.

use std::path::PathBuf;
use std::time::Duration;

use netstack::wire::text::filter::Filter;

use super::Spanned;
use crate::capture::transaction::{RequestPattern, StatusPattern};
use crate::capture::{Comments, Side, Trigger};

/// `[capture]`.
#[derive(Clone, Debug)]
pub struct Capture {
    /// The file, relative to the configuration's folder; with a ring, what its files are named after.
    /// Nothing if only requests are captured.
    pub path: Option<PathBuf>,
    /// Which packets; default all.
    pub filter: Filter,
    /// On which side; default both.
    pub side: Side,
    /// Only packets that were dropped or refused; default no.
    pub dropped: bool,
    /// Bytes of each packet that are kept.
    pub snaplen: Spanned<u32>,
    /// How much is said of each packet; default one line.
    pub comments: Comments,
    /// Super-packets are cut into segments; default no.
    pub segment: Option<Spanned<bool>>,
    /// Keep the last packets in memory instead.
    pub ring: Option<Ring>,
    /// Requests that get a file each.
    pub transaction: Option<Transactions>,
}

/// `[capture.transaction]`.
#[derive(Clone, Debug)]
pub struct Transactions {
    /// Where the files go, relative to the configuration's folder.
    pub folder: PathBuf,
    /// Of which service; default all.
    pub service: Option<Spanned<String>>,
    /// What is asked for; default anything.
    pub request: RequestPattern,
    /// How it is answered; default in any way.
    pub status: Option<StatusPattern>,
    /// The least time that it takes.
    pub slow: Option<Duration>,
    /// One in so many.
    pub every: u32,
    /// How many files.
    pub count: u32,
    /// Bytes of packets that are kept.
    pub memory: u64,
    /// TLS secrets are written into the files; default no.
    pub keys: bool,
}

/// `ring` and the keys that go with it.
#[derive(Clone, Debug)]
pub struct Ring {
    /// How far back.
    pub length: Duration,
    /// Bytes that it may hold.
    pub memory: u64,
    /// What writes it to a file.
    pub triggers: Vec<Spanned<Trigger>>,
    /// How many files.
    pub files: u32,
}
