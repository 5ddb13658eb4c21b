//! Fragments that a sender of good will does not make.

use nat::{DropReason, Verdict};
use tests::bed::{Bed, config};

tests::conforms! {
    /// A datagram with overlapping fragments is dropped whole, and so is one whose first fragment lacks
    /// the transport header.
    L13 Always "RFC 8200 section 4.5, RFC 5722, RFC 1858, RFC 3128"
    fn overlaps_and_tiny_fragments_kill_their_datagram() {
        for (ends, ports) in [
            ("10.1.0.5 > 10.99.0.1", "10.1.0.5:5000 > 10.99.0.1:53"),
            ("fd01::5 > fd99::1", "[fd01::5]:5000 > [fd99::1]:53"),
        ] {
            // All in order, but one that overlaps: nothing goes on from there.
            let mut bed = Bed::new(config());
            let first = format!("udp {ports} frag=0+ ipid=7 udplen=48 len=16");
            assert_eq!(bed.send(0, &first).verdict, Verdict::Forward);
            for rest in ["frag=16+ len=16", "frag=24+ len=8", "frag=32 len=16"] {
                let verdict = bed.send(0, &format!("udp {ends} ipid=7 {rest}")).verdict;
                assert_eq!(verdict, Verdict::Drop(DropReason::FragmentOverlap), "{rest}");
            }
            // An exact duplicate is no overlap.
            let mut bed = Bed::new(config());
            assert_eq!(bed.send(0, &first).verdict, Verdict::Forward);
            let duplicate = Verdict::Drop(DropReason::FragmentDuplicate);
            assert_eq!(bed.send(0, &first).verdict, duplicate);
            let last = format!("udp {ends} ipid=7 frag=24 len=24");
            assert_eq!(bed.send(0, &last).verdict, Verdict::Forward);

            let tiny = Verdict::Drop(DropReason::FragmentTiny);
            for first in ["len=8", "len=16", "data=000100500000000000000000700200000000000000000000"] {
                let mut bed = Bed::new(config());
                let after = format!("tcp {ends} ipid=7 frag=24 len=8");
                assert_eq!(bed.send(0, &after).verdict, Verdict::Hold);
                let first = format!("ip {ends} proto=6 frag=0+ ipid=7 {first}");
                assert_eq!(bed.send(0, &first).verdict, tiny, "{first}");
                assert_eq!(bed.engine.stats().held_dropped, 1);
            }
            let mut bed = Bed::new(config());
            let flags = format!("tcp {ends} ipid=7 frag=8+ len=16");
            assert_eq!(bed.send(0, &flags).verdict, tiny);
        }
    }
}
