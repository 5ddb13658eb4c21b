//! The packet path of services in mode `nat`, packet by packet.

use std::time::Duration;

use nat::flow::State;
use nat::flow::evict::Class;
use nat::flow::tcp::TcpState;
use nat::verdict::DivertTo;
use nat::{BackendId, BackendState, DropReason, PoolId, ServiceId, Verdict, limits};
use netstack::wire::text;
use tests::bed::{Bed, Seen, canonical, config};

fn forward(leg: u16, line: impl AsRef<str>) -> Seen {
    seen(Verdict::Forward, leg, line.as_ref())
}

fn seen(verdict: Verdict, leg: u16, line: &str) -> Seen {
    Seen { verdict, leg, line: canonical(line) }
}

/// A client of one family, its service, and what backends see of it.
struct Case {
    client: &'static str,
    vip: &'static str,
    snat: &'static str,
    backend: &'static str,
}

const V4: Case =
    Case { client: "10.1.0.5", vip: "10.99.0.1", snat: "10.99.0.250", backend: "10.2.0.11" };
const V6: Case =
    Case { client: "[fd01::5]", vip: "[fd99::1]", snat: "[fd99::250]", backend: "[fd02::11]" };

#[test]
fn full_nat_rewrites_both_ends_both_ways() {
    for Case { client, vip, snat, backend } in [V4, V6] {
        for csum in ["", " csum=partial"] {
            let mut bed = Bed::new(config());
            let seen =
                bed.send(0, &format!("tcp {client}:40000 > {vip}:80 S seq=7 mss=1400{csum}"));
            let port = bed.flow().snat.port;
            assert_eq!(
                seen,
                forward(
                    1,
                    format!("tcp {snat}:{port} > {backend}:8080 S seq=7 mss=1400 ttl=63{csum}")
                )
            );
            let seen = bed.send(
                1,
                &format!("tcp {backend}:8080 > {snat}:{port} S. seq=9 ack=8 mss=1400{csum}"),
            );
            assert_eq!(
                seen,
                forward(
                    0,
                    format!("tcp {vip}:80 > {client}:40000 S. seq=9 ack=8 mss=1400 ttl=63{csum}")
                )
            );
            let seen =
                bed.send(0, &format!("tcp {client}:40000 > {vip}:80 P. seq=8 ack=10 len=5{csum}"));
            assert_eq!(
                seen,
                forward(
                    1,
                    format!(
                        "tcp {snat}:{port} > {backend}:8080 P. seq=8 ack=10 len=5 ttl=63{csum}"
                    )
                )
            );
            assert_eq!(bed.flow().state, State::Tcp(TcpState::Established));
        }
    }
}

#[test]
fn dnat_keeps_the_client() {
    for Case { client, vip, backend, .. } in [V4, V6] {
        let mut bed = Bed::new(config());
        let seen = bed.send(0, &format!("tcp {client}:40000 > {vip}:81 S"));
        assert_eq!(seen, forward(1, format!("tcp {client}:40000 > {backend}:8080 S ttl=63")));
        let seen = bed.send(1, &format!("tcp {backend}:8080 > {client}:40000 S. ack=1"));
        assert_eq!(seen, forward(0, format!("tcp {vip}:81 > {client}:40000 S. ack=1 ttl=63")));
    }
}

#[test]
fn a_super_packet_passes_in_one_piece() {
    for (Case { client, vip, snat, backend }, gso) in [(V4, 1448), (V6, 1428)] {
        let mut bed = Bed::new(config());
        bed.send(0, &format!("tcp {client}:40000 > {vip}:80 S"));
        let port = bed.flow().snat.port;
        let seen = bed
            .send(0, &format!("tcp {client}:40000 > {vip}:80 P. seq=1 ack=1 len=60000 gso={gso}"));
        assert_eq!(
            seen,
            forward(
                1,
                format!(
                    "tcp {snat}:{port} > {backend}:8080 P. seq=1 ack=1 len=60000 ttl=63 gso={gso}"
                )
            )
        );
    }
}

#[test]
fn udp_keeps_no_checksum_and_makes_no_zero() {
    let mut bed = Bed::new(config());
    let seen = bed.send(0, "udp 10.1.0.5:5000 > 10.99.0.1:53 len=20 csum=none");
    let port = bed.flow().snat.port;
    let line = format!("udp 10.99.0.250:{port} > 10.2.0.11:8080 len=20 ttl=63 csum=none");
    assert_eq!(seen, forward(1, line));
    // Whatever the payload, a checksum that was there is there afterwards, and right (`Bed` checks).
    for n in 0..=u16::MAX {
        let line = format!("udp 10.1.0.5:5000 > 10.99.0.1:53 data={n:04x}");
        let seen = bed.send(0, &line);
        assert!(!seen.line.contains("csum"), "{}", seen.line);
    }
}

