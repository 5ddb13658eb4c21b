//! Port assignment.

use std::collections::HashSet;

use nat::{Mapping, Verdict};
use tests::bed::{Bed, config};

/// The pool port that a client's is mapped to.
fn mapped(bed: &mut Bed, client: &str) -> u16 {
    bed.send(0, &format!("udp {client} > 10.99.0.1:53 len=4")).source_port()
}

tests::conforms! {
    /// Two mappings never share a pool address and port: without a free one a client is refused.
    U3 FullNat "RFC 4787 REQ-3"
    fn no_two_clients_share_a_pool_port() {
        let mut config = config();
        config.snat.mapping = Mapping::EndpointIndependent;
        config.snat.ports = (5_000, 5_009);
        let mut bed = Bed::new(config);
        let ports: HashSet<_> =
            (1..=10).map(|n| mapped(&mut bed, &format!("10.1.0.{n}:7"))).collect();
        assert_eq!(ports.len(), 10, "though there are two backends");
        let seen = bed.send(0, "udp 10.1.0.11:7 > 10.99.0.1:53");
        assert!(matches!(seen.verdict, Verdict::Reject(_)));
    }

    /// A port below 1024 is mapped to one below 1024, any other to one of 1024 and above.
    U4 FullNat "RFC 4787 REQ-3a"
    fn well_known_ports_stay_so() {
        for mapping in [Mapping::EndpointDependent, Mapping::EndpointIndependent] {
            let mut config = config();
            config.snat.mapping = mapping;
            config.snat.ports = (1, 65_535);
            let mut bed = Bed::new(config);
            for port in [1, 7, 123, 1023] {
                for client in 1..=50 {
                    assert!(mapped(&mut bed, &format!("10.1.0.{client}:{port}")) < 1024);
                }
            }
            for port in [1024, 5000, 65_535] {
                for client in 1..=50 {
                    assert!(mapped(&mut bed, &format!("10.1.0.{client}:{port}")) >= 1024);
                }
            }
        }
    }

    /// The parity of a UDP port is kept if `parity` is set: even to even, odd to odd.
    U5 Optional "RFC 4787 REQ-4"
    fn parity_is_kept_where_it_is_asked_for() {
        let mut config = config();
        config.snat.parity = true;
        let mut bed = Bed::new(config);
        for port in 5_000..5_100 {
            assert_eq!(mapped(&mut bed, &format!("10.1.0.5:{port}")) % 2, port % 2);
        }
    }
}
