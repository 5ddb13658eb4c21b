//! Legs with different MTUs: what is refused, what is cut, and what SYNs are made to say.

use std::time::Duration;

use nat::rng::Rng;
use nat::{Config, DropReason, Verdict};
use netstack::packet::{Checksum, Offload};
use netstack::wire::{Headers, TcpFlags, checksum, text};
use netstack::{LegId, Packet};
use tests::bed::{Bed, canonical, config};
use tests::reassembly::reassemble;
use tests::{line, oracle, packet_on};

/// The MTU of the narrow leg.
const NARROW: u16 = 1400;

/// The usual services, with one narrow leg: 0 toward clients, 1 toward backends.
fn narrow(leg: usize) -> Config {
    let mut config = config();
    config.legs[leg].mtu = NARROW;
    config
}

/// One family's addresses, as a line has them, and the length of its IP header.
struct Ends {
    client: &'static str,
    vip: &'static str,
    snat: &'static str,
    backend: &'static str,
    elsewhere: &'static str,
    header: usize,
    df: &'static str,
}

const V4: Ends = Ends {
    client: "10.1.0.5",
    vip: "10.99.0.1",
    snat: "10.99.0.250",
    backend: "10.2.0.11",
    elsewhere: "10.2.0.77",
    header: 20,
    df: " df",
};
const V6: Ends = Ends {
    client: "[fd01::5]",
    vip: "[fd99::1]",
    snat: "[fd99::250]",
    backend: "[fd02::11]",
    elsewhere: "[fd02::77]",
    header: 40,
    df: "",
};

fn bare(address: &str) -> &str {
    address.trim_matches(['[', ']'])
}

/// The line of the error from `src` to `dst` that says `mtu` about `quoted`.
fn too_big(src: &str, dst: &str, mtu: u16, quoted: &str) -> String {
    let ip = if src.starts_with('[') { "" } else { " df tos=0xc0" };
    canonical(&format!("icmp {} > {} too-big mtu={mtu} about=({quoted}){ip}", bare(src), bare(dst)))
}

const REFUSED: Verdict = Verdict::Reject(DropReason::PacketTooBig);

/// Hands in a packet; what leaves, in order.
fn pass(bed: &mut Bed, packet: Packet) -> (Verdict, Vec<Packet>) {
    let mut packet = packet;
    let verdict = bed.engine.handle_packet(bed.now, &mut packet);
    let mut all = vec![packet];
    let mut next = Packet::max_sized();
    while bed.engine.poll_transmit(&mut next) {
        all.push(next.clone());
    }
    (verdict, all)
}

#[test]
fn a_datagram_as_long_as_the_mtu_passes_and_one_byte_more_is_refused() {
    for Ends { client, vip, header, df, .. } in [V4, V6] {
        for csum in ["", " csum=partial", " csum=verified"] {
            let mut bed = Bed::new(narrow(1));
            let fits = usize::from(NARROW) - header - 8;
            let line = |len| format!("udp {client}:5000 > {vip}:53 len={len}{df} ttl=9");
            let seen = bed.send(0, &format!("{}{csum}", line(fits)));
            assert_eq!((seen.verdict, seen.leg), (Verdict::Forward, 1));
            assert!(seen.line.contains("ttl=8"), "{}", seen.line);
            let counted = bed.flow().forward;

            let seen = bed.send(0, &format!("{}{csum}", line(fits + 1)));
            assert_eq!((seen.verdict, seen.leg), (REFUSED, 0));
            // With the TTL and the checksum that its sender gave it.
            assert_eq!(seen.line, too_big(vip, client, NARROW, &line(fits + 1)));
            assert_eq!(bed.flow().forward, counted, "what was refused is no traffic");
        }
    }
}

#[test]
fn the_first_packet_of_a_flow_that_never_was_is_refused_too() {
    for Ends { client, vip, df, .. } in [V4, V6] {
        let mut bed = Bed::new(narrow(1));
        let line = format!("udp {client}:5000 > {vip}:53 len=1400{df}");
        let seen = bed.send(0, &line);
        assert_eq!((seen.verdict, seen.leg), (REFUSED, 0));
        assert_eq!(seen.line, too_big(vip, client, NARROW, &line));
        assert!(bed.engine.flows().is_empty());
    }
}

