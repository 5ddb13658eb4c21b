//! What became of the packets, counted.

use std::fmt::{self, Write as _};

use nat::{DropReason, Engine, Verdict};
use netstack::{LegId, Packet};

use super::input::Skipped;
use crate::plan::AllStats;

/// The word for a verdict in every output.
pub(super) const fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Forward => "forward",
        Verdict::Reply => "reply",
        Verdict::Divert(_) => "divert",
        Verdict::Hold => "hold",
        Verdict::Consumed => "consume",
        Verdict::Reject(_) => "reject",
        Verdict::Drop(_) => "drop",
    }
}

/// The reason of a verdict that has one.
pub(super) const fn reason(verdict: Verdict) -> Option<DropReason> {
    match verdict {
        Verdict::Drop(reason) | Verdict::Reject(reason) => Some(reason),
        _ => None,
    }
}

/// True if the packet that was decided on is sent.
pub(super) const fn leaves(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Forward | Verdict::Reply | Verdict::Reject(_))
}

/// Counts of one replay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packets decided on.
    pub packets: u64,
    forwarded: u64,
    replied: u64,
    diverted: u64,
    held: u64,
    consumed: u64,
    rejected: u64,
    dropped: u64,
    /// Dropped and refused, by reason.
    reasons: Vec<u64>,
    /// Packets that were nobody's verdict.
    own: u64,
    sent: Vec<u64>,
}

impl Tally {
    /// Counts a verdict on a packet, which is now this.
    pub(super) fn decided(&mut self, verdict: Verdict, packet: &Packet) {
        self.packets += 1;
        let count = match verdict {
            Verdict::Forward => &mut self.forwarded,
            Verdict::Reply => &mut self.replied,
            Verdict::Divert(_) => &mut self.diverted,
            Verdict::Hold => &mut self.held,
            Verdict::Consumed => &mut self.consumed,
            Verdict::Reject(_) => &mut self.rejected,
            Verdict::Drop(_) => &mut self.dropped,
        };
        *count += 1;
        if let Some(reason) = reason(verdict) {
            self.reasons.resize(DropReason::ALL.len(), 0);
            if let Some(count) = self.reasons.get_mut(reason as usize) {
                *count += 1;
            }
        }
        if leaves(verdict) {
            self.count_sent(packet.leg);
        }
    }

    /// Counts a packet that leaves and was not decided on.
    pub(super) fn left(&mut self, packet: &Packet) {
        self.own += 1;
        self.count_sent(packet.leg);
    }

    fn count_sent(&mut self, leg: LegId) {
        let leg = usize::from(leg.0);
        if self.sent.len() <= leg {
            self.sent.resize(leg + 1, 0);
        }
        if let Some(sent) = self.sent.get_mut(leg) {
            *sent += 1;
        }
    }
}

/// The table at the end.
pub(super) struct Summary<'a> {
    pub(super) tally: &'a Tally,
    pub(super) skipped: Skipped,
    pub(super) engine: &'a Engine,
    pub(super) applications: &'a AllStats,
    pub(super) legs: &'a [String],
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tally, skipped, .. } = self;
        let packets = [
            (tally.packets, "replayed"),
            (tally.forwarded, "forwarded"),
            (tally.replied, "answered"),
            (tally.diverted, "ended here"),
            (tally.held, "held"),
            (tally.consumed, "answers to probes"),
            (tally.rejected, "refused"),
            (tally.dropped, "dropped"),
        ];
        row(f, "packets", &packets, 1)?;
        let left_out = [
            (skipped.cut - skipped.padded, "cut short (--pad fills them up)"),
            (skipped.no_leg, "by no leg (--leg-of says by which)"),
            (skipped.not_ip, "not IP"),
        ];
        row(f, "left out", &left_out, 0)?;
        let doubtful = [
            (skipped.padded, "filled up with zeros"),
            (skipped.early, "earlier than the one before"),
            (skipped.lost, "lost by the capture"),
        ];
        row(f, "doubtful", &doubtful, 0)?;
        for (reason, count) in DropReason::ALL.iter().zip(&tally.reasons) {
            if *count > 0 {
                writeln!(f, "reason    {reason}  {count}")?;
            }
        }
        for (leg, name) in self.legs.iter().enumerate() {
            let sent = tally.sent.get(leg).copied().unwrap_or(0);
            writeln!(f, "leg       {name}  {sent} sent")?;
        }
        row(f, "own", &[(tally.own, "packets of the balancer's own, or late")], 0)?;
        for pool in self.engine.pools() {
            for backend in pool.backends() {
                let name = &backend.config.name;
                let (flows, state) = (backend.flows, backend.state);
                writeln!(f, "backend   {}/{name}  {flows} flows, {state}", pool.name())?;
            }
        }
        for (id, read) in self.applications {
            let Some(service) = self.engine.services().get(*id) else { continue };
            let stats = read();
            let served = stats.served();
            let (name, refused) = (&service.name, stats.rejected);
            writeln!(f, "service   {name}  {served} served, {refused} refused")?;
        }
        Ok(())
    }
}

/// A row of counts, those that are not zero and the first `always`; no row if nothing is left.
fn row(
    f: &mut fmt::Formatter<'_>,
    about: &str,
    counts: &[(u64, &str)],
    always: usize,
) -> fmt::Result {
    let mut line = String::new();
    for (_, (count, what)) in
        counts.iter().enumerate().filter(|(n, (count, _))| *n < always || *count > 0)
    {
        let comma = if line.is_empty() { "" } else { ", " };
        write!(line, "{comma}{count} {what}")?;
    }
    if line.is_empty() { Ok(()) } else { writeln!(f, "{about:<9} {line}") }
}
