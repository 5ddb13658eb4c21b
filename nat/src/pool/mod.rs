//! Pools of backends: their state, and which one is next.
//!
//! # Theory of operation
//!
//! A backend's *state* is set from outside: ready, drain, maint, down, or starting while nobody has
//! looked. Beside it stands what was learnt from its own traffic, for which it may be *ejected*: after
//! [`FAILURES_TO_EJECT`](crate::limits::FAILURES_TO_EJECT) connects in a row that it refused or did not
//! answer, for [`EJECTION`], then it is offered new flows again; one more failure ejects it at once and
//! twice as long, up to [`EJECTION_MAX`], and one success clears it. All this can be
//! [configured](EjectionConfig), and so can answers count. Ejection is advice: if every ready backend is
//! ejected, all are chosen from, since a wrong guess must not take a service down. If less than the
//! *panic threshold* of the pool's weight is healthy, checks are advice too, and all are chosen from but
//! those in maint, drain and starting: many failures at once say more of the checker's network than of
//! the backends.
//!
//! Who may take flows is *eligible*. That changes only when a state is set, a failure or success is
//! noted, or a time that is known beforehand has come; then everything is worked out anew, and between
//! these moments a choice looks at nothing but the result:
//!
//! ```text
//!  affinity knows the client's backend ─yes─► it takes it (drain does too) ────► that one
//!                │ no, or it cannot
//!                ▼
//!  tier of the lowest priority ─► scheduler, none that is full ─────► chosen
//!                │ nobody there                                          │
//!                ▼                                                       ▼
//!  the next tier …, backups last ─► none: full, or no backend     affinity remembers
//! ```
//!
//! **Slow start.** A backend that was down, in maint or ejected and is ready again has a tenth of its
//! weight at first and all of it after the time configured, in a straight line. Not one that starts,
//! with all the others, when the process does. Under the hash schedulers a changed weight would move
//! clients that it does not concern; there, a growing part of its own clients is let through to it, and
//! the others go where the hash sends them next.
//!
//! **Limits.** A backend with its `max_connections` is passed over, and not forgotten by a hash: it
//! keeps its places. Whoever is counted has an open flow: a TCP flow that both sides have closed or one
//! has reset is tracked for a while yet, and not counted.

mod affinity;
mod backend;
mod config;
mod ejection;
mod tier;

use std::time::Duration;

use netstack::Instant;

use crate::DropReason;
use crate::account::Choice;
use crate::rng::{Rng, derive};
use crate::schedule::{Client, Maglev, Scheduler, TABLE_SIZE};
use affinity::Affinity;
use ejection::Tally;
use tier::Tier;

pub use backend::Backend;
pub use config::{AffinityConfig, BackendConfig, BackendId, BackendState, PoolConfig, PoolId};
pub use ejection::{EJECTION, EJECTION_MAX, EjectionConfig, INTERVAL};

/// A pool with its state.
#[derive(Clone, Debug)]
pub struct Pool {
    name: String,
    scheduler: Scheduler,
    backends: Vec<Backend>,
    /// Each backend's tier and its place there.
    places: Vec<(usize, usize)>,
    /// By priority, the first choice first.
    tiers: Vec<Tier>,
    affinity: Option<Affinity>,
    slow_start: Duration,
    ejection: EjectionConfig,
    /// When the answers of this interval began to be counted.
    interval: Instant,
    panic_threshold: u8,
    /// Whether health is believed no more, since when, and whether that was told.
    panic: PanicChange,
    told_panic: bool,
    rng: Rng,
    /// True if affinity made the last choice.
    kept: bool,
    /// Until then eligibility and slow starts do not change by themselves.
    next_change: Instant,
}

