//! Whether backends are well: when each is asked, and what follows from the answers.
//!
//! # Theory of operation
//!
//! Two voices decide on a backend, and are kept apart: the operator ([`Admin`]) and, if its pool has
//! checks, their results ([`Condition`]). What pools and the outside are told is one [`BackendState`]
//! made of both; the operator's word goes first.
//!
//! | operator | starting | up | down | asked? |
//! |---|---|---|---|---|
//! | ready | starting | ready | down | yes |
//! | drain | drain | drain | drain | yes |
//! | maint | maint | maint | maint | no |
//!
//! A backend that leaves maintenance begins anew, as at the start of the process.
//!
//! **At the start** nothing is known. Unless the pool's `initial` state is ready, its backends take no
//! flow before their first success, and that one is enough; after they were down it takes
//! [`HealthConfig::rise`]. Nobody is served meanwhile, so the first probes are spread over no more than
//! [`FIRST_PROBES`].
//!
//! **When.** One probe of a backend is under way at a time. The next starts [`HealthConfig::every`]
//! after the last one did, give or take a tenth at random, so that checks of many backends, or by many
//! balancers, do not come in step. A probe that is not answered in time has failed, and what is said of
//! it later is ignored: each has a [`Ticket`] of its own.
//!
//! ```text
//!           due                    answered, or out of time
//! waiting ───────► asking ────────────────────────────────────► waiting
//!    ▲                │                                            │
//!    └──── ready ──── off ◄──────────────── maint ─────────────────┘
//! ```
//!
//! This module decides and counts. The packets are the engine's (`engine::health`), and probes that
//! need more than a packet are the [`Divert`](crate::Divert)'s.

mod checker;
mod config;
pub(crate) mod packet;

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use netstack::Instant;

use crate::limits::FIRST_PROBES;
use crate::rng::Rng;
use crate::{BackendId, BackendState, PoolConfig, PoolId};

pub use checker::{Checker, Condition};
pub use config::{HealthConfig, Probe};

/// What an operator says of a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admin {
    /// Let the checks decide.
    #[default]
    Ready,
    /// No new flows. It is still asked.
    Drain,
    /// Out, and not asked.
    Maint,
}

/// What became of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered as it should be.
    Passed,
    /// It was not.
    Failed(Failure),
}

/// Why a probe failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No answer came in time.
    TimedOut,
    /// The port is closed.
    Refused,
    /// A router or the host says that it cannot be reached.
    Unreachable,
    /// No leg leads there, or there is no address to ask from.
    NoRoute,
    /// It answered, but not as it should; this says how.
    Answer(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "no answer in time",
            Self::Refused => "connection refused",
            Self::Unreachable => "unreachable",
            Self::NoRoute => "no leg leads there",
            Self::Answer(what) => what,
        })
    }
}

/// Names one probe of one backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The pool.
    pub pool: PoolId,
    /// The backend.
    pub backend: BackendId,
    /// Tells it from the backend's earlier ones.
    pub number: u32,
}

/// A probe to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its name, to be given back with the [`Outcome`].
    pub ticket: Ticket,
    /// Where the backend listens.
    pub address: SocketAddr,
    /// After which nobody waits for the outcome any more.
    pub timeout: Duration,
}

/// Why a backend's state changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// An operator said so.
    Operator,
    /// So many probes in a row passed.
    Passed(u32),
    /// So many probes in a row failed, the last for this reason.
    Failed(u32, Failure),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = |n: u32| if n == 1 { "" } else { "s" };
        match self {
            Self::Operator => f.write_str("set by the operator"),
            Self::Passed(n) => write!(f, "{n} check{} passed", s(*n)),
            Self::Failed(n, last) => write!(f, "{n} check{} failed: {last}", s(*n)),
        }
    }
}

