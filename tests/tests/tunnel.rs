//! Direct server return: what clients send is wrapped for a backend that answers them directly.

use std::time::Duration;

use nat::flow::tcp::TcpState;
use nat::flow::{Kind, State};
use nat::limits::TUNNEL_PATH_TIME;
use nat::tunnel::GUE_PORT;
use nat::{
    AffinityConfig, BackendId, BackendState, Config, ConfigError, DropReason, Encapsulation,
    Engine, Mode, Nat, PoolId, Scheduler, Verdict,
};
use netstack::Packet;
use netstack::wire::text;
use tests::bed::{Bed, addr, canonical, leg, pool, service};
use tests::oracle;
use tests::reassembly::reassemble;
use tests::tunnel::Unwrapped;

const GUE: Encapsulation = Encapsulation::Gue { port: GUE_PORT };
const V4: &[&str] = &["10.2.0.11:0", "10.2.0.12:0"];
const V6: &[&str] = &["[fd02::11]:0", "[fd02::12]:0"];

/// Services of either family, and of each protocol, over one pool.
fn config(encapsulation: Encapsulation, backends: &[&str]) -> Config {
    let legs = vec![leg(&["10.1.0.0/24", "fd01::/64"]), leg(&["10.2.0.0/24", "fd02::/64"])];
    let mode = Mode::Nat(Nat::Tunnel(encapsulation));
    let services = vec![
        service("tcp 10.99.0.1:80, tcp [fd99::1]:80", mode, 0),
        service("udp 10.99.0.1:53, udp [fd99::1]:53", mode, 0),
        service("icmp 10.99.0.4, icmp fd99::4", mode, 0),
    ];
    let mut config = Config::new(42, legs, vec![pool("all", backends)], services);
    config.snat.addresses = vec![addr("10.99.0.250"), addr("fd99::250")];
    config
}

fn packet(line: &str) -> Packet {
    text::packet(line).unwrap_or_else(|e| panic!("{}", e.underline(line)))
}

/// What `line` becomes, which must be one packet by the backends' leg.
fn wrapped(bed: &mut Bed, line: &str) -> Packet {
    let mut all = bed.send_for_all(0, packet(line));
    assert_eq!(all.len(), 1, "{line}");
    let only = all.remove(0);
    assert_eq!(only.leg.0, 1, "{line}");
    only
}

/// The verdict on `line`, and its line after.
fn verdict(bed: &mut Bed, from: u16, line: &str) -> (Verdict, u16, String) {
    let seen = bed.send(from, line);
    (seen.verdict, seen.leg, seen.line)
}

/// `icmp …` about an outer packet, from a router on the way to the backend.
fn about(outer: &Packet, what: &str) -> String {
    let v4 = outer.data()[0] >> 4 == 4;
    let (router, us) = if v4 { ("10.2.0.1", "10.99.0.250") } else { ("fd02::1", "fd99::250") };
    let line = text::Line::exact(outer).to_string();
    format!("icmp {router} > {us} {what} about=({line})")
}

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap_or_else(|e| panic!("{e}"));
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// The outer headers with what follows from a hash cleared: flow label, UDP source port and checksum.
fn without_entropy(outer: &[u8]) -> Vec<u8> {
    let mut outer = outer.to_vec();
    let ip = if outer[0] >> 4 == 4 { 20 } else { 40 };
    if ip == 40 {
        outer[1] &= 0xf0;
        outer[2..4].fill(0);
    }
    if outer.len() > ip {
        assert!(outer[ip] >= 0x80, "the upper half of the ports");
        outer[ip..ip + 2].fill(0);
        assert_eq!(outer[ip + 6..ip + 8] == [0, 0], ip == 20, "a UDP checksum over IPv6 alone");
        outer[ip + 6..ip + 8].fill(0);
    }
    outer
}

