//! Fragments through NAT.

#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nat::fragment::lifetime;
use nat::limits::{DATAGRAM_FRAGMENTS, HELD_BYTES, HELD_FRAGMENTS};
use nat::verdict::DivertTo;
use nat::{DropReason, ServiceId, Verdict};
use netstack::Packet;
use netstack::wire::fragment::set_identification_v4;
use netstack::wire::{Address, Family, Fragment, Headers, checksum};
use tests::bed::{Bed, canonical, config};
use tests::reassembly::reassemble;
use tests::{fragments, line, packet};

/// A datagram that a client sends, its answer with `PORT` for the port that was mapped, and how each
/// looks on the other side.
struct Case {
    request: &'static str,
    at_backend: &'static str,
    answer: &'static str,
    at_client: &'static str,
}

/// Five fragments of 16 bytes at most, but TCP's.
const CASES: [Case; 6] = [
    Case {
        request: "udp 10.1.0.5:5000 > 10.99.0.1:53 len=66 ipid=7",
        at_backend: "udp 10.99.0.250:PORT > 10.2.0.11:8080 len=66 ttl=63",
        answer: "udp 10.2.0.11:8080 > 10.99.0.250:PORT len=67 ipid=7",
        at_client: "udp 10.99.0.1:53 > 10.1.0.5:5000 len=67 ttl=63",
    },
    Case {
        request: "udp [fd01::5]:5000 > [fd99::1]:53 len=66",
        at_backend: "udp [fd99::250]:PORT > [fd02::11]:8080 len=66 ttl=63",
        answer: "udp [fd02::11]:8080 > [fd99::250]:PORT len=67",
        at_client: "udp [fd99::1]:53 > [fd01::5]:5000 len=67 ttl=63",
    },
    Case {
        request: "tcp 10.1.0.5:5000 > 10.99.0.1:80 S mss=1460 len=105 ipid=7",
        at_backend: "tcp 10.99.0.250:PORT > 10.2.0.11:8080 S mss=1460 len=105 ttl=63",
        answer: "tcp 10.2.0.11:8080 > 10.99.0.250:PORT S. ack=1 mss=1460 len=106 ipid=7",
        at_client: "tcp 10.99.0.1:80 > 10.1.0.5:5000 S. ack=1 mss=1460 len=106 ttl=63",
    },
    Case {
        request: "tcp [fd01::5]:5000 > [fd99::1]:80 S mss=1440 len=105",
        at_backend: "tcp [fd99::250]:PORT > [fd02::11]:8080 S mss=1440 len=105 ttl=63",
        answer: "tcp [fd02::11]:8080 > [fd99::250]:PORT S. ack=1 mss=1440 len=106",
        at_client: "tcp [fd99::1]:80 > [fd01::5]:5000 S. ack=1 mss=1440 len=106 ttl=63",
    },
    Case {
        request: "icmp 10.1.0.5 > 10.99.0.4 echo id=7 seq=1 len=66 ipid=7",
        at_backend: "icmp 10.99.0.250 > 10.2.0.11 echo id=PORT seq=1 len=66 ttl=63",
        answer: "icmp 10.2.0.11 > 10.99.0.250 reply id=PORT seq=1 len=67 ipid=7",
        at_client: "icmp 10.99.0.4 > 10.1.0.5 reply id=7 seq=1 len=67 ttl=63",
    },
    Case {
        request: "icmp fd01::5 > fd99::4 echo id=7 seq=1 len=66",
        at_backend: "icmp fd99::250 > fd02::11 echo id=PORT seq=1 len=66 ttl=63",
        answer: "icmp fd02::11 > fd99::250 reply id=PORT seq=1 len=67",
        at_client: "icmp fd99::4 > fd01::5 reply id=7 seq=1 len=67 ttl=63",
    },
];

/// Every order of the numbers below `n`.
fn orders(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for order in orders(n - 1) {
        for at in 0..n {
            let mut order = order.clone();
            order.insert(at, n - 1);
            all.push(order);
        }
    }
    all
}

/// The fragments of a line's packet, about `n` of one size.
fn cut(text: &str, n: usize) -> Vec<Packet> {
    let whole = packet(text);
    let headers = Headers::parse(&whole).expect("a packet");
    let bytes = headers.total_len() - headers.l4();
    fragments(text, bytes.div_ceil(n).next_multiple_of(8))
}

