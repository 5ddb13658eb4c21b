//! The peer's window: how much it can take, when a small piece is worth sending, and the persist timer
//! (RFC 9293 sections 3.8.6.1 and 3.8.6.2.1).

use std::time::Duration;

use super::rtt::MAX_RTO;
use crate::time::Instant;

/// What the peer can take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerWindow {
    /// The offset behind the last byte that it takes.
    edge: u64,
    /// The largest window that it ever had.
    largest: u32,
    /// The peer's offset in the segment of the last update (SND.WL1); none if that was the SYN.
    updated_by: Option<u64>,
    /// When to probe a window that lets nothing through.
    pub(crate) probe_at: Instant,
    /// Probes in a row.
    probes: u8,
}

impl PeerWindow {
    pub(crate) fn new(window: u32) -> Self {
        Self {
            edge: u64::from(window),
            largest: window,
            updated_by: None,
            probe_at: Instant::FAR_FUTURE,
            probes: 0,
        }
    }

    /// The offset behind the last byte that the peer takes.
    pub(crate) const fn edge(&self) -> u64 {
        self.edge
    }

    /// Takes the window of a segment that acknowledges `offset` and begins at `by` in the peer's stream,
    /// unless one that was sent later has been seen (RFC 9293 section 3.10.7.4). True if the edge moved.
    pub(crate) fn update(&mut self, una: u64, offset: u64, by: u64, window: u32) -> bool {
        let edge = offset.saturating_add(u64::from(window));
        let is_newer = offset > una || Some(by) > self.updated_by;
        // Of two that say the same otherwise the larger window is the later one, but for a window that
        // was closed (Linux: `tcp_may_update_window`).
        let is_equal =
            offset == una && Some(by) == self.updated_by && (edge > self.edge || window == 0);
        if offset < una || !(is_newer || is_equal) {
            return false;
        }
        let moved = edge != self.edge;
        self.edge = edge;
        self.largest = self.largest.max(window);
        self.updated_by = self.updated_by.max(Some(by));
        moved
    }

    /// A piece of `len` bytes that is neither a full segment nor all there is, is worth sending: it is
    /// half of the largest window of a peer that never has room for a full one.
    pub(crate) fn is_worth(&self, len: u64) -> bool {
        len > 0 && len >= u64::from(self.largest / 2)
    }

    /// Nothing can be sent and nothing is on its way that would bring a new window: ask for it.
    pub(crate) fn arm(&mut self, now: Instant, rto: Duration) {
        if self.probe_at == Instant::FAR_FUTURE {
            let wait = rto.saturating_mul(1 << self.probes.min(16));
            self.probe_at = now + wait.min(MAX_RTO);
        }
    }

    /// The window lets something through, or something is on its way.
    pub(crate) fn disarm(&mut self) {
        self.probe_at = Instant::FAR_FUTURE;
        self.probes = 0;
    }

    /// The timer fired.
    pub(crate) fn on_probe(&mut self) {
        self.probe_at = Instant::FAR_FUTURE;
        self.probes = self.probes.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_segment_does_not_move_the_edge() {
        let mut window = PeerWindow::new(1_000);
        assert!(window.update(0, 500, 10, 1_000));
        assert_eq!(window.edge(), 1_500);
        assert!(!window.update(500, 400, 20, 9_000), "acknowledges less");
        assert!(!window.update(500, 500, 5, 100), "was sent earlier");
        assert!(!window.update(500, 500, 10, 100), "looks the same age and takes room away");
        assert!(window.update(500, 500, 11, 100), "a peer may take room away");
        assert_eq!(window.edge(), 600);
        assert!(window.update(500, 500, 11, 4_000));
        assert_eq!(window.edge(), 4_500);
    }

    #[test]
    fn the_first_segment_counts_whatever_the_syn_said() {
        let mut window = PeerWindow::new(65_535);
        assert!(window.update(0, 0, 0, 3_000));
        assert!(!window.update(0, 0, 0, 2_000));
        assert_eq!(window.edge(), 3_000);
    }

    #[test]
    fn probes_back_off_up_to_a_minute() {
        let mut window = PeerWindow::new(0);
        let rto = Duration::from_millis(200);
        let mut now = Instant::ZERO;
        let mut waits = Vec::new();
        for _ in 0..40 {
            window.arm(now, rto);
            window.arm(now + rto, rto);
            waits.push((window.probe_at - now).as_millis());
            now = window.probe_at;
            window.on_probe();
        }
        assert_eq!(waits[..4], [200, 400, 800, 1_600]);
        assert_eq!(waits[39], 60_000);
        window.disarm();
        window.arm(now, rto);
        assert_eq!(window.probe_at - now, rto);
    }

    #[test]
    fn half_of_a_small_window_is_worth_a_segment() {
        let window = PeerWindow::new(600);
        assert!(window.is_worth(300) && !window.is_worth(299));
        assert!(!PeerWindow::new(0).is_worth(0));
    }
}