/// Every pair of families in every encapsulation, byte for byte.
#[test]
fn a_packet_is_wrapped_and_loses_its_hop() {
    const V4_ENDS: &str = "0a6300fa 0a02000b";
    const V6_ENDS: &str = "fd990000000000000000000000000250 fd020000000000000000000000000011";
    let inner_v4 = "tcp 10.1.0.5:40000 > 10.99.0.1:80 S seq=7 mss=1460 tos=0x2a df";
    let inner_v6 = "tcp [fd01::5]:40000 > [fd99::1]:80 S seq=7 mss=1460 tos=0x2a";
    // IPv4: 20 + 44 bytes are 64 (0x40), of IPv6 20 + 64 are 84 (0x54).
    let cases = [
        (Encapsulation::Ipip, V4, inner_v4, format!("452a0040 00004000 4004 2527 {V4_ENDS}")),
        (Encapsulation::Ipip, V4, inner_v6, format!("452a0054 00004000 4029 24ee {V4_ENDS}")),
        (Encapsulation::Ipip, V6, inner_v4, format!("62a00000 002c 04 40 {V6_ENDS}")),
        (Encapsulation::Ipip, V6, inner_v6, format!("62a00000 0040 29 40 {V6_ENDS}")),
        (
            GUE,
            V4,
            inner_v4,
            format!("452a004c 00004000 4011 250e {V4_ENDS} 000017c0 00380000 00040000"),
        ),
        (
            GUE,
            V4,
            inner_v6,
            format!("452a0060 00004000 4011 24fa {V4_ENDS} 000017c0 004c0000 00290000"),
        ),
        (GUE, V6, inner_v4, format!("62a00000 0038 11 40 {V6_ENDS} 000017c0 00380000 00040000")),
        (GUE, V6, inner_v6, format!("62a00000 004c 11 40 {V6_ENDS} 000017c0 004c0000 00290000")),
    ];
    for (encapsulation, backends, line, outer) in cases {
        for csum in ["", " csum=partial"] {
            let mut bed = Bed::new(config(encapsulation, backends));
            let packet = wrapped(&mut bed, &format!("{line}{csum}"));
            oracle::assert_checksums(&packet);
            assert_eq!(packet.offload, netstack::packet::Offload::default());
            let Unwrapped { outer: found, inner } = Unwrapped::of(&packet);
            assert_eq!(without_entropy(&found), hex(&outer), "{line} in {backends:?}");
            oracle::assert_checksums(&inner);
            let expected = canonical(&format!("{line} ttl=63"));
            assert_eq!(text::Line::of(&inner).to_string(), expected);
            bed.engine.assert_consistent();
        }
    }
}

#[test]
fn a_flow_keeps_its_ports_in_the_outer_headers_and_flows_differ() {
    let mut bed = Bed::new(config(GUE, V4));
    let mut port = |client: u16, flags: &str| {
        let line = format!("tcp 10.1.0.5:{client} > 10.99.0.1:80 {flags}");
        Unwrapped::of(&wrapped(&mut bed, &line)).outer[20..22].to_vec()
    };
    let first = port(40_000, "S");
    assert_eq!(port(40_000, ". seq=1 ack=1"), first);
    let others: std::collections::HashSet<_> = (40_001..40_033).map(|p| port(p, "S")).collect();
    assert!(others.len() > 24, "{}", others.len());
}

#[test]
fn one_side_of_a_connection_is_enough_to_follow_it() {
    let steps = [
        ("S seq=99", TcpState::SynSent),
        (". seq=100 ack=1", TcpState::Established),
        ("P. seq=100 ack=1 len=50", TcpState::Established),
        // Too far from what it sent last to be its own.
        ("R seq=900000", TcpState::Established),
        ("F. seq=150 ack=900", TcpState::Closing),
        (". seq=151 ack=901", TcpState::Closing),
    ];
    let mut bed = Bed::new(config(Encapsulation::Ipip, V4));
    for (words, state) in steps {
        wrapped(&mut bed, &format!("tcp 10.1.0.5:40000 > 10.99.0.1:80 {words}"));
        assert_eq!(bed.flow().state, State::Tcp(state), "{words}");
    }
    assert_eq!(bed.flow().kind, Kind::Tunnel);
    assert_eq!((bed.flow().forward.packets, bed.flow().reverse.packets), (6, 0));
    assert_eq!(bed.engine.pools()[0].backends()[0].active, 0);
}

