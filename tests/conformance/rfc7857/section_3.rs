//! Port overlapping.

use nat::Verdict;
use tests::bed::{Bed, config, pool};

tests::conforms! {
    /// With the endpoint-dependent mapping, one pool port serves a flow to each backend endpoint, so that
    /// flows are not bounded by the number of ports.
    V6 Optional "RFC 7857 section 3"
    fn a_port_serves_several_backends() {
        let mut config = config();
        config.pools[0] = pool("v4", &["10.2.0.11:80", "10.2.0.11:81", "10.2.0.12:80"]);
        config.snat.ports = (5_000, 5_000);
        let mut bed = Bed::new(config);
        for n in 1..=3 {
            let seen = bed.send(0, &format!("udp 10.1.0.{n}:7 > 10.99.0.1:53 len=4"));
            assert_eq!(seen.verdict, Verdict::Forward);
            assert!(seen.line.starts_with("udp 10.99.0.250:5000 "), "{}", seen.line);
        }
    }
}
