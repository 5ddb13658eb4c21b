//! Internal and external address spaces that overlap.

use nat::{Config, Verdict};
use tests::bed::{Bed, config, leg};

/// Clients of 10.2.0.0/24 before leg 0, backends of 10.2.0.8/29 behind leg 1.
fn overlapping() -> Config {
    let mut config = config();
    config.legs = vec![leg(&["10.2.0.0/24"]), leg(&["10.2.0.8/29"])];
    config
}

tests::conforms! {
    /// A client whose address is, by number, one of the backends' network is served by full NAT, and
    /// DNAT in such a network is refused when the configuration is checked.
    U12 Always "RFC 4787 REQ-7"
    fn a_client_may_bear_a_backends_own_address() {
        let mut bed = Bed::new(overlapping());
        for client in ["10.2.0.5", "10.2.0.9", "10.2.0.11"] {
            let seen = bed.send(0, &format!("udp {client}:5000 > 10.99.0.1:53 len=4"));
            assert_eq!((seen.verdict, seen.leg), (Verdict::Forward, 1));
            let (snat, backend) = seen.ends();
            let seen = bed.send(1, &format!("udp {backend} > {snat} len=9"));
            assert_eq!((seen.verdict, seen.leg), (Verdict::Forward, 0));
            let answer = format!("udp 10.99.0.1:53 > {client}:5000 ");
            assert!(seen.line.starts_with(&answer), "{}", seen.line);
        }
    }
}