#[test]
fn a_super_packet_is_as_long_as_one_of_its_segments() {
    for Ends { client, vip, header, df, .. } in [V4, V6] {
        // Without options and with twelve bytes of them.
        for (options, len) in [("", 20), (" nop nop ts=1/2", 32)] {
            let mut bed = Bed::new(narrow(1));
            bed.send(0, &format!("tcp {client}:4000 > {vip}:80 S"));
            let line = |flags, len, gso: &str| {
                format!(
                    "tcp {client}:4000 > {vip}:80 {flags} seq=1 ack=1 len={len}{options}{df}{gso}"
                )
            };
            let fits = usize::from(NARROW) - header - len;
            let seen = bed.send(0, &line("P.", 60_000, &format!(" gso={fits}")));
            assert_eq!((seen.verdict, seen.leg), (Verdict::Forward, 1));
            assert!(seen.line.contains(&format!("gso={fits}")), "{}", seen.line);

            let seen = bed.send(0, &line("P.", 60_000, &format!(" gso={}", fits + 1)));
            assert_eq!((seen.verdict, seen.leg), (REFUSED, 0));
            // The first segment, as the wire would have carried it: PSH belongs to the last.
            assert_eq!(seen.line, too_big(vip, client, NARROW, &line(".", fits + 1, "")));
            // Shorter than its segments may be.
            let seen = bed.send(0, &line("P.", fits, " gso=1448"));
            assert_eq!(seen.verdict, Verdict::Forward);
        }
    }
}

#[test]
fn datagrams_of_a_super_packet_count_one_by_one() {
    for Ends { client, vip, header, df, .. } in [V4, V6] {
        let mut bed = Bed::new(narrow(1));
        let fits = usize::from(NARROW) - header - 8;
        let line = |size| format!("udp {client}:5000 > {vip}:53 len=6000 gso={size}{df}");
        let (verdict, all) = pass(&mut bed, packet_on(0, &line(fits)));
        assert_eq!((verdict, all.len()), (Verdict::Forward, 1));
        let (verdict, all) = pass(&mut bed, packet_on(0, &line(fits + 1)));
        assert_eq!(verdict, REFUSED);
        let quoted = format!("udp {client}:5000 > {vip}:53 len={}{df}", fits + 1);
        assert_eq!(tests::line(&all[0]), too_big(vip, client, NARROW, &quoted));
    }
}

#[test]
fn a_backend_hears_of_it_from_whom_it_spoke_to() {
    for Ends { client, vip, snat, backend, df, .. } in [V4, V6] {
        let mut bed = Bed::new(narrow(0));
        bed.send(0, &format!("tcp {client}:4000 > {vip}:80 S"));
        let port = bed.flow().snat.port;
        let line = format!("tcp {backend}:8080 > {snat}:{port} . seq=1 ack=1 len=1400{df}");
        let seen = bed.send(1, &line);
        assert_eq!((seen.verdict, seen.leg), (REFUSED, 1));
        assert_eq!(seen.line, too_big(snat, backend, NARROW, &line));

        // With DNAT it spoke to the client, which has not refused: an address of our own says so.
        let mut bed = Bed::new(narrow(0));
        bed.send(0, &format!("tcp {client}:4000 > {vip}:81 S"));
        let line = format!("tcp {backend}:8080 > {client}:4000 . seq=1 ack=1 len=1400{df}");
        let seen = bed.send(1, &line);
        assert_eq!((seen.verdict, seen.leg), (REFUSED, 1));
        assert_eq!(seen.line, too_big(vip, backend, NARROW, &line));
    }
}

#[test]
fn what_is_routed_is_held_to_the_mtu_too() {
    for Ends { client, vip, elsewhere, header, df, .. } in [V4, V6] {
        let mut bed = Bed::new(narrow(1));
        let fits = usize::from(NARROW) - header - 8;
        let line = |len| format!("udp {client}:5000 > {elsewhere}:53 len={len}{df}");
        assert_eq!(bed.send(0, &line(fits)).verdict, Verdict::Forward);
        let seen = bed.send(0, &line(fits + 1));
        assert_eq!((seen.verdict, seen.leg), (REFUSED, 0));
        assert_eq!(seen.line, too_big(vip, client, NARROW, &line(fits + 1)));
    }
    let mut bed = Bed::new(narrow(1));
    let sent = packet_on(0, "udp 10.1.0.5:5000 > 10.2.0.77:53 len=1400 ipid=3");
    let (verdict, all) = pass(&mut bed, sent);
    assert_eq!((verdict, all.len()), (Verdict::Forward, 2));
    let whole = "udp 10.1.0.5:5000 > 10.2.0.77:53 len=1400 ipid=3 ttl=63";
    assert_eq!(line(&reassemble(&all).unwrap()), canonical(whole));
}