/// Of the backend's half nothing is known here: a download may go on after the client's FIN.
#[test]
fn a_syn_moves_no_half_closed_connection_to_another_backend() {
    let mut bed = Bed::new(config(Encapsulation::Ipip, V4));
    let send = |bed: &mut Bed, words: &str| {
        let line = format!("tcp 10.1.0.5:40000 > 10.99.0.1:80 {words}");
        (Unwrapped::of(&wrapped(bed, &line)).backend(), bed.flow().state)
    };
    let active = |bed: &Bed| bed.engine.pools()[0].backends()[0].active;
    let (established, closing) = (State::Tcp(TcpState::Established), State::Tcp(TcpState::Closing));
    for words in ["S seq=99", ". seq=100 ack=1", "F. seq=100 ack=900"] {
        assert_eq!(send(&mut bed, words).0, 11);
    }
    // The backend that has forgotten the connection would accept it.
    for words in ["S seq=5000", "S seq=5000", ". seq=101 ack=5900", ". seq=101 ack=9900"] {
        assert_eq!(send(&mut bed, words), (11, closing), "{words}");
        assert_eq!(active(&bed), 0);
    }
    assert_eq!(bed.engine.stats().flows_opened, 1);
    // When the client goes on from there, the backend has.
    assert_eq!(send(&mut bed, ". seq=5001 ack=1"), (11, established));
    assert_eq!(active(&bed), 1);
    assert_eq!(send(&mut bed, "F. seq=5001 ack=1"), (11, closing));
    assert_eq!(active(&bed), 0);
    // One that is out serves neither the old connection nor a new one.
    let now = bed.now;
    bed.engine.set_backend_state(now, PoolId(0), BackendId(0), BackendState::Down);
    assert_eq!(send(&mut bed, "S seq=9000"), (12, State::Tcp(TcpState::SynSent)));
    assert_eq!(bed.flow().forward.packets, 1, "a new flow");
    // Nor is there anything to cut off once the client has reset the connection.
    send(&mut bed, "R. seq=9001 ack=1");
    send(&mut bed, "S seq=70000");
    assert_eq!(bed.engine.stats().flows_opened, 3);
}

#[test]
fn a_reset_ends_a_flow_and_traffic_revives_it() {
    let mut bed = Bed::new(config(Encapsulation::Ipip, V4));
    for (words, state) in [
        ("S seq=99", TcpState::SynSent),
        ("R. seq=100 ack=1", TcpState::Reset),
        (". seq=100 ack=1", TcpState::Established),
        ("R seq=100", TcpState::Reset),
    ] {
        wrapped(&mut bed, &format!("tcp 10.1.0.5:40000 > 10.99.0.1:80 {words}"));
        assert_eq!(bed.flow().state, State::Tcp(state), "{words}");
    }
}

#[test]
fn idle_flows_are_forgotten_as_under_nat() {
    let timeouts = nat::Timeouts::default();
    let cases = [
        (&["tcp 10.1.0.5:40000 > 10.99.0.1:80 S"][..], timeouts.tcp_half_open),
        (
            &[
                "tcp 10.1.0.5:40000 > 10.99.0.1:80 S",
                "tcp 10.1.0.5:40000 > 10.99.0.1:80 . seq=1 ack=1",
            ],
            timeouts.tcp_established,
        ),
        (
            &[
                "tcp 10.1.0.5:40000 > 10.99.0.1:80 S",
                "tcp 10.1.0.5:40000 > 10.99.0.1:80 F. seq=1 ack=1",
            ],
            timeouts.tcp_closing,
        ),
        (&["udp 10.1.0.5:40000 > 10.99.0.1:53 len=9"], timeouts.udp),
        (&["icmp 10.1.0.5 > 10.99.0.4 echo id=7"], timeouts.icmp),
    ];
    for (lines, idle) in cases {
        let mut bed = Bed::new(config(Encapsulation::Ipip, V4));
        for line in lines {
            wrapped(&mut bed, line);
        }
        bed.wait(idle.mul_f64(0.999));
        assert_eq!(bed.engine.flows().len(), 1, "{lines:?}");
        bed.wait(idle.mul_f64(0.002));
        assert_eq!(bed.engine.flows().len(), 0, "{lines:?}");
    }
}

#[test]
fn what_a_client_alone_established_gives_way_at_the_limit() {
    let mut config = config(Encapsulation::Ipip, V4);
    config.limits.flows = 4;
    let mut bed = Bed::new(config);
    for port in 1..=6 {
        for words in ["S", ". seq=1 ack=1"] {
            wrapped(&mut bed, &format!("tcp 10.1.0.5:{port} > 10.99.0.1:80 {words}"));
        }
    }
    assert_eq!(bed.engine.flows().len(), 4);
    assert_eq!(bed.engine.stats().flows_evicted, 2);
}

#[test]
fn echo_and_datagrams_are_carried_too() {
    for backends in [V4, V6] {
        let mut bed = Bed::new(config(Encapsulation::Ipip, backends));
        for line in [
            "udp 10.1.0.5:5000 > 10.99.0.1:53 len=20",
            "udp [fd01::5]:5000 > [fd99::1]:53 len=20",
            "icmp 10.1.0.5 > 10.99.0.4 echo id=7 seq=1 len=8",
            "icmp fd01::5 > fd99::4 echo id=7 seq=1 len=8",
        ] {
            let found = Unwrapped::of(&wrapped(&mut bed, line)).line();
            assert_eq!(found, canonical(&format!("{line} ttl=63")));
        }
    }
}

