//! Messages that are neither query nor error.

use nat::{DropReason, Verdict};
use tests::bed::{Bed, canonical, config};

tests::conforms! {
    /// A message that is neither query nor error is dropped if it came to an address of ours, and
    /// routed like any packet if it did not.
    I23 Optional "RFC 5508 REQ-11"
    fn what_is_neither_query_nor_error_is_dropped_or_routed() {
        for (src, ours, other, what) in [
            ("10.1.0.5", "10.99.0.1", "10.2.0.77", "type=9 code=0 rest=0"),
            ("10.1.0.5", "10.99.0.1", "10.2.0.77", "type=40 code=0 rest=0"),
            ("fd01::5", "fd99::1", "fd02::77", "router-advertisement"),
            ("fd01::5", "fd99::1", "fd02::77", "type=200 code=0 rest=0"),
        ] {
            let mut bed = Bed::new(config());
            let verdict = bed.send(0, &format!("icmp {src} > {ours} {what}")).verdict;
            assert_eq!(verdict, Verdict::Drop(DropReason::ProtocolUnsupported), "{what}");
            let line = format!("icmp {src} > {other} {what}");
            let seen = bed.send(0, &line);
            assert_eq!((seen.verdict, seen.leg), (Verdict::Forward, 1), "{what}");
            assert_eq!(seen.line, canonical(&format!("{line} ttl=63")));
        }
    }
}
