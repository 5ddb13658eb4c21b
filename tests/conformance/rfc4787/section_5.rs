//! Filtering.

use nat::{DropReason, Mapping, Verdict};
use tests::bed::{Bed, config};

tests::conforms! {
    /// Toward a service's address filtering is endpoint-independent: any host may be its client. Toward
    /// the pool it is address and port-dependent: what is not from the backend of a flow is refused.
    U13 Always "RFC 4787 REQ-8"
    fn strangers_reach_services_and_no_mapping() {
        for mapping in [Mapping::EndpointDependent, Mapping::EndpointIndependent] {
            let mut config = config();
            config.snat.mapping = mapping;
            let mut bed = Bed::new(config);
            for client in ["10.1.0.5:7", "192.0.2.77:7"] {
                let seen = bed.send(0, &format!("udp {client} > 10.99.0.1:53 len=4"));
                assert_eq!(seen.verdict, Verdict::Forward);
            }
            let ports: Vec<_> = bed.engine.flows().iter().map(|(_, f)| f.snat.port).collect();
            for port in ports {
                for stranger in ["10.2.0.99:8080", "10.2.0.11:9", "10.1.0.9:5000"] {
                    let leg = u16::from(stranger.starts_with("10.2"));
                    let seen = bed.send(leg, &format!("udp {stranger} > 10.99.0.250:{port} len=4"));
                    assert_eq!(seen.verdict, Verdict::Reject(DropReason::NoService), "{stranger}");
                    assert!(seen.line.contains("unreachable code=port"), "{}", seen.line);
                }
            }
        }
    }
}