impl Pool {
    /// A pool whose backends are in their initial state; `seed` fixes its random choices.
    pub fn new(config: PoolConfig, seed: u64) -> Self {
        let backends: Vec<_> =
            config.backends.into_iter().map(|b| Backend::new(b, config.initial)).collect();
        let key = |backend: &Backend| (backend.config.backup, backend.config.priority);
        let mut keys: Vec<_> = backends.iter().map(key).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut tiers = vec![Tier::new(config.scheduler); keys.len()];
        let places = (0..)
            .zip(&backends)
            .map(|(id, backend)| {
                let tier = keys.partition_point(|&other| other < key(backend));
                (tier, tiers[tier].join(BackendId(id), backend))
            })
            .collect();
        let mut pool = Self {
            name: config.name,
            scheduler: config.scheduler,
            backends,
            places,
            tiers,
            affinity: config.affinity.map(|config| Affinity::new(config, derive(seed, 1))),
            slow_start: config.slow_start,
            ejection: config.ejection,
            interval: Instant::ZERO,
            panic_threshold: config.panic_threshold,
            panic: PanicChange { at: Instant::ZERO, panics: false, healthy: 100 },
            told_panic: false,
            rng: Rng::new(seed),
            kept: false,
            next_change: Instant::FAR_FUTURE,
        };
        pool.refresh(Instant::ZERO);
        pool
    }

    /// The pool's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it chooses.
    pub const fn scheduler(&self) -> Scheduler {
        self.scheduler
    }

    /// Its backends, in the order of their [`BackendId`]s.
    pub fn backends(&self) -> &[Backend] {
        &self.backends
    }

    /// One of them.
    pub fn backend(&self, id: BackendId) -> Option<&Backend> {
        self.backends.get(usize::from(id.0))
    }

    /// Chooses a backend for a new flow of `client`, none of `skip`. Whoever makes the flow calls
    /// [`flow_opened`](Self::flow_opened).
    ///
    /// # Errors
    /// [`DropReason::BackendsFull`] if only limits stand in the way, [`DropReason::NoBackend`] if there
    /// is none.
    pub fn choose(
        &mut self,
        now: Instant,
        client: Client,
        skip: &[BackendId],
    ) -> Result<BackendId, DropReason> {
        if now >= self.next_change {
            self.refresh(now);
        }
        let kept = self.affinity.as_mut().and_then(|table| table.get(now, client.address));
        let kept = kept.filter(|&id| !skip.contains(&id) && self.keeps_clients(now, id));
        self.kept = kept.is_some();
        let scheduled = || {
            let Self { tiers, rng, .. } = &mut *self;
            tiers.iter_mut().find_map(|tier| tier.choose(now, client, rng, skip))
        };
        let Some(chosen) = kept.or_else(scheduled) else {
            let full = self.tiers.iter().any(Tier::has_full);
            return Err(if full { DropReason::BackendsFull } else { DropReason::NoBackend });
        };
        if let Some(table) = &mut self.affinity {
            table.set(now, client.address, chosen);
        }
        Ok(chosen)
    }

    /// Whether a client that belongs to a backend, by whatever its application says, may have a flow there.
    pub fn prefer(&mut self, now: Instant, id: BackendId) -> bool {
        if now >= self.next_change {
            self.refresh(now);
        }
        self.keeps_clients(now, id)
    }

    /// Why the last [`choose`](Self::choose) gave this client this backend.
    pub fn last_choice(&self, now: Instant, client: Client, id: BackendId) -> Choice {
        let active = self.backend(id).map_or(0, |backend| backend.active);
        match self.scheduler {
            _ if self.kept => Choice::Affinity,
            Scheduler::RoundRobin => Choice::RoundRobin,
            Scheduler::Random => Choice::Random,
            Scheduler::LeastConnections => Choice::LeastConnections { active },
            Scheduler::P2c => Choice::P2c { active },
            Scheduler::Ewma => {
                let place = self.places.get(usize::from(id.0));
                let latency = place.and_then(|&(tier, i)| self.tiers[tier].latency_at(i, now));
                Choice::Ewma { active, latency }
            }
            Scheduler::SourceHash => Choice::SourceHash,
            Scheduler::Maglev => {
                Choice::Maglev { place: Maglev::place(client) as u32, of: TABLE_SIZE as u32 }
            }
        }
    }

    /// The share of its weight that must be healthy, in percent, for health to be believed.
    pub const fn panic_threshold(&self) -> u8 {
        self.panic_threshold
    }

    /// That it begins or ceases to believe in the health of its backends, if that was not told yet.
    pub fn poll_panic(&mut self) -> Option<PanicChange> {
        let told = std::mem::replace(&mut self.told_panic, self.panic.panics);
        // It may have changed back before anyone asked.
        (told != self.panic.panics).then_some(self.panic)
    }