/// Sends fragments in this order; what comes out, in order.
fn send(bed: &mut Bed, leg: u16, pieces: &[Packet], order: &[usize]) -> Vec<Packet> {
    order.iter().flat_map(|&i| bed.send_for_all(leg, pieces[i].clone())).collect()
}

/// The whole without the identification, which is the engine's choice.
fn whole(out: &[Packet]) -> String {
    let mut whole = reassemble(out).unwrap_or_else(|e| panic!("{e}: {out:?}"));
    let headers = Headers::parse(&whole).expect("a packet");
    assert!(checksum::verify_transport(&whole, &headers));
    if headers.src.is_v4() {
        set_identification_v4(whole.data_mut(), 0);
    }
    line(&whole)
}

#[test]
fn every_order_of_arrival_gives_the_whole() {
    for Case { request, at_backend, answer, at_client } in CASES {
        for n in 2..=5 {
            let pieces = cut(request, n);
            assert_eq!(pieces.len(), n, "{request}");
            for order in orders(n) {
                let mut bed = Bed::new(config());
                let out = send(&mut bed, 0, &pieces, &order);
                let port = bed.flow().snat.port.to_string();
                assert_eq!(whole(&out), canonical(&at_backend.replace("PORT", &port)), "{order:?}");

                let pieces = cut(&answer.replace("PORT", &port), n);
                let out = send(&mut bed, 1, &pieces, &order);
                assert_eq!(whole(&out), canonical(at_client), "{order:?}");
                assert!(bed.engine.fragments().is_empty());
                assert_eq!(bed.engine.stats().held, bed.engine.stats().released);
                let counted = [bed.flow().forward.packets, bed.flow().reverse.packets];
                assert_eq!(counted, [n as u64; 2], "{order:?}");
            }
        }
    }
}

#[test]
fn the_first_leaves_before_those_that_waited_for_it() {
    for order in orders(4) {
        let mut bed = Bed::new(config());
        let out = send(&mut bed, 0, &cut(CASES[0].request, 4), &order);
        let offsets: Vec<_> =
            out.iter().map(|p| u16::from_be_bytes([p.data()[6], p.data()[7]]) & 0x1fff).collect();
        assert_eq!(offsets[0], 0, "{order:?}");
        let waited = order.iter().position(|&i| i == 0).expect("the first");
        assert!(offsets[..=waited].is_sorted(), "{order:?}: {offsets:?}");
    }
}

#[test]
fn dnat_answers_are_to_the_client() {
    for (request, answer, at_client) in [
        (
            "tcp 10.1.0.5:40000 > 10.99.0.1:81 S",
            "tcp 10.2.0.11:8080 > 10.1.0.5:40000 S. ack=1 len=100",
            "tcp 10.99.0.1:81 > 10.1.0.5:40000 S. ack=1 len=100 ttl=63",
        ),
        (
            "tcp [fd01::5]:40000 > [fd99::1]:81 S",
            "tcp [fd02::11]:8080 > [fd01::5]:40000 S. ack=1 len=100",
            "tcp [fd99::1]:81 > [fd01::5]:40000 S. ack=1 len=100 ttl=63",
        ),
    ] {
        for order in orders(3) {
            let mut bed = Bed::new(config());
            assert_eq!(bed.send(0, request).verdict, Verdict::Forward);
            let out = send(&mut bed, 1, &cut(answer, 3), &order);
            assert_eq!(whole(&out), canonical(at_client), "{order:?}");
        }
    }
}