#[test]
fn a_hop_is_counted_and_hidden_if_asked_for() {
    let mut bed = Bed::new(config(Encapsulation::Ipip, V4));
    let line = "tcp 10.1.0.5:40000 > 10.99.0.1:80 S ttl=1";
    assert_eq!(bed.send(0, line).verdict, Verdict::Reject(DropReason::TtlExceeded));
    assert_eq!(bed.engine.flows().len(), 0);
    assert_eq!(bed.engine.stats().flows_opened, 0);
    let mut config = config(Encapsulation::Ipip, V4);
    config.hide_hop = true;
    let mut bed = Bed::new(config);
    assert_eq!(Unwrapped::of(&wrapped(&mut bed, line)).line(), canonical(line));
}

#[test]
fn nobody_answers_through_us() {
    let mut bed = Bed::new(config(Encapsulation::Ipip, V4));
    wrapped(&mut bed, "tcp 10.1.0.5:40000 > 10.99.0.1:80 S seq=99");
    for words in ["S. seq=1 ack=100", "R. ack=100", ". seq=1 ack=100"] {
        let line = format!("tcp 10.99.0.1:80 > 10.1.0.5:40000 {words}");
        assert_eq!(bed.send(1, &line).verdict, Verdict::Drop(DropReason::Martian), "{words}");
        assert_eq!(bed.flow().state, State::Tcp(TcpState::SynSent), "{words}");
    }
}

#[test]
fn a_client_stays_while_its_backend_drains() {
    let mut config = config(Encapsulation::Ipip, V4);
    config.pools[0].affinity = Some(AffinityConfig::new(Duration::from_mins(5)));
    let mut bed = Bed::new(config);
    let backend = |bed: &mut Bed, line: &str| Unwrapped::of(&wrapped(bed, line)).backend();
    let first = backend(&mut bed, "tcp 10.1.0.5:40000 > 10.99.0.1:80 S");
    assert_eq!(first, 11);
    let now = bed.now;
    bed.engine.set_backend_state(now, PoolId(0), BackendId(0), BackendState::Drain);
    assert_eq!(backend(&mut bed, "tcp 10.1.0.5:40000 > 10.99.0.1:80 . seq=1 ack=1"), 11);
    assert_eq!(backend(&mut bed, "tcp 10.1.0.5:40001 > 10.99.0.1:80 S"), 11, "by affinity");
    assert_eq!(backend(&mut bed, "tcp 10.1.0.6:40000 > 10.99.0.1:80 S"), 12, "a new client");
    // Datagrams are not wasted on one that is out.
    assert_eq!(backend(&mut bed, "udp 10.1.0.5:40000 > 10.99.0.1:53"), 11);
    bed.engine.set_backend_state(now, PoolId(0), BackendId(0), BackendState::Maint);
    assert_eq!(backend(&mut bed, "udp 10.1.0.5:40000 > 10.99.0.1:53"), 12);
}

#[test]
fn a_repeated_syn_goes_to_another_backend() {
    let mut bed = Bed::new(config(Encapsulation::Ipip, V4));
    let line = "tcp 10.1.0.5:40000 > 10.99.0.1:80 S seq=99";
    assert_eq!(Unwrapped::of(&wrapped(&mut bed, line)).backend(), 11);
    bed.wait(Duration::from_secs(1));
    let again = Unwrapped::of(&wrapped(&mut bed, line));
    assert_eq!((again.backend(), again.line()), (12, canonical(&format!("{line} ttl=63"))));
    assert_eq!(bed.engine.stats().syn_failovers, 1);
    let active = |bed: &Bed| bed.engine.pools()[0].backends().iter().map(|b| b.active).collect();
    let counts: Vec<u32> = active(&bed);
    assert_eq!(counts, [0, 1]);
    // Once the client goes on, its connection stays.
    wrapped(&mut bed, "tcp 10.1.0.5:40000 > 10.99.0.1:80 . seq=100 ack=1");
    bed.wait(Duration::from_secs(1));
    assert_eq!(Unwrapped::of(&wrapped(&mut bed, line)).backend(), 12);
}

