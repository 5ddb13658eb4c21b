//! Random draws by weight: `random`, and the two that `p2c` and `ewma` compare.

use std::cmp::Ordering;

use netstack::Instant;

use super::Candidate;
use crate::rng::Rng;

/// Draws by search in the running sums before those that may not be drawn are left out by a scan.
const QUICK_DRAWS: u32 = 4;

/// Running sums of the shares, made when they are first needed after a change: a draw is a binary
/// search, whatever the number of backends.
#[derive(Clone, Debug, Default)]
pub struct Weighted {
    sums: Vec<u64>,
}

impl Weighted {
    pub(super) fn invalidate(&mut self) {
        self.sums.clear();
    }

    /// One at random by share.
    pub(super) fn draw(
        &mut self,
        candidates: &[Candidate],
        rng: &mut Rng,
        skip: &dyn Fn(usize) -> bool,
    ) -> Option<usize> {
        if self.sums.len() != candidates.len() {
            self.sums.clear();
            self.sums.extend(candidates.iter().scan(0, |sum, candidate| {
                *sum += u64::from(candidate.share());
                Some(*sum)
            }));
        }
        let total = self.sums.last().copied().filter(|&total| total > 0)?;
        for _ in 0..QUICK_DRAWS {
            let at = rng.below(total);
            let drawn = self.sums.partition_point(|&sum| sum <= at);
            if !skip(drawn) {
                return Some(drawn);
            }
        }
        scan(candidates, rng, skip)
    }

    /// Two at random by share, and of them the one that `costs` less; the first if they cost the same.
    ///
    /// Mitzenmacher, "The power of two choices in randomized load balancing" (2001).
    pub(super) fn better_of_two(
        &mut self,
        candidates: &[Candidate],
        rng: &mut Rng,
        skip: &dyn Fn(usize) -> bool,
        costs: impl Fn(&Candidate, &Candidate) -> Ordering,
    ) -> Option<usize> {
        let first = self.draw(candidates, rng, skip)?;
        let Some(second) = self.draw(candidates, rng, &|i| i == first || skip(i)) else {
            return Some(first);
        };
        let better = costs(&candidates[second], &candidates[first]) == Ordering::Less;
        Some(if better { second } else { first })
    }
}

/// The order of two candidates by what `ewma` expects of them: recent latency, times the flows that
/// would share it, by weight. One that was never measured is free while it has no flow, and dear while
/// its first flows have not answered.
pub(super) fn by_latency(now: Instant) -> impl Fn(&Candidate, &Candidate) -> Ordering {
    const UNKNOWN: f64 = 1e12;
    let cost = move |candidate: &Candidate| {
        let latency = match (candidate.latency.at(now), candidate.active) {
            (Some(latency), _) => latency,
            (None, 0) => 0.0,
            (None, _) => UNKNOWN,
        };
        latency * f64::from(candidate.active.saturating_add(1)) / f64::from(candidate.share())
    };
    move |a, b| cost(a).total_cmp(&cost(b))
}

fn scan(candidates: &[Candidate], rng: &mut Rng, skip: &dyn Fn(usize) -> bool) -> Option<usize> {
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