#[test]
fn what_is_nobodys_is_routed_piece_by_piece() {
    for (text, after) in [
        (
            "udp 10.1.0.5:1 > 10.2.0.99:2 len=100 ipid=7",
            "udp 10.1.0.5:1 > 10.2.0.99:2 len=100 ipid=7 ttl=63",
        ),
        ("udp [fd01::5]:1 > [fd02::99]:2 len=100", "udp [fd01::5]:1 > [fd02::99]:2 len=100 ttl=63"),
    ] {
        for order in orders(3) {
            let mut bed = Bed::new(config());
            let pieces = cut(text, 3);
            let mut out = Vec::new();
            for &i in &order {
                let (verdict, packet) = bed.pass(0, pieces[i].clone());
                assert_eq!(verdict, Verdict::Forward);
                out.push(packet);
            }
            assert_eq!(line(&reassemble(&out).expect("one datagram")), canonical(after));
            assert!(bed.engine.fragments().is_empty());
        }
    }
    let mut bed = Bed::new(config());
    let ends = |bed: &mut Bed, words: &str| {
        bed.send(0, &format!("udp 10.1.0.5{words} ttl=1 len=16")).verdict
    };
    let exceeded = DropReason::TtlExceeded;
    assert_eq!(ends(&mut bed, ":1 > 10.2.0.99:2 frag=0+"), Verdict::Reject(exceeded));
    assert_eq!(ends(&mut bed, " > 10.2.0.99 frag=16+"), Verdict::Drop(exceeded));
}

#[test]
fn a_large_ping_of_ours_is_answered_as_it_was_cut() {
    for (request, reply) in [
        (
            "icmp 10.1.0.5 > 10.99.0.1 echo id=7 seq=1 len=100 ipid=7 ttl=9",
            "icmp 10.99.0.1 > 10.1.0.5 reply id=7 seq=1 len=100",
        ),
        (
            "icmp fd01::5 > fd99::1 echo id=7 seq=1 len=100 ttl=9",
            "icmp fd99::1 > fd01::5 reply id=7 seq=1 len=100",
        ),
    ] {
        for order in orders(4) {
            let mut bed = Bed::new(config());
            let out = send(&mut bed, 0, &cut(request, 4), &order);
            assert!(out.iter().all(|packet| packet.leg.0 == 0));
            assert_eq!(whole(&out), canonical(reply), "{order:?}");
        }
    }
}

#[test]
fn what_ends_here_is_put_together() {
    let text = "tcp 10.1.0.5:40000 > 10.99.0.2:80 S mss=1460 len=100 ipid=7";
    for order in orders(4) {
        let mut bed = Bed::new(config());
        let pieces = cut(text, 4);
        let (last, others) = order.split_last().expect("four");
        for &i in others {
            assert_eq!(bed.pass(0, pieces[i].clone()).0, Verdict::Hold);
        }
        let (verdict, packet) = bed.pass(0, pieces[*last].clone());
        assert_eq!(verdict, Verdict::Divert(DivertTo::Service(ServiceId(8))));
        assert_eq!(line(&packet), canonical(text));
        let stats = bed.engine.stats();
        assert_eq!((stats.held, stats.released, stats.diverted), (3, 4, 1));
        // Of the flow that it made, too.
        let text = "tcp 10.1.0.5:40000 > 10.99.0.2:80 P. seq=1 ack=1 len=100 ipid=8";
        let pieces = cut(text, 2);
        assert_eq!(bed.pass(0, pieces[1].clone()).0, Verdict::Hold);
        assert!(matches!(bed.pass(0, pieces[0].clone()).0, Verdict::Divert(_)));
    }
}

#[test]
fn what_is_held_shares_the_fate_of_a_refused_first() {
    let refused = |config: nat::Config, text: &str, reason: DropReason| {
        let mut bed = Bed::new(config);
        let pieces = cut(text, 3);
        assert_eq!(bed.pass(0, pieces[2].clone()).0, Verdict::Hold);
        let (verdict, answer) = bed.pass(0, pieces[0].clone());
        assert_eq!(verdict, Verdict::Reject(reason), "{}", line(&answer));
        // What comes later is refused too, but in silence.
        assert_eq!(bed.pass(0, pieces[1].clone()).0, Verdict::Drop(reason));
        assert_eq!(bed.engine.stats().dropped(reason), 3);
        assert_eq!(bed.engine.stats().held_dropped, 1);
        assert_eq!(bed.engine.flows().len(), 0);
    };
    let no_service = DropReason::NoService;
    refused(config(), "udp 10.1.0.5:1 > 10.99.0.1:99 len=100", no_service);
    refused(config(), "tcp 10.1.0.5:1 > 10.99.0.1:99 S len=100", no_service);
    refused(config(), "udp 10.1.0.5:1 > 10.99.0.1:53 len=100 ttl=1", DropReason::TtlExceeded);
    let mut empty = config();
    empty.pools[0].backends.clear();
    refused(empty, "udp 10.1.0.5:1 > 10.99.0.1:53 len=100", DropReason::NoBackend);
}

