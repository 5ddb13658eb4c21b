//! The backends of one priority, and the scheduler that chooses among them.

use std::time::Duration;

use netstack::Instant;

use super::backend::Backend;
use super::config::BackendId;
use crate::rng::{Rng, stable_hash};
use crate::schedule::{Candidate, Client, FULL, Latency, Scheduler, State};

/// A group of backends (see the pool's theory of operation).
#[derive(Clone, Debug)]
pub(super) struct Tier {
    members: Vec<BackendId>,
    candidates: Vec<Candidate>,
    full: Vec<bool>,
    state: State,
    by_hash: bool,
    /// True while the slow start of a member changes what a hash says.
    starting: bool,
    /// Members that are eligible, and of these the ones that are not full.
    eligible: usize,
    open: usize,
}

impl Tier {
    pub(super) fn new(scheduler: Scheduler) -> Self {
        Self {
            members: Vec::new(),
            candidates: Vec::new(),
            full: Vec::new(),
            state: State::new(scheduler),
            by_hash: scheduler.is_hash(),
            starting: false,
            eligible: 0,
            open: 0,
        }
    }

    /// Takes in a member that is not eligible yet; its place.
    pub(super) fn join(&mut self, id: BackendId, backend: &Backend) -> usize {
        self.members.push(id);
        self.full.push(backend.is_full());
        self.candidates.push(Candidate {
            identity: stable_hash(0, backend.config.name.as_bytes()),
            weight: backend.config.weight.into(),
            eligible: false,
            ramp: FULL,
            active: 0,
            latency: Latency::default(),
        });
        self.members.len() - 1
    }

    /// One of the members that are open, none of `skip`.
    pub(super) fn choose(
        &mut self,
        now: Instant,
        client: Client,
        rng: &mut Rng,
        skip: &[BackendId],
    ) -> Option<BackendId> {
        // Without this a hash would search its whole table in vain, for every packet that is refused.
        if self.open == 0 {
            return None;
        }
        let Self { members, candidates, full, state, .. } = self;
        let closed = |i: usize| full[i] || skip.contains(&members[i]);
        let mut chosen = None;
        if self.starting {
            let closed = |i: usize| closed(i) || !candidates[i].admits(client.address);
            chosen = state.choose(now, candidates, client, rng, &closed);
        }
        chosen.or_else(|| state.choose(now, candidates, client, rng, &closed)).map(|i| members[i])
    }

    /// True if somebody could take a flow but for its limit.
    pub(super) fn has_full(&self) -> bool {
        self.open < self.eligible
    }

    pub(super) fn is_eligible(&self, index: usize) -> bool {
        self.candidates.get(index).is_some_and(|candidate| candidate.eligible)
    }

    /// Sets who is eligible, and with how much of its weight. [`settle`](Self::settle) must follow.
    pub(super) fn set(&mut self, index: usize, eligible: bool, ramp: u32) {
        let Some(candidate) = self.candidates.get_mut(index) else { return };
        if candidate.eligible != eligible {
            candidate.eligible = eligible;
            self.state.members_changed();
        }
        if candidate.ramp != ramp {
            candidate.ramp = ramp;
            self.state.shares_changed();
        }
    }

    /// Counts anew who is open.
    pub(super) fn settle(&mut self) {
        self.starting = self.by_hash && self.candidates.iter().any(|c| c.ramp < FULL);
        let flags = || self.candidates.iter().zip(&self.full);
        self.eligible = flags().filter(|(candidate, _)| candidate.eligible).count();
        self.open = flags().filter(|(candidate, full)| candidate.eligible && !**full).count();
    }

    /// Takes over how many flows a member has.
    pub(super) fn set_active(&mut self, index: usize, backend: &Backend) {
        let (Some(candidate), Some(full)) =
            (self.candidates.get_mut(index), self.full.get_mut(index))
        else {
            return;
        };
        candidate.active = backend.active;
        let is_full = backend.is_full();
        if std::mem::replace(full, is_full) != is_full && candidate.eligible {
            if is_full {
                self.open -= 1;
            } else {
                self.open += 1;
            }
        }
    }

    /// What a member's flows have waited lately.
    pub(super) fn latency_at(&self, index: usize, now: Instant) -> Option<Duration> {
        let micros = self.candidates.get(index)?.latency.at(now)?;
        Duration::try_from_secs_f64(micros / 1e6).ok()
    }

    pub(super) fn latency(&mut self, index: usize) -> Option<&mut Latency> {
        self.candidates.get_mut(index).map(|candidate| &mut candidate.latency)
    }
}