#[test]
fn an_echo_service_maps_the_identifier() {
    for (client, vip, snat, backend) in [
        ("10.1.0.5", "10.99.0.4", "10.99.0.250", "10.2.0.11"),
        ("fd01::5", "fd99::4", "fd99::250", "fd02::11"),
    ] {
        let mut bed = Bed::new(config());
        let seen = bed.send(0, &format!("icmp {client} > {vip} echo id=7 seq=1 len=8"));
        let id = bed.flow().snat.port;
        let line = format!("icmp {snat} > {backend} echo id={id} seq=1 len=8 ttl=63");
        assert_eq!(seen, forward(1, line));
        let seen = bed.send(1, &format!("icmp {backend} > {snat} reply id={id} seq=1 len=8"));
        let line = format!("icmp {vip} > {client} reply id=7 seq=1 len=8 ttl=63");
        assert_eq!(seen, forward(0, line));
    }
}

#[test]
fn a_reply_of_zeros_has_a_checksum_of_ones() {
    // `Bed` finds the wrong ones.
    let mut bed = Bed::new(config());
    let answer = bed.send(0, "icmp 10.1.0.5 > 10.99.0.1 echo id=0 seq=0 data=00000000");
    assert_eq!(answer.verdict, Verdict::Reply);
    bed.send(0, "icmp 10.1.0.5 > 10.99.0.4 echo id=0 seq=0 data=0000");
    let id = bed.flow().snat.port;
    let reply = format!("icmp 10.2.0.11 > 10.99.0.250 reply id={id} seq=0 data=0000");
    assert_eq!(bed.send(1, &reply).verdict, Verdict::Forward);
}

#[test]
fn the_vip_answers_echo_itself() {
    for (client, vip) in [("10.1.0.5", "10.99.0.1"), ("fd01::5", "fd99::1")] {
        let mut bed = Bed::new(config());
        let answer = bed.send(0, &format!("icmp {client} > {vip} echo id=7 seq=1 len=8 ttl=3"));
        let line = format!("icmp {vip} > {client} reply id=7 seq=1 len=8");
        assert_eq!(answer, seen(Verdict::Reply, 0, &line));
    }
}

#[test]
fn what_nobody_listens_for_is_refused_aloud() {
    let reject = |reason, line: &str| seen(Verdict::Reject(reason), 0, line);
    let mut bed = Bed::new(config());
    assert_eq!(
        bed.send(0, "tcp 10.1.0.5:40000 > 10.99.0.1:99 S seq=100"),
        reject(DropReason::NoService, "tcp 10.99.0.1:99 > 10.1.0.5:40000 R. ack=101 win=0 df")
    );
    assert_eq!(
        bed.send(0, "tcp 10.1.0.5:40000 > 10.99.0.1:80 . seq=100 ack=55"),
        reject(DropReason::NoFlow, "tcp 10.99.0.1:80 > 10.1.0.5:40000 R seq=55 win=0 df")
    );
    let seen = bed.send(0, "udp 10.1.0.5:5000 > 10.99.0.1:99 len=4");
    assert_eq!(seen.verdict, Verdict::Reject(DropReason::NoService));
    assert!(
        seen.line.starts_with(
            "icmp 10.99.0.1 > 10.1.0.5 unreachable code=port about=(udp 10.1.0.5:5000 > 10.99.0.1:99"
        ),
        "{}",
        seen.line
    );
    let seen = bed.send(0, "udp [fd01::5]:5000 > [fd99::1]:99 len=4");
    assert_eq!(seen.verdict, Verdict::Reject(DropReason::NoService));
    let seen = bed.send(0, "tcp 10.1.0.5:40000 > 10.99.0.1:99 R seq=1");
    assert_eq!(seen.verdict, Verdict::Drop(DropReason::NoFlow), "never a RST about a RST");
}

