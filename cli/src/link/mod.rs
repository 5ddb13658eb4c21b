//! Links that delay, lose, duplicate, reorder and spoil: one model for the simulator, which asks when a
//! packet arrives and jumps there, and for the runtime, which keeps it until then.
//!
//! # Theory of operation
//!
//! A link has two ways, each with an [`Impairment`] and chances of its own, so that one way may be
//! slow and the other cut. A [`OneWay`] holds no packet: it says when copies of one arrive. A [`Line`]
//! is a link in real time: it keeps what is on its way, up to [`MAX_PACKETS`] and [`MAX_BYTES`] each
//! way.
//!
//! A packet meets, in this order, the queue of the sender (with a `rate`; full, it is dropped at the
//! tail), its serialisation, loss, delay and jitter, reordering, duplication, corruption.

mod arrival;
mod line;
mod one_way;

pub(crate) use arrival::Arrival;
pub use line::{Line, MAX_BYTES, MAX_PACKETS};
pub use one_way::{Impairment, OneWay, Stats};

use nat::rng::derive;
use netstack::{Instant, Packet};

/// A way of a link, seen from the balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Toward the host at the other end.
    To,
    /// From the host.
    From,
}

/// What a link does each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Toward the host.
    pub to: Impairment,
    /// From the host.
    pub from: Impairment,
}

impl Settings {
    /// The same both ways.
    pub const fn both(impairment: Impairment) -> Self {
        Self { to: impairment, from: impairment }
    }

    /// False if it carries every packet at once and as it is.
    pub fn impairs(&self) -> bool {
        *self != Self::default()
    }
}

/// A link between the balancer and one host.
#[derive(Debug)]
pub struct Link {
    to: OneWay,
    from: OneWay,
}

impl Link {
    /// A link that is the same both ways; its chances follow from `seed`.
    pub const fn new(impairment: Impairment, seed: u64) -> Self {
        Self::with(Settings::both(impairment), seed)
    }

    /// A link of these settings; its chances follow from `seed`.
    pub const fn with(settings: Settings, seed: u64) -> Self {
        Self {
            to: OneWay::new(settings.to, derive(seed, 0)),
            from: OneWay::new(settings.from, derive(seed, 1)),
        }
    }

    /// What it does.
    pub const fn settings(&self) -> Settings {
        Settings { to: self.to.impairment, from: self.from.impairment }
    }

    /// Changes what it does to packets that are sent from now on.
    pub const fn set(&mut self, settings: Settings) {
        self.to.impairment = settings.to;
        self.from.impairment = settings.from;
    }

    /// What happened on it.
    pub const fn stats(&self, way: Way) -> &Stats {
        match way {
            Way::To => &self.to.stats,
            Way::From => &self.from.stats,
        }
    }

    /// Says when copies of `packet` arrive: never, once or twice, each by a call of `arrive`.
    pub fn carry(
        &mut self,
        way: Way,
        now: Instant,
        packet: &Packet,
        arrive: impl FnMut(Instant, Packet),
    ) {
        match way {
            Way::To => self.to.carry(now, packet, arrive),
            Way::From => self.from.carry(now, packet, arrive),
        }
    }
}