#[test]
fn nothing_is_said_about_errors_too_much_or_to_the_dying() {
    // An error that does not fit: a router's, longer than any should be.
    let mut bed = Bed::new(narrow(0));
    bed.send(0, "udp 10.1.0.5:5000 > 10.99.0.1:53");
    let port = bed.flow().snat.port;
    let about = format!("about=(udp 10.99.0.250:{port} > 10.2.0.11:8080)");
    let error = format!("icmp 10.2.0.1 > 10.99.0.250 unreachable code=port {about} len=1400 df");
    assert_eq!(bed.send(1, &error).verdict, Verdict::Drop(DropReason::PacketTooBig));
    let seen = bed.send(1, &error.replace(" df", ""));
    assert_eq!(seen.verdict, Verdict::Forward, "but it may be cut");
    assert!(bed.transmit().is_some_and(|(leg, _)| leg == 0));

    let mut bed = Bed::new(narrow(1));
    let probe = "udp 10.1.0.5:5000 > 10.99.0.1:53 len=1400 df";
    let seen = bed.send(0, &format!("{probe} ttl=1"));
    assert_eq!(seen.verdict, Verdict::Reject(DropReason::TtlExceeded));
    for _ in 1..nat::limits::ERRORS_PER_PEER_BURST {
        assert_eq!(bed.send(0, probe).verdict, REFUSED);
    }
    assert_eq!(bed.send(0, probe).verdict, Verdict::Drop(DropReason::RateLimited));
    bed.wait(Duration::from_secs(1));
    assert_eq!(bed.send(0, probe).verdict, REFUSED);
}

#[test]
fn no_mtu_below_the_least_is_advertised_and_none_is_no_limit() {
    for (Ends { client, vip, header, df, .. }, least) in [(V4, 68_u16), (V6, 1280)] {
        for mtu in [1, 67, 68] {
            let mut config = config();
            config.legs[1].mtu = mtu;
            let mut bed = Bed::new(config);
            let line = |len| format!("udp {client}:5000 > {vip}:53 len={len}{df}");
            let fits = usize::from(least) - header - 8;
            assert_eq!(bed.send(0, &line(fits)).verdict, Verdict::Forward);
            let seen = bed.send(0, &line(fits + 1));
            assert_eq!(seen.verdict, REFUSED);
            assert!(seen.line.contains(&format!("too-big mtu={least}")), "{}", seen.line);
        }
        let mut config = config();
        config.legs[1].mtu = 0;
        let line = format!("udp {client}:5000 > {vip}:53 len=65000{df}");
        assert_eq!(Bed::new(config).send(0, &line).verdict, Verdict::Forward);
    }
}

#[test]
fn an_error_fits_the_leg_that_it_takes() {
    let mut config = narrow(1);
    config.legs[0].mtu = 200;
    let mut bed = Bed::new(config);
    let sent = packet_on(0, "udp 10.1.0.5:5000 > 10.99.0.1:53 len=1400 df");
    let (verdict, all) = pass(&mut bed, sent);
    assert_eq!((verdict, all[0].len()), (REFUSED, 200));
}

#[test]
fn an_echo_reply_of_our_own_is_cut_or_forgotten() {
    let mut bed = Bed::new(narrow(0));
    let (verdict, all) =
        pass(&mut bed, packet_on(0, "icmp 10.1.0.5 > 10.99.0.1 echo id=7 len=1400"));
    assert_eq!((verdict, all.len()), (Verdict::Reply, 2));
    let mut whole = reassemble(&all).unwrap();
    whole.data_mut()[4..6].fill(0);
    whole.data_mut()[10..12].fill(0);
    let sum = !checksum::sum(&whole.data()[..20]);
    whole.data_mut()[10..12].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(line(&whole), canonical("icmp 10.99.0.1 > 10.1.0.5 reply id=7 len=1400"));
    let seen = bed.send(0, "icmp fd01::5 > fd99::1 echo id=7 len=1400");
    assert_eq!(seen.verdict, Verdict::Drop(DropReason::PacketTooBig));
}

