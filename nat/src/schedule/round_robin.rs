//! Smooth weighted round-robin.

use super::Candidate;

/// Each choice raises every candidate's credit by its weight, takes the richest, and charges it the
/// sum of all weights. Weights 5, 1, 1 give a a b a c a a, not five in a row.
#[derive(Clone, Debug, Default)]
pub struct RoundRobin {
    credit: Vec<i64>,
}

impl RoundRobin {
    pub(super) fn choose(
        &mut self,
        candidates: &[Candidate],
        skip: &dyn Fn(usize) -> bool,
    ) -> Option<usize> {
        self.credit.resize(candidates.len(), 0);
        let mut total = 0;
        let mut best: Option<usize> = None;
        for (i, candidate) in candidates.iter().enumerate() {
            let share = i64::from(candidate.share());
            if share == 0 || skip(i) {
                continue;
            }
            total += share;
            self.credit[i] += share;
            if best.is_none_or(|b| self.credit[i] > self.credit[b]) {
                best = Some(i);
            }
        }
        let best = best?;
        self.credit[best] -= total;
        Some(best)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::candidates;
    use super::*;

    #[test]
    fn turns_are_spread_and_not_in_bursts() {
        let candidates = candidates(&[5, 1, 1]);
        let mut state = RoundRobin::default();
        let turns: Vec<_> =
            (0..14).map(|_| state.choose(&candidates, &|_| false).unwrap()).collect();
        assert_eq!(turns, [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0]);
    }
}
