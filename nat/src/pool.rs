//! Pools of backends: their state, and which one is next.
//!
//! # Theory of operation
//!
//! A backend's *state* is set from outside: ready, drain, maint or down. Beside it stands what was
//! learnt from its own traffic: after [`FAILURES_TO_EJECT`] connects in a row that it refused, it is
//! *ejected* for [`EJECTION`], then offered new flows again; one more failure ejects it at once and
//! twice as long, up to [`EJECTION_MAX`], and one success clears it. Ejection is advice: if every ready
//! backend is ejected, all are chosen from, since a wrong guess must not take a service down.

use std::net::SocketAddr;
use std::time::Duration;

use netstack::Instant;
use netstack::wire::Address;

use crate::limits::FAILURES_TO_EJECT;
use crate::rng::{Rng, stable_hash};
use crate::schedule::{Candidate, Client, Scheduler, State};

/// The first ejection's length.
pub const EJECTION: Duration = Duration::from_secs(5);
/// The longest ejection.
pub const EJECTION_MAX: Duration = Duration::from_mins(1);

/// The number of a pool, in the order of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolId(pub u16);

/// The number of a backend within its pool, in the order of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendId(pub u16);

/// What an operator or a health check says of a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendState {
    /// Takes new flows.
    #[default]
    Ready,
    /// Keeps its flows, takes no new ones.
    Drain,
    /// Taken out by an operator.
    Maint,
    /// Failed its checks.
    Down,
}

/// A backend as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendConfig {
    /// Unique within the pool.
    pub name: String,
    /// Where it listens; the port is not used for ICMP.
    pub address: SocketAddr,
    /// Share of the load relative to the pool's others; 0 takes none.
    pub weight: u16,
}

impl BackendConfig {
    /// A backend of weight 1.
    pub fn new(name: impl Into<String>, address: SocketAddr) -> Self {
        Self { name: name.into(), address, weight: 1 }
    }
}

/// A pool as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// Unique.
    pub name: String,
    /// How a backend is chosen.
    pub scheduler: Scheduler,
    /// At least one.
    pub backends: Vec<BackendConfig>,
}

impl PoolConfig {
    /// A pool whose backends take turns.
    pub fn new(name: impl Into<String>, backends: Vec<BackendConfig>) -> Self {
        Self { name: name.into(), scheduler: Scheduler::RoundRobin, backends }
    }
}

/// A backend and what became of the flows that it was given.
#[derive(Clone, Debug)]
pub struct Backend {
    /// As configured.
    pub config: BackendConfig,
    /// As last set.
    pub state: BackendState,
    /// Flows given to it since the start.
    pub flows: u64,
    /// Of these, how many are tracked now.
    pub active: u32,
    /// Connects that it refused.
    pub refused: u64,
    failures: u32,
    ejected_until: Option<Instant>,
}

impl Backend {
    /// The address and port in the form that packets use.
    pub fn address(&self) -> (Address, u16) {
        (self.config.address.ip().into(), self.config.address.port())
    }

    /// True while its refusals keep it out.
    pub fn is_ejected(&self, now: Instant) -> bool {
        self.ejected_until.is_some_and(|until| now < until)
    }
}

/// A pool with its state.
#[derive(Clone, Debug)]
pub struct Pool {
    name: String,
    backends: Vec<Backend>,
    candidates: Vec<Candidate>,
    state: State,
    rng: Rng,
    /// The earliest end of an ejection: until then eligibility cannot change by itself.
    ejection_ends: Instant,
}

impl Pool {
    /// A pool in which all backends are ready; `seed` fixes its random choices.
    pub fn new(config: PoolConfig, seed: u64) -> Self {
        let candidates = config
            .backends
            .iter()
            .map(|b| Candidate {
                identity: stable_hash(0, b.name.as_bytes()),
                weight: b.weight.into(),
                eligible: true,
            })
            .collect();
        let backends = config
            .backends
            .into_iter()
            .map(|config| Backend {
                config,
                state: BackendState::Ready,
                flows: 0,
                active: 0,
                refused: 0,
                failures: 0,
                ejected_until: None,
            })
            .collect();
        Self {
            name: config.name,
            backends,
            candidates,
            state: State::new(config.scheduler),
            rng: Rng::new(seed),
            ejection_ends: Instant::FAR_FUTURE,
        }
    }

    /// The pool's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its backends, in the order of their [`BackendId`]s.
    pub fn backends(&self) -> &[Backend] {
        &self.backends
    }

    /// One of them.
    pub fn backend(&self, id: BackendId) -> Option<&Backend> {
        self.backends.get(usize::from(id.0))
    }

    /// Chooses a backend for `client`, none of `skip`; nothing if none can take it.
    pub fn choose(
        &mut self,
        now: Instant,
        client: Client,
        skip: &[BackendId],
    ) -> Option<BackendId> {
        if now >= self.ejection_ends {
            self.refresh(now);
        }
        let skip = |i: usize| skip.contains(&BackendId(i as u16));
        self.state
            .choose(&self.candidates, client, &mut self.rng, &skip)
            .map(|i| BackendId(i as u16))
    }

