//! `[[test]]`: what is tried on a configuration, and what is to come of it.

use std::net::IpAddr;
use std::time::Duration;

use nat::{BackendState, DropReason};

use super::{Span, Spanned};
use crate::testing::Pattern;

/// A test: steps, one after the other, on a balancer of its own.
#[derive(Clone, Debug)]
pub struct Test {
    /// What it is called in reports.
    pub name: Spanned<String>,
    /// The header.
    pub span: Span,
    /// Stands in for the configured seed.
    pub seed: Option<u64>,
    /// Backends are asked whether they are well; otherwise all are ready. Default no.
    pub health: bool,
    /// What is done and expected.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its place.
    pub span: Span,
    /// The time to let pass before, if any.
    pub wait: Option<Wait>,
    /// What is done, or must be so.
    pub act: Act,
}

/// Until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// So much later.
    After(Duration),
    /// Until so long after the start of the test.
    At(Duration),
}

/// What a step does, or what must be so.
#[derive(Clone, Debug)]
pub enum Act {
    /// Only lets time pass.
    Pass,
    /// Sends a packet.
    Send {
        /// Its line, with variables.
        line: Spanned<String>,
        /// The leg that it comes by; the one that leads to its source if there is none.
        leg: Option<Spanned<String>>,
    },
    /// A packet must have come out.
    Expect {
        /// Which.
        pattern: Spanned<Pattern>,
        /// The leg that it leaves by; any if there is none.
        leg: Option<Spanned<String>>,
        /// How long it may take.
        within: Duration,
    },
    /// Answers the packet that was expected last.
    Reply {
        /// The words of the answer.
        words: Spanned<String>,
    },
    /// The last packet sent must have got this verdict.
    Verdict {
        /// Its name.
        verdict: VerdictName,
        /// Why, for those that say why.
        reason: Option<DropReason>,
    },
    /// Counters must have these values.
    Counters(Vec<(Counter, u64)>),
    /// So many flows must be tracked.
    Flows(u64),
    /// Sets the state of a backend, or compares what is known of it.
    Backend(BackendStep),
    /// Simulated clients and backends.
    Sim(Box<Simulation>),
}

/// A step about a backend.
#[derive(Clone, Debug)]
pub struct BackendStep {
    /// `POOL/NAME`.
    pub name: Spanned<String>,
    /// The state to set.
    pub set: Option<BackendState>,
    /// The state that it must have.
    pub is: Option<BackendState>,
    /// The flows that it must have been given since the start.
    pub flows: Option<u64>,
    /// The flows that it must have now.
    pub active: Option<u64>,
}

/// A verdict without what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerdictName {
    /// Rewritten and sent on.
    Forward,
    /// Turned into its answer.
    Reply,
    /// Handed to the proxy.
    Divert,
    /// Kept.
    Hold,
    /// Taken in.
    Consumed,
    /// Refused with an answer.
    Reject,
    /// Dropped.
    Drop,
}

impl VerdictName {
    /// Every one, with its word.
    pub const ALL: [(&'static str, Self); 7] = [
        ("forward", Self::Forward),
        ("reply", Self::Reply),
        ("divert", Self::Divert),
        ("hold", Self::Hold),
        ("consumed", Self::Consumed),
        ("reject", Self::Reject),
        ("drop", Self::Drop),
    ];
}

/// A counter of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// One of [`nat::stats::Stats`], by its place in [`COUNTERS`].
    Stat(usize),
    /// Packets that went no further for this reason.
    Drops(DropReason),
}

/// A counter's name, and how it is read.
pub type NamedCounter = (&'static str, fn(&nat::stats::Stats) -> u64);

/// The counters that a test can name, besides drop reasons.
pub const COUNTERS: [NamedCounter; 14] = [
    ("packets", |s| s.packets),
    ("bytes", |s| s.bytes),
    ("forwarded", |s| s.forwarded),
    ("replied", |s| s.replied),
    ("diverted", |s| s.diverted),
    ("held", |s| s.held),
    ("released", |s| s.released),
    ("consumed", |s| s.consumed),
    ("dropped", |s| s.drops().map(|(_, n)| n).sum()),
    ("probes-sent", |s| s.probes_sent),
    ("flows-opened", |s| s.flows_opened),
    ("flows-expired", |s| s.flows_expired),
    ("flows-evicted", |s| s.flows_evicted),
    ("syn-failovers", |s| s.syn_failovers),
];

impl Counter {
    /// The counter of that name.
    pub fn find(name: &str) -> Option<Self> {
        let stat = COUNTERS.iter().position(|(known, _)| *known == name).map(Self::Stat);
        let drops = || DropReason::ALL.iter().find(|r| r.name() == name).copied();
        stat.or_else(|| drops().map(Self::Drops))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stat(n) => COUNTERS.get(n).map_or("?", |(name, _)| name),
            Self::Drops(reason) => reason.name(),
        }
    }

    /// Its value.
    pub fn read(self, stats: &nat::stats::Stats) -> u64 {
        match self {
            Self::Stat(n) => COUNTERS.get(n).map_or(0, |(_, read)| read(stats)),
            Self::Drops(reason) => stats.dropped(reason),
        }
    }
}

/// Clients and backends in memory, with links that misbehave, and what must come of it.
#[derive(Clone, Debug)]
pub struct Simulation {
    /// The place of the table.
    pub span: Span,
    /// The service that is asked, over TCP.
    pub service: Spanned<String>,
    /// Where the first client lives; others have the addresses behind it.
    pub client: Spanned<IpAddr>,
    /// How many clients there are; default 1.
    pub clients: u32,
    /// How many requests they make in all, each on a connection of its own; default 100.
    pub flows: u32,
    /// The time over which the requests begin, in seconds; default 10.
    pub seconds: u32,
    /// What links do, each way.
    pub link: LinkFaults,
    /// A backend that dies, when, and when it is back.
    pub kill: Option<Kill>,
    /// Requests that may fail; default 0.
    pub errors: u64,
    /// The least number of requests that a backend must have answered, by its name.
    pub at_least: Vec<(Spanned<String>, u64)>,
    /// And the largest.
    pub at_most: Vec<(Spanned<String>, u64)>,
}

/// What the links of a simulation do. Probabilities from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LinkFaults {
    /// How long a packet takes.
    pub delay: Duration,
    /// Variation of that.
    pub jitter: Duration,
    /// Probability that a packet is lost.
    pub loss: f64,
    /// Probability that it comes twice.
    pub duplicate: f64,
    /// Probability that it comes late.
    pub reorder: f64,
    /// Probability that a bit of it is flipped.
    pub corrupt: f64,
}

/// A backend's death.
#[derive(Clone, Debug)]
pub struct Kill {
    /// `POOL/NAME`.
    pub backend: Spanned<String>,
    /// When.
    pub at: Duration,
    /// When it lives again.
    pub back: Option<Duration>,
}
