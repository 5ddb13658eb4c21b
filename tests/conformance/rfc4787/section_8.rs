//! Deterministic properties.

use nat::{DropReason, Mapping, Mode, Nat, Verdict};
use tests::bed::{Bed, config, service};

tests::conforms! {
    /// Mapping and filtering stay of one kind whatever the load: with every port taken, what is mapped
    /// stays mapped and is filtered as before, and what is not is refused.
    U16 Always "RFC 4787 REQ-11"
    fn exhaustion_changes_no_behaviour() {
        for mapping in [Mapping::EndpointDependent, Mapping::EndpointIndependent] {
            let mut config = config();
            config.snat.mapping = mapping;
            config.snat.ports = (5_000, 5_019);
            for port in [54, 55] {
                let listen = format!("udp 10.99.0.1:{port}");
                config.services.push(service(&listen, Mode::Nat(Nat::Full), 0));
            }
            let mut bed = Bed::new(config);
            let mut query = |client: u16, service| {
                bed.send(0, &format!("udp 10.1.0.{client}:7 > 10.99.0.1:{service} len=4"))
            };
            let mut last = 1;
            while query(last, 53).verdict == Verdict::Forward {
                last += 1;
            }
            // Each backend has the range if the mapping depends on it.
            let is_independent = mapping == Mapping::EndpointIndependent;
            assert_eq!(last - 1, if is_independent { 20 } else { 40 });
            assert_eq!(query(last, 53).verdict, Verdict::Reject(DropReason::NoPort));
            // A mapping that exists serves another backend; one that depends on it cannot.
            let elsewhere = query(1, 54).verdict;
            assert_eq!(elsewhere == Verdict::Forward, is_independent);
            let seen = bed.send(1, "udp 10.2.0.99:8080 > 10.99.0.250:5000 len=4");
            assert_eq!(seen.verdict, Verdict::Reject(DropReason::NoService));
        }
    }
}
