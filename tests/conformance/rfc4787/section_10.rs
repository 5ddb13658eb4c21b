//! Fragmentation of outgoing packets.

use nat::{Config, DropReason, Verdict};
use tests::bed::{Bed, canonical, config};

const REFUSED: Verdict = Verdict::Reject(DropReason::PacketTooBig);

/// The usual services, with a leg of 1,400 bytes: 0 toward clients, 1 toward backends.
fn narrow(leg: usize) -> Config {
    let mut config = config();
    config.legs[leg].mtu = 1_400;
    config
}

fn error(src: &str, dst: &str, about: &str) -> String {
    canonical(&format!("icmp {src} > {dst} too-big mtu=1400 about=({about}) df tos=0xc0"))
}

tests::conforms! {
    /// A packet that forbids fragments and exceeds the MTU of the way out is answered with "fragmentation needed", which states that MTU and shows the packet with the addresses that its sender knows.
    U20 Always "RFC 4787 REQ-13"
    fn too_long_and_not_to_be_fragmented_is_told() {
        let mut bed = Bed::new(narrow(1));
        let line = |len| format!("udp 10.1.0.5:5000 > 10.99.0.1:53 len={len} df ttl=7");
        assert_eq!(bed.send(0, &line(1_372)).verdict, Verdict::Forward);
        let seen = bed.send(0, &line(1_373));
        assert_eq!((seen.verdict, seen.leg), (REFUSED, 0));
        assert_eq!(seen.line, error("10.99.0.1", "10.1.0.5", &line(1_373)));
    }

    /// Toward a backend the error comes from the address that the backend sent to.
    U20 Always "RFC 4787 REQ-13"
    fn a_backend_is_told_in_its_own_view() {
        let mut bed = Bed::new(narrow(0));
        bed.send(0, "udp 10.1.0.5:5000 > 10.99.0.1:53");
        let port = bed.flow().snat.port;
        let line = format!("udp 10.2.0.11:8080 > 10.99.0.250:{port} len=1373 df");
        let seen = bed.send(1, &line);
        assert_eq!((seen.verdict, seen.leg), (REFUSED, 1));
        assert_eq!(seen.line, error("10.99.0.250", "10.2.0.11", &line));
    }

    /// A packet that allows fragments and exceeds the MTU of the way out is sent as fragments, in their order.
    U21 Always "RFC 4787 REQ-13a"
    fn too_long_and_allowed_is_fragmented_in_order() {
        let mut bed = Bed::new(narrow(1));
        let seen = bed.send(0, "udp 10.1.0.5:5000 > 10.99.0.1:53 len=3000 ipid=9");
        assert_eq!((seen.verdict, seen.leg), (Verdict::Forward, 1));
        // All have the identification that the engine chose.
        let (_, place) = seen.line.split_once(" ipid=").unwrap_or_default();
        let (id, _) = place.split_once(' ').unwrap_or_default();
        let first = format!(" udplen=3008 len=1368 ttl=63 ipid={id} frag=0+");
        assert!(seen.line.ends_with(&first), "{}", seen.line);
        let rest = |frag, len| format!("udp 10.99.0.250 > 10.2.0.11 len={len} ttl=63 ipid={id} frag={frag}");
        assert_eq!(bed.transmit(), Some((1, rest("1376+", 1_376))));
        assert_eq!(bed.transmit(), Some((1, rest("2752", 256))));
        assert_eq!(bed.transmit(), None);
    }
}