#[test]
fn a_datagram_that_may_be_cut_is_cut_after_it_was_rewritten() {
    for csum in ["", " csum=partial", " csum=none"] {
        let mut bed = Bed::new(narrow(1));
        let seen = bed.send(0, &format!("udp 10.1.0.5:5000 > 10.99.0.1:53 len=1473 ipid=9{csum}"));
        let port = bed.flow().snat.port;
        assert_eq!((seen.verdict, seen.leg), (Verdict::Forward, 1));
        let first = format!("udp 10.99.0.250:{port} > 10.2.0.11:8080 udplen=1481 len=1368");
        assert!(seen.line.starts_with(&first), "{}", seen.line);
        // Both have the identification that the engine chose.
        let (_, place) = seen.line.split_once(" ipid=").unwrap();
        let (id, _) = place.split_once(" frag=0+").unwrap();
        assert_eq!(seen.line.contains("csum=none"), csum == " csum=none");
        let second = format!("udp 10.99.0.250 > 10.2.0.11 len=105 ttl=63 ipid={id} frag=1376");
        assert_eq!(bed.transmit(), Some((1, second)));
        assert_eq!(bed.transmit(), None);
    }
}

#[test]
fn a_tcp_super_packet_that_may_be_cut_is_segmented_smaller() {
    let mut bed = Bed::new(narrow(1));
    bed.send(0, "tcp 10.1.0.5:4000 > 10.99.0.1:80 S");
    let port = bed.flow().snat.port;
    let seen = bed.send(0, "tcp 10.1.0.5:4000 > 10.99.0.1:80 P. seq=1 ack=1 len=9000 gso=1460");
    assert_eq!((seen.verdict, seen.leg), (Verdict::Forward, 1));
    let smaller =
        format!("tcp 10.99.0.250:{port} > 10.2.0.11:8080 P. seq=1 ack=1 len=9000 gso=1360 ttl=63");
    assert_eq!(seen.line, canonical(&smaller));
    assert_eq!(bed.transmit(), None);
    // A segment by itself is a packet like any other.
    let seen = bed.send(0, "tcp 10.1.0.5:4000 > 10.99.0.1:80 . seq=1 ack=1 len=1460");
    assert!(seen.line.contains("frag=0+"), "{}", seen.line);
    assert!(bed.transmit().is_some());
}

#[test]
fn what_would_make_too_many_pieces_is_dropped() {
    let mut config = config();
    config.legs[1].mtu = 68;
    let mut bed = Bed::new(config);
    bed.send(0, "tcp 10.1.0.5:4000 > 10.99.0.1:80 S");
    let segments = nat::limits::MAX_PIECES;
    // 28 bytes fit behind the headers.
    let line = |len| format!("tcp 10.1.0.5:4000 > 10.99.0.1:80 . seq=1 ack=1 len={len} gso=1460");
    assert_eq!(bed.send(0, &line(28 * segments)).verdict, Verdict::Forward);
    let dropped = Verdict::Drop(DropReason::PacketTooBig);
    assert_eq!(bed.send(0, &line(28 * segments + 1)).verdict, dropped);

    // Datagrams of 60 bytes of payload make two fragments each.
    let line = |len| format!("udp 10.1.0.5:5000 > 10.99.0.1:53 len={len} gso=60");
    let (verdict, all) = pass(&mut bed, packet_on(0, &line(60 * segments / 2)));
    assert_eq!((verdict, all.len()), (Verdict::Forward, segments));
    let (verdict, all) = pass(&mut bed, packet_on(0, &line(60 * segments / 2 + 60)));
    assert_eq!((verdict, all.len()), (dropped, 1));
}