#[test]
fn a_refused_syn_is_offered_to_the_next_backend() {
    for Case { client, vip, snat, backend } in [V4, V6] {
        let mut bed = Bed::new(config());
        bed.send(0, &format!("tcp {client}:40000 > {vip}:80 S seq=7 mss=1400"));
        let port = bed.flow().snat.port;
        let seen = bed.send(1, &format!("tcp {backend}:8080 > {snat}:{port} R. ack=8"));
        let next = bed.flow().snat.port;
        let second = backend.replace("11", "12");
        let line = format!("tcp {snat}:{next} > {second}:8080 S seq=7 mss=1400 ttl=63");
        assert_eq!(seen, forward(1, line));
        // The last one's refusal is the client's.
        let seen = bed.send(1, &format!("tcp {second}:8080 > {snat}:{next} R. ack=8"));
        assert_eq!(seen, forward(0, format!("tcp {vip}:80 > {client}:40000 R. ack=8 ttl=63")));
        assert_eq!(bed.engine.stats().syn_failovers, 1);
    }
}

#[test]
fn a_syn_that_cannot_reach_its_backend_goes_to_another() {
    let mut bed = Bed::new(config());
    bed.send(0, "tcp 10.1.0.5:40000 > 10.99.0.1:80 S seq=7");
    let port = bed.flow().snat.port;
    let seen = bed.send(
        1,
        &format!(
            "icmp 10.2.0.1 > 10.99.0.250 unreachable code=host about=(tcp 10.99.0.250:{port} > \
             10.2.0.11:8080 S seq=7)"
        ),
    );
    let next = bed.flow().snat.port;
    assert_eq!(seen, forward(1, format!("tcp 10.99.0.250:{next} > 10.2.0.12:8080 S seq=7 ttl=63")));
}

#[test]
fn an_established_flow_is_not_moved_by_a_reset() {
    let mut bed = Bed::new(config());
    bed.send(0, "tcp 10.1.0.5:40000 > 10.99.0.1:80 S");
    let port = bed.flow().snat.port;
    bed.send(1, &format!("tcp 10.2.0.11:8080 > 10.99.0.250:{port} S. ack=1"));
    let seen = bed.send(1, &format!("tcp 10.2.0.11:8080 > 10.99.0.250:{port} R seq=1"));
    assert_eq!(seen, forward(0, "tcp 10.99.0.1:80 > 10.1.0.5:40000 R seq=1 ttl=63"));
}

#[test]
fn errors_about_a_flow_reach_its_owner_in_its_own_words() {
    // From a router behind us, about what went to the backend: to the client.
    for (Case { client, vip, snat, backend }, router) in [(V4, "10.2.0.1"), (V6, "fd02::1")] {
        let bare = |text: &str| text.trim_matches(['[', ']']).to_owned();
        let mut bed = Bed::new(config());
        bed.send(0, &format!("tcp {client}:40000 > {vip}:80 S seq=7"));
        let port = bed.flow().snat.port;
        bed.send(1, &format!("tcp {backend}:8080 > {snat}:{port} S. ack=8"));
        let seen = bed.send(
            1,
            &format!(
                "icmp {router} > {} too-big mtu=1400 about=(tcp {snat}:{port} > {backend}:8080 . \
                 seq=8 len=1400)",
                bare(snat)
            ),
        );
        assert_eq!((seen.verdict, seen.leg), (Verdict::Forward, 0));
        let (vip_, client_) = (bare(vip), bare(client));
        let start = format!(
            "icmp {vip_} > {client_} too-big mtu=1400 about=(tcp {client}:40000 > {vip}:80 . seq=8"
        );
        assert!(seen.line.starts_with(&start), "{}", seen.line);

        // From a router before us, about what went to the client: to the backend.
        let seen = bed.send(
            0,
            &format!(
                "icmp {} > {vip_} ttl-exceeded code=transit about=(tcp {vip}:80 > {client}:40000 . seq=1)",
                router.replace("02", "01").replace("10.2", "10.1"),
            ),
        );
        assert_eq!((seen.verdict, seen.leg), (Verdict::Forward, 1));
        let start = format!(
            "icmp {} > {} ttl-exceeded about=(tcp {backend}:8080 > {snat}:{port} . seq=1",
            bare(snat),
            bare(backend)
        );
        assert!(seen.line.starts_with(&start), "{}", seen.line);
        assert_eq!(bed.flow().state, State::Tcp(TcpState::SynReceived), "errors change no state");
    }
}

#[test]
fn an_error_that_quotes_eight_bytes_is_enough() {
    let mut bed = Bed::new(config());
    bed.send(0, "udp 10.1.0.5:5000 > 10.99.0.1:53 len=20");
    let port = bed.flow().snat.port;
    let seen = bed.send(
        1,
        &format!(
            "icmp 10.2.0.11 > 10.99.0.250 unreachable code=port about=(udp 10.99.0.250:{port} > \
             10.2.0.11:8080 len=20) cut=28"
        ),
    );
    assert_eq!((seen.verdict, seen.leg), (Verdict::Forward, 0));
    let start =
        "icmp 10.99.0.1 > 10.1.0.5 unreachable code=port about=(udp 10.1.0.5:5000 > 10.99.0.1:53";
    assert!(seen.line.starts_with(start), "{}", seen.line);
}

