//! Errors that balun passes on or makes.

use std::time::Duration;

use nat::limits::{ERRORS_BURST, ERRORS_PER_PEER_BURST, ERRORS_PER_SECOND};
use nat::{DropReason, Mode, Nat, Verdict};
use netstack::wire::text;
use tests::bed::{Bed, config, service};
use tests::talk::{Kind, Talk};

/// Sends a line and asserts that nothing comes back.
#[track_caller]
fn silent(leg: u16, line: &str) {
    let verdict = Bed::new(config()).send(leg, line).verdict;
    assert!(matches!(verdict, Verdict::Drop(_)), "{line}: {verdict:?}");
}

tests::conforms! {
    /// "Too big" about an answer of a service reaches the backend that sent it, and no other.
    L1 Always "RFC 7690, RFC 1191, RFC 8201"
    fn too_big_reaches_the_backend_that_owns_the_flow() {
        for mut talk in Talk::all() {
            let what = "too-big mtu=1300";
            talk.passes(0, &talk.error_from_client(what), 1, &talk.error_at_backend(what));
        }
        // Of many flows of many clients, each one's error finds its own backend.
        let mut bed = Bed::new(config());
        for n in 1..=60 {
            bed.send(0, &format!("udp 10.1.0.{}:{} > 10.99.0.1:53", n % 7 + 1, 5_000 + n));
        }
        let flows: Vec<_> = bed.engine.flows().iter().map(|(_, flow)| flow.clone()).collect();
        assert_eq!(flows.len(), 60);
        for flow in flows {
            let (client, backend) = (flow.client, flow.backend);
            let about = format!("udp 10.99.0.1:53 > {}:{} len=1400", client.address, client.port);
            let seen = bed.send(0, &format!("icmp 10.1.0.1 > 10.99.0.1 too-big mtu=900 about=({about})"));
            assert_eq!((seen.verdict, seen.leg), (Verdict::Forward, 1));
            let start = format!("icmp 10.99.0.250 > {} too-big mtu=900 about=(udp {}:8080 > 10.99.0.250:{} ", backend.address, backend.address, flow.snat.port);
            assert!(seen.line.starts_with(&start), "{}", seen.line);
        }
    }

    /// No error is made about an error, a redirect, a fragment but the first, or a packet whose source or
    /// destination is not one host.
    L3 Always "RFC 1812 section 4.3.2.7, RFC 4443 section 2.4"
    fn no_error_is_made_about_what_must_not_have_one() {
        for line in [
            "icmp 10.1.0.5 > 10.2.0.77 unreachable about=(udp 10.2.0.77:1 > 10.1.0.5:1) ttl=1",
            "icmp fd01::5 > fd02::77 ttl-exceeded about=(udp [fd02::77]:1 > [fd01::5]:1) ttl=1",
            "icmp fd01::5 > fd02::77 type=137 code=0 rest=0 ttl=1",
            "udp 10.1.0.5 > 10.2.0.77 frag=1480 len=20 ttl=1",
            "udp fd01::5 > fd02::77 frag=1448 len=20 ttl=1",
            "udp 10.1.0.5:1 > 224.0.0.9:99 ttl=1",
            "udp 10.1.0.5:1 > 255.255.255.255:99 ttl=1",
            "udp 10.1.0.5:1 > 10.2.0.255:99 ttl=1",
            "udp 10.1.0.5:1 > 10.1.0.255:99",
            "udp [fd01::5]:1 > [ff02::1]:99 ttl=1",
            "udp 0.0.0.0:1 > 10.99.0.1:99",
            "udp 0.1.2.3:1 > 10.99.0.1:99",
            "udp 127.0.0.1:1 > 10.99.0.1:99",
            "udp 224.0.0.1:1 > 10.99.0.1:99",
            "udp 240.0.0.1:1 > 10.99.0.1:99",
            "udp 255.255.255.255:1 > 10.99.0.1:99",
            "udp 10.1.0.255:1 > 10.99.0.1:99",
            "udp [::]:1 > [fd99::1]:99",
            "udp [::1]:1 > [fd99::1]:99",
            "udp [ff02::1]:1 > [fd99::1]:99",
            "icmp 10.1.0.5 > 255.255.255.255 echo id=1",
            "icmp 10.1.0.5 > 10.1.0.255 echo id=1",
            "icmp fd01::5 > ff02::1 echo id=1",
        ] {
            silent(0, line);
        }
    }

    /// An error quotes as much as fits 576 bytes, or 1,280 in IPv6, has precedence 6 in IPv4, and comes
    /// from the address that its receiver had asked.
    L3 Always "RFC 1812 section 4.3.2, RFC 4443 section 2.4"
    fn an_error_is_of_the_size_and_kind_that_it_must_be() {
        for (host, vip, most) in [("10.1.0.5", "10.99.0.1", 576), ("[fd01::5]", "[fd99::1]", 1280)] {
            for len in [0_usize, 100, 500, 520, 1200, 1400] {
                let line = format!("udp {host}:1 > {vip}:99 len={len} tos=0x02");
                let mut packet = text::packet(&line).unwrap();
                let original = packet.data().to_vec();
                let verdict = Bed::new(config()).engine.handle_packet(netstack::Instant::from_secs(1), &mut packet);
                assert_eq!(verdict, Verdict::Reject(DropReason::NoService));
                let header = if most == 576 { 20 } else { 40 };
                let quoted = original.len().min(most - header - 8);
                assert_eq!(packet.len(), header + 8 + quoted, "{line}");
                assert_eq!(packet.data()[header + 8..], original[..quoted], "{line}");
                if most == 576 {
                    assert_eq!(packet.data()[1], 0xc0);
                }
                let said = text::Line::of(&packet).to_string();
                let bare = |text: &str| text.trim_matches(['[', ']']).to_owned();
                let start = format!("icmp {} > {} unreachable code=port ", bare(vip), bare(host));
                assert!(said.starts_with(&start), "{said}");
                assert!(said.contains(" ttl=64"), "{said}");
            }
        }
    }

    /// Errors are rationed: each peer has its ration, and all together have one.
    L3 Always "RFC 1812 section 4.3.2.8, RFC 4443 section 2.4"
    fn errors_are_rationed_for_each_peer_and_for_all() {
        let mut bed = Bed::new(config());
        let refused = |bed: &mut Bed, n: u32, times: u32| {
            let line = format!("udp 10.1.{}.{}:1 > 10.99.0.1:99", n / 250, n % 250 + 1);
            (0..times).filter(|_| matches!(bed.send(0, &line).verdict, Verdict::Reject(_))).count()
        };
        assert_eq!(refused(&mut bed, 0, 500), ERRORS_PER_PEER_BURST as usize);
        assert_eq!(refused(&mut bed, 1, 1), 1, "the others have theirs");
        // A flood from everywhere gets the rate of all and no more.
        let mut sent = 0;
        for n in 0..5_000 {
            bed.now += Duration::from_micros(200);
            sent += refused(&mut bed, n, 1);
        }
        assert!(sent <= (ERRORS_PER_SECOND + ERRORS_BURST) as usize, "{sent}");
        assert!(sent >= ERRORS_PER_SECOND as usize / 2, "{sent}");
    }

    /// Each packet passed on has one hop less, in both directions; at its last hop it is dropped and the
    /// sender told, by an address of balun's: it is one hop in a traceroute.
    L4 Always "RFC 1812 section 5.3.1"
    fn balun_is_one_hop() {
        for mut talk in Talk::all() {
            let (there, back) = (talk.request_at_backend(), talk.answer_at_client());
            let flow = talk.flow();
            for (leg, sent, from) in [(0, talk.request(), talk.vip), (1, talk.answer(), talk.snat)] {
                let seen = talk.bed.send(leg, &format!("{sent} ttl=1"));
                assert_eq!((seen.verdict, seen.leg), (Verdict::Reject(DropReason::TtlExceeded), leg));
                // Under DNAT the client is not ours to speak for: the error is from some address of ours.
                let ours = if from == talk.client { &seen.line[5..10] } else { from };
                let start = format!("icmp {ours}");
                assert!(seen.line.starts_with(&start), "{}", seen.line);
                assert!(seen.line.contains(" ttl-exceeded about=("), "{}", seen.line);
            }
            assert_eq!(talk.flow(), flow, "what goes no further is no traffic");
            talk.passes(0, &format!("{} ttl=2", talk.request()), 1, &format!("{there} ttl=1"));
            talk.passes(1, &format!("{} ttl=255", talk.answer()), 0, &format!("{back} ttl=254"));
        }
    }

    /// A packet on its last hop makes no flow.
    L4 Always "RFC 1812 section 5.3.1"
    fn the_first_packet_of_a_flow_has_a_hop_too() {
        for (line, from) in [
            ("tcp 10.1.0.5:1 > 10.99.0.1:80 S ttl=1", "10.99.0.1"),
            ("udp 10.1.0.5:1 > 10.99.0.1:53 ttl=1", "10.99.0.1"),
            ("icmp 10.1.0.5 > 10.99.0.4 echo ttl=1 len=1", "10.99.0.4"),
            ("udp [fd01::5]:1 > [fd99::1]:53 ttl=1", "fd99::1"),
            // Past the services it speaks from an address of its own.
            ("udp 10.1.0.5:1 > 10.2.0.77:53 ttl=1", "10.99.0.1"),
            ("udp [fd01::5]:1 > [fd02::77]:53 ttl=1", "fd99::1"),
        ] {
            let mut bed = Bed::new(config());
            let seen = bed.send(0, line);
            assert_eq!(seen.verdict, Verdict::Reject(DropReason::TtlExceeded), "{line}");
            assert!(seen.line.starts_with(&format!("icmp {from} > ")), "{}", seen.line);
            assert!(bed.engine.flows().is_empty());
        }
    }

    /// The hop can be hidden: services then leave the TTL as it is, and what is routed loses its hop all
    /// the same, so that no loop is endless.
    L4 Always "RFC 1812 section 5.3.1"
    fn the_hop_can_be_hidden() {
        let mut hidden = config();
        hidden.hide_hop = true;
        for kind in [Kind::Tcp, Kind::Udp, Kind::Echo] {
            let family = netstack::wire::Family::V4;
            let mut talk = Talk::new(hidden.clone(), kind, family, Nat::Full, false);
            let (there, back) = (talk.request_at_backend(), talk.answer_at_client());
            talk.passes(0, &format!("{} ttl=1", talk.request()), 1, &format!("{there} ttl=1"));
            talk.passes(1, &format!("{} ttl=64", talk.answer()), 0, &format!("{back} ttl=64"));
            let error = talk.error_at_client("ttl-exceeded").replace("ttl=63", "ttl=64");
            talk.passes(1, &talk.error_from_backend("ttl-exceeded"), 0, &error);
            let none_left = talk.bed.send(0, &format!("{} ttl=0", talk.request())).verdict;
            assert_eq!(none_left, Verdict::Reject(DropReason::TtlExceeded));
        }
        let seen = Bed::new(hidden).send(0, "udp 10.1.0.5:1 > 10.2.0.77:53 ttl=1");
        assert_eq!(seen.verdict, Verdict::Reject(DropReason::TtlExceeded));
    }

    /// ECN passes as it came: the bits of the IP header, and the flags of TCP.
    L11 Always "RFC 3168"
    fn ecn_passes_as_it_came() {
        for mut talk in Talk::all() {
            for tos in [0x00, 0x01, 0x02, 0x03, 0xb8, 0xff] {
                let tos = format!("tos={tos:#04x}");
                let (there, back) = (talk.request_at_backend(), talk.answer_at_client());
                talk.passes(0, &format!("{} {tos}", talk.request()), 1, &format!("{there} ttl=63 {tos}"));
                talk.passes(1, &format!("{} {tos}", talk.answer()), 0, &format!("{back} ttl=63 {tos}"));
            }
        }
        for flags in ["SEW", "SE.", "E.", "W.", "PEW."] {
            let mut config = config();
            config.services.push(service("tcp 10.99.0.1:82", Mode::Nat(Nat::Dnat), 0));
            let mut bed = Bed::new(config);
            bed.send(0, "tcp 10.1.0.5:4000 > 10.99.0.1:82 SEW");
            bed.send(1, "tcp 10.2.0.11:8080 > 10.1.0.5:4000 SE. ack=1");
            let words = format!("{flags} seq=1 ack=1");
            for (leg, sent, expected) in [
                (0, "10.1.0.5:4000 > 10.99.0.1:82", "10.1.0.5:4000 > 10.2.0.11:8080"),
                (1, "10.2.0.11:8080 > 10.1.0.5:4000", "10.99.0.1:82 > 10.1.0.5:4000"),
            ] {
                let seen = bed.send(leg, &format!("tcp {sent} {words}"));
                let expected = tests::bed::canonical(&format!("tcp {expected} {words} ttl=63"));
                assert_eq!(seen.line, expected);
            }
        }
    }
}
