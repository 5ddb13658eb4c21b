//! What lies in the endpoint's timer wheel.

use super::connection::ConnectionId;
use crate::time::Instant;

/// Whose deadline it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimerKey {
    /// A connection's: retransmission, acknowledgment, giving up.
    Connection(ConnectionId),
    /// That of a place for a record of TIME-WAIT.
    TimeWait(u32),
}

/// The entries that a connection has in the wheel: the two earliest, earliest first.
///
/// Entries cannot be taken out, so one that comes before the deadline is kept and looked at again
/// when it fires. Two are remembered because two are usual: an acknowledgment's 10 ms in front of a
/// retransmission's 200 ms. Remembering one only would add an entry for the second with every
/// acknowledgment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Armed([Instant; 2]);

impl Armed {
    pub(super) const NONE: Self = Self([Instant::FAR_FUTURE; 2]);

    /// True if an entry for `deadline` must be inserted; none is if one fires no later.
    pub(super) fn arm(&mut self, deadline: Instant) -> bool {
        let needed = deadline < self.0[0];
        if needed {
            self.0 = [deadline, self.0[0]];
        }
        needed
    }

    /// Forgets entries that have fired by `now`.
    pub(super) fn fired(&mut self, now: Instant) {
        for _ in 0..2 {
            if self.0[0] <= now {
                self.0 = [self.0[1], Instant::FAR_FUTURE];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgment_in_front_of_a_retransmission_costs_one_entry() {
        let at = Instant::from_millis;
        let mut armed = Armed::NONE;
        assert!(armed.arm(at(200)));
        for now in [0, 20, 40] {
            assert!(armed.arm(at(now + 10)));
            assert!(!armed.arm(at(now + 15)));
            armed.fired(at(now + 10));
            assert!(!armed.arm(at(200)), "still in the wheel");
        }
        armed.fired(at(200));
        assert!(armed.arm(at(400)));
    }
}