/// A backend's state is another than was told last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub at: Instant,
    /// The pool.
    pub pool: PoolId,
    /// The backend.
    pub backend: BackendId,
    /// As told before.
    pub from: BackendState,
    /// As it is.
    pub to: BackendState,
    /// Why.
    pub cause: Cause,
}

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// A probe is to be made.
    Ask(Order),
    /// A probe was not answered in time, which has been counted.
    TimedOut(Ticket),
}

/// Every backend's health (see the module's theory of operation).
#[derive(Clone, Debug)]
pub struct Health {
    pools: Vec<Vec<Target>>,
    configs: Vec<Option<HealthConfig>>,
    /// One entry for each backend that is waiting or asked.
    due: BTreeSet<(Instant, PoolId, BackendId)>,
    /// Backends whose state may differ from what was told, each at most once.
    news: VecDeque<(PoolId, BackendId)>,
    rng: Rng,
    started: bool,
}

#[derive(Clone, Debug)]
struct Target {
    address: SocketAddr,
    admin: Admin,
    /// None if its pool has no checks.
    checker: Option<Checker>,
    initial: Condition,
    turn: Turn,
    number: u32,
    told: BackendState,
    /// It stands in `news`.
    has_news: bool,
    changed: Instant,
    cause: Cause,
}

#[derive(Clone, Copy, Debug)]
enum Turn {
    Off,
    Waiting { until: Instant },
    Asking { since: Instant, until: Instant },
}

impl Health {
    /// The health of the backends of `pools`; `seed` fixes when they are asked.
    pub fn new(pools: &[PoolConfig], seed: u64) -> Self {
        let targets = |pool: &PoolConfig| {
            pool.backends.iter().map(|b| Target::new(pool, b.address)).collect::<Vec<_>>()
        };
        Self {
            pools: pools.iter().map(targets).collect(),
            configs: pools.iter().map(|pool| pool.health.clone()).collect(),
            due: BTreeSet::new(),
            news: VecDeque::new(),
            rng: Rng::new(seed),
            // Without checks there is nothing to start.
            started: pools.iter().all(|pool| pool.health.is_none()),
        }
    }

    /// Asks nobody any more.
    pub(crate) fn rest(&mut self) {
        self.started = true;
        self.due.clear();
        for target in self.pools.iter_mut().flatten() {
            target.turn = Turn::Off;
        }
    }

    /// How a pool is checked.
    pub fn config(&self, pool: PoolId) -> Option<&HealthConfig> {
        self.configs.get(usize::from(pool.0))?.as_ref()
    }

    /// What the two voices make together; nothing if there is no such backend.
    pub fn state(&self, pool: PoolId, backend: BackendId) -> Option<BackendState> {
        self.target(pool, backend).map(Target::state)
    }

    /// What an operator said last.
    pub fn admin(&self, pool: PoolId, backend: BackendId) -> Option<Admin> {
        self.target(pool, backend).map(|target| target.admin)
    }

    /// True if the probe is under way.
    pub fn awaits(&self, ticket: Ticket) -> bool {
        self.target(ticket.pool, ticket.backend).is_some_and(|target| {
            target.number == ticket.number && matches!(target.turn, Turn::Asking { .. })
        })
    }

    /// When [`poll`](Self::poll) is to be called next.
    pub fn next_deadline(&self) -> Option<Instant> {
        if !self.started {
            return Some(Instant::ZERO);
        }
        self.due.first().map(|&(at, ..)| at)
    }

    /// The next that is due, if anything is.
    pub fn poll(&mut self, now: Instant) -> Option<Due> {
        if !self.started {
            self.start(now);
        }
        let &(at, pool, backend) = self.due.first().filter(|&&(at, ..)| at <= now)?;
        let timeout = self.config(pool)?.timeout;
        let target = self.target_mut(pool, backend)?;
        let ticket = |number| Ticket { pool, backend, number };
        if let Turn::Asking { .. } = target.turn {
            let ticket = ticket(target.number);
            self.finish(now, ticket, &Outcome::Failed(Failure::TimedOut));
            return Some(Due::TimedOut(ticket));
        }
        target.number = target.number.wrapping_add(1);
        let until = now + timeout;
        target.turn = Turn::Asking { since: now, until };
        let order = Order { ticket: ticket(target.number), address: target.address, timeout };
        self.due.remove(&(at, pool, backend));
        self.due.insert((until, pool, backend));
        Some(Due::Ask(order))
    }