    /// True if flows may be made to this backend: it is ready, or nobody better is.
    pub fn is_eligible(&self, id: BackendId) -> bool {
        let place = self.places.get(usize::from(id.0));
        place.is_some_and(|&(tier, index)| self.tiers[tier].is_eligible(index))
    }

    /// True if datagrams of the flows that it has are wasted on it: it is down or in maint, and this is
    /// believed.
    pub fn lost_its_flows(&self, id: BackendId) -> bool {
        let is_out = |b: &Backend| matches!(b.state, BackendState::Down | BackendState::Maint);
        self.backend(id).is_some_and(is_out) && !self.is_eligible(id)
    }

    /// True if a backend, none of `skip`, could take a flow but for its limit.
    pub fn has_full(&self, skip: &[BackendId]) -> bool {
        let mut full = (0..).map(BackendId).zip(&self.backends).filter(|(_, b)| b.is_full());
        full.any(|(id, _)| !skip.contains(&id) && self.is_eligible(id))
    }

    /// Sets what an operator or a health check says.
    pub fn set_state(&mut self, now: Instant, id: BackendId, state: BackendState) {
        let Some(backend) = self.backends.get_mut(usize::from(id.0)) else { return };
        if std::mem::replace(&mut backend.state, state) != state {
            self.refresh(now);
        }
    }

    /// Takes note that the backend accepted a connection.
    pub fn connect_succeeded(&mut self, now: Instant, id: BackendId) {
        let Some(backend) = self.backends.get_mut(usize::from(id.0)) else { return };
        if backend.succeeded() {
            self.refresh(now);
        }
    }

    /// Takes note that the backend refused a connection, or is unreachable.
    pub fn connect_failed(&mut self, now: Instant, id: BackendId) {
        let Some(backend) = self.backends.get_mut(usize::from(id.0)) else { return };
        backend.refused += 1;
        self.note_failure(now, id);
    }

    /// Takes note that the backend did not answer a connection.
    pub fn connect_timed_out(&mut self, now: Instant, id: BackendId) {
        let Some(backend) = self.backends.get_mut(usize::from(id.0)) else { return };
        backend.unanswered += 1;
        self.note_failure(now, id);
    }

    fn note_failure(&mut self, now: Instant, id: BackendId) {
        let may = self.may_eject(now);
        let Some(backend) = self.backends.get_mut(usize::from(id.0)) else { return };
        if backend.failed(now, &self.ejection, may) {
            self.refresh(now);
        }
    }

    /// True if the share of backends that may be ejected allows one more.
    fn may_eject(&self, now: Instant) -> bool {
        let ejected = self.backends.iter().filter(|backend| backend.is_ejected(now)).count();
        self.ejection.allows(ejected, self.backends.len())
    }

    /// Takes note of an answer of the backend: true is one that tells of no error. Of use if
    /// [`EjectionConfig::judges_answers`].
    pub fn answered(&mut self, now: Instant, id: BackendId, good: bool) {
        if !self.ejection.judges_answers() {
            return;
        }
        if now - self.interval >= INTERVAL {
            self.compare_answers(now);
        }
        let may = self.may_eject(now);
        let Some(backend) = self.backends.get_mut(usize::from(id.0)) else { return };
        let answers = &mut backend.answers;
        if good {
            answers.tally.good += 1;
            answers.errors = 0;
            return;
        }
        answers.tally.bad += 1;
        answers.errors = answers.errors.saturating_add(1);
        let many = self.ejection.errors.is_some_and(|most| answers.errors >= most);
        if many && may && !backend.is_ejected(now) {
            backend.ban(now, &self.ejection);
            self.refresh(now);
        }
    }

    /// Ends an interval: ejects whose answers were worse than those of the others.
    fn compare_answers(&mut self, now: Instant) {
        self.interval = now;
        let tallies: Vec<_> =
            self.backends.iter_mut().map(|b| std::mem::take(&mut b.answers.tally)).collect();
        let Some(points) = self.ejection.worse_by else { return };
        let (good, bad) = tallies.iter().fold((0, 0), |(g, b), t| (g + t.good, b + t.bad));
        let least = u64::from(self.ejection.answers.max(1));
        for (index, tally) in tallies.into_iter().enumerate() {
            let others = Tally { good: good - tally.good, bad: bad - tally.bad };
            let compares = tally.total() >= least && others.total() >= least;
            if !compares || !tally.is_worse(others, points) || !self.may_eject(now) {
                continue;
            }
            if let Some(backend) = self.backends.get_mut(index).filter(|b| !b.is_ejected(now)) {
                backend.ban(now, &self.ejection);
            }
        }
        self.refresh(now);
    }