    /// Sets what an operator or a health check says.
    pub fn set_state(&mut self, now: Instant, id: BackendId, state: BackendState) {
        if let Some(backend) = self.backends.get_mut(usize::from(id.0)) {
            backend.state = state;
            self.refresh(now);
        }
    }

    /// Takes note that the backend accepted a connection.
    pub fn connect_succeeded(&mut self, now: Instant, id: BackendId) {
        let Some(backend) = self.backends.get_mut(usize::from(id.0)) else { return };
        if backend.failures == 0 {
            return;
        }
        backend.failures = 0;
        if backend.ejected_until.take().is_some() {
            self.refresh(now);
        }
    }

    /// Takes note that the backend refused a connection, or is unreachable.
    pub fn connect_failed(&mut self, now: Instant, id: BackendId) {
        let Some(backend) = self.backends.get_mut(usize::from(id.0)) else { return };
        backend.refused += 1;
        if backend.is_ejected(now) {
            return; // A flow that was on its way before: no news.
        }
        backend.failures += 1;
        if let Some(doublings) = backend.failures.checked_sub(FAILURES_TO_EJECT) {
            let length = EJECTION.saturating_mul(1 << doublings.min(8)).min(EJECTION_MAX);
            backend.ejected_until = Some(now + length);
            self.refresh(now);
        }
    }

    pub(crate) fn flow_opened(&mut self, id: BackendId) {
        if let Some(backend) = self.backends.get_mut(usize::from(id.0)) {
            backend.flows += 1;
            backend.active += 1;
        }
    }

    pub(crate) fn flow_closed(&mut self, id: BackendId) {
        if let Some(backend) = self.backends.get_mut(usize::from(id.0)) {
            backend.active -= 1;
        }
    }

    /// Works out anew who is eligible.
    fn refresh(&mut self, now: Instant) {
        let ready = |b: &Backend| b.state == BackendState::Ready && b.config.weight > 0;
        let some_left = self.backends.iter().any(|b| ready(b) && !b.is_ejected(now));
        let mut changed = false;
        for (backend, candidate) in self.backends.iter().zip(&mut self.candidates) {
            let eligible = ready(backend) && !(some_left && backend.is_ejected(now));
            changed |= candidate.eligible != eligible;
            candidate.eligible = eligible;
        }
        if changed {
            self.state.invalidate();
        }
        self.ejection_ends = self
            .backends
            .iter()
            .filter_map(|b| b.ejected_until.filter(|&until| until > now))
            .min()
            .unwrap_or(Instant::FAR_FUTURE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(n: u8) -> Pool {
        let backends = (0..n)
            .map(|i| BackendConfig::new(format!("web{i}"), ([10, 2, 0, i], 80).into()))
            .collect();
        Pool::new(PoolConfig::new("web", backends), 1)
    }

    fn chosen(pool: &mut Pool, now: Instant) -> Vec<u16> {
        let client = Client { address: Address::from_v4([10, 0, 0, 1]), port: 1 };
        let mut ids: Vec<_> =
            (0..20).filter_map(|_| pool.choose(now, client, &[])).map(|id| id.0).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    #[test]
    fn only_ready_backends_are_chosen() {
        let mut pool = pool(4);
        let now = Instant::ZERO;
        pool.set_state(now, BackendId(0), BackendState::Drain);
        pool.set_state(now, BackendId(1), BackendState::Maint);
        pool.set_state(now, BackendId(2), BackendState::Down);
        assert_eq!(chosen(&mut pool, now), [3]);
        pool.set_state(now, BackendId(3), BackendState::Drain);
        assert_eq!(chosen(&mut pool, now), []);
    }

    #[test]
    fn refusals_eject_for_longer_each_time_and_one_success_forgives() {
        let mut pool = pool(2);
        let id = BackendId(0);
        let mut now = Instant::from_secs(1);
        for _ in 1..FAILURES_TO_EJECT {
            pool.connect_failed(now, id);
            assert_eq!(chosen(&mut pool, now), [0, 1], "not yet");
        }
        pool.connect_failed(now, id);
        assert_eq!(chosen(&mut pool, now), [1]);
        now += EJECTION;
        assert_eq!(chosen(&mut pool, now), [0, 1], "its time is over");
        pool.connect_failed(now, id);
        now += EJECTION;
        assert_eq!(chosen(&mut pool, now), [1], "the second time is longer");
        now += EJECTION;
        assert_eq!(chosen(&mut pool, now), [0, 1]);
        pool.connect_succeeded(now, id);
        pool.connect_failed(now, id);
        assert_eq!(chosen(&mut pool, now), [0, 1], "forgiven");
    }

    #[test]
    fn if_all_are_ejected_all_are_tried() {
        let mut pool = pool(2);
        for id in [0, 1] {
            for _ in 0..FAILURES_TO_EJECT {
                pool.connect_failed(Instant::ZERO, BackendId(id));
            }
        }
        assert_eq!(chosen(&mut pool, Instant::ZERO), [0, 1]);
    }
}
