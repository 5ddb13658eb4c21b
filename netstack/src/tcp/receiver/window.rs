//! The window that the peer is told of.
//!
//! # Theory of operation
//!
//! The buffer's capacity bounds what is received and not read together with what the peer may still
//! send. The right edge of the window follows what the application reads:
//!
//! ```text
//!      read          rcv_nxt            chosen    limit  capacity
//!   ────┼───────────────┼──────────────────┼────────┼───────┤
//!       │  unread       │     window       │  gain  │reserve│
//! ```
//!
//! The edge moves to the limit when the gain is worth it (RFC 9293 section 3.8.6.2.2), and never moves
//! back: what was promised once is accepted whatever became of the capacity (section 3.8.6).
//!
//! A scaled window is told in units (RFC 7323 section 2.3), counted from an acknowledgment number that
//! is no multiple of one. If the edge stays, the window is rounded up, so that the edge drifts by less
//! than a unit an acknowledgment. The drift may use the reserve, an eighth of the capacity: enough if
//! segments are of eight units or more. A peer that sends single bytes against a stalled reader can use
//! it up; then windows are rounded down, and what is told falls short of what was promised by less
//! than a unit.

use super::ReceiverConfig;

/// Capacity while the pool is short of memory.
pub(super) const SQUEEZED: u32 = 16_384;

#[derive(Debug)]
pub(super) struct Window {
    /// Where the last window ended whose edge moved on purpose.
    chosen: u64,
    /// The farthest edge that the peer was told of.
    edge: u64,
    /// Bytes of the buffer.
    capacity: u32,
    /// True while the pool is short of memory.
    squeezed: bool,
}

impl Window {
    /// A window of which the SYN has promised `promised` bytes.
    pub(super) fn new(promised: u16, capacity: u32) -> Self {
        let edge = u64::from(promised);
        Self { chosen: edge, edge, capacity, squeezed: false }
    }

    pub(super) const fn capacity(&self) -> u32 {
        self.capacity
    }

    pub(super) const fn edge(&self) -> u64 {
        self.edge
    }

    /// Changes the capacity; an edge that lies further already stays.
    pub(super) fn set_capacity(&mut self, bytes: u32) {
        self.capacity = bytes;
    }

    pub(super) fn squeeze(&mut self, pressure: bool) {
        self.squeezed = pressure;
    }

    /// The window to send with an acknowledgment of `rcv_nxt`, in bytes, when the application has
    /// read up to `read`: a multiple of the unit.
    pub(super) fn size(&self, config: &ReceiverConfig, rcv_nxt: u64, read: u64) -> u32 {
        let kept = self.kept(config, rcv_nxt);
        let size = self.gained(config, rcv_nxt, read).unwrap_or(0).max(kept);
        u32::try_from(size).unwrap_or(u32::MAX).min(config.largest_window())
    }

    /// True if the peer should be told of the window although nothing is to be acknowledged: it has
    /// grown to at least twice what the peer knows of, as Linux has it.
    pub(super) fn update_due(&self, config: &ReceiverConfig, rcv_nxt: u64, read: u64) -> bool {
        let left = self.edge.saturating_sub(rcv_nxt);
        self.gained(config, rcv_nxt, read).is_some_and(|size| size >= 2 * left)
    }

    /// Takes note that the peer was told of `size` bytes from `rcv_nxt` on.
    pub(super) fn on_sent(&mut self, config: &ReceiverConfig, rcv_nxt: u64, read: u64, size: u32) {
        let edge = rcv_nxt + u64::from(size);
        if self.gained(config, rcv_nxt, read).is_some() {
            self.chosen = self.chosen.max(edge);
        }
        self.edge = self.edge.max(edge);
    }

    /// The window up to the limit, rounded down, if the edge gains enough by it.
    fn gained(&self, config: &ReceiverConfig, rcv_nxt: u64, read: u64) -> Option<u64> {
        let capacity = self.usable(config);
        let limit = read + u64::from(capacity - config.reserve(capacity));
        let size = limit.saturating_sub(rcv_nxt) & !(config.unit() - 1);
        let size = size.min(u64::from(config.largest_window()));
        let gain = (rcv_nxt + size).checked_sub(self.edge)?;
        let enough = u64::from(capacity / 2).min(u64::from(config.mss));
        (gain >= enough).then_some(size)
    }

    /// The window up to the edge as it is, rounded up as long as the drift is small.
    fn kept(&self, config: &ReceiverConfig, rcv_nxt: u64) -> u64 {
        let left = self.edge.saturating_sub(rcv_nxt);
        let up = left.next_multiple_of(config.unit());
        let allowed = self.chosen + u64::from(config.reserve(self.usable(config)));
        if rcv_nxt + up <= allowed.max(self.edge) { up } else { left & !(config.unit() - 1) }
    }

    fn usable(&self, config: &ReceiverConfig) -> u32 {
        if self.squeezed {
            // With less the window could not be told, or no full-sized segment be sent.
            let least = (2 * config.unit() as u32).max(2 * u32::from(config.mss));
            self.capacity.min(SQUEEZED.max(least))
        } else {
            self.capacity
        }
    }
}