#[test]
fn connections_are_picked_up_by_the_clients_segment() {
    let mut config = config(Encapsulation::Ipip, V4);
    config.pools[0].scheduler = Scheduler::Maglev;
    config.services[0].pickup = true;
    let mut before = Bed::new(config.clone());
    for port in 40_000..40_050 {
        let syn = format!("tcp 10.1.0.5:{port} > 10.99.0.1:80 S");
        let backend = Unwrapped::of(&wrapped(&mut before, &syn)).backend();
        let mut after = Bed::new(config.clone());
        let segment = format!("tcp 10.1.0.5:{port} > 10.99.0.1:80 P. seq=500 ack=7 len=4");
        assert_eq!(Unwrapped::of(&wrapped(&mut after, &segment)).backend(), backend);
        assert_eq!(after.flow().state, State::Tcp(TcpState::PickedUp));
        wrapped(&mut after, &format!("tcp 10.1.0.5:{port} > 10.99.0.1:80 . seq=504 ack=7"));
        assert_eq!(after.flow().state, State::Tcp(TcpState::Established));
    }
}

/// Lines of the longest packet that is carried whole, by encapsulation and families.
#[test]
fn what_does_not_fit_with_its_headers_is_refused_with_what_would() {
    let cases = [
        (Encapsulation::Ipip, V4, 20),
        (GUE, V4, 32),
        (Encapsulation::Ipip, V6, 40),
        (GUE, V6, 52),
    ];
    for (encapsulation, backends, overhead) in cases {
        for (ends, headers, df) in
            [("10.1.0.5:5000 > 10.99.0.1:53", 28, " df"), ("[fd01::5]:5000 > [fd99::1]:53", 48, "")]
        {
            let mut bed = Bed::new(config(encapsulation, backends));
            let room = 1500 - overhead;
            let line = |len: usize| format!("udp {ends} len={}{df}", len - headers);
            let whole = wrapped(&mut bed, &line(room));
            assert_eq!(whole.len(), 1500);
            let (verdict, leg, error) = verdict(&mut bed, 0, &line(room + 1));
            assert_eq!((verdict, leg), (Verdict::Reject(DropReason::PacketTooBig), 0));
            assert!(error.contains(&format!("too-big mtu={room} ")), "{error}");
            assert!(error.contains(&format!("about=(udp {ends}")), "{error}");
        }
    }
}

#[test]
fn ipv4_that_allows_it_is_carried_in_fragments() {
    for (encapsulation, backends) in
        [(Encapsulation::Ipip, V4), (GUE, V4), (Encapsulation::Ipip, V6), (GUE, V6)]
    {
        let mut bed = Bed::new(config(encapsulation, backends));
        let line = "udp 10.1.0.5:5000 > 10.99.0.1:53 len=3000 ipid=77";
        let pieces = bed.send_for_all(0, packet(line));
        assert_eq!(pieces.len(), 3, "{encapsulation:?}");
        assert!(pieces.iter().all(|piece| piece.len() <= 1500 && piece.leg.0 == 1));
        let whole = reassemble(&pieces).unwrap();
        assert_eq!(Unwrapped::of(&whole).line(), canonical(&format!("{line} ttl=63")));
    }
}

/// IPv6 must get 1,280 bytes through, whatever is in the way (RFC 8200 section 5).
#[test]
fn the_least_mtu_of_ipv6_holds_inside_a_tunnel() {
    for backends in [V4, V6] {
        let mut config = config(Encapsulation::Ipip, backends);
        config.legs[1].mtu = 1280;
        let mut bed = Bed::new(config);
        let line = |len: usize| format!("udp [fd01::5]:5000 > [fd99::1]:53 len={}", len - 48);
        let pieces = bed.send_for_all(0, packet(&line(1280)));
        assert_eq!(pieces.len(), 2);
        assert!(pieces.iter().all(|piece| piece.len() <= 1280));
        let whole = Unwrapped::of(&reassemble(&pieces).unwrap());
        assert_eq!(whole.line(), canonical(&format!("{} ttl=63", line(1280))));
        let (verdict, _, error) = verdict(&mut bed, 0, &line(1281));
        assert_eq!(verdict, Verdict::Reject(DropReason::PacketTooBig));
        assert!(error.contains("too-big mtu=1280 "), "{error}");
    }
}