    /// Takes in what became of a probe. False if nobody waits for it any more, and it was ignored.
    pub fn finish(&mut self, now: Instant, ticket: Ticket, outcome: &Outcome) -> bool {
        if !self.end_turn(now, ticket) {
            return false;
        }
        let Some(target) = self.target_mut(ticket.pool, ticket.backend) else { return false };
        let Some(checker) = &mut target.checker else { return false };
        let Some(results) = checker.note(*outcome == Outcome::Passed) else { return true };
        let cause = match outcome {
            Outcome::Passed => Cause::Passed(results),
            Outcome::Failed(failure) => Cause::Failed(results, failure.clone()),
        };
        self.note_change(now, ticket.pool, ticket.backend, cause);
        true
    }

    /// Gives a probe up that could not be made, for no fault of the backend; the next comes in its time.
    pub fn skip(&mut self, now: Instant, ticket: Ticket) {
        self.end_turn(now, ticket);
    }

    /// Sets what an operator says. The probe that this leaves without anyone to wait for it, if any.
    pub fn set_admin(
        &mut self,
        now: Instant,
        pool: PoolId,
        backend: BackendId,
        admin: Admin,
    ) -> Option<Ticket> {
        let started = self.started;
        let target = self.target_mut(pool, backend)?;
        let before = std::mem::replace(&mut target.admin, admin);
        let (turn, number) = (target.turn, target.number);
        let mut given_up = None;
        if let Some(checker) = target.checker.as_mut().filter(|_| before != admin) {
            if admin == Admin::Maint {
                target.turn = Turn::Off;
                self.due.remove(&(turn.until(), pool, backend));
                let asking = matches!(turn, Turn::Asking { .. });
                given_up = asking.then_some(Ticket { pool, backend, number });
            } else if before == Admin::Maint {
                checker.begin_anew(target.initial);
                if started {
                    target.turn = Turn::Waiting { until: now };
                    self.due.insert((now, pool, backend));
                }
            }
        }
        self.note_change(now, pool, backend, Cause::Operator);
        given_up
    }

    /// The next backend whose state is another than was told.
    pub fn poll_change(&mut self) -> Option<Change> {
        loop {
            let (pool, backend) = self.news.pop_front()?;
            let target = self.target_mut(pool, backend)?;
            target.has_news = false;
            let to = target.state();
            let from = std::mem::replace(&mut target.told, to);
            // It may have changed back before anyone asked.
            if from != to {
                let (at, cause) = (target.changed, target.cause.clone());
                return Some(Change { at, pool, backend, from, to, cause });
            }
        }
    }

    /// Checks that every backend that is waiting or asked has its deadline, and no other has.
    ///
    /// # Panics
    /// If that is not so.
    pub fn assert_consistent(&self) {
        let mut on = 0;
        for (pool, targets) in (0..).zip(&self.pools) {
            for (backend, target) in (0..).zip(targets) {
                if matches!(target.turn, Turn::Off) {
                    continue;
                }
                on += 1;
                let entry = (target.turn.until(), PoolId(pool), BackendId(backend));
                assert!(self.due.contains(&entry), "a backend's turn without its deadline");
                assert!(target.checker.is_some() && target.admin != Admin::Maint, "asked in vain");
            }
        }
        assert_eq!(self.due.len(), on, "deadlines and backends that have a turn");
    }

    fn target(&self, pool: PoolId, backend: BackendId) -> Option<&Target> {
        self.pools.get(usize::from(pool.0))?.get(usize::from(backend.0))
    }

