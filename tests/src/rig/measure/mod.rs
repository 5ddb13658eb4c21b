//! What is measured, once: a session with ends and a link of its own.

pub mod flood;
pub mod latency;
pub mod session;

use std::time::Duration;

use netstack::wire::Family;

pub use session::{goodput, share};

use super::Algorithm;
use super::scenario::{Path, Who};

/// What a session does with its link.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The link; nothing joins the ends without one, super-packets and all.
    pub path: Option<Path>,
    /// Of the addresses.
    pub family: Family,
    /// Of senders.
    pub algorithm: Algorithm,
    /// How long to measure.
    pub time: Duration,
    /// Of the chances of the link, and of our endpoints.
    pub seed: u64,
}

/// A transfer in one direction.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// Who sends.
    pub sender: Who,
    /// Who receives.
    pub receiver: Who,
}
