//! Which backend takes a new flow or request. All schedulers honour weights.

mod maglev;
mod round_robin;
mod source_hash;

pub use maglev::{Maglev, TABLE_SIZE};
pub use round_robin::RoundRobin;
pub use source_hash::SourceHash;

use netstack::wire::Address;

use crate::rng::Rng;

/// The rule by which a pool chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduler {
    /// In turn, spread evenly (smooth weighted round-robin).
    RoundRobin,
    /// At random by weight.
    Random,
    /// By a hash of the client's address: a client stays while the backend lives, and when one leaves
    /// only its own clients move (weighted rendezvous hashing).
    SourceHash,
    /// By a hash of the client's address and port in a table of 65,537 places (Maglev).
    Maglev,
}

impl Scheduler {
    /// The name that a configuration uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::Random => "random",
            Self::SourceHash => "source-hash",
            Self::Maglev => "maglev",
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client's address.
    pub address: Address,
    /// Its port, or its echo identifier.
    pub port: u16,
}

/// A backend as schedulers see it: what its hashes come from, and how much it takes.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// A hash of the backend's name, the same wherever it is computed.
    pub(crate) identity: u64,
    /// Share of the load; a backend of weight 0 gets none.
    pub(crate) weight: u32,
    /// False keeps it out.
    pub(crate) eligible: bool,
}

impl Candidate {
    fn share(&self) -> u32 {
        if self.eligible { self.weight } else { 0 }
    }
}

/// A scheduler with its state.
#[derive(Clone, Debug)]
pub(crate) enum State {
    RoundRobin(RoundRobin),
    Random,
    SourceHash,
    Maglev(Box<Maglev>),
}

impl State {
    pub(crate) fn new(scheduler: Scheduler) -> Self {
        match scheduler {
            Scheduler::RoundRobin => Self::RoundRobin(RoundRobin::default()),
            Scheduler::Random => Self::Random,
            Scheduler::SourceHash => Self::SourceHash,
            Scheduler::Maglev => Self::Maglev(Box::default()),
        }
    }

    /// Tells that eligibility or weights changed.
    pub(crate) fn invalidate(&mut self) {
        if let Self::Maglev(maglev) = self {
            maglev.invalidate();
        }
    }

    /// The index of the chosen candidate, none of those for which `skip` is true.
    pub(crate) fn choose(
        &mut self,
        candidates: &[Candidate],
        client: Client,
        rng: &mut Rng,
        skip: &dyn Fn(usize) -> bool,
    ) -> Option<usize> {
        match self {
            Self::RoundRobin(state) => state.choose(candidates, skip),
            Self::Random => random(candidates, rng, skip),
            Self::SourceHash => SourceHash::choose(candidates, client.address, skip),
            Self::Maglev(maglev) => maglev.choose(candidates, client, skip),
        }
    }
}

fn random(candidates: &[Candidate], rng: &mut Rng, skip: &dyn Fn(usize) -> bool) -> Option<usize> {
    let open = || candidates.iter().enumerate().filter(|(i, _)| !skip(*i));
    let total: u64 = open().map(|(_, c)| u64::from(c.share())).sum();
    let mut at = rng.below(total);
    open()
        .find(|(_, c)| {
            let share = u64::from(c.share());
            let found = at < share;
            at = at.wrapping_sub(share);
            found
        })
        .map(|(i, _)| i)
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::rng::stable_hash;

    pub(crate) fn candidates(weights: &[u32]) -> Vec<Candidate> {
        (0..)
            .zip(weights)
            .map(|(i, &weight)| Candidate {
                identity: stable_hash(0, format!("backend-{i}").as_bytes()),
                weight,
                eligible: true,
            })
            .collect()
    }

    pub(crate) fn client(n: u32) -> Client {
        Client { address: Address::from_v4(n.to_be_bytes()), port: (n % 50_000) as u16 }
    }

    /// How often each of them is chosen by `clients` clients.
    pub(crate) fn tally(state: &mut State, candidates: &[Candidate], clients: u32) -> Vec<u32> {
        let mut rng = Rng::new(1);
        let mut counts = vec![0; candidates.len()];
        for n in 0..clients {
            if let Some(i) = state.choose(candidates, client(n), &mut rng, &|_| false) {
                counts[i] += 1;
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::testing::*;
    use super::*;

    const ALL: [Scheduler; 4] =
        [Scheduler::RoundRobin, Scheduler::Random, Scheduler::SourceHash, Scheduler::Maglev];

    #[test]
    fn every_scheduler_honours_weights() {
        let candidates = candidates(&[1, 0, 2, 5]);
        for scheduler in ALL {
            let counts = tally(&mut State::new(scheduler), &candidates, 80_000);
            for (count, weight) in counts.iter().zip([1_u32, 0, 2, 5]) {
                let expected = 10_000 * weight;
                assert!(
                    count.abs_diff(expected) <= expected / 20,
                    "{scheduler:?}: {counts:?} against weights 1 0 2 5"
                );
            }
        }
    }

    #[test]
    fn no_scheduler_chooses_who_is_out_or_skipped() {
        let mut candidates = candidates(&[1, 1, 1]);
        candidates[0].eligible = false;
        for scheduler in ALL {
            let mut state = State::new(scheduler);
            let mut rng = Rng::new(1);
            for n in 0..1_000 {
                let chosen = state.choose(&candidates, client(n), &mut rng, &|i| i == 1);
                assert_eq!(chosen, Some(2), "{scheduler:?}");
            }
            assert_eq!(state.choose(&candidates, client(0), &mut rng, &|i| i != 0), None);
            assert_eq!(state.choose(&[], client(0), &mut rng, &|_| false), None);
        }
    }

    #[test]
    fn hashing_moves_only_the_clients_of_the_backend_that_left() {
        for scheduler in [Scheduler::SourceHash, Scheduler::Maglev] {
            let mut candidates = candidates(&[1; 10]);
            let mut state = State::new(scheduler);
            let mut rng = Rng::new(1);
            let mut choose = |state: &mut State, candidates: &[Candidate]| -> Vec<_> {
                (0..20_000)
                    .map(|n| state.choose(candidates, client(n), &mut rng, &|_| false).unwrap())
                    .collect()
            };
            let before = choose(&mut state, &candidates);
            candidates[3].eligible = false;
            state.invalidate();
            let after = choose(&mut state, &candidates);
            let moved = before.iter().zip(&after).filter(|(b, a)| b != a && **b != 3).count();
            // Rendezvous moves none; Maglev's table is refilled, and its paper reports a few percent.
            let allowed = if scheduler == Scheduler::SourceHash { 0 } else { 20_000 / 20 };
            assert!(moved <= allowed, "{scheduler:?}: {moved} moved without need");
            assert!(after.iter().all(|&i| i != 3));
        }
    }
}
