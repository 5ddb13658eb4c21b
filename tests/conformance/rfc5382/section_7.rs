//! Other requirements: port assignment, hairpinning.

use std::collections::HashSet;

use nat::{DropReason, Mapping, Mode, Nat, Verdict};
use tests::bed::{Bed, config, service};

tests::conforms! {
    /// Two TCP mappings never share a pool address and port.
    T11 FullNat "RFC 5382 REQ-7"
    fn no_two_clients_share_a_pool_port() {
        let mut config = config();
        config.snat.mapping = Mapping::EndpointIndependent;
        config.snat.ports = (5_000, 5_009);
        let mut bed = Bed::new(config);
        let mut syn = |n: u16| bed.send(0, &format!("tcp 10.1.0.{n}:7 > 10.99.0.1:80 S"));
        let sources: HashSet<_> =
            (1..=10).map(|n| syn(n).ends().0.to_owned()).collect();
        assert_eq!(sources.len(), 10);
        assert_eq!(syn(11).verdict, Verdict::Reject(DropReason::NoPort));
    }

    /// A backend connects to its own service, and sees the pool's address as the source.
    T12 FullNat "RFC 5382 REQ-8"
    fn a_backend_connects_to_its_own_service() {
        for nat in [Nat::Full, Nat::Dnat] {
            for mapping in [Mapping::EndpointDependent, Mapping::EndpointIndependent] {
                let mut config = config();
                config.snat.mapping = mapping;
                config.services.push(service("tcp 10.99.0.1:99", Mode::Nat(nat), 0));
                let mut bed = Bed::new(config);
                let seen = bed.send(1, "tcp 10.2.0.11:5000 > 10.99.0.1:99 S seq=1");
                let (snat, backend) = seen.ends();
                assert!(snat.starts_with("10.99.0.250:"), "{}", seen.line);
                assert_eq!(backend, "10.2.0.11:8080", "even to itself");
                let seen = bed.send(1, &format!("tcp {backend} > {snat} S. seq=5 ack=2"));
                assert_eq!((seen.verdict, seen.leg), (Verdict::Forward, 1));
                let answer = "tcp 10.99.0.1:99 > 10.2.0.11:5000 S. seq=5 ack=2";
                assert!(seen.line.starts_with(answer), "{}", seen.line);
                let seen = bed.send(1, "tcp 10.2.0.11:5000 > 10.99.0.1:99 . seq=2 ack=6");
                assert_eq!((seen.verdict, seen.leg), (Verdict::Forward, 1));
            }
        }
    }
}
