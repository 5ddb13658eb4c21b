//! Which backend takes a new flow or request. All schedulers honour weights.

mod latency;
mod least_connections;
mod maglev;
mod round_robin;
mod source_hash;
mod weighted;

pub use latency::HALF_LIFE;
pub use least_connections::LeastConnections;
pub use maglev::{Maglev, TABLE_SIZE};
pub use round_robin::RoundRobin;
pub use source_hash::SourceHash;
pub use weighted::Weighted;

pub(crate) use latency::Latency;

use netstack::Instant;
use netstack::wire::Address;

use crate::rng::{Rng, mix, stable_hash};

/// The ramp of a backend whose weight counts in full.
pub(crate) const FULL: u32 = 256;

/// The rule by which a pool chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduler {
    /// In turn, spread evenly (smooth weighted round-robin).
    RoundRobin,
    /// At random by weight.
    Random,
    /// The one with the fewest open flows by weight; in turn among equals.
    LeastConnections,
    /// Two at random by weight, and of them the one with fewer open flows by weight.
    P2c,
    /// Two at random by weight, and of them the one with the lower cost: its recent latency, times its
    /// open flows and one, by weight. Latency is measured on the flows themselves: the handshake of
    /// TCP, the first answer of UDP and ICMP.
    Ewma,
    /// By a hash of the client's address: a client stays while the backend lives, and when one leaves
    /// only its own clients move (weighted rendezvous hashing).
    SourceHash,
    /// By a hash of the client's address and port in a table of 65,537 places (Maglev).
    Maglev,
}

impl Scheduler {
    /// Every scheduler.
    pub const ALL: [Self; 7] = [
        Self::RoundRobin,
        Self::Random,
        Self::LeastConnections,
        Self::P2c,
        Self::Ewma,
        Self::SourceHash,
        Self::Maglev,
    ];

    /// The name that a configuration uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::Random => "random",
            Self::LeastConnections => "least-connections",
            Self::P2c => "p2c",
            Self::Ewma => "ewma",
            Self::SourceHash => "source-hash",
            Self::Maglev => "maglev",
        }
    }

    /// True if a client's backend follows from its address. A changed weight would move clients, so
    /// a slow start does not change it: see [`Candidate::admits`].
    pub(crate) const fn is_hash(self) -> bool {
        matches!(self, Self::SourceHash | Self::Maglev)
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

/// A backend as schedulers see it.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// A hash of the backend's name, the same wherever it is computed.
    pub(crate) identity: u64,
    /// Share of the load; a backend of weight 0 gets none.
    pub(crate) weight: u32,
    /// False keeps it out.
    pub(crate) eligible: bool,
    /// What part of its weight counts during a slow start, up to [`FULL`].
    pub(crate) ramp: u32,
    /// Flows that it has.
    pub(crate) active: u32,
    /// What its flows were seen to wait.
    pub(crate) latency: Latency,
}

impl Candidate {
    /// Its weight if it may be chosen: what hashes go by, whether it starts slowly or not.
    fn standing(&self) -> u32 {
        if self.eligible { self.weight } else { 0 }
    }

    /// Its part of the load now.
    fn share(&self) -> u32 {
        self.standing() * self.ramp
    }

    /// True if it takes this client of a hash in its slow start: as large a part of its own clients as
    /// its ramp says, and who was taken once is taken from then on. The others go to their next choice,
    /// which is who had them while it was away. So each of its clients moves once, not all at a time.
    pub(crate) fn admits(&self, client: Address) -> bool {
        let draw = mix(stable_hash(0x736c_6f77, client.octets()) ^ self.identity);
        self.ramp >= FULL || (draw % u64::from(FULL)) < u64::from(self.ramp)
    }
}

/// A scheduler with its state.
#[derive(Clone, Debug)]
pub(crate) enum State {
    RoundRobin(RoundRobin),
    Random(Weighted),
    LeastConnections(LeastConnections),
    P2c(Weighted),
    Ewma(Weighted),
    SourceHash,
    Maglev(Box<Maglev>),
}