#[test]
fn errors_that_are_forged_badly_go_nowhere() {
    let mut bed = Bed::new(config());
    bed.send(0, "udp 10.1.0.5:5000 > 10.99.0.1:53 len=20");
    let port = bed.flow().snat.port;
    let about = |port| format!("about=(udp 10.99.0.250:{port} > 10.2.0.11:8080 len=20)");
    let line =
        format!("icmp 10.2.0.1 > 10.99.0.250 unreachable code=port {} csum=bad", about(port));
    assert_eq!(bed.send(1, &line).verdict, Verdict::Drop(DropReason::IcmpChecksum));
    let line = format!("icmp 10.2.0.1 > 10.99.0.250 unreachable code=port {}", about(port ^ 1));
    assert_eq!(bed.send(1, &line).verdict, Verdict::Drop(DropReason::IcmpNoFlow));
}

#[test]
fn a_quote_of_mapped_addresses_names_no_flow_of_the_other_family() {
    let mut bed = Bed::new(config());
    bed.send(0, "udp 10.1.0.5:5000 > 10.99.0.1:53 len=20");
    let port = bed.flow().snat.port;
    let line = format!("udp [fd99::250]:{port} > [fd02::11]:8080 len=20");
    let mut error =
        text::packet(&format!("icmp fd02::1 > fd99::250 unreachable about=({line})")).unwrap();
    let quote = 48;
    let mapped = |ip: [u8; 4]| [[0; 4], [0; 4], [0, 0, 0xff, 0xff], ip].concat();
    error.data_mut()[quote + 8..quote + 24].copy_from_slice(&mapped([10, 99, 0, 250]));
    error.data_mut()[quote + 24..quote + 40].copy_from_slice(&mapped([10, 2, 0, 11]));
    // A device may vouch for a sum, or a sender may have made it right.
    error.offload.checksum = netstack::packet::Checksum::Verified;
    assert_eq!(bed.send_packet(1, error).verdict, Verdict::Drop(DropReason::IcmpNoFlow));
}

#[test]
fn ttl_ends_here_with_an_error() {
    let mut bed = Bed::new(config());
    for to in ["10.99.0.1:80", "10.2.0.77:80"] {
        let seen = bed.send(0, &format!("tcp 10.1.0.5:40000 > {to} S ttl=1"));
        assert_eq!(seen.verdict, Verdict::Reject(DropReason::TtlExceeded));
        assert!(seen.line.starts_with("icmp 10.99.0.1 > 10.1.0.5 ttl-exceeded"), "{}", seen.line);
    }
    assert!(bed.engine.flows().is_empty());
}

#[test]
fn with_several_legs_it_routes_what_is_not_its_own() {
    let mut bed = Bed::new(config());
    let seen = bed.send(0, "udp 10.1.0.5:5000 > 10.2.0.77:7 len=4");
    assert_eq!(seen, forward(1, "udp 10.1.0.5:5000 > 10.2.0.77:7 len=4 ttl=63"));
    let seen = bed.send(0, "udp 10.1.0.5:5000 > 192.0.2.1:7 len=4");
    assert_eq!(seen.verdict, Verdict::Drop(DropReason::NoRoute));
    let seen = bed.send(0, "udp 10.1.0.5:5000 > 10.1.0.9:7 len=4");
    assert_eq!(seen.verdict, Verdict::Drop(DropReason::NoRoute), "not back where it came from");
}

#[test]
fn impossible_addresses_are_martians() {
    let mut bed = Bed::new(config());
    for line in [
        "udp 127.0.0.1:1 > 10.99.0.1:53 len=4",
        "udp 224.0.0.1:1 > 10.99.0.1:53 len=4",
        "udp 0.0.0.0:1 > 10.99.0.1:53 len=4",
        "udp 10.1.0.5:1 > 127.0.0.1:53 len=4",
        "udp 10.99.0.250:1 > 10.99.0.1:53 len=4",
        "tcp 10.99.0.1:1 > 10.1.0.5:53 S",
        "tcp 192.0.0.8:1 > 10.2.0.11:8080 S",
        "udp [::1]:1 > [fd99::1]:53 len=4",
    ] {
        assert_eq!(bed.send(0, line).verdict, Verdict::Drop(DropReason::Martian), "{line}");
    }
    for line in ["udp 10.1.0.5:1 > 224.0.0.1:53 len=4", "icmp fd01::5 > ff02::1 echo"] {
        assert_eq!(bed.send(0, line).verdict, Verdict::Drop(DropReason::Multicast), "{line}");
    }
}

