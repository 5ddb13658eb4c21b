//! Connections from outside.

use std::time::Duration;

use nat::{DropReason, Mapping, Refusal, Verdict};
use tests::bed::{Bed, config, pool};

const SYN: &str = "tcp 10.2.0.11:8080 > 10.99.0.250:5000 S seq=9";

/// One backend, and one port toward it: a client's SYN is mapped where the backend's went.
fn one_port() -> nat::Config {
    let mut config = config();
    config.pools[0] = pool("v4", &["10.2.0.11:8080"]);
    config.snat.ports = (5_000, 5_000);
    config
}

tests::conforms! {
    /// Filtering of TCP is that of UDP, and does not depend on it: services are open to all, and what is
    /// mapped in the pool only to the backend of a flow.
    T4 Always "RFC 5382 REQ-3"
    fn strangers_reach_services_and_no_mapping() {
        for mapping in [Mapping::EndpointDependent, Mapping::EndpointIndependent] {
            let mut config = config();
            config.snat.mapping = mapping;
            let mut bed = Bed::new(config);
            let seen = bed.send(0, "tcp 192.0.2.77:7 > 10.99.0.1:80 S");
            assert_eq!(seen.verdict, Verdict::Forward);
            let port = bed.flow().snat.port;
            for stranger in ["10.2.0.99:8080", "10.2.0.11:9"] {
                let data = format!("tcp {stranger} > 10.99.0.250:{port} P. seq=1 ack=1 len=4");
                let seen = bed.send(1, &data);
                assert_eq!(seen.verdict, Verdict::Reject(DropReason::NoFlow), "{stranger}");
                let seen = bed.send(1, &format!("tcp {stranger} > 10.99.0.250:{port} S"));
                assert_eq!(seen.verdict, Verdict::Hold, "{stranger}");
            }
        }
    }

    /// A SYN from outside to a pool port that is not mapped to its sender is not answered for six
    /// seconds; if a SYN to that sender is translated meanwhile, it is dropped in silence.
    T5 Always "RFC 5382 REQ-4"
    fn an_unsolicited_syn_waits_for_ours() {
        let mut bed = Bed::new(one_port());
        assert_eq!(bed.send(1, SYN).verdict, Verdict::Hold);
        bed.wait(Duration::from_millis(5_999));
        assert_eq!(bed.transmit(), None);
        let seen = bed.send(0, "tcp 10.1.0.5:7 > 10.99.0.1:80 S");
        assert_eq!(seen.verdict, Verdict::Forward);
        assert!(seen.line.starts_with("tcp 10.99.0.250:5000 > 10.2.0.11:8080 S"), "{}", seen.line);
        bed.wait(Duration::from_mins(1));
        assert_eq!(bed.transmit(), None);
        assert_eq!(bed.engine.stats().dropped(DropReason::UnsolicitedSyn), 0);
    }

    /// A SYN of ours to anybody else does not keep an unsolicited one from being answered.
    T5 Always "RFC 5382 REQ-4"
    fn another_connection_cancels_nothing() {
        let mut config = one_port();
        config.snat.ports = (5_000, 5_001);
        let mut bed = Bed::new(config);
        for n in [1, 2] {
            bed.send(0, &format!("udp 10.1.0.5:{n} > 10.99.0.1:53"));
        }
        assert_eq!(bed.send(1, &SYN.replace("8080", "8081")).verdict, Verdict::Hold);
        bed.send(0, "tcp 10.1.0.5:7 > 10.99.0.1:80 S");
        bed.wait(Duration::from_secs(7));
        assert!(bed.transmit().is_some());
    }

    /// After the six seconds the sender of an unsolicited SYN is told that the port is unreachable.
    T6 Always "RFC 5382 REQ-4a"
    fn after_six_seconds_it_is_refused() {
        for (stranger, pool) in [("10.2.0.11", "10.99.0.250"), ("[fd02::11]", "[fd99::250]")] {
            let mut bed = Bed::new(config());
            let syn = format!("tcp {stranger}:8080 > {pool}:5000 S seq=9");
            assert_eq!(bed.send(1, &syn).verdict, Verdict::Hold);
            // A second one changes nothing.
            bed.wait(Duration::from_secs(1));
            let again = bed.send(1, &syn).verdict;
            assert_eq!(again, Verdict::Drop(DropReason::UnsolicitedSyn));
            bed.wait(Duration::from_millis(5_001));
            let (leg, line) = bed.transmit().unwrap();
            let (stranger, pool) = (stranger.trim_matches(['[', ']']), pool.trim_matches(['[', ']']));
            assert_eq!(leg, 1);
            let start = format!("icmp {pool} > {stranger} unreachable code=port about=(tcp ");
            assert!(line.starts_with(&start), "{line}");
            assert_eq!(bed.transmit(), None);
        }
    }

    /// The sender of an unsolicited SYN hears nothing if so configured.
    T6 Always "RFC 5382 REQ-4a"
    fn silence_can_be_chosen() {
        let mut config = one_port();
        config.snat.unsolicited = Refusal::Drop;
        let mut bed = Bed::new(config);
        assert_eq!(bed.send(1, SYN).verdict, Verdict::Hold);
        bed.wait(Duration::from_mins(1));
        assert_eq!(bed.transmit(), None);
        assert_eq!(bed.engine.stats().dropped(DropReason::UnsolicitedSyn), 1);
    }
}