#[test]
fn a_super_packet_becomes_segments_that_are_wrapped_one_by_one() {
    for (encapsulation, backends, room) in [(Encapsulation::Ipip, V4, 1480), (GUE, V6, 1448)] {
        for (ends, headers) in
            [("10.1.0.5:4000 > 10.99.0.1:80", 40), ("[fd01::5]:4000 > [fd99::1]:80", 60)]
        {
            let mut bed = Bed::new(config(encapsulation, backends));
            wrapped(&mut bed, &format!("tcp {ends} S seq=99"));
            let size = room - headers;
            let line = format!("tcp {ends} P. seq=100 ack=1 len=10000 gso={size}");
            let all = bed.send_for_all(0, packet(&line));
            assert_eq!(all.len(), 10_000_usize.div_ceil(size));
            let mut sent = 0;
            for packet in &all {
                oracle::assert_checksums(packet);
                assert!(packet.len() <= 1500 && packet.offload.gso.is_none());
                let inner = Unwrapped::of(packet).inner;
                oracle::assert_checksums(&inner);
                sent += inner.len() - headers;
            }
            assert_eq!(sent, 10_000);
            // One byte more a segment does not fit, and forbids fragments.
            let df = if headers == 40 { " df" } else { "" };
            let line = format!("tcp {ends} P. seq=100 ack=1 len=10000 gso={}{df}", size + 1);
            let refused = bed.send(0, &line);
            assert_eq!(refused.verdict, Verdict::Reject(DropReason::PacketTooBig));
            assert!(refused.line.contains(&format!("too-big mtu={room} ")), "{}", refused.line);
        }
    }
}

#[test]
fn a_super_packet_that_allows_fragments_is_cut_into_smaller_segments() {
    let mut bed = Bed::new(config(Encapsulation::Ipip, V4));
    let line = "tcp 10.1.0.5:4000 > 10.99.0.1:80 S seq=99";
    wrapped(&mut bed, line);
    let line = "tcp 10.1.0.5:4000 > 10.99.0.1:80 P. seq=100 ack=1 len=10000 gso=1460";
    let all = bed.send_for_all(0, packet(line));
    assert_eq!(all.len(), 10_000_usize.div_ceil(1440));
    let mut identifications = std::collections::HashSet::new();
    for packet in &all {
        assert_eq!(packet.data()[6..8], [0, 0], "no fragment, and none forbidden");
        assert!(identifications.insert([packet.data()[4], packet.data()[5]]));
    }
}

#[test]
fn datagrams_of_a_super_packet_keep_their_boundaries() {
    let mut bed = Bed::new(config(Encapsulation::Ipip, V4));
    let line = "udp 10.1.0.5:4000 > 10.99.0.1:53 len=3000 gso=1000";
    let all = bed.send_for_all(0, packet(line));
    let lengths: Vec<_> = all.iter().map(|p| Unwrapped::of(p).inner.len()).collect();
    assert_eq!(lengths, [1028; 3]);
}

#[test]
fn all_fragments_of_a_datagram_go_to_one_backend() {
    let first = "udp 10.1.0.5:5000 > 10.99.0.1:53 frag=0+ ipid=9 len=1000";
    let later = "udp 10.1.0.5 > 10.99.0.1 frag=1008 ipid=9 len=500";
    for early in [false, true] {
        let mut bed = Bed::new(config(Encapsulation::Ipip, V4));
        // Others come between: the backends take turns.
        let mut all = Vec::new();
        for line in if early { [later, first] } else { [first, later] } {
            all.extend(bed.send_for_all(0, packet(line)));
            bed.send(0, "udp 10.1.0.6:5000 > 10.99.0.1:53 len=5");
        }
        let all: Vec<_> = all.iter().map(Unwrapped::of).collect();
        let lines: Vec<_> = all.iter().map(Unwrapped::line).collect();
        let expected = [first, later].map(|line| canonical(&format!("{line} ttl=63")));
        assert_eq!(lines, expected);
        assert_eq!(all[0].backend(), all[1].backend());
        let flow = bed.engine.flows().iter().find(|(_, f)| f.client.address == addr("10.1.0.5"));
        assert_eq!(flow.unwrap().1.forward.packets, 2);
    }
}

#[test]
fn fragments_of_ipv6_keep_their_identification() {
    let mut bed = Bed::new(config(Encapsulation::Ipip, V6));
    for line in [
        "udp [fd01::5]:5000 > [fd99::1]:53 frag=0+ ipid=9 len=1000",
        "udp fd01::5 > fd99::1 frag=1008 ipid=9 len=500",
    ] {
        let found = Unwrapped::of(&wrapped(&mut bed, line)).line();
        assert_eq!(found, canonical(&format!("{line} ttl=63")));
    }
}

