//! What is captured.

use std::path::PathBuf;
use std::time::Duration;

use netstack::wire::text::filter::Filter;

use super::Spanned;
use crate::capture::{Comments, Side, Trigger};

/// `[capture]`.
#[derive(Clone, Debug)]
pub struct Capture {
    /// The file, relative to the configuration's folder; with a ring, what its files are named after.
    pub path: PathBuf,
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
}

/// `ring` and the keys that go with it.
#[derive(Clone, Debug)]
pub struct Ring {
    /// How far back.
    pub length: Duration,
    /// Bytes that it may hold.
    pub memory: u64,
    /// What writes it to a file.
    pub triggers: Vec<Trigger>,
    /// How many files.
    pub files: u32,
}
