//! Weighted rendezvous hashing on the client's address.

use netstack::wire::Address;

use super::Candidate;
use crate::rng::{mix, stable_hash};

/// For each client every candidate draws a number, the highest wins; a candidate that leaves gives
/// away only what it had won. With `u` uniform in (0, 1), the draw `ln(u) / weight` is highest with
/// probability `weight / sum of weights` (Schindelhauer and Schomaker, 2005).
#[derive(Clone, Copy, Debug)]
pub struct SourceHash;

impl SourceHash {
    pub(super) fn choose(
        candidates: &[Candidate],
        client: Address,
        skip: &dyn Fn(usize) -> bool,
    ) -> Option<usize> {
        let key = stable_hash(0, client.octets());
        let mut best: Option<(f64, usize)> = None;
        for (i, candidate) in candidates.iter().enumerate() {
            let share = candidate.standing();
            if share == 0 || skip(i) {
                continue;
            }
            let draw = log2_uniform(mix(key ^ candidate.identity)) / f64::from(share);
            if best.is_none_or(|(high, _)| draw > high) {
                best = Some((draw, i));
            }
        }
        best.map(|(_, i)| i)
    }
}

/// A base-2 logarithm of `bits` taken as a number in (0, 1), from integer steps alone: a library's
/// `ln` may differ in its last bit between machines, and with it a client's backend.
fn log2_uniform(bits: u64) -> f64 {
    let bits = bits | 1;
    let exponent = -f64::from(bits.leading_zeros() + 1);
    // The mantissa in [1, 2), squared once per digit.
    let mut mantissa = bits << bits.leading_zeros();
    let mut fraction: u32 = 0;
    for _ in 0..32 {
        let square = u128::from(mantissa) * u128::from(mantissa);
        let carry = (square >> 127) as u32;
        fraction = fraction << 1 | carry;
        mantissa = (square >> (63 + carry)) as u64;
    }
    exponent + f64::from(fraction) / 4_294_967_296.0
}

#[cfg(test)]
mod tests {
    use super::super::testing::{candidates, client};
    use super::*;

    #[test]
    fn the_logarithm_is_one() {
        for bits in [1, 3, 1 << 32, u64::MAX / 3, u64::MAX] {
            let exact = ((bits | 1) as f64).log2() - 64.0;
            assert!((log2_uniform(bits) - exact).abs() < 1e-8, "{bits}");
        }
    }

    #[test]
    fn the_choice_is_fixed_across_versions() {
        let candidates = candidates(&[1, 2, 3]);
        let chosen: Vec<_> = (0..8)
            .map(|n| SourceHash::choose(&candidates, client(n).address, &|_| false).unwrap())
            .collect();
        assert_eq!(chosen, [1, 1, 1, 2, 2, 0, 0, 2]);
    }
}
