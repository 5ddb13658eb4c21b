//! Mapping and filtering, protocol by protocol (sections 5 to 7).

use std::time::Duration;

use nat::{DropReason, Mapping, Verdict};
use tests::bed::{Bed, config, pool};

fn independent() -> nat::Config {
    let mut config = config();
    config.snat.mapping = Mapping::EndpointIndependent;
    config
}

tests::conforms! {
    /// TCP and UDP share no mapping, nor does either exhaust the other's.
    V8 FullNat "RFC 7857 section 5"
    fn protocols_have_mappings_of_their_own() {
        let mut config = independent();
        config.pools[0] = pool("v4", &["10.2.0.11:8080"]);
        config.snat.ports = (5_000, 5_000);
        let mut bed = Bed::new(config);
        for line in [
            "udp 10.1.0.5:7 > 10.99.0.1:53 len=4",
            "tcp 10.1.0.5:7 > 10.99.0.1:80 S",
            "icmp 10.1.0.5 > 10.99.0.4 echo id=7",
        ] {
            assert_eq!(bed.send(0, line).verdict, Verdict::Forward, "{line}");
        }
        assert_eq!(bed.engine.snat().len(), 3);
        assert_eq!(bed.engine.clients().account(tests::bed::addr("10.1.0.5")).ports, 3);
    }

    /// Filtering holds for each protocol by itself: a UDP flow with a backend opens nothing to the
    /// backend's TCP. There is no looser filtering, so nothing to configure.
    V9 Always "RFC 7857 section 6"
    fn a_flow_opens_its_own_protocol_alone() {
        let mut bed = Bed::new(independent());
        bed.send(0, "udp 10.1.0.5:7 > 10.99.0.1:53 len=4");
        let port = bed.flow().snat.port;
        let answer = format!("10.2.0.11:8080 > 10.99.0.250:{port}");
        let seen = bed.send(1, &format!("tcp {answer} . seq=1 ack=1"));
        assert_eq!(seen.verdict, Verdict::Reject(DropReason::NoFlow));
        assert_eq!(bed.send(1, &format!("udp {answer} len=4")).verdict, Verdict::Forward);
    }

    /// Only packets that the filter lets through refresh a mapping.
    V10 Always "RFC 7857 section 7"
    fn what_is_refused_refreshes_nothing() {
        let mut bed = Bed::new(independent());
        bed.send(0, "udp 10.1.0.5:7 > 10.99.0.1:53 len=4");
        let port = bed.flow().snat.port;
        for _ in 0..5 {
            bed.wait(Duration::from_secs(59));
            bed.send(1, &format!("udp 10.2.0.99:8080 > 10.99.0.250:{port} len=4"));
        }
        assert_eq!(bed.engine.flows().len(), 1);
        bed.wait(Duration::from_secs(6));
        assert_eq!(bed.engine.flows().len(), 0);
    }
}