#[test]
fn a_diverted_flow_cannot_be_spoofed_from_a_wire() {
    let mut bed = Bed::new(config());
    let seen = bed.send(0, "tcp 10.1.0.5:40000 > 10.99.0.2:80 S");
    assert!(matches!(seen.verdict, Verdict::Divert(_)));
    let seen = bed.send(1, "tcp 10.99.0.2:80 > 10.1.0.5:40000 S. ack=1");
    assert_eq!(seen.verdict, Verdict::Drop(DropReason::Martian));
}

#[test]
fn errors_about_our_own_connections_reach_them_if_they_are_of_use() {
    let mut bed = Bed::new(config());
    bed.send(0, "tcp 10.1.0.5:40000 > 10.99.0.2:80 S seq=7");
    let about = "about=(tcp 10.99.0.2:80 > 10.1.0.5:40000 S. seq=9 ack=8)";
    let too_big = format!("icmp 10.1.0.1 > 10.99.0.2 too-big mtu=1400 {about}");
    let got = bed.send(0, &too_big);
    assert_eq!(got.verdict, Verdict::Divert(DivertTo::Service(ServiceId(8))));
    assert_eq!(got.line, canonical(&too_big), "nothing differs");
    for what in ["unreachable code=host", "ttl-exceeded"] {
        let got = bed.send(0, &format!("icmp 10.1.0.1 > 10.99.0.2 {what} {about}"));
        assert_eq!(got.verdict, Verdict::Drop(DropReason::IcmpUnused), "{what}");
    }
    // From the wrong side it is about nothing that we sent.
    let about = "about=(tcp 10.1.0.5:40000 > 10.99.0.2:80 S seq=7)";
    let got = bed.send(0, &format!("icmp 10.1.0.1 > 10.1.0.5 too-big mtu=1400 {about}"));
    assert_eq!(got.verdict, Verdict::Drop(DropReason::IcmpUnused));

    let mut bed = Bed::new(config());
    let mut syn = text::packet("tcp 192.0.0.8:50000 > 10.2.0.11:8080 S seq=5").unwrap();
    assert_eq!(bed.engine.handle_local(bed.now, &mut syn), Verdict::Forward);
    let port = bed.flow().snat.port;
    let about = format!("about=(tcp 10.99.0.250:{port} > 10.2.0.11:8080 S seq=5)");
    let ours = "about=(tcp 192.0.0.8:50000 > 10.2.0.11:8080 S seq=5)";
    for what in ["too-big mtu=1400", "unreachable code=host"] {
        let got = bed.send(1, &format!("icmp 10.2.0.1 > 10.99.0.250 {what} {about}"));
        assert_eq!(got.verdict, Verdict::Divert(DivertTo::Upstream), "{what}");
        let translated = format!("icmp 10.2.0.11 > 192.0.0.8 {what} {ours}");
        assert_eq!(got.line, canonical(&translated));
    }
    bed.send(1, &format!("tcp 10.2.0.11:8080 > 10.99.0.250:{port} S. seq=1 ack=6"));
    let got = bed.send(1, &format!("icmp 10.2.0.1 > 10.99.0.250 unreachable {about}"));
    assert_eq!(got.verdict, Verdict::Drop(DropReason::IcmpUnused), "it has been answered");
}

