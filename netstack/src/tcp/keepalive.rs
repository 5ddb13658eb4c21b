//! Keep-alive probes (RFC 9293 section 3.8.4): off unless the application asks, then as Linux has them.
//!
//! Once a connection with nothing in flight has heard nothing for [`KeepaliveConfig::idle`], a probe is
//! sent: an empty segment with the number before SND.UNA, which any live peer must acknowledge. It is
//! repeated each [`KeepaliveConfig::interval`]; when [`KeepaliveConfig::probes`] of them have gone
//! unanswered the connection is over. One lost probe says nothing (MUST-31). While data or a FIN is in
//! flight, retransmission finds out about the peer and the probes rest.

use std::time::Duration;

use crate::time::Instant;

/// How a connection is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepaliveConfig {
    /// Silence before the first probe, 1 s to 32,767 s.
    pub idle: Duration,
    /// Time between probes, 1 s to 32,767 s.
    pub interval: Duration,
    /// Probes without an answer after which the connection is given up, 1 to 127.
    pub probes: u8,
}

impl KeepaliveConfig {
    /// The longest time, as in Linux.
    pub const MAX_TIME: Duration = Duration::from_secs(32_767);
    /// The most probes, as in Linux.
    pub const MAX_PROBES: u8 = 127;

    /// The configuration with every value brought into its range.
    fn clamped(self) -> Self {
        let time = |time: Duration| time.clamp(Duration::from_secs(1), Self::MAX_TIME);
        Self {
            idle: time(self.idle),
            interval: time(self.interval),
            probes: self.probes.clamp(1, Self::MAX_PROBES),
        }
    }
}

impl Default for KeepaliveConfig {
    /// Linux's values, the first of which RFC 9293 demands as the least default: two hours, 75 s, nine.
    fn default() -> Self {
        Self { idle: Duration::from_hours(2), interval: Duration::from_secs(75), probes: 9 }
    }
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing yet.
    Nothing,
    /// An empty segment with the sequence number SND.UNA - 1 and the current acknowledgment.
    Probe,
    /// A RST, and the end of the connection by time.
    GiveUp,
}

/// The probes of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keepalive {
    config: KeepaliveConfig,
    /// When the peer was last heard, or something of ours was last in flight.
    heard: Instant,
    /// When the last probe left.
    probed: Instant,
    /// Probes since the peer was heard.
    unanswered: u8,
}

impl Keepalive {
    pub(super) fn new(config: KeepaliveConfig, now: Instant) -> Self {
        Self { config: config.clamped(), heard: now, probed: now, unanswered: 0 }
    }

    /// Takes note of a segment of the peer's that was acceptable.
    pub(super) fn on_segment(&mut self, now: Instant) {
        self.heard = self.heard.max(now);
        self.unanswered = 0;
    }

    /// When [`on_timeout`](Self::on_timeout) is to be called. `in_flight`: data or a FIN waits for its
    /// acknowledgment, so that there is nothing to do.
    pub(super) fn deadline(&self, in_flight: bool) -> Option<Instant> {
        let next = match self.unanswered {
            0 => self.heard + self.config.idle,
            _ => self.probed + self.config.interval,
        };
        (!in_flight).then_some(next)
    }

    /// What is due now; a probe is counted as sent.
    pub(super) fn on_timeout(&mut self, now: Instant, in_flight: bool) -> Due {
        match self.deadline(in_flight) {
            Some(deadline) if deadline <= now => {}
            _ => return Due::Nothing,
        }
        if self.unanswered >= self.config.probes {
            return Due::GiveUp;
        }
        self.unanswered += 1;
        self.probed = now;
        Due::Probe
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(secs: u64) -> Instant {
        Instant::from_secs(secs)
    }

    fn config(idle: u64, interval: u64, probes: u8) -> KeepaliveConfig {
        let (idle, interval) = (Duration::from_secs(idle), Duration::from_secs(interval));
        KeepaliveConfig { idle, interval, probes }
    }

    /// What happens from now on if the peer says nothing.
    fn left_alone(mut keepalive: Keepalive) -> Vec<(Instant, Due)> {
        let mut seen = Vec::new();
        while seen.last().is_none_or(|&(_, due)| due != Due::GiveUp) {
            let now = keepalive.deadline(false).unwrap();
            seen.push((now, keepalive.on_timeout(now, false)));
        }
        seen
    }

    #[test]
    fn the_defaults_are_those_of_linux() {
        assert_eq!(KeepaliveConfig::default(), config(7_200, 75, 9));
        let seen = left_alone(Keepalive::new(KeepaliveConfig::default(), at(0)));
        assert_eq!(seen.len(), 10);
        assert_eq!(seen[0], (at(7_200), Due::Probe));
        assert_eq!(seen[9], (at(7_200 + 9 * 75), Due::GiveUp));
    }

    #[test]
    fn one_lost_probe_is_not_the_end_and_an_answer_starts_again() {
        let mut keepalive = Keepalive::new(config(10, 3, 2), at(0));
        assert_eq!(keepalive.on_timeout(at(9), false), Due::Nothing);
        assert_eq!(keepalive.on_timeout(at(10), false), Due::Probe);
        assert_eq!(keepalive.on_timeout(at(10), false), Due::Nothing, "once");
        assert_eq!(keepalive.on_timeout(at(13), false), Due::Probe);
        keepalive.on_segment(at(14));
        let (probe, end) = (Due::Probe, Due::GiveUp);
        assert_eq!(left_alone(keepalive), [(at(24), probe), (at(27), probe), (at(30), end)]);
    }

    #[test]
    fn probes_rest_while_something_is_in_flight() {
        let mut keepalive = Keepalive::new(config(10, 3, 2), at(0));
        assert_eq!(keepalive.deadline(true), None);
        assert_eq!(keepalive.on_timeout(at(100), true), Due::Nothing);
        // What was in flight has been acknowledged: that was a segment.
        keepalive.on_segment(at(101));
        assert_eq!(keepalive.deadline(false), Some(at(111)));
    }

    #[test]
    fn a_late_timer_sends_one_probe_and_not_those_that_were_missed() {
        let mut keepalive = Keepalive::new(config(10, 3, 9), at(0));
        assert_eq!(keepalive.on_timeout(at(1_000), false), Due::Probe);
        assert_eq!(keepalive.deadline(false), Some(at(1_003)));
    }

    #[test]
    fn values_out_of_range_are_brought_into_it() {
        let keepalive = Keepalive::new(config(0, 40_000, 0), at(0));
        assert_eq!(keepalive.config, config(1, 32_767, 1));
        assert_eq!(config(1, 1, 200).clamped().probes, 127);
    }
}