    /// Takes note of the time that the backend took to answer a flow or request.
    pub fn observe(&mut self, now: Instant, id: BackendId, latency: Duration) {
        let place = self.places.get(usize::from(id.0));
        if let Some(average) = place.and_then(|&(tier, i)| self.tiers[tier].latency(i)) {
            average.observe(now, latency);
        }
    }

    /// Counts a flow that was made to the backend.
    pub fn flow_opened(&mut self, id: BackendId) {
        if let Some(backend) = self.backends.get_mut(usize::from(id.0)) {
            backend.flows += 1;
        }
        self.change_active(id, 1);
    }

    /// Counts a flow to the backend that has ended: once for each that was opened.
    pub fn flow_closed(&mut self, id: BackendId) {
        self.change_active(id, -1);
    }

    /// Counts a flow that had ended and goes on.
    pub(crate) fn flow_revived(&mut self, id: BackendId) {
        self.change_active(id, 1);
    }

    fn change_active(&mut self, id: BackendId, by: i32) {
        let i = usize::from(id.0);
        let (Some(backend), Some(&(tier, index))) = (self.backends.get_mut(i), self.places.get(i))
        else {
            return;
        };
        debug_assert!(by > 0 || backend.active > 0, "more flows closed than opened");
        backend.active = backend.active.saturating_add_signed(by);
        self.tiers[tier].set_active(index, backend);
    }

    /// True if a client whose backend this is stays with it.
    fn keeps_clients(&self, now: Instant, id: BackendId) -> bool {
        let drains = |b: &Backend| b.state == BackendState::Drain && !b.is_ejected(now);
        self.backend(id).is_some_and(|b| !b.is_full() && (self.is_eligible(id) || drains(b)))
    }

    /// Works out anew who is eligible, and how far slow starts are.
    fn refresh(&mut self, now: Instant) {
        let ready = |b: &Backend| b.state == BackendState::Ready && b.config.weight > 0;
        let some_left = self.backends.iter().any(|b| ready(b) && !b.is_ejected(now));
        self.note_panic(now);
        let panic = self.panic.panics;
        self.next_change = Instant::FAR_FUTURE;
        for (backend, &(tier, index)) in self.backends.iter_mut().zip(&self.places) {
            backend.note_service(now);
            let (ramp, next_step) = backend.ramp(now, self.slow_start);
            let eligible = if panic {
                counts_in_panic(backend)
            } else {
                ready(backend) && !(some_left && backend.is_ejected(now))
            };
            self.tiers[tier].set(index, eligible, ramp);
            self.next_change = self.next_change.min(backend.ejection_ends(now)).min(next_step);
        }
        self.tiers.iter_mut().for_each(Tier::settle);
    }

    /// Notes whether too little of the weight is healthy for health to be believed.
    fn note_panic(&mut self, now: Instant) {
        let weigh = |counts: &dyn Fn(&Backend) -> bool| -> u64 {
            let counted = self.backends.iter().filter(|b| counts_in_panic(b) && counts(b));
            counted.map(|b| u64::from(b.config.weight)).sum()
        };
        let healthy = weigh(&|b| b.state == BackendState::Ready && !b.is_ejected(now)) * 100;
        let whole = weigh(&|_| true);
        let panics = healthy < whole * u64::from(self.panic_threshold);
        if panics != self.panic.panics {
            let healthy = healthy.checked_div(whole).map_or(100, |percent| percent as u8);
            self.panic = PanicChange { at: now, panics, healthy };
        }
    }
}

/// A pool begins, or ceases, to [panic](PoolConfig::panic_threshold).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PanicChange {
    /// When.
    pub at: Instant,
    /// True if health is believed no more.
    pub panics: bool,
    /// Percent of the weight that was healthy then, rounded down.
    pub healthy: u8,
}

/// True for backends that are chosen from if health is not believed.
fn counts_in_panic(backend: &Backend) -> bool {
    matches!(backend.state, BackendState::Ready | BackendState::Down) && backend.config.weight > 0
}

#[cfg(test)]
mod tests;