#[test]
fn flows_live_as_long_as_the_rfcs_ask() {
    let established = Duration::from_mins(124);
    for (lines, lifetime) in [
        (&["udp 10.1.0.5:5000 > 10.99.0.1:53"][..], Duration::from_mins(5)),
        (&["icmp 10.1.0.5 > 10.99.0.4 echo id=1"], Duration::from_mins(1)),
        (&["tcp 10.1.0.5:4000 > 10.99.0.1:81 S"], Duration::from_mins(4)),
        (
            &[
                "tcp 10.1.0.5:4000 > 10.99.0.1:81 S",
                "tcp 10.2.0.11:8080 > 10.1.0.5:4000 S. ack=1",
                "tcp 10.1.0.5:4000 > 10.99.0.1:81 . seq=1 ack=1",
            ],
            established,
        ),
        (
            &[
                "tcp 10.1.0.5:4000 > 10.99.0.1:81 S",
                "tcp 10.2.0.11:8080 > 10.1.0.5:4000 S. ack=1",
                "tcp 10.1.0.5:4000 > 10.99.0.1:81 . seq=1 ack=1",
                "tcp 10.1.0.5:4000 > 10.99.0.1:81 F. seq=1 ack=1",
            ],
            established,
        ),
        (
            &[
                "tcp 10.1.0.5:4000 > 10.99.0.1:81 S",
                "tcp 10.2.0.11:8080 > 10.1.0.5:4000 S. ack=1",
                "tcp 10.1.0.5:4000 > 10.99.0.1:81 F. seq=1 ack=1",
                "tcp 10.2.0.11:8080 > 10.1.0.5:4000 F. seq=1 ack=2",
            ],
            Duration::from_mins(4),
        ),
    ] {
        let mut bed = Bed::new(config());
        for line in lines {
            let leg = u16::from(line.contains("10.2.0.11:8080 >"));
            assert_eq!(bed.send(leg, line).verdict, Verdict::Forward, "{line}");
        }
        let tick = Duration::from_millis(2);
        bed.engine.handle_timeout(bed.now + lifetime.saturating_sub(tick));
        assert_eq!(bed.engine.flows().len(), 1, "{lines:?} died early");
        bed.engine.handle_timeout(bed.now + lifetime + tick);
        assert_eq!(bed.engine.flows().len(), 0, "{lines:?} lives on");
        bed.engine.assert_consistent();
        assert_eq!(bed.engine.poll_timeout(), None);
    }
}

#[test]
fn traffic_keeps_a_flow_alive() {
    let mut bed = Bed::new(config());
    for _ in 0..10 {
        bed.send(0, "udp 10.1.0.5:5000 > 10.99.0.1:53");
        bed.now += Duration::from_mins(4);
        bed.engine.handle_timeout(bed.now);
        assert_eq!(bed.engine.flows().len(), 1);
    }
}

#[test]
fn a_syn_reuses_the_tuple_of_a_closed_connection_and_of_no_other() {
    let mut bed = Bed::new(config());
    bed.send(0, "tcp 10.1.0.5:4000 > 10.99.0.1:81 S seq=1");
    bed.send(1, "tcp 10.2.0.11:8080 > 10.1.0.5:4000 S. ack=2");
    bed.send(0, "tcp 10.1.0.5:4000 > 10.99.0.1:81 . seq=2 ack=1");
    let seen = bed.send(0, "tcp 10.1.0.5:4000 > 10.99.0.1:81 S seq=900");
    assert_eq!(
        seen.line,
        canonical("tcp 10.1.0.5:4000 > 10.2.0.11:8080 S seq=900 ttl=63"),
        "its backend decides"
    );
    bed.send(1, "tcp 10.2.0.11:8080 > 10.1.0.5:4000 R seq=1");
    let seen = bed.send(0, "tcp 10.1.0.5:4000 > 10.99.0.1:81 S seq=900");
    assert_eq!(
        seen.line,
        canonical("tcp 10.1.0.5:4000 > 10.2.0.12:8080 S seq=900 ttl=63"),
        "a new choice"
    );
}

#[test]
fn at_the_limit_the_half_open_give_way_and_the_established_never() {
    let mut config = config();
    config.limits.flows = 3;
    let mut bed = Bed::new(config);
    let syn = |n: u16| format!("tcp 10.1.0.5:{n} > 10.99.0.1:81 S");
    bed.send(0, &syn(1));
    bed.send(1, "tcp 10.2.0.11:8080 > 10.1.0.5:1 S. ack=1");
    bed.send(0, "tcp 10.1.0.5:1 > 10.99.0.1:81 . ack=1");
    for n in 2..=50 {
        assert_eq!(bed.send(0, &syn(n)).verdict, Verdict::Forward);
        assert!(bed.engine.flows().len() <= 3);
    }
    let seen = bed.send(0, "tcp 10.1.0.5:1 > 10.99.0.1:81 . seq=1 ack=1");
    assert_eq!(seen.verdict, Verdict::Forward, "the established one is still there");
    assert_eq!(bed.engine.stats().flows_evicted, 47);

    // Establish the rest: now nobody gives way.
    for n in 49..=50 {
        let backend = if n % 2 == 1 { "10.2.0.11" } else { "10.2.0.12" };
        bed.send(1, &format!("tcp {backend}:8080 > 10.1.0.5:{n} S. ack=1"));
        bed.send(0, &format!("tcp 10.1.0.5:{n} > 10.99.0.1:81 . ack=1"));
    }
    let seen = bed.send(0, &syn(51));
    assert_eq!(seen.verdict, Verdict::Reject(DropReason::FlowTableFull));
    assert!(seen.line.contains("unreachable code=prohibited"), "{}", seen.line);
}