/// An error that quotes enough is put into the client's terms.
#[test]
fn a_narrow_path_is_told_to_the_client_and_remembered() {
    for (encapsulation, backends, ends, df, room) in [
        (Encapsulation::Ipip, V4, "10.1.0.5:5000 > 10.99.0.1:53", " df", 1380),
        (GUE, V4, "10.1.0.5:5000 > 10.99.0.1:53", " df", 1368),
        (Encapsulation::Ipip, V6, "10.1.0.5:5000 > 10.99.0.1:53", " df", 1360),
        (Encapsulation::Ipip, V4, "[fd01::5]:5000 > [fd99::1]:53", "", 1380),
        (GUE, V6, "[fd01::5]:5000 > [fd99::1]:53", "", 1348),
    ] {
        let mut bed = Bed::new(config(encapsulation, backends));
        let line = format!("udp {ends} len=1390{df}");
        let outer = wrapped(&mut bed, &line);
        let (seen, leg, error) = verdict(&mut bed, 1, &about(&outer, "too-big mtu=1400"));
        assert_eq!((seen, leg), (Verdict::Forward, 0), "{error}");
        let start =
            if df.is_empty() { "icmp fd99::1 > fd01::5" } else { "icmp 10.99.0.1 > 10.1.0.5" };
        assert!(error.starts_with(&format!("{start} too-big mtu={room} ")), "{error}");
        assert!(error.contains(&format!("about=(udp {ends}")), "{error}");
        // What follows is refused here.
        assert_eq!(bed.send(0, &line).verdict, Verdict::Reject(DropReason::PacketTooBig));
        bed.wait(TUNNEL_PATH_TIME);
        assert_eq!(wrapped(&mut bed, &line).len(), outer.len());
    }
}

/// Routers need quote no more than eight bytes behind the IP header (RFC 792).
#[test]
fn an_error_that_quotes_too_little_narrows_the_path_alone() {
    for encapsulation in [Encapsulation::Ipip, GUE] {
        let mut bed = Bed::new(config(encapsulation, V4));
        let line = "udp 10.1.0.5:5000 > 10.99.0.1:53 len=1390 df";
        let outer = wrapped(&mut bed, line);
        let error = about(&outer, "too-big mtu=1400 cut=28");
        assert_eq!(bed.send(1, &error).verdict, Verdict::Consumed, "{error}");
        assert_eq!(bed.send(0, line).verdict, Verdict::Reject(DropReason::PacketTooBig));
        // What allows fragments is carried in them.
        let pieces = bed.send_for_all(0, packet(&line.replace(" df", " ipid=3")));
        assert_eq!(pieces.len(), 2);
        assert!(pieces.iter().all(|piece| piece.len() <= 1400));
    }
}

#[test]
fn errors_about_what_was_never_sent_change_nothing() {
    let mut bed = Bed::new(config(Encapsulation::Ipip, V4));
    let line = "udp 10.1.0.5:5000 > 10.99.0.1:53 len=1390 df";
    let outer = wrapped(&mut bed, line);
    let too_big = about(&outer, "too-big mtu=1400");
    let dropped = |bed: &mut Bed, line: &str, reason: DropReason| {
        assert_eq!(bed.send(1, line).verdict, Verdict::Drop(reason), "{line}");
    };
    // To another than the outer packet's source, about another backend, about another flow.
    dropped(&mut bed, &too_big.replacen("10.99.0.250", "10.99.0.1", 1), DropReason::IcmpNoFlow);
    // One that is no backend, and one that is, of other flows.
    for backend in [99, 12] {
        let mut other = outer.clone();
        let data = other.data_mut();
        data[19] = backend;
        data[10..12].fill(0);
        let sum = !netstack::wire::checksum::sum(&data[..20]);
        data[10..12].copy_from_slice(&sum.to_be_bytes());
        dropped(&mut bed, &about(&other, "too-big mtu=1400"), DropReason::IcmpNoFlow);
    }
    let mut other = outer.clone();
    other.data_mut()[20 + 20] ^= 1; // The client's port.
    dropped(&mut bed, &about(&other, "too-big mtu=1400"), DropReason::IcmpNoFlow);
    dropped(&mut bed, &format!("{too_big} csum=bad"), DropReason::IcmpChecksum);
    dropped(&mut bed, &about(&outer, "source-quench"), DropReason::IcmpKind);
    assert_eq!(wrapped(&mut bed, line).len(), outer.len(), "the path is as wide as before");
}

