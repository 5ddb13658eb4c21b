//! Maglev hashing (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer",
//! NSDI 2016, section 3.4).
//!
//! # Theory of operation
//!
//! A table of a prime number of places is shared out: candidates take turns, and in its turn each
//! takes the next free place of its own pseudo-random permutation. A client hashes to a place. When a
//! candidate leaves, the table is filled anew and nearly all other places come out as they were.
//!
//! Weights: in every round a candidate may take a place as often as its weight says, counted in
//! fractions so that weights 1 and 100 still interleave.
//!
//! The table is filled when it is first needed after a change. Hashes are
//! [`stable_hash`](crate::rng::stable_hash), so every machine and version fills the same table.

use super::{Candidate, Client};
use crate::rng::{mix, stable_hash};

/// Places in the table: the prime that the paper uses for its small setting.
pub const TABLE_SIZE: usize = 65_537;

const EMPTY: u16 = u16::MAX;

/// The table and whether it is still true.
#[derive(Clone, Debug, Default)]
pub struct Maglev {
    table: Vec<u16>,
}

impl Maglev {
    /// The place in the table that a client hashes to.
    pub fn place(client: Client) -> usize {
        place(client, TABLE_SIZE)
    }

    pub(super) fn invalidate(&mut self) {
        self.table.clear();
    }

    pub(super) fn choose(
        &mut self,
        candidates: &[Candidate],
        client: Client,
        skip: &dyn Fn(usize) -> bool,
    ) -> Option<usize> {
        if self.table.is_empty() {
            let shares: Vec<_> = candidates.iter().map(|c| (c.identity, c.standing())).collect();
            self.table = fill(&shares, TABLE_SIZE);
        }
        let place = place(client, self.table.len());
        // A skipped candidate's clients go where its places' neighbours are: spread, and repeatable.
        let (before, from) = self.table.split_at(place);
        from.iter()
            .chain(before)
            .map(|&i| usize::from(i))
            // Beside one that is a thousand times heavier, a backend may not have got a place.
            .chain(0..candidates.len())
            .find(|&i| candidates.get(i).is_some_and(|c| c.standing() > 0) && !skip(i))
    }
}

fn place(client: Client, size: usize) -> usize {
    let hash = mix(stable_hash(0, client.address.octets()) ^ u64::from(client.port));
    (hash % size.max(1) as u64) as usize
}

/// Fills a table of `size` places (a prime) for candidates of these identities and weights.
/// Every place is [`EMPTY`] if all weights are 0.
fn fill(shares: &[(u64, u32)], size: usize) -> Vec<u16> {
    let permutations: Vec<_> = shares
        .iter()
        .map(|&(identity, _)| {
            let offset = mix(identity ^ 0x6f66_6673_6574) % size as u64;
            let step = mix(identity ^ 0x736b_6970) % (size as u64 - 1) + 1;
            (offset as usize, step as usize)
        })
        .collect();
    let weights: Vec<_> = shares.iter().map(|&(_, weight)| weight).collect();
    fill_permutations(&permutations, &weights, size)
}

/// The population loop of the paper, over permutations given as (offset, skip).
fn fill_permutations(permutations: &[(usize, usize)], weights: &[u32], size: usize) -> Vec<u16> {
    let mut table = vec![EMPTY; size];
    let Some(&heaviest) = weights.iter().max().filter(|&&w| w > 0) else { return table };
    let mut next: Vec<_> = permutations.iter().map(|&(offset, _)| offset).collect();
    let mut credit = vec![0_u32; weights.len()];
    let mut taken = 0;
    loop {
        for (i, &weight) in weights.iter().enumerate() {
            // The heaviest takes one place each round, the others a share of one.
            credit[i] += weight;
            if weight == 0 || credit[i] < heaviest {
                continue;
            }
            credit[i] -= heaviest;
            while table[next[i]] != EMPTY {
                next[i] = (next[i] + permutations[i].1) % size;
            }
            table[next[i]] = i as u16;
            taken += 1;
            if taken == size {
                return table;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{candidates, client};
    use super::*;

    #[test]
    fn the_example_of_the_paper() {
        // Table 1 of the paper: permutations of B0 start 3, skip 4; B1 0, 2; B2 3, 1; seven places.
        let all = [(3, 4), (0, 2), (3, 1)];
        assert_eq!(fill_permutations(&all, &[1, 1, 1], 7), [1, 0, 1, 0, 2, 2, 0]);
        // And after B1 is removed.
        assert_eq!(fill_permutations(&all, &[1, 0, 1], 7), [0, 0, 0, 0, 2, 2, 2]);
    }

    /// Machines that share a load must agree, and so must the versions that they run during an upgrade:
    /// if this fails, they would not.
    #[test]
    fn the_table_is_fixed_across_versions_and_machines() {
        let candidates = candidates(&[1, 2, 3, 10, 100]);
        let shares: Vec<_> = candidates.iter().map(|c| (c.identity, c.standing())).collect();
        let table = fill(&shares, TABLE_SIZE);
        let bytes: Vec<_> = table.iter().flat_map(|i| i.to_le_bytes()).collect();
        assert_eq!(stable_hash(0, &bytes), 11_973_204_695_062_149_121);
        let places: Vec<_> = (0..4).map(|n| place(client(n), TABLE_SIZE)).collect();
        assert_eq!(places, [35_053, 20_331, 54_608, 28_237]);
    }

    #[test]
    fn a_backend_without_a_place_still_takes_over() {
        let mut candidates = candidates(&[65_535, 1]);
        let mut maglev = Maglev::default();
        for n in 0..100 {
            assert_eq!(maglev.choose(&candidates, client(n), &|i| i == 0), Some(1));
        }
        candidates[1].eligible = false;
        maglev.invalidate();
        assert_eq!(maglev.choose(&candidates, client(0), &|i| i == 0), None);
    }

    #[test]
    fn shares_are_even_to_one_place_for_equal_weights() {
        let shares: Vec<_> = (0..100).map(|i| (mix(i), 1)).collect();
        let table = fill(&shares, TABLE_SIZE);
        let mut counts = [0_u32; 100];
        for &i in &table {
            counts[usize::from(i)] += 1;
        }
        assert!(counts.iter().all(|&n| n == 655 || n == 656), "{counts:?}");
    }

    #[test]
    fn nobody_with_weight_leaves_the_table_empty() {
        assert!(fill(&[(1, 0), (2, 0)], 7).iter().all(|&i| i == EMPTY));
        assert!(fill(&[], 7).iter().all(|&i| i == EMPTY));
    }
}