/// Connections that are over would otherwise fill the table with their last minutes, and every new
/// handshake cut off another.
#[test]
fn at_the_limit_what_is_over_gives_way_before_what_begins() {
    let mut config = config();
    config.limits.flows = 3;
    let mut bed = Bed::new(config);
    for n in [1, 2] {
        bed.send(0, &format!("tcp 10.1.0.5:{n} > 10.99.0.1:81 S seq=1"));
        let backend = if n % 2 == 1 { "10.2.0.11" } else { "10.2.0.12" };
        bed.send(1, &format!("tcp {backend}:8080 > 10.1.0.5:{n} S. seq=1 ack=2"));
        bed.send(0, &format!("tcp 10.1.0.5:{n} > 10.99.0.1:81 R seq=2"));
    }
    bed.send(0, "tcp 10.1.0.5:3 > 10.99.0.1:81 S seq=1");
    for n in [4, 5] {
        bed.send(0, &format!("tcp 10.1.0.5:{n} > 10.99.0.1:81 S seq=1"));
    }
    assert_eq!(bed.engine.stats().flows_evicted, 2);
    let answer = bed.send(1, "tcp 10.2.0.11:8080 > 10.1.0.5:3 S. seq=1 ack=2");
    assert_eq!(answer.ends(), ("10.99.0.1:81", "10.1.0.5:3"), "the handshake goes on");
    let end = bed.send(0, "tcp 10.1.0.5:3 > 10.99.0.1:81 . seq=2 ack=2");
    assert_eq!(end.verdict, Verdict::Forward);
}

#[test]
fn the_half_open_have_a_limit_of_their_own() {
    let mut config = config();
    config.limits.half_open = 10;
    let mut bed = Bed::new(config);
    for n in 1..=1_000 {
        bed.send(0, &format!("tcp 10.1.0.5:{n} > 10.99.0.1:80 S"));
        assert!(bed.engine.flows().len() <= 10);
    }
}

#[test]
fn connections_that_begin_anew_are_half_open_too() {
    let mut config = config();
    config.limits.half_open = 3;
    let mut bed = Bed::new(config);
    let mut ends = Vec::new();
    for n in 1..=5 {
        let client = format!("10.1.0.5:{n}");
        let seen = bed.send(0, &format!("tcp {client} > 10.99.0.1:81 S seq=100"));
        let backend = seen.ends().1.to_owned();
        bed.send(1, &format!("tcp {backend} > {client} S. seq=500 ack=101"));
        bed.send(0, &format!("tcp {client} > 10.99.0.1:81 . seq=101 ack=501"));
        ends.push((client, backend));
    }
    assert_eq!(bed.engine.flows().len_of(Class::HalfOpen), 0);
    // Both ends have forgotten these connections and open new ones.
    for (client, backend) in &ends {
        bed.send(0, &format!("tcp {client} > 10.99.0.1:81 S seq=70000"));
        let seen = bed.send(1, &format!("tcp {backend} > {client} S. seq=90000 ack=70001"));
        assert_eq!(seen.verdict, Verdict::Forward);
        assert!(bed.engine.flows().len_of(Class::HalfOpen) <= 3);
    }
    assert_eq!(bed.engine.flows().len(), 3, "the oldest two have given way");
    assert_eq!(bed.engine.stats().flows_evicted, 2);
}

#[test]
fn without_a_port_left_a_flow_is_refused_and_the_others_stay() {
    let mut config = config();
    config.snat.ports = (5000, 5001);
    let mut bed = Bed::new(config);
    // Two backends, each with two ports.
    for n in 1..=4 {
        assert_eq!(
            bed.send(0, &format!("udp 10.1.0.5:{n} > 10.99.0.1:53")).verdict,
            Verdict::Forward
        );
    }
    let seen = bed.send(0, "udp 10.1.0.5:5 > 10.99.0.1:53");
    assert_eq!(seen.verdict, Verdict::Reject(DropReason::NoPort));
    assert!(seen.line.contains("unreachable code=host"), "{}", seen.line);
    assert_eq!(bed.engine.flows().len(), 4);
    // When one has expired there is a port again.
    bed.now += Duration::from_mins(6);
    bed.engine.handle_timeout(bed.now);
    assert_eq!(bed.send(0, "udp 10.1.0.5:5 > 10.99.0.1:53").verdict, Verdict::Forward);
}

