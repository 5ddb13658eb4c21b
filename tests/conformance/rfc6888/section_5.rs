//! Port allocation.

use std::collections::HashSet;

use nat::{DropReason, Mapping, Verdict};
use tests::bed::{Bed, config, pool};

tests::conforms! {
    /// Every port is used before a flow is refused, in an order that is hard to guess.
    C8 FullNat "RFC 6888 REQ-13, REQ-15"
    fn the_last_port_is_as_good_as_the_first() {
        for mapping in [Mapping::EndpointDependent, Mapping::EndpointIndependent] {
            let mut config = config();
            config.pools[0] = pool("v4", &["10.2.0.11:8080"]);
            config.snat.mapping = mapping;
            config.snat.ports = (2_000, 2_999);
            let mut bed = Bed::new(config);
            let mut query = |n: u16| bed.send(0, &format!("udp 10.1.0.5:{n} > 10.99.0.1:53"));
            let ports: Vec<u16> = (1..=1_000)
                .map(|n| query(n).source_port())
                .collect();
            assert_eq!(query(1_001).verdict, Verdict::Reject(DropReason::NoPort));
            assert_eq!(ports.iter().collect::<HashSet<_>>().len(), 1_000);
            // While most are free, hardly one follows the one before.
            let next = ports[..500].windows(2).filter(|pair| pair[1].abs_diff(pair[0]) < 10).count();
            assert!(next < 40, "{next} of 500");
        }
    }
}
