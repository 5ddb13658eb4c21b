//! Weighted least connections.

use std::cmp::Ordering;

use super::{Candidate, RoundRobin};

/// The fewest open flows by weight; those with equally few take turns by weight.
///
/// Every choice looks at all candidates twice. With many hundreds of them `p2c` chooses nearly as well
/// for a cost that does not grow.
#[derive(Clone, Debug, Default)]
pub struct LeastConnections {
    ties: RoundRobin,
}

impl LeastConnections {
    pub(super) fn choose(
        &mut self,
        candidates: &[Candidate],
        skip: &dyn Fn(usize) -> bool,
    ) -> Option<usize> {
        let least = (0..)
            .zip(candidates)
            .filter(|(i, candidate)| candidate.share() > 0 && !skip(*i))
            .min_by(|(_, a), (_, b)| by_load(a, b))
            .map(|(_, candidate)| candidate)?;
        self.ties
            .choose(candidates, &|i| skip(i) || by_load(&candidates[i], least) == Ordering::Greater)
    }
}

/// The order of two candidates by open flows for each part of their share, compared crosswise: without
/// a division there is nothing to round.
pub(super) fn by_load(a: &Candidate, b: &Candidate) -> Ordering {
    let weighed =
        |load: &Candidate, share: &Candidate| u64::from(load.active) * u64::from(share.share());
    weighed(a, b).cmp(&weighed(b, a))
}

#[cfg(test)]
mod tests {
    use super::super::testing::candidates;
    use super::*;

    #[test]
    fn the_least_loaded_by_weight_is_chosen_and_ties_take_turns() {
        let mut candidates = candidates(&[1, 3, 1]);
        let mut state = LeastConnections::default();
        let idle: Vec<_> =
            (0..10).map(|_| state.choose(&candidates, &|_| false).unwrap()).collect();
        assert_eq!(idle, [1, 0, 1, 2, 1, 1, 0, 1, 2, 1], "all idle: in turn, by weight");
        for (active, chosen) in [([1, 2, 1], 1), ([1, 4, 1], 0), ([2, 3, 1], 1), ([7, 3, 0], 2)] {
            for (candidate, active) in candidates.iter_mut().zip(active) {
                candidate.active = active;
            }
            let chosen = [chosen, if active == [1, 4, 1] { 2 } else { chosen }];
            for _ in 0..2 {
                let i = state.choose(&candidates, &|_| false).unwrap();
                let tied = active == [2, 3, 1] && i == 2;
                assert!(tied || chosen.contains(&i), "{active:?}: {i}");
            }
        }
    }

    #[test]
    fn the_largest_loads_and_weights_are_compared_exactly() {
        let mut candidates = candidates(&[65_535, 65_534]);
        candidates[0].active = u32::MAX;
        candidates[1].active = u32::MAX;
        assert_eq!(by_load(&candidates[0], &candidates[1]), Ordering::Less);
    }
}
