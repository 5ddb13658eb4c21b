//! How an error is translated.

use nat::{DropReason, Nat, Verdict};
use netstack::wire::Family;
use tests::bed::{Bed, config};
use tests::talk::{Kind, Talk};

/// Every error that is passed on, with all that its header can hold.
fn errors(family: Family) -> Vec<String> {
    let v4 = (0..=15)
        .map(|code| format!("type=3 code={code} rest=0x000005dc"))
        .chain((0..=1).map(|code| format!("type=11 code={code} rest=0")))
        .chain((0..=2).map(|code| format!("type=12 code={code} rest=0x09000000")));
    let v6 = (0..=7)
        .map(|code| format!("type=1 code={code} rest=0"))
        .chain(["type=2 code=0 rest=0x00000500".to_owned()])
        .chain((0..=1).map(|code| format!("type=3 code={code} rest=0")))
        .chain((0..=2).map(|code| format!("type=4 code={code} rest=0x00000028")))
        // RFC 4443 section 2.4 a: an unknown error is for the upper layer to judge.
        .chain(["type=100 code=9 rest=0xabcd1234".to_owned()]);
    match family {
        Family::V4 => v4.collect(),
        Family::V6 => v6.collect(),
    }
}

tests::conforms! {
    /// An error from outside that is about no mapping is dropped in silence.
    I10 Always "RFC 5508 REQ-4"
    fn an_error_about_no_mapping_is_dropped() {
        for (to, about) in [
            ("10.99.0.1", "udp 10.99.0.1:53 > 10.1.0.5:5000"),
            ("10.99.0.250", "udp 10.99.0.250:5000 > 10.2.0.11:8080"),
            ("10.99.0.1", "udp 10.99.0.1 > 10.1.0.5 frag=1480 len=20"),
            ("10.99.0.1", "ip 10.99.0.1 > 10.1.0.5 proto=47 len=20"),
            ("10.99.0.1", "icmp 10.99.0.1 > 10.1.0.5 unreachable"),
            ("fd99::1", "udp [fd99::1]:53 > [fd01::5]:5000"),
            ("fd99::1", "icmp fd99::1 > fd01::5 ttl-exceeded"),
        ] {
            let mut bed = Bed::new(config());
            let from = if to.contains(':') { "fd01::1" } else { "10.1.0.1" };
            let seen = bed.send(0, &format!("icmp {from} > {to} unreachable about=({about})"));
            assert_eq!(seen.verdict, Verdict::Drop(DropReason::IcmpNoFlow), "{about}");
        }
    }

    /// The quoted packet is put back to what its sender sent: addresses, ports and checksums.
    I11 Always "RFC 5508 REQ-4a"
    fn the_quoted_packet_is_in_its_senders_words() {
        for mut talk in Talk::all() {
            let expected = talk.error_at_backend("unreachable");
            talk.passes(0, &talk.error_from_client("unreachable"), 1, &expected);
        }
    }

    /// Type, code and the rest of the header stay.
    I12 Always "RFC 5508 REQ-4b"
    fn type_code_and_the_rest_of_the_header_stay() {
        for mut talk in Talk::all() {
            for what in errors(talk.family) {
                talk.passes(0, &talk.error_from_client(&what), 1, &talk.error_at_backend(&what));
                talk.passes(1, &talk.error_from_backend(&what), 0, &talk.error_at_client(&what));
            }
        }
    }

    /// The error goes to whom the quoted packet, put back, came from.
    I13 Always "RFC 5508 REQ-4c"
    fn the_error_goes_to_the_quoted_packets_sender() {
        for mut talk in Talk::all() {
            let seen = talk.bed.send(0, &talk.error_from_client("unreachable"));
            assert!(seen.line.contains(&format!(" > {} unreachable", talk.backend)), "{}", seen.line);
        }
    }

    /// One that came to another address than its quoted packet was sent from is dropped.
    I13 Always "RFC 5508 REQ-4c"
    fn an_error_that_came_to_another_is_dropped() {
        for mut talk in Talk::all() {
            let stranger = if talk.family == Family::V4 { "10.2.0.77" } else { "fd02::77" };
            let vip = talk.vip;
            for (error, to) in [
                (talk.error_from_client("unreachable"), talk.backend),
                (talk.error_from_client("unreachable"), stranger),
                (talk.error_from_backend("unreachable"), vip),
                (talk.error_from_backend("unreachable"), stranger),
            ] {
                let (head, about) = error.split_once(" unreachable ").unwrap();
                let from = head.split(' ').nth(1).unwrap();
                let error = format!("icmp {from} > {to} unreachable {about}");
                let verdict = talk.bed.send(0, &error).verdict;
                assert_eq!(verdict, Verdict::Drop(DropReason::IcmpMismatch), "{error}");
            }
        }
    }

    /// Errors from the backends' side are translated likewise.
    I14 Always "RFC 5508 REQ-5"
    fn errors_from_the_backends_side_are_translated() {
        for mut talk in Talk::all() {
            let expected = talk.error_at_client("unreachable code=host");
            if talk.family == Family::V4 {
                talk.passes(1, &talk.error_from_backend("unreachable code=host"), 0, &expected);
            }
            let expected = talk.error_at_client("ttl-exceeded");
            talk.passes(1, &talk.error_from_backend("ttl-exceeded"), 0, &expected);
        }
    }

    /// They come from the service's address: no router behind balun is shown.
    I15 Always "RFC 5508 REQ-5c"
    fn no_router_behind_us_is_shown() {
        for mut talk in Talk::all() {
            let seen = talk.bed.send(1, &talk.error_from_backend("unreachable"));
            assert_eq!(seen.verdict, Verdict::Forward);
            assert!(seen.line.starts_with(&format!("icmp {} > ", talk.vip)), "{}", seen.line);
            assert!(!seen.line.contains(talk.backend_router), "{}", seen.line);
            assert!(!seen.line.contains(talk.backend), "{}", seen.line);
        }
    }

    /// With full NAT, backends are shown no router of the clients either.
    I15 Always "RFC 5508 REQ-5c"
    fn no_router_of_the_clients_is_shown() {
        for mut talk in Talk::all_of(Kind::Udp).filter(|talk| talk.nat == Nat::Full) {
            let seen = talk.bed.send(0, &talk.error_from_client("unreachable"));
            assert!(seen.line.starts_with(&format!("icmp {} > ", talk.snat)), "{}", seen.line);
            assert!(!seen.line.contains(talk.client), "{}", seen.line);
        }
    }
}
