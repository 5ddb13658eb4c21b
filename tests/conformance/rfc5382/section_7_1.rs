//! Errors about segments.

use nat::flow::State;
use nat::flow::tcp::TcpState;
use nat::{DropReason, Verdict};
use tests::bed::{Bed, config};
use tests::talk::{Kind, Talk};

/// A client's SYN, and an error that says its first backend is out of reach and quotes `seq`.
fn unanswered(seq: u32) -> (Bed, String) {
    let mut bed = Bed::new(config());
    bed.send(0, "tcp 10.1.0.5:40000 > 10.99.0.1:80 S seq=7");
    let about = format!("tcp 10.99.0.250:{} > 10.2.0.11:8080 S seq={seq}", bed.flow().snat.port);
    (bed, format!("icmp 10.2.0.1 > 10.99.0.250 unreachable code=host about=({about})"))
}

tests::conforms! {
    /// Destination unreachable about a connection is translated and passed on.
    T13 Always "RFC 5382 REQ-9"
    fn unreachable_is_translated() {
        for mut talk in Talk::all_of(Kind::Tcp) {
            for what in ["unreachable", "too-big mtu=1280"] {
                talk.passes(1, &talk.error_from_backend(what), 0, &talk.error_at_client(what));
                talk.passes(0, &talk.error_from_client(what), 1, &talk.error_at_backend(what));
            }
        }
    }

    /// No ICMP message ends a connection or its mapping.
    T14 Always "RFC 5382 REQ-10"
    fn no_error_ends_a_connection() {
        for mut talk in Talk::all_of(Kind::Tcp) {
            let before = talk.flow();
            for what in ["unreachable", "type=3 code=2 rest=0", "type=1 code=4 rest=0", "too-big mtu=68", "ttl-exceeded"] {
                for error in [talk.error_from_backend(what), talk.error_from_client(what)] {
                    let _ = talk.bed.send(1, &error);
                    assert_eq!(talk.flow(), before, "{error}");
                }
            }
            assert_eq!(talk.bed.flow().state, State::Tcp(TcpState::Established));
            let there = talk.request_at_backend();
            talk.passes(0, &talk.request(), 1, &format!("{there} ttl=63"));
        }
    }

    /// A connection that no backend has answered goes to another if its SYN, known by its sequence
    /// number, is said not to arrive; a guess at it changes nothing (RFC 5927).
    T14 Always "RFC 5382 REQ-10"
    fn a_forged_error_moves_no_connection() {
        let (mut bed, error) = unanswered(7);
        assert_eq!(bed.send(1, &error).verdict, Verdict::Forward);
        assert_eq!(bed.engine.stats().syn_failovers, 1);

        for seq in [6, 8, 0, u32::MAX] {
            let (mut bed, error) = unanswered(seq);
            let before = format!("{:?}", bed.flow());
            let seen = bed.send(1, &error);
            assert_eq!((seen.verdict, seen.leg), (Verdict::Forward, 0), "the client may judge it");
            assert_eq!(format!("{:?}", bed.flow()), before);
            assert_eq!(bed.engine.stats().syn_failovers, 0);
            assert!(bed.engine.pools()[0].backends().iter().all(|backend| backend.refused == 0));
        }
        let (mut bed, error) = unanswered(7);
        // Nor does one that does not show it, or is not from where the SYN was sent.
        let short = error.replace("code=host", "code=host cut=24");
        assert_eq!(bed.send(1, &short).leg, 0);
        let astray = error.replacen("> 10.99.0.250 ", "> 10.99.0.1 ", 1);
        assert_eq!(bed.send(1, &astray).verdict, Verdict::Drop(DropReason::IcmpMismatch));
        assert_eq!(bed.engine.stats().syn_failovers, 0);
    }
}