    fn target_mut(&mut self, pool: PoolId, backend: BackendId) -> Option<&mut Target> {
        self.pools.get_mut(usize::from(pool.0))?.get_mut(usize::from(backend.0))
    }

    /// Gives every backend its first turn.
    fn start(&mut self, now: Instant) {
        self.started = true;
        for (pool, (targets, config)) in (0..).zip(self.pools.iter_mut().zip(&self.configs)) {
            let Some(config) = config else { continue };
            // An equal part of the time for each, and a random moment of it.
            let count = u32::try_from(targets.len()).unwrap_or(u32::MAX).max(1);
            let part = config.every.min(FIRST_PROBES) / count;
            for (backend, target) in (0..).zip(targets) {
                if target.admin == Admin::Maint {
                    continue;
                }
                let late = Duration::from_micros(self.rng.below(part.as_micros() as u64));
                let until = now + part * u32::from(backend) + late;
                target.turn = Turn::Waiting { until };
                self.due.insert((until, PoolId(pool), BackendId(backend)));
            }
        }
    }

    /// Ends the turn of a probe and sets the time of the next; false if it is not under way.
    fn end_turn(&mut self, now: Instant, ticket: Ticket) -> bool {
        let Ticket { pool, backend, number } = ticket;
        let Some(target) = self.target(pool, backend) else { return false };
        let Turn::Asking { since, until } = target.turn else { return false };
        if target.number != number {
            return false;
        }
        let every = self.config(pool).map_or(Duration::ZERO, |config| config.every);
        let span = (every / 5).as_micros() as u64;
        let random = Duration::from_micros(self.rng.below(span.saturating_add(1)));
        let next = (since + every.saturating_sub(every / 10) + random).max(now);
        if let Some(target) = self.target_mut(pool, backend) {
            target.turn = Turn::Waiting { until: next };
        }
        self.due.remove(&(until, pool, backend));
        self.due.insert((next, pool, backend));
        true
    }

    fn note_change(&mut self, now: Instant, pool: PoolId, backend: BackendId, cause: Cause) {
        let Some(target) = self.target_mut(pool, backend) else { return };
        target.changed = now;
        target.cause = cause;
        if target.state() != target.told && !std::mem::replace(&mut target.has_news, true) {
            self.news.push_back((pool, backend));
        }
    }
}

impl Target {
    fn new(pool: &PoolConfig, address: SocketAddr) -> Self {
        let initial = match pool.initial {
            BackendState::Down => Condition::Down,
            BackendState::Starting => Condition::Starting,
            BackendState::Ready | BackendState::Drain | BackendState::Maint => Condition::Up,
        };
        let admin = match pool.initial {
            BackendState::Drain => Admin::Drain,
            BackendState::Maint => Admin::Maint,
            _ => Admin::Ready,
        };
        let checker = |config: &HealthConfig| Checker::new(config.fall, config.rise, initial);
        Self {
            address,
            admin,
            checker: pool.health.as_ref().map(checker),
            initial,
            turn: Turn::Off,
            number: 0,
            told: pool.initial,
            has_news: false,
            changed: Instant::ZERO,
            cause: Cause::Operator,
        }
    }

    fn state(&self) -> BackendState {
        match (self.admin, self.checker.as_ref().map_or(self.initial, Checker::condition)) {
            (Admin::Maint, _) => BackendState::Maint,
            (Admin::Drain, _) => BackendState::Drain,
            (Admin::Ready, Condition::Up) => BackendState::Ready,
            (Admin::Ready, Condition::Starting) => BackendState::Starting,
            (Admin::Ready, Condition::Down) => BackendState::Down,
        }
    }
}

impl Turn {
    const fn until(self) -> Instant {
        match self {
            Self::Off => Instant::FAR_FUTURE,
            Self::Waiting { until } | Self::Asking { until, .. } => until,
        }
    }
}

#[cfg(test)]
mod tests;