impl State {
    pub(crate) fn new(scheduler: Scheduler) -> Self {
        match scheduler {
            Scheduler::RoundRobin => Self::RoundRobin(RoundRobin::default()),
            Scheduler::Random => Self::Random(Weighted::default()),
            Scheduler::LeastConnections => Self::LeastConnections(LeastConnections::default()),
            Scheduler::P2c => Self::P2c(Weighted::default()),
            Scheduler::Ewma => Self::Ewma(Weighted::default()),
            Scheduler::SourceHash => Self::SourceHash,
            Scheduler::Maglev => Self::Maglev(Box::default()),
        }
    }

    /// Tells that others are eligible than before.
    pub(crate) fn members_changed(&mut self) {
        if let Self::Maglev(maglev) = self {
            maglev.invalidate();
        }
        self.shares_changed();
    }

    /// Tells that a slow start went on.
    pub(crate) fn shares_changed(&mut self) {
        if let Self::Random(weighted) | Self::P2c(weighted) | Self::Ewma(weighted) = self {
            weighted.invalidate();
        }
    }

    /// The index of the chosen candidate, none of those for which `skip` is true.
    pub(crate) fn choose(
        &mut self,
        now: Instant,
        candidates: &[Candidate],
        client: Client,
        rng: &mut Rng,
        skip: &dyn Fn(usize) -> bool,
    ) -> Option<usize> {
        match self {
            Self::RoundRobin(state) => state.choose(candidates, skip),
            Self::Random(weighted) => weighted.draw(candidates, rng, skip),
            Self::LeastConnections(state) => state.choose(candidates, skip),
            Self::P2c(weighted) => {
                weighted.better_of_two(candidates, rng, skip, least_connections::by_load)
            }
            Self::Ewma(weighted) => {
                weighted.better_of_two(candidates, rng, skip, weighted::by_latency(now))
            }
            Self::SourceHash => SourceHash::choose(candidates, client.address, skip),
            Self::Maglev(maglev) => maglev.choose(candidates, client, skip),
        }
    }
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
                ramp: FULL,
                active: 0,
                latency: Latency::default(),
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
            if let Some(i) =
                state.choose(Instant::ZERO, candidates, client(n), &mut rng, &|_| false)
            {
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

    #[test]
    fn every_scheduler_honours_weights() {
        let candidates = candidates(&[1, 0, 2, 5]);
        for scheduler in Scheduler::ALL {
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
        for scheduler in Scheduler::ALL {
            let mut state = State::new(scheduler);
            let mut rng = Rng::new(1);
            for n in 0..1_000 {
                let chosen =
                    state.choose(Instant::ZERO, &candidates, client(n), &mut rng, &|i| i == 1);
                assert_eq!(chosen, Some(2), "{scheduler:?}");
            }
            assert_eq!(
                state.choose(Instant::ZERO, &candidates, client(0), &mut rng, &|i| i != 0),
                None
            );
            assert_eq!(state.choose(Instant::ZERO, &[], client(0), &mut rng, &|_| false), None);
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
                    .map(|n| {
                        state
                            .choose(Instant::ZERO, candidates, client(n), &mut rng, &|_| false)
                            .unwrap()
                    })
                    .collect()
            };
            let before = choose(&mut state, &candidates);
            candidates[3].eligible = false;
            state.members_changed();
            let after = choose(&mut state, &candidates);
            let moved = before.iter().zip(&after).filter(|(b, a)| b != a && **b != 3).count();
            // Rendezvous moves none; Maglev's table is refilled, and its paper reports a few percent.
            let allowed = if scheduler == Scheduler::SourceHash { 0 } else { 20_000 / 20 };
            assert!(moved <= allowed, "{scheduler:?}: {moved} moved without need");
            assert!(after.iter().all(|&i| i != 3));
        }
    }
}