#[test]
fn a_pool_with_nobody_ready_refuses() {
    let mut bed = Bed::new(config());
    for backend in [0, 1] {
        bed.engine.set_backend_state(bed.now, PoolId(0), BackendId(backend), BackendState::Down);
    }
    let seen = bed.send(0, "tcp 10.1.0.5:1 > 10.99.0.1:80 S seq=5");
    assert_eq!(seen.verdict, Verdict::Reject(DropReason::NoBackend));
    assert_eq!(seen.line, canonical("tcp 10.99.0.1:80 > 10.1.0.5:1 R. ack=6 win=0 df"));
    let seen = bed.send(0, "udp 10.1.0.5:1 > 10.99.0.1:53");
    assert_eq!(seen.verdict, Verdict::Reject(DropReason::NoBackend));
}

#[test]
fn drain_keeps_what_a_backend_has() {
    let mut bed = Bed::new(config());
    bed.send(0, "udp 10.1.0.5:1 > 10.99.0.1:53");
    bed.engine.set_backend_state(bed.now, PoolId(0), BackendId(0), BackendState::Drain);
    let seen = bed.send(0, "udp 10.1.0.5:1 > 10.99.0.1:53");
    assert!(seen.line.contains("> 10.2.0.11:8080"), "{}", seen.line);
    for n in 2..10 {
        let seen = bed.send(0, &format!("udp 10.1.0.5:{n} > 10.99.0.1:53"));
        assert!(seen.line.contains("> 10.2.0.12:8080"), "{}", seen.line);
    }
}

#[test]
fn the_same_seed_and_packets_give_the_same_bytes() {
    let run = || {
        let mut bed = Bed::new(config());
        (1..200)
            .map(|n| bed.send(0, &format!("udp 10.1.0.{}:{n} > 10.99.0.1:53 len=8", n % 9)).line)
            .collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn errors_that_we_send_are_rationed() {
    let mut bed = Bed::new(config());
    let refused = |bed: &mut Bed, client: u32| {
        bed.send(0, &format!("udp 10.1.0.{client}:5000 > 10.99.0.1:99")).verdict
    };
    // A peer has its ration, and cannot take the others'.
    for _ in 0..limits::ERRORS_PER_PEER_BURST {
        assert_eq!(refused(&mut bed, 5), Verdict::Reject(DropReason::NoService));
    }
    assert_eq!(refused(&mut bed, 5), Verdict::Drop(DropReason::RateLimited));
    for client in 6..36 {
        assert_eq!(refused(&mut bed, client), Verdict::Reject(DropReason::NoService), "{client}");
    }
    // All together have theirs.
    assert_eq!(refused(&mut bed, 36), Verdict::Drop(DropReason::RateLimited));
    bed.now += Duration::from_secs(1);
    assert_eq!(refused(&mut bed, 5), Verdict::Reject(DropReason::NoService));
}

#[test]
fn malformed_packets_are_counted_by_reason() {
    let good = text::packet("tcp 10.1.0.5:40000 > 10.99.0.1:80 S").unwrap();
    let mutate = |at: usize, value: u8| {
        let mut packet = good.clone();
        packet.data_mut()[at] = value;
        packet
    };
    let mut bed = Bed::new(config());
    let mut expect = |packet, reason| {
        assert_eq!(bed.send_packet(0, packet).verdict, Verdict::Drop(reason));
    };
    expect(mutate(0, 0x55), DropReason::IpVersion);
    expect(mutate(0, 0x44), DropReason::IpHeaderLength);
    expect(mutate(3, 200), DropReason::IpTotalLength);
    expect(mutate(8, 1), DropReason::IpChecksum);
    expect(mutate(32, 0x40), DropReason::TcpHeader);
    let mut cut = good.clone();
    cut.set_len(10);
    expect(cut, DropReason::Truncated);
}

/// What comes from elsewhere than its source is may be forged, or spoilt on its way; the answer goes to
/// the host whose address it is, as from any router.
#[test]
fn an_answer_leaves_by_the_leg_that_leads_to_whom_it_answers() {
    for (line, expected) in [
        ("tcp 10.1.0.7:5 > 10.99.0.1:9 S", Verdict::Reject(DropReason::NoService)),
        ("tcp [fd01::7]:5 > [fd99::1]:9 S", Verdict::Reject(DropReason::NoService)),
        ("udp 10.1.0.7:5 > 10.99.0.1:9 len=8", Verdict::Reject(DropReason::NoService)),
        ("icmp 10.1.0.7 > 10.99.0.1 echo id=7", Verdict::Reply),
    ] {
        for by in [0, 1] {
            let seen = Bed::new(config()).send(by, line);
            assert_eq!((seen.verdict, seen.leg), (expected, 0), "{line} by leg {by}");
        }
    }
}