#[test]
fn fragments_make_the_packet_that_would_have_been_forwarded_whole() {
    let mut rng = Rng::new(20);
    let mut seen_ids = Vec::new();
    for round in 0..500 {
        let len = 40 + rng.below(8_000) as usize;
        let mtu = 68 + rng.below(1_500) as u16;
        let id = rng.below(3);
        let csum = ["", " csum=partial", " csum=none"][rng.below(3) as usize];
        let options =
            ["", " ipopt=0707040000000001", " ipopt=8804000b01070304"][rng.below(3) as usize];
        let kind = match rng.below(3) {
            0 => format!("udp 10.1.0.5:5000 > 10.99.0.1:53 len={len}{csum}"),
            1 => format!("icmp 10.1.0.5 > 10.99.0.4 echo id=4 seq=9 len={len}"),
            _ => format!("tcp 10.1.0.5:4000 > 10.99.0.1:81 S len={len}"),
        };
        let sent = packet_on(0, &format!("{kind}{options} ipid={id} tos=3"));
        let run = |mtu| {
            let mut config = config();
            config.legs[1].mtu = mtu;
            pass(&mut Bed::new(config), sent.clone())
        };
        let (verdict, mut whole) = run(0);
        assert_eq!((verdict, whole.len()), (Verdict::Forward, 1));
        let whole = &mut whole[0];
        checksum::complete(whole);
        whole.offload = Offload::default();

        let (verdict, mut pieces) = run(mtu);
        pieces.iter_mut().for_each(checksum::complete);
        assert_eq!(verdict, Verdict::Forward, "round {round}");
        for piece in &pieces {
            assert!(piece.len() <= mtu.into() && piece.leg == LegId(1), "round {round}");
            oracle::assert_checksums(piece);
        }
        let joined = reassemble(&pieces).unwrap();
        if pieces.len() > 1 && id == 0 {
            let chosen = joined.data()[4..6].to_vec();
            assert_ne!(chosen, [0, 0]);
            seen_ids.push(chosen.clone());
            whole.data_mut()[4..6].copy_from_slice(&chosen);
            let header = usize::from(whole.data()[0] & 15) * 4;
            whole.data_mut()[10..12].fill(0);
            let sum = !checksum::sum(&whole.data()[..header]);
            whole.data_mut()[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        assert_eq!(joined.data(), whole.data(), "round {round}: {kind}");
        let headers = Headers::parse(&joined).unwrap();
        assert!(checksum::verify_transport(&joined, &headers), "round {round}");
    }
    assert!(seen_ids.len() > 50);
}

/// The MSS options, in order, that `line`'s packet has after it went through a bed.
fn mss_of(line: &str) -> Vec<&str> {
    line.split(' ').filter_map(|word| word.strip_prefix("mss=")).collect()
}

#[test]
fn both_syns_say_what_the_narrower_leg_carries() {
    for (Ends { client, vip, snat, backend, .. }, mss) in [(V4, 1360), (V6, 1340)] {
        for (leg, csum) in [(0, ""), (1, ""), (0, " csum=partial"), (1, " csum=partial")] {
            let mut bed = Bed::new(narrow(leg));
            let (above, below) = (mss + 1, mss - 1);
            let syn = |mss| format!("tcp {client}:4000 > {vip}:80 S mss={mss} ws=7{csum}");
            for (said, then) in [(above, mss), (mss, mss), (below, below)] {
                // The first, and those sent again.
                let seen = bed.send(0, &syn(said));
                let port = bed.flow().snat.port;
                let line =
                    format!("tcp {snat}:{port} > {backend}:8080 S mss={then} ws=7 ttl=63{csum}");
                assert_eq!(seen.line, canonical(&line));
            }
            let port = bed.flow().snat.port;
            for (said, then) in [(above, mss), (below, below)] {
                let line = |src: &str, dst: &str, mss: i32, ttl| {
                    format!("tcp {src} > {dst} S. ack=1 mss={mss} nop ttl={ttl}{csum}")
                };
                let (from, to) = (format!("{backend}:8080"), format!("{snat}:{port}"));
                let seen = bed.send(1, &line(&from, &to, said, 64));
                let (from, to) = (format!("{vip}:80"), format!("{client}:4000"));
                assert_eq!(seen.line, canonical(&line(&from, &to, then, 63)));
            }
            // Not a SYN: whatever the option means there, it is not ours to change.
            let seen = bed.send(0, &format!("tcp {client}:4000 > {vip}:80 . ack=1 mss=9000{csum}"));
            assert_eq!(mss_of(&seen.line), ["9000"]);
        }
    }
}

#[test]
fn a_syn_without_the_option_gets_none_and_unknown_legs_change_none() {
    let mut bed = Bed::new(narrow(1));
    let seen = bed.send(0, "tcp 10.1.0.5:4000 > 10.99.0.1:80 S ws=7 sackok");
    assert!(mss_of(&seen.line).is_empty(), "{}", seen.line);
    let mut config = config();
    config.legs.iter_mut().for_each(|leg| leg.mtu = 0);
    let seen = Bed::new(config).send(0, "tcp 10.1.0.5:4000 > 10.99.0.1:80 S mss=65535");
    assert_eq!(mss_of(&seen.line), ["65535"]);
}

#[test]
fn a_syn_offered_to_another_backend_is_clamped_again() {
    let mut bed = Bed::new(narrow(1));
    bed.send(0, "tcp 10.1.0.5:4000 > 10.99.0.1:80 S seq=7 mss=1460");
    let port = bed.flow().snat.port;
    let refused = format!("tcp 10.2.0.11:8080 > 10.99.0.250:{port} R. ack=8");
    let seen = bed.send(1, &refused);
    assert_eq!((seen.verdict, seen.leg), (Verdict::Forward, 1));
    assert!(seen.line.contains("> 10.2.0.12:8080 S"), "{}", seen.line);
    assert_eq!(mss_of(&seen.line), ["1360"]);
}

#[test]
fn of_any_options_only_the_mss_changes_and_the_sum_stays_right() {
    let mut rng = Rng::new(9);
    let mut lowered = 0;
    for round in 0..3_000 {
        // A list of plausible options and some bytes that are none.
        let mut options = String::new();
        for _ in 0..rng.below(6) {
            options += match rng.below(7) {
                0 => " nop",
                1 => " mss=1460",
                2 => " mss=1360",
                3 => " ws=7",
                4 => " sackok",
                5 => " opt=020405",
                _ => " opt=fd03aa",
            };
        }
        let csum = ["", " csum=partial"][rng.below(2) as usize];
        let (client, vip) =
            [("10.1.0.5", "10.99.0.1"), ("[fd01::5]", "[fd99::1]")][rng.below(2) as usize];
        let sent = packet_on(0, &format!("tcp {client}:4000 > {vip}:81 S{options}{csum}"));
        let run = |mtu| {
            let mut config = config();
            config.legs[1].mtu = mtu;
            pass(&mut Bed::new(config), sent.clone()).1.remove(0)
        };
        let (before, after) = (run(0), run(1_390));
        let headers = Headers::parse(&after).unwrap();
        let l4 = headers.l4();
        let most = (1_390 - l4 - 20) as u16;
        let expected = lowest(&before.data()[l4..], most);
        lowered += usize::from(expected != before.data()[l4 + 20..]);
        assert_eq!(&after.data()[l4 + 20..], expected, "round {round}:{options}");
        assert_eq!(after.data()[..l4], before.data()[..l4]);
        assert_eq!(after.data()[l4..l4 + 16], before.data()[l4..l4 + 16]);
        let mut wire = after.clone();
        checksum::complete(&mut wire);
        assert!(checksum::verify_transport(&wire, &headers), "round {round}:{options}");
        oracle::assert_checksums(&wire);
        if matches!(after.offload.checksum, Checksum::Partial { .. }) {
            assert_eq!(after.data()[l4 + 16..l4 + 18], before.data()[l4 + 16..l4 + 18]);
        }
    }
    assert!(lowered > 500);
}

/// The options of a SYN, with no MSS above `most`: read by the book, from the first on.
fn lowest(syn: &[u8], most: u16) -> Vec<u8> {
    assert_ne!(syn[13] & TcpFlags::SYN.0, 0);
    let mut options = syn[20..].to_vec();
    let mut at = 0;
    while at < options.len() && options[at] != 0 {
        if options[at] == 1 {
            at += 1;
            continue;
        }
        let len = options.get(at + 1).map_or(0, |len| usize::from(*len));
        if len < 2 || at + len > options.len() {
            break;
        }
        if (options[at], len) == (2, 4) {
            let mss = u16::from_be_bytes([options[at + 2], options[at + 3]]).min(most);
            options[at + 2..at + 4].copy_from_slice(&mss.to_be_bytes());
        }
        at += len;
    }
    options
}

#[test]
fn the_text_of_an_error_is_the_packet_that_was_sent() {
    // Options in the IPv4 header are part of the quote.
    let mut bed = Bed::new(narrow(1));
    let line = "udp 10.1.0.5:5000 > 10.99.0.1:53 len=1400 df ipopt=01010101 ipid=77 tos=4";
    let seen = bed.send(0, line);
    assert_eq!(seen.line, too_big("10.99.0.1", "10.1.0.5", NARROW, line));
    let sent = text::packet(line).unwrap();
    let (_, all) = pass(&mut bed, packet_on(0, line));
    assert_eq!(all[0].data()[28..], sent.data()[..548], "to the last byte that fits");
}