#[test]
fn each_fragment_has_a_ttl_of_its_own() {
    let mut bed = Bed::new(config());
    let held = "udp 10.1.0.5 > 10.99.0.1 frag=16+ ipid=7 len=16 ttl=1";
    assert_eq!(bed.send(0, held).verdict, Verdict::Hold);
    let first = "udp 10.1.0.5:1 > 10.99.0.1:53 frag=0+ ipid=7 udplen=64 len=8";
    assert_eq!(bed.send(0, first).verdict, Verdict::Forward);
    assert_eq!(bed.transmit(), None);
    assert_eq!(bed.engine.stats().dropped(DropReason::TtlExceeded), 1);
}

#[test]
fn a_fragmented_syn_is_not_offered_to_a_second_backend() {
    let mut bed = Bed::new(config());
    let out = send(&mut bed, 0, &cut(CASES[2].request, 2), &[0, 1]);
    assert_eq!(out.len(), 2);
    let backend = bed.flow().backend.address.to_string();
    let port = bed.flow().snat.port;
    let refusal = format!("tcp {backend}:8080 > 10.99.0.250:{port} R. ack=106");
    let seen = bed.send(1, &refusal);
    assert_eq!((seen.verdict, seen.leg), (Verdict::Forward, 0));
    assert_eq!(bed.engine.stats().syn_failovers, 0);
}

#[test]
fn the_lifetime_counts_from_the_first_to_come() {
    for (family, text) in [(Family::V4, CASES[0].request), (Family::V6, CASES[1].request)] {
        let pieces = cut(text, 3);
        let half = lifetime(family) / 2;
        let mut bed = Bed::new(config());
        assert_eq!(bed.pass(0, pieces[2].clone()).0, Verdict::Hold);
        bed.wait(half);
        assert_eq!(bed.pass(0, pieces[1].clone()).0, Verdict::Hold);
        bed.wait(half / 2);
        assert_eq!(bed.engine.fragments().held().packets, 2);
        bed.wait(half / 2);
        let stats = bed.engine.stats();
        assert_eq!(stats.dropped(DropReason::FragmentTimeout), 2);
        assert_eq!((stats.datagrams_expired, stats.held_dropped), (1, 2));
        assert!(bed.engine.fragments().is_empty());
        assert_eq!(bed.engine.poll_timeout(), None);
    }
}

#[test]
fn a_contradiction_kills_the_datagram() {
    let overlap = DropReason::FragmentOverlap;
    let bounds = DropReason::FragmentBounds;
    for (sent, then, reason) in [
        ("frag=16+ len=16", "frag=24+ len=16", overlap),
        ("frag=16+ len=16", "frag=8+ len=16", overlap),
        ("frag=16+ len=32", "frag=24+ len=8", overlap),
        ("frag=24+ len=8", "frag=16+ len=32", overlap),
        ("frag=16+ len=16", "frag=16 len=16", overlap),
        ("frag=16 len=16", "frag=16+ len=16", overlap),
        ("frag=16 len=16", "frag=32+ len=8", bounds),
        ("frag=16 len=16", "frag=40 len=8", bounds),
        ("frag=48+ len=16", "frag=16 len=16", bounds),
    ] {
        for ends in ["udp 10.1.0.5 > 10.99.0.1 ipid=7", "udp fd01::5 > fd99::1 ipid=7"] {
            let mut bed = Bed::new(config());
            assert_eq!(bed.send(0, &format!("{ends} {sent}")).verdict, Verdict::Hold);
            let found = bed.send(0, &format!("{ends} {then}")).verdict;
            assert_eq!(found, Verdict::Drop(reason), "{ends} {then}");
            let later = bed.send(0, &format!("{ends} frag=160 len=1")).verdict;
            assert_eq!(later, Verdict::Drop(reason), "{ends} {then}");
            assert_eq!(bed.engine.stats().dropped(reason), 3);
            assert_eq!(bed.engine.fragments().held().packets, 0);
        }
    }
}