#[test]
fn an_unreachable_backend_loses_an_unanswered_syn() {
    for what in ["unreachable code=host", "unreachable code=protocol", "ttl-exceeded code=transit"]
    {
        let mut bed = Bed::new(config(Encapsulation::Ipip, V4));
        let line = "tcp 10.1.0.5:40000 > 10.99.0.1:80 S seq=99";
        let first = wrapped(&mut bed, line);
        let all = bed.send_for_all(1, packet(&about(&first, what)));
        let second = Unwrapped::of(&all[0]);
        assert_eq!((second.backend(), second.line()), (12, canonical(&format!("{line} ttl=63"))));
        assert_eq!(bed.engine.pools()[0].backends()[0].refused, 1);
        // With nobody left, the client hears of it, from the service.
        let (seen, leg, error) = verdict(&mut bed, 1, &about(&all[0], what));
        assert_eq!((seen, leg), (Verdict::Forward, 0));
        let start = "icmp 10.99.0.1 > 10.1.0.5 unreachable code=host ";
        assert!(error.starts_with(start), "{error}");
        assert!(error.contains("about=(tcp 10.1.0.5:40000 > 10.99.0.1:80 S seq=99"), "{error}");
    }
}

/// A guessed sequence number moves no flow (RFC 5927 section 4.1).
#[test]
fn an_unreachable_that_does_not_know_the_syn_moves_no_flow() {
    let mut bed = Bed::new(config(Encapsulation::Ipip, V4));
    let first = wrapped(&mut bed, "tcp 10.1.0.5:40000 > 10.99.0.1:80 S seq=99");
    let mut forged = first.clone();
    forged.data_mut()[20 + 20 + 7] ^= 1;
    bed.send(1, &about(&forged, "unreachable code=host"));
    assert_eq!(bed.engine.stats().syn_failovers, 0);
    assert_eq!(bed.engine.pools()[0].backends()[0].refused, 0);
}

/// They are to the VIP, as whose owner the backend sends; only the backend can use them.
#[test]
fn errors_about_the_backends_packets_are_carried_to_it() {
    for backends in [V4, V6] {
        for (ends, flow, error) in [
            (
                "10.1.0.5:40000 > 10.99.0.1:80",
                "10.99.0.1:80 > 10.1.0.5:40000",
                "icmp 10.1.0.1 > 10.99.0.1 too-big mtu=1400",
            ),
            (
                "[fd01::5]:40000 > [fd99::1]:80",
                "[fd99::1]:80 > [fd01::5]:40000",
                "icmp fd01::1 > fd99::1 too-big mtu=1400",
            ),
        ] {
            let mut bed = Bed::new(config(Encapsulation::Ipip, backends));
            let backend = Unwrapped::of(&wrapped(&mut bed, &format!("tcp {ends} S"))).backend();
            let line = format!("{error} about=(tcp {flow} . seq=1 ack=1 len=1460)");
            let found = Unwrapped::of(&wrapped(&mut bed, &line));
            assert_eq!(found.backend(), backend);
            assert_eq!(found.line(), canonical(&format!("{line} ttl=63")));
            assert_eq!(bed.flow().forward.packets, 1, "none of the client's");
        }
    }
}

#[test]
fn a_service_that_cannot_work_is_refused() {
    let error = |change: &dyn Fn(&mut Config)| {
        let mut config = config(Encapsulation::Ipip, V4);
        change(&mut config);
        Engine::new(config).err()
    };
    let name = || "udp 10.99.0.1:53".to_owned();
    assert_eq!(error(&|_| {}), None);
    let other_port = |config: &mut Config| {
        config.pools.push(pool("other", &["10.2.0.11:80"]));
        config.services[1].pool = PoolId(1);
    };
    assert_eq!(error(&other_port), Some(ConfigError::TunnelPort(name())));
    let same_port = |config: &mut Config| {
        config.pools.push(pool("same", &["10.2.0.11:53"]));
        config.services[1].pool = PoolId(1);
    };
    assert_eq!(error(&same_port), None);
    let no_source = |config: &mut Config| {
        config.pools.push(pool("v6", V6));
        config.services[1].pool = PoolId(1);
        config.snat.addresses.truncate(1);
    };
    assert_eq!(error(&no_source), Some(ConfigError::TunnelSource(name())));
}

#[test]
fn without_a_source_nothing_is_sent() {
    let mut bed = Bed::new(config(Encapsulation::Ipip, V4));
    let line = "udp 10.1.0.5:5000 > 10.99.0.1:53 len=20";
    wrapped(&mut bed, line);
    bed.engine.set_snat_addresses(&[]).unwrap();
    assert_eq!(bed.send(0, line).verdict, Verdict::Drop(DropReason::NoRoute));
    bed.engine.set_snat_addresses(&[addr("10.99.0.251")]).unwrap();
    assert_eq!(Unwrapped::of(&wrapped(&mut bed, line)).outer[15], 251);
}
