//! Counters.

use crate::{DropReason, Verdict};

/// What an engine has done since it was made. Packets are counted as read: a super-packet is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Packets handed in, from legs and from this process's own connections.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rewritten or routed onward.
    pub forwarded: u64,
    /// Answered by the engine itself.
    pub replied: u64,
    /// Handed to the [`Divert`](crate::Divert).
    pub diverted: u64,
    /// Packets kept for later. A fragment is one day released, or dropped for a reason of its own; a SYN
    /// that nobody asked for is refused, or forgotten when ours meets it.
    pub held: u64,
    /// Kept fragments that were sent on, or became part of a whole packet.
    pub released: u64,
    /// Kept fragments that were dropped; their reasons count them too.
    pub held_dropped: u64,
    /// Datagrams of which a fragment did not come in time.
    pub datagrams_expired: u64,
    /// Datagrams in fragments that gave way to newer ones at a limit.
    pub datagrams_evicted: u64,
    /// Answers to health probes.
    pub consumed: u64,
    /// Health probes begun, of every kind.
    pub probes_sent: u64,
    /// Health probes that backends answered as they should.
    pub probes_passed: u64,
    /// Health probes that failed.
    pub probes_failed: u64,
    /// Flows made.
    pub flows_opened: u64,
    /// Flows whose time ran out.
    pub flows_expired: u64,
    /// Flows that gave way to newer ones at a limit.
    pub flows_evicted: u64,
    /// SYNs offered to another backend after theirs refused or did not answer.
    pub syn_failovers: u64,
    /// Ports of the SNAT pool given out before their quarantine was over, or while their last flow was
    /// closing, since there was no other.
    pub snat_reused_early: u64,
    /// Ports that were not of their client's pool address, since that had none left.
    pub snat_unpaired: u64,
    dropped: [u64; DropReason::ALL.len()],
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            packets: 0,
            bytes: 0,
            forwarded: 0,
            replied: 0,
            diverted: 0,
            held: 0,
            released: 0,
            held_dropped: 0,
            datagrams_expired: 0,
            datagrams_evicted: 0,
            consumed: 0,
            probes_sent: 0,
            probes_passed: 0,
            probes_failed: 0,
            flows_opened: 0,
            flows_expired: 0,
            flows_evicted: 0,
            syn_failovers: 0,
            snat_reused_early: 0,
            snat_unpaired: 0,
            dropped: [0; DropReason::ALL.len()],
        }
    }
}

impl Stats {
    /// How many packets went no further for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// The reasons that occurred, with their counts.
    pub fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|&r| (r, self.dropped(r))).filter(|&(_, n)| n > 0)
    }

    /// Counts fragments that had been kept and come to nothing.
    pub fn drop_held(&mut self, reason: DropReason, count: usize) {
        self.held_dropped += count as u64;
        self.dropped[reason as usize] += count as u64;
    }

    /// Counts a verdict.
    pub fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Forward => self.forwarded += 1,
            Verdict::Reply => self.replied += 1,
            Verdict::Divert(_) => self.diverted += 1,
            Verdict::Hold => self.held += 1,
            Verdict::Consumed => self.consumed += 1,
            Verdict::Reject(reason) | Verdict::Drop(reason) => self.dropped[reason as usize] += 1,
        }
    }
}
