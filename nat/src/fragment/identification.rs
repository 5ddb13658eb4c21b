//! Identifications that no two datagrams share for as long as it can be helped (RFC 6864).
//!
//! # Theory of operation
//!
//! Two packets that may be fragmented must not have the same source, destination, protocol and
//! identification at the same time, or a receiver takes the fragments of one for the other's
//! (RFC 6864 section 4.3). Translation maps many clients to one source and many backends to one
//! service address, so what their senders chose no longer tells them apart: whoever rewrites the
//! addresses is the source, and chooses anew (RFC 6864 section 5.3.1). Packets that are *atomic*, whole
//! and never to be fragmented, are left as they are: theirs means nothing. IPv6 has identifications in
//! fragments alone; those of flows are chosen anew in the same way.
//!
//! A counter for every triple of source, destination and protocol would be without limit. There is a
//! fixed number of counters, and a triple has one of them and an offset, both by a seeded hash (the
//! double-hash scheme of RFC 7739 section 5.3). Triples that share a counter skip numbers, which is
//! all: within a triple none comes again before the counter has gone through all 65,536 (2³² in IPv6).
//! Nobody is slowed down to make that take as long as a datagram may live; no host does (RFC 4963
//! has the consequences).
//!
//! A super-packet counts for as many packets as it is cut into: its segments count up from its own
//! identification, in the kernel as in `netstack::segment`.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use netstack::Packet;
use netstack::wire::fragment;
use netstack::wire::headers::V4_TTL;
use netstack::wire::{Address, Family, Headers};

use crate::limits::IDENTIFICATION_COUNTERS;
use crate::rng::{Rng, derive};

/// The counters (see the module's theory of operation).
#[derive(Clone, Debug)]
pub struct Identifications {
    counters: Box<[u32]>,
    hasher: FixedState,
}

impl Identifications {
    /// Counters that start where `seed` says.
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(derive(seed, 0));
        Self {
            counters: (0..IDENTIFICATION_COUNTERS).map(|_| rng.next_u64() as u32).collect(),
            hasher: FixedState::with_seed(derive(seed, 1)),
        }
    }

    /// The next one of this triple, and so many that follow it; IPv4 has their lower halves.
    pub fn next(&mut self, src: Address, dst: Address, protocol: u8, count: u32) -> u32 {
        let hash = self.hasher.hash_one((src, dst, protocol));
        let offset = (hash >> 32) as u32;
        let index = (hash & 0xffff_ffff) as usize % IDENTIFICATION_COUNTERS;
        let Some(counter) = self.counters.get_mut(index) else { return offset };
        let value = counter.wrapping_add(offset);
        *counter = counter.wrapping_add(count);
        value
    }

    /// Gives a packet that was rewritten an identification of its own, if it is of IPv4 and not atomic.
    #[inline]
    pub fn renew(&mut self, packet: &mut Packet, headers: &Headers) {
        if headers.family == Family::V4 && !fragment::is_atomic_v4(packet.data()) {
            self.renew_v4(packet);
        }
    }

    #[cold]
    fn renew_v4(&mut self, packet: &mut Packet) {
        let segments = packet.offload.gso.map_or(1, |gso| packet.len().div_ceil(gso.size.into()));
        let data = packet.data_mut();
        let Some(&[src, dst]) =
            data.get(12..20).and_then(|pair| pair.as_chunks::<4>().0.first_chunk())
        else {
            return;
        };
        let protocol = data[V4_TTL + 1];
        let (src, dst) = (Address::from_v4(src), Address::from_v4(dst));
        let identification = self.next(src, dst, protocol, segments as u32);
        fragment::set_identification_v4(data, identification as u16);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netstack::packet::{Gso, GsoKind};
    use netstack::wire::text;
    use std::collections::HashSet;

    fn address(last: u8) -> Address {
        Address::from_v4([10, 2, 0, last])
    }

    #[test]
    fn within_a_triple_none_comes_twice_in_a_round() {
        let mut all = Identifications::new(7);
        let seen: HashSet<_> = (0..=u16::MAX)
            .map(|n| {
                // Others that share the counter, or not.
                all.next(address((n % 250) as u8), address(2), 6, 1);
                all.next(address(1), address(2), 17, 1) as u16
            })
            .collect();
        // What others took from the shared counter is missing, no more.
        assert!(seen.len() > 60_000, "{}", seen.len());
        let mut alone = Identifications::new(7);
        let seen: HashSet<_> =
            (0..=u16::MAX).map(|_| alone.next(address(1), address(2), 17, 1) as u16).collect();
        assert_eq!(seen.len(), 65_536);
    }

    #[test]
    fn where_they_start_is_the_seeds() {
        let start = |seed, last| Identifications::new(seed).next(address(last), address(2), 17, 1);
        assert_eq!(start(1, 1), start(1, 1));
        assert_ne!(start(1, 1), start(2, 1));
        assert_ne!(start(1, 1), start(1, 3));
    }

    #[test]
    fn a_super_packet_takes_one_for_each_segment() {
        let line = "udp 10.1.0.5:1 > 10.99.0.1:2 len=4000 ipid=7";
        let mut all = Identifications::new(7);
        let mut renewed = |gso: Option<u16>| {
            let mut packet = text::packet(line).unwrap();
            packet.offload.gso =
                gso.map(|size| Gso { kind: GsoKind::Udp, size, header_len: 28, ecn: false });
            let headers = Headers::parse(&packet).unwrap();
            all.renew(&mut packet, &headers);
            Headers::parse(&packet).unwrap();
            u16::from_be_bytes([packet.data()[4], packet.data()[5]])
        };
        let first = renewed(None);
        assert_eq!(renewed(Some(1000)), first.wrapping_add(1));
        assert!(renewed(None).wrapping_sub(first) > 4);
    }
}
