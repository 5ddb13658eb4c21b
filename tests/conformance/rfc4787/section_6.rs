//! Hairpinning.

use nat::{Mapping, Verdict};
use nat::{Mode, Nat};
use tests::bed::{Bed, config, service};

tests::conforms! {
    /// A backend that is a client of its own service reaches it, and what is reached sees the pool's
    /// address as the source: full NAT, whatever the service is configured for.
    U14 FullNat "RFC 4787 REQ-9"
    fn a_backend_reaches_its_own_service() {
        for mapping in [Mapping::EndpointDependent, Mapping::EndpointIndependent] {
            for (nat, one_leg) in
                [(Nat::Full, false), (Nat::Full, true), (Nat::Dnat, false), (Nat::Dnat, true)]
            {
                let mut config = config();
                config.snat.mapping = mapping;
                config.services.push(service("udp 10.99.0.1:99", Mode::Nat(nat), 0));
                if one_leg {
                    config.legs.truncate(1);
                }
                let leg = u16::from(!one_leg);
                let mut bed = Bed::new(config);
                // Both backends in turn: the first one is given to itself.
                for _ in 0..2 {
                    let seen = bed.send(leg, "udp 10.2.0.11:5000 > 10.99.0.1:99 len=4");
                    assert_eq!((seen.verdict, seen.leg), (Verdict::Forward, leg));
                    let (snat, backend) = seen.ends();
                    assert!(snat.starts_with("10.99.0.250:"), "{}", seen.line);
                    let seen = bed.send(leg, &format!("udp {backend} > {snat} len=9"));
                    assert_eq!((seen.verdict, seen.leg), (Verdict::Forward, leg));
                    let answer = "udp 10.99.0.1:99 > 10.2.0.11:5000 ";
                    assert!(seen.line.starts_with(answer), "{}", seen.line);
                }
            }
        }
    }

    /// Any other host of the backends' network reaches the service in the same way.
    U14 FullNat "RFC 4787 REQ-9a"
    fn a_neighbour_of_the_backends_reaches_the_service() {
        let mut config = config();
        config.services.push(service("udp 10.99.0.1:99", Mode::Nat(Nat::Dnat), 0));
        let mut bed = Bed::new(config);
        let seen = bed.send(1, "udp 10.2.0.77:5000 > 10.99.0.1:99 len=4");
        assert!(seen.line.starts_with("udp 10.99.0.250:"), "{}", seen.line);
        let seen = bed.send(0, "udp 10.1.0.77:5000 > 10.99.0.1:99 len=4");
        assert!(seen.line.starts_with("udp 10.1.0.77:5000 "), "no hairpin: {}", seen.line);
    }
}