#[test]
fn a_datagram_has_so_many_fragments_and_no_more() {
    let mut bed = Bed::new(config());
    let middle = |i: usize| format!("udp 10.1.0.5 > 10.99.0.1 frag={}+ ipid=7 len=8", i * 8 + 8);
    for i in 0..DATAGRAM_FRAGMENTS {
        assert_eq!(bed.send(0, &middle(i)).verdict, Verdict::Hold);
    }
    let limit = DropReason::FragmentLimit;
    assert_eq!(bed.send(0, &middle(DATAGRAM_FRAGMENTS)).verdict, Verdict::Drop(limit));
    assert_eq!(bed.engine.stats().dropped(limit), DATAGRAM_FRAGMENTS as u64 + 1);
}

#[test]
fn at_the_limit_the_oldest_datagram_gives_way() {
    let mut config = config();
    config.limits.fragments = 2;
    let mut bed = Bed::new(config);
    let last = |id: u32| format!("udp 10.1.0.5 > 10.99.0.1 frag=16 ipid={id} len=8");
    let first =
        |id: u32| format!("udp 10.1.0.5:1 > 10.99.0.1:53 frag=0+ ipid={id} udplen=24 len=8");
    for id in 1..=3 {
        assert_eq!(bed.send(0, &last(id)).verdict, Verdict::Hold);
    }
    assert_eq!(bed.engine.stats().datagrams_evicted, 1);
    assert_eq!(bed.engine.stats().dropped(DropReason::FragmentLimit), 1);
    for (id, complete) in [(2, true), (3, true), (1, false)] {
        assert_eq!(bed.send(0, &first(id)).verdict, Verdict::Forward);
        assert_eq!(bed.transmit().is_some(), complete, "{id}");
    }
}

#[test]
fn held_packets_and_bytes_have_limits_of_their_own() {
    for (words, len) in [("len=8", 28), ("len=1480", 1500)] {
        let mut config = config();
        config.limits.fragments = 1 << 20;
        let mut bed = Bed::new(config);
        let fits = HELD_FRAGMENTS.min(HELD_BYTES / len);
        for id in 0..fits + 100 {
            let text = format!("udp 10.1.0.5 > 10.99.0.1 frag=16+ ipid={id} {words}");
            // Without the checks of the bed, which count everything each time.
            let mut packet = packet(&text);
            assert_eq!(bed.engine.handle_packet(bed.now, &mut packet), Verdict::Hold);
        }
        assert_eq!(bed.engine.fragments().held().packets, fits);
        assert_eq!(bed.engine.stats().dropped(DropReason::FragmentLimit), 100);
        bed.wait(Duration::ZERO);
    }
}

/// Numbers that a seed repeats.
fn random(state: &mut u64, below: usize) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    ((*state >> 33) % below as u64) as usize
}

#[test]
fn random_cuts_orders_and_duplicates_give_the_whole() {
    for seed in 0..400 {
        let mut state = seed;
        let mut bed = Bed::new(config());
        // Several datagrams at a time, of several clients.
        let mut pieces = Vec::new();
        let mut expected = BTreeSet::new();
        for client in 1..=4 {
            let len = 60 + random(&mut state, 3000);
            let size = (8 + 8 * random(&mut state, len / 16)).clamp(len / 100 / 8 * 8 + 8, 1_400);
            let v4 = random(&mut state, 2) == 0;
            let text = if v4 {
                format!("udp 10.1.0.{client}:5000 > 10.99.0.1:53 len={len} ipid=7")
            } else {
                format!("udp [fd01::{client}]:5000 > [fd99::1]:53 len={len}")
            };
            expected.insert(len);
            for piece in fragments(&text, size) {
                if random(&mut state, 4) == 0 {
                    pieces.push(piece.clone());
                }
                pieces.push(piece);
            }
        }
        for i in (1..pieces.len()).rev() {
            pieces.swap(i, random(&mut state, i + 1));
        }
        let mut datagrams: BTreeMap<(bool, u32), Vec<Packet>> = BTreeMap::new();
        for packet in pieces.into_iter().flat_map(|piece| bed.send_for_all(0, piece)) {
            let headers = Headers::parse(&packet).expect("a packet");
            let fragment = Fragment::of(packet.data(), &headers).expect("a fragment");
            let key = (headers.src.is_v4(), fragment.identification);
            datagrams.entry(key).or_default().push(packet);
        }
        // Duplicates that came after the last make no whole.
        let wholes = datagrams.values().filter_map(|pieces| reassemble(pieces).ok());
        let found: BTreeSet<_> = wholes
            .map(|whole| {
                let headers = Headers::parse(&whole).expect("a packet");
                assert!(checksum::verify_transport(&whole, &headers), "seed {seed}");
                whole.len() - headers.l4() - 8
            })
            .collect();
        assert_eq!(found, expected, "seed {seed}");
    }
}

