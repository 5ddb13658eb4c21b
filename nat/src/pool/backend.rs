//! A backend, and what was learnt of it.

use std::time::Duration;

use netstack::Instant;
use netstack::wire::Address;

use super::config::{BackendConfig, BackendState};
use super::ejection::{Answers, EjectionConfig};
use crate::schedule::FULL;

/// The share of its weight at which a slow start begins, in [`FULL`]ths.
const FIRST_STEP: u64 = FULL as u64 / 10;
/// Steps in which a slow start climbs.
const STEPS: u32 = 64;

/// A backend and what became of the flows that it was given.
#[derive(Clone, Debug)]
pub struct Backend {
    /// As configured.
    pub config: BackendConfig,
    /// As last set.
    pub state: BackendState,
    /// Flows given to it since the start.
    pub flows: u64,
    /// Of these, how many are open now: closed TCP flows that are still tracked are not counted.
    pub active: u32,
    /// Connects that it refused.
    pub refused: u64,
    /// Connects that it did not answer.
    pub unanswered: u64,
    failures: u32,
    /// For failed connects.
    ejected_until: Option<Instant>,
    /// For what it answered.
    banned_until: Option<Instant>,
    pub(super) answers: Answers,
    /// True from when it was down, in maintenance or ejected until it takes flows again.
    out: bool,
    /// When its slow start began.
    returned: Option<Instant>,
}

impl Backend {
    pub(super) fn new(config: BackendConfig, state: BackendState) -> Self {
        Self {
            config,
            state,
            flows: 0,
            active: 0,
            refused: 0,
            unanswered: 0,
            failures: 0,
            ejected_until: None,
            banned_until: None,
            answers: Answers::default(),
            out: false,
            returned: None,
        }
    }

    /// The address, in the form that packets use.
    pub fn address(&self) -> Address {
        self.config.address.ip().into()
    }

    /// The address, and the port for a client that asked for `port`, in the form that packets use.
    pub fn address_for(&self, port: u16) -> (Address, u16) {
        let address = self.config.address;
        let port = if address.port() == 0 { port } else { address.port() };
        (address.ip().into(), port)
    }

    /// True while its failures keep it out.
    pub fn is_ejected(&self, now: Instant) -> bool {
        now < self.ejected_until.max(self.banned_until).unwrap_or(Instant::ZERO)
    }

    pub(super) fn is_full(&self) -> bool {
        self.config.max_connections.is_some_and(|most| self.active >= most)
    }

    /// Notes a failed connect; true if that ejects it, where one more `may` be.
    pub(super) fn failed(&mut self, now: Instant, config: &EjectionConfig, may: bool) -> bool {
        if self.is_ejected(now) {
            return false; // A flow that was on its way before: no news.
        }
        self.failures = self.failures.saturating_add(1);
        let Some(others) = self.failures.checked_sub(config.failures) else { return false };
        if may {
            self.ejected_until = Some(now + config.length(others));
        }
        may
    }

    /// Ejects it for what it answered.
    pub(super) fn ban(&mut self, now: Instant, config: &EjectionConfig) {
        self.banned_until = Some(self.answers.eject(now, config));
    }

    /// Notes a connect that came about; true if that ends an ejection.
    pub(super) fn succeeded(&mut self) -> bool {
        self.failures = 0;
        self.ejected_until.take().is_some()
    }

    /// Begins its slow start if it comes back, and forgets it if it leaves.
    pub(super) fn note_service(&mut self, now: Instant) {
        let ejected = self.is_ejected(now);
        let ended =
            if ejected { None } else { self.ejected_until.take().max(self.banned_until.take()) };
        if ejected || matches!(self.state, BackendState::Down | BackendState::Maint) {
            self.out = true;
            self.returned = None;
        } else if self.out && self.state == BackendState::Ready {
            self.out = false;
            // An ejection ends by itself, perhaps long before somebody looks.
            self.returned = Some(ended.unwrap_or(now));
        }
    }

    /// What part of its weight counts, in [`FULL`]ths, and when that changes by itself.
    pub(super) fn ramp(&mut self, now: Instant, slow_start: Duration) -> (u32, Instant) {
        let Some(returned) = self.returned else { return (FULL, Instant::FAR_FUTURE) };
        let (elapsed, whole) = (now - returned, slow_start);
        if elapsed >= whole {
            self.returned = None;
            return (FULL, Instant::FAR_FUTURE);
        }
        let part = (u128::from(u64::from(FULL) - FIRST_STEP) * elapsed.as_micros()
            / whole.as_micros().max(1)) as u64;
        let step = (whole / STEPS).max(Duration::from_millis(1));
        ((FIRST_STEP + part) as u32, now + step)
    }

    /// When its ejection ends, if it is ejected.
    pub(super) fn ejection_ends(&self, now: Instant) -> Instant {
        let ends = self.ejected_until.max(self.banned_until);
        ends.filter(|&until| until > now).unwrap_or(Instant::FAR_FUTURE)
    }
}
