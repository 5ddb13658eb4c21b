//! Address and port mapping.

use nat::{Mapping, Mode, Nat, Verdict};
use tests::bed::{Bed, addr, config, service};

/// Services of the same pool, whose backends take turns.
fn several(mapping: Mapping) -> Bed {
    let mut config = config();
    config.snat.mapping = mapping;
    for port in 54..58 {
        config.services.push(service(&format!("udp 10.99.0.1:{port}"), Mode::Nat(Nat::Full), 0));
    }
    Bed::new(config)
}

/// `snat` and `backend` of the packet that a client's becomes.
fn seen(bed: &mut Bed, client: &str, service: u16) -> (String, String) {
    let seen = bed.send(0, &format!("udp {client} > 10.99.0.1:{service} len=4"));
    assert_eq!(seen.verdict, Verdict::Forward);
    let (snat, backend) = seen.ends();
    (snat.to_owned(), backend.to_owned())
}

tests::conforms! {
    /// Endpoint-independent mapping is offered: a client's port has one pool address and port whatever
    /// backend it talks to.
    U1 FullNat "RFC 4787 REQ-1"
    fn one_client_port_has_one_pool_port_toward_all_backends() {
        let mut bed = several(Mapping::EndpointIndependent);
        let (first, one) = seen(&mut bed, "10.1.0.5:5000", 53);
        let (second, other) = seen(&mut bed, "10.1.0.5:5000", 54);
        assert_ne!(one, other, "two backends");
        assert_eq!(first, second);
        let (another, _) = seen(&mut bed, "10.1.0.5:5001", 53);
        assert_ne!(first, another, "another port is another mapping");
    }

    /// All flows of a client use one address of the pool.
    U2 FullNat "RFC 4787 REQ-2"
    fn a_client_keeps_one_pool_address() {
        for mapping in [Mapping::EndpointDependent, Mapping::EndpointIndependent] {
            let mut config = config();
            config.snat.mapping = mapping;
            let addresses = ["10.99.0.250", "10.99.0.251", "10.99.0.252", "10.99.0.253"];
            config.snat.addresses = addresses.map(addr).to_vec();
            let mut bed = Bed::new(config);
            let mut used = std::collections::HashSet::new();
            for client in 1..=30 {
                let sources: std::collections::HashSet<_> = (1..=8)
                    .map(|port| seen(&mut bed, &format!("10.1.0.{client}:{port}"), 53).0)
                    .map(|source| source.split(':').next().unwrap().to_owned())
                    .collect();
                assert_eq!(sources.len(), 1, "client {client}: {sources:?}");
                used.extend(sources);
            }
            assert_eq!(used.len(), 4, "and clients use all of the pool");
        }
    }
}
