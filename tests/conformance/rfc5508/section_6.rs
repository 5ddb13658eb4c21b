//! Flows that are not to be.

use nat::{DropReason, Verdict};
use tests::bed::{Bed, config};

const NEW: [&str; 6] = [
    "tcp 10.1.0.5:1 > 10.99.0.1:80 S",
    "udp 10.1.0.5:1 > 10.99.0.1:53",
    "icmp 10.1.0.5 > 10.99.0.4 echo id=1",
    "tcp [fd01::5]:1 > [fd99::1]:80 S",
    "udp [fd01::5]:1 > [fd99::1]:53",
    "icmp fd01::5 > fd99::4 echo id=1",
];

tests::conforms! {
    /// A packet whose flow cannot be made for want of resources is dropped, and its sender told
    /// "communication administratively prohibited"; for want of a port, "host unreachable", as RFC 6888
    /// asks for later.
    I19 Always "RFC 5508 REQ-8"
    fn without_room_the_sender_is_told_prohibited() {
        let mut full = config();
        full.limits.flows = 0;
        let mut no_port = config();
        no_port.snat.ports = (5_000, 5_000);
        no_port.pools.iter_mut().for_each(|pool| pool.backends.truncate(1));
        for (config, reason, taken, code) in [
            (full, DropReason::FlowTableFull, false, "prohibited"),
            (no_port, DropReason::NoPort, true, "host"),
        ] {
            for line in NEW {
                let mut bed = Bed::new(config.clone());
                if taken {
                    assert_eq!(bed.send(0, &line.replace(".5", ".6").replace("::5", "::6")).verdict, Verdict::Forward);
                }
                let flows = bed.engine.flows().len();
                let seen = bed.send(0, line);
                assert_eq!(seen.verdict, Verdict::Reject(reason), "{line}");
                let told = match (code, line.contains("fd01")) {
                    // What RFC 7915 section 4.2 makes of it.
                    ("host", true) => " unreachable code=no-route about=(",
                    ("host", false) => " unreachable code=host about=(",
                    _ => " unreachable code=prohibited about=(",
                };
                assert!(seen.line.contains(told), "{}", seen.line);
                assert_eq!(bed.engine.flows().len(), flows, "no flow is lost by it");
            }
        }
    }
}
