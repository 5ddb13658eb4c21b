//! Errors about datagrams.

use std::time::Duration;

use nat::Verdict;
use netstack::wire::Family;
use tests::talk::{Kind, Talk};

/// What an error can say.
const ERRORS: [&str; 6] = [
    "unreachable",
    "type=3 code=1 rest=0",
    "type=1 code=0 rest=0",
    "too-big mtu=1280",
    "ttl-exceeded",
    "parameter-problem pointer=1",
];

tests::conforms! {
    /// No ICMP message ends a mapping, or shortens its life.
    U17 Always "RFC 4787 REQ-12"
    fn no_error_ends_a_mapping() {
        for mut talk in Talk::all_of(Kind::Udp) {
            let before = talk.flow();
            talk.bed.now += Duration::from_secs(100);
            for what in ERRORS {
                for error in [talk.error_from_backend(what), talk.error_from_client(what)] {
                    let _ = talk.bed.send(1, &error);
                    assert_eq!(talk.flow(), before, "{error}");
                }
            }
            talk.bed.wait(Duration::from_secs(199));
            let back = talk.answer_at_client();
            talk.passes(1, &talk.answer(), 0, &format!("{back} ttl=63"));
        }
    }

    /// An error passes whoever says it: any router on the way may.
    U18 Always "RFC 4787 REQ-12a"
    fn errors_pass_whatever_their_source() {
        for mut talk in Talk::all_of(Kind::Udp) {
            let routers = match talk.family {
                Family::V4 => ["10.2.0.1", "10.2.0.11", "192.168.7.7", "203.0.113.9", "100.64.0.1"],
                Family::V6 => ["fd02::1", "fd02::11", "2001:db8::1", "fe80::1", "64:ff9b::1"],
            };
            for router in routers {
                for leg in [0, 1] {
                    let error = talk.error_from_backend("ttl-exceeded").replacen(talk.backend_router, router, 1);
                    talk.passes(leg, &error, 0, &talk.error_at_client("ttl-exceeded"));
                }
            }
        }
    }

    /// Destination unreachable is translated and passed on.
    U19 Always "RFC 4787 REQ-12b"
    fn unreachable_is_translated() {
        for mut talk in Talk::all_of(Kind::Udp) {
            talk.passes(1, &talk.error_from_backend("unreachable"), 0, &talk.error_at_client("unreachable"));
            talk.passes(0, &talk.error_from_client("unreachable"), 1, &talk.error_at_backend("unreachable"));
        }
    }

    /// One hop less is left to it, and none to one that came with its last.
    U19 Always "RFC 4787 REQ-12b"
    fn an_error_that_came_with_its_last_hop_is_dropped() {
        for mut talk in Talk::all_of(Kind::Udp) {
            let error = format!("{} ttl=1", talk.error_from_backend("unreachable"));
            let verdict = talk.bed.send(1, &error).verdict;
            assert_eq!(verdict, Verdict::Drop(nat::DropReason::TtlExceeded));
        }
    }
}
