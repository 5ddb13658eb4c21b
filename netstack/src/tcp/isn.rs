//! Initial sequence numbers that cannot be guessed and do not repeat (RFC 6528).

use std::hash::Hasher;

use crate::time::Instant;
use crate::wire::Tuple;

/// Hashes tuples with a secret key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Secret([u64; 2]);

impl Secret {
    pub(super) const fn new(seed: [u64; 2]) -> Self {
        Self(seed)
    }

    /// RFC 6528 section 3: `ISN = M + F(localip, localport, remoteip, remoteport, secretkey)`, with M
    /// a timer of 4 µs.
    pub(super) fn isn(self, now: Instant, tuple: &Tuple) -> u32 {
        let timer = (now.as_micros() / 4) as u32;
        let hash = self.hash(Purpose::Isn, tuple, tuple.src_port, tuple.dst_port);
        timer.wrapping_add(hash as u32)
    }

    /// RFC 6056 section 3.3.3: where the search for a port towards this destination begins.
    pub(super) fn port_offset(self, tuple: &Tuple) -> u32 {
        self.hash(Purpose::Port, tuple, tuple.src_port, 0) as u32
    }

    /// Where the clock of this tuple's timestamps starts (RFC 7323 section 5.4): the same for each
    /// incarnation, so that the peer's TIME-WAIT sees time go on.
    pub(super) fn clock_offset(self, tuple: &Tuple) -> u32 {
        self.hash(Purpose::Clock, tuple, tuple.src_port, tuple.dst_port) as u32
    }

    /// What proves a SYN cookie: nobody else can make it for this tuple, this initial sequence number
    /// of the peer, this period of time and these contents.
    pub(super) fn cookie(self, tuple: &Tuple, irs: u32, period: u64, contents: u8) -> u64 {
        let mut hasher = self.hasher(Purpose::Cookie);
        write_tuple(&mut hasher, tuple, tuple.src_port, tuple.dst_port);
        hasher.write_u32(irs);
        hasher.write_u64(period);
        hasher.write_u8(contents);
        hasher.finish()
    }

    /// A number that only who holds the secret can foretell.
    pub(super) fn number(self, input: u64) -> u64 {
        let mut hasher = self.hasher(Purpose::Number);
        hasher.write_u64(input);
        hasher.finish()
    }

    fn hash(self, purpose: Purpose, tuple: &Tuple, remote_port: u16, local_port: u16) -> u64 {
        let mut hasher = self.hasher(purpose);
        write_tuple(&mut hasher, tuple, remote_port, local_port);
        hasher.finish()
    }

    #[expect(
        deprecated,
        reason = "the standard library's one hash that is a keyed pseudo-random function by \
                  specification (SipHash 2-4); its successor takes no key"
    )]
    fn hasher(self, purpose: Purpose) -> impl Hasher {
        let mut hasher = std::hash::SipHasher::new_with_keys(self.0[0], self.0[1]);
        hasher.write(&[purpose as u8]);
        hasher
    }
}

fn write_tuple(hasher: &mut impl Hasher, tuple: &Tuple, remote_port: u16, local_port: u16) {
    hasher.write(tuple.src.mapped_octets());
    hasher.write(tuple.dst.mapped_octets());
    hasher.write(&remote_port.to_be_bytes());
    hasher.write(&local_port.to_be_bytes());
}

#[derive(Clone, Copy)]
enum Purpose {
    Isn,
    Port,
    Number,
    Clock,
    Cookie,
}

/// The random seed with which a new smoltcp interface gives its first socket the number `isn`.
///
/// smoltcp's generator is a PCG: `state = state * M + A`, output `(state >> (29 - (state >> 61)))`
/// as 32 bits. The interface draws once for itself and draws again if that came out as zero in 16
/// bits; the socket's draw is the next. Both steps of the state can be undone because M is odd, and the
/// state behind a wanted output can be chosen: with zeros in its upper three bits the output is its
/// bits 29 to 60.
pub(super) fn interface_seed(isn: u32) -> u64 {
    const M: u64 = 0xbb2e_fcec_3c39_611d;
    const A: u64 = 0x7590_ef39;
    const M_INVERSE: u64 = inverse(M);
    let before = |state: u64| state.wrapping_sub(A).wrapping_mul(M_INVERSE);
    let mut state = u64::from(isn) << 29;
    // The lowest 29 bits do not show in the output. One in 65,536 of the first draws is unusable.
    while first_draw_is_zero(before(state)) {
        state += 1;
    }
    before(before(state))
}

fn first_draw_is_zero(state: u64) -> bool {
    let word = (state >> (29 - (state >> 61))) as u32;
    (word ^ (word >> 16)) as u16 == 0
}

/// The inverse of an odd number modulo 2^64, by Newton's iteration: each step doubles the right bits.
const fn inverse(odd: u64) -> u64 {
    let mut x = odd;
    let mut right_bits = 3;
    while right_bits < 64 {
        x = x.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(x)));
        right_bits *= 2;
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Address, Protocol};

    fn tuple(src_port: u16) -> Tuple {
        let (src, dst) = (Address::from_v4([10, 0, 0, 1]), Address::from_v4([10, 0, 0, 2]));
        Tuple { protocol: Protocol::Tcp, src, dst, src_port, dst_port: 80 }
    }

    #[test]
    fn numbers_of_one_tuple_advance_every_four_microseconds() {
        let secret = Secret::new([1, 2]);
        let at = |micros| secret.isn(Instant::from_micros(micros), &tuple(5000));
        assert_eq!(at(3), at(0));
        assert_eq!(at(4), at(0).wrapping_add(1));
        assert_eq!(at(4_000_000), at(0).wrapping_add(1_000_000));
    }

    #[test]
    fn tuples_and_secrets_do_not_share_numbers() {
        let isn = |seed, port| Secret::new(seed).isn(Instant::ZERO, &tuple(port));
        let mut seen: Vec<_> = (0..1000).map(|port| isn([1, 2], port)).collect();
        seen.extend((0..1000).map(|port| isn([1, 3], port)));
        seen.sort_unstable();
        seen.dedup();
        assert!(seen.len() > 1990, "{}", seen.len());
    }

    #[test]
    fn a_seed_exists_for_every_number() {
        for isn in (0..=u32::MAX).step_by(65_521).chain([1, u32::MAX]) {
            interface_seed(isn);
        }
    }
}
