//! The way from the loop to the thread that writes a capture.

use std::time::Duration;

use super::batch::Batch;
pub(super) use crate::queue::HandOver;

pub(super) type Queue = crate::queue::Queue<Batch, Totals>;
pub(super) type Next = crate::queue::Next<Batch, Totals>;

/// What was counted by the time that the loop is done.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    /// Packets that came by each leg.
    pub(super) received: Vec<u64>,
    /// Records made on each leg.
    pub(super) accepted: Vec<u64>,
    /// Records lost on each leg.
    pub(super) lost: Vec<u64>,
    /// When it was.
    pub(super) time: Duration,
}