#[test]
fn a_flood_takes_a_bounded_place_and_harms_no_whole_packet() {
    let mut bed = Bed::new(config());
    let query = "udp 10.1.0.5:5000 > 10.99.0.1:53 len=4";
    assert_eq!(bed.send(0, query).verdict, Verdict::Forward);
    let mut state = 7;
    let mut fragment = packet("udp 10.1.0.6 > 10.99.0.1 frag=1480+ ipid=7 len=1480");
    for n in 0..1_000_000 {
        let headers = Headers::parse(&fragment).expect("a packet");
        let identification = random(&mut state, 1 << 16) as u16;
        let source = Address::from_v4([10, 1, 0, 6 + random(&mut state, 200) as u8]);
        nat::rewrite::readdress(&mut fragment, &headers, source, headers.dst);
        set_identification_v4(fragment.data_mut(), identification);
        let verdict = bed.engine.handle_packet(bed.now, &mut fragment);
        assert!(matches!(verdict, Verdict::Hold | Verdict::Drop(_)), "{verdict:?}");
        bed.now += Duration::from_micros(10);
        if n % 1_000 == 0 {
            assert!(bed.engine.fragments().len() <= 1_024);
            assert!(bed.engine.fragments().held().bytes <= 1_024 * 1_500);
            assert_eq!(bed.send(0, query).verdict, Verdict::Forward, "after {n}");
        }
    }
    bed.wait(lifetime(Family::V4));
    assert!(bed.engine.fragments().is_empty());
    let stats = bed.engine.stats();
    assert_eq!(stats.held, stats.held_dropped);
}

#[test]
fn a_super_packet_is_no_fragment() {
    let mut bed = Bed::new(config());
    let seen = bed.send(0, "udp 10.1.0.5:5000 > 10.99.0.1:53 len=9000 gso=1000 ipid=7");
    assert_eq!(seen.verdict, Verdict::Forward);
    // What claims to be both is neither.
    let mut both = packet("udp 10.1.0.5:1 > 10.99.0.1:53 frag=0+ ipid=7 len=16");
    both.offload = packet("udp 10.1.0.5:1 > 10.99.0.1:53 gso=8 len=16").offload;
    both.offload.checksum = netstack::packet::Checksum::Complete;
    assert_eq!(bed.pass(0, both).0, Verdict::Drop(DropReason::GsoKind));
}

#[test]
fn an_atomic_ipv6_fragment_is_no_fragment() {
    let mut bed = Bed::new(config());
    let seen = bed.send(0, "udp [fd01::5]:5000 > [fd99::1]:53 frag=0 ipid=9 len=4");
    assert_eq!(seen.verdict, Verdict::Forward);
    assert!(seen.line.contains("ipid=9"), "{}", seen.line);
    assert!(bed.engine.fragments().is_empty());
}

#[test]
fn fragments_too_long_for_the_way_out_are_cut_again() {
    let text = "udp 10.1.0.5:5000 > 10.99.0.1:53 len=4000 ipid=7";
    for order in orders(3) {
        let mut config = config();
        config.legs[1].mtu = 600;
        let mut bed = Bed::new(config);
        let out = send(&mut bed, 0, &cut(text, 3), &order);
        assert!(out.len() > 6 && out.iter().all(|packet| packet.len() <= 600));
        let port = bed.flow().snat.port;
        let expected = format!("udp 10.99.0.250:{port} > 10.2.0.11:8080 len=4000 ttl=63");
        assert_eq!(whole(&out), canonical(&expected), "{order:?}");
        if order == [2, 1, 0] {
            let place =
                |packet: &Packet| u16::from_be_bytes([packet.data()[6], packet.data()[7]]) & 0x1fff;
            // The pieces of the first are behind it and before those that waited.
            assert!(out.is_sorted_by_key(place));
        }
    }
}
