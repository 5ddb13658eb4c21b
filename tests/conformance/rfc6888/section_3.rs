//! Requirements.

use std::collections::HashSet;
use std::time::Duration;

use nat::{Config, DropReason, Mapping, Mode, Verdict};
use tests::bed::{Bed, Seen, addr, config, pool, service};

/// One backend, and so many ports toward it.
fn small(ports: u16) -> Config {
    let mut config = config();
    config.pools[0] = pool("v4", &["10.2.0.11:8080"]);
    config.snat.ports = (5_000, 4_999 + ports);
    config
}

fn udp(bed: &mut Bed, client: &str) -> Seen {
    bed.send(0, &format!("udp {client} > 10.99.0.1:53 len=4"))
}

/// Opens a connection, and returns its pool port.
fn open(bed: &mut Bed, client: &str) -> u16 {
    let port = bed.send(0, &format!("tcp {client} > 10.99.0.1:80 S")).source_port();
    bed.send(1, &format!("tcp 10.2.0.11:8080 > 10.99.0.250:{port} S. ack=1"));
    bed.send(0, &format!("tcp {client} > 10.99.0.1:80 . seq=1 ack=1"));
    port
}

tests::conforms! {
    /// The pool's addresses need not be neighbours.
    C1 FullNat "RFC 6888 REQ-3"
    fn addresses_may_lie_apart() {
        let mut config = config();
        let apart = ["10.99.0.250", "192.0.2.7", "198.51.100.200"];
        config.snat.addresses = apart.map(addr).to_vec();
        let mut bed = Bed::new(config);
        let used: HashSet<_> = (1..=30)
            .map(|n| udp(&mut bed, &format!("10.1.0.{n}:7")))
            .map(|seen| seen.ends().0.split(':').next().unwrap().to_owned())
            .collect();
        assert_eq!(used, apart.map(str::to_owned).into());
    }

    /// The ports of one client can be limited.
    C2 FullNat "RFC 6888 REQ-4"
    fn a_client_has_so_many_ports() {
        for mapping in [Mapping::EndpointDependent, Mapping::EndpointIndependent] {
            let mut config = config();
            config.snat.mapping = mapping;
            config.snat.ports_per_client = 3;
            let mut bed = Bed::new(config);
            for n in 1..=3 {
                udp(&mut bed, &format!("10.1.0.5:{n}")).source_port();
            }
            let seen = udp(&mut bed, "10.1.0.5:4");
            assert_eq!(seen.verdict, Verdict::Reject(DropReason::ClientLimit));
            assert!(seen.line.contains("unreachable code=prohibited"), "{}", seen.line);
            let seen = bed.send(0, "tcp 10.1.0.5:4 > 10.99.0.1:80 S");
            assert_eq!(seen.verdict, Verdict::Reject(DropReason::ClientLimit));
            assert!(seen.line.contains("unreachable code=prohibited"), "{}", seen.line);
            // Neither another client nor a flow that needs no port is concerned.
            udp(&mut bed, "10.1.0.6:4").source_port();
            let seen = bed.send(0, "tcp 10.1.0.5:4 > 10.99.0.1:81 S");
            assert_eq!(seen.verdict, Verdict::Forward);
            bed.wait(Duration::from_mins(6));
            udp(&mut bed, "10.1.0.5:4").source_port();
        }
    }

    /// The flows of one client can be limited, whatever kind they are of.
    C3 Always "RFC 6888 REQ-5"
    fn a_client_has_so_many_flows() {
        let mut config = config();
        config.limits.flows_per_client = 3;
        let mut bed = Bed::new(config);
        let lines = [
            "tcp 10.1.0.5:1 > 10.99.0.1:80 S",
            "tcp 10.1.0.5:1 > 10.99.0.1:81 S",
            "tcp 10.1.0.5:1 > 10.99.0.2:80 S",
        ];
        for line in lines {
            assert!(matches!(bed.send(0, line).verdict, Verdict::Forward | Verdict::Divert(_)));
        }
        let seen = udp(&mut bed, "10.1.0.5:1");
        assert_eq!(seen.verdict, Verdict::Reject(DropReason::ClientLimit));
        assert!(seen.line.contains("unreachable code=prohibited"), "{}", seen.line);
        for line in lines {
            let again = bed.send(0, line).verdict;
            assert!(matches!(again, Verdict::Forward | Verdict::Divert(_)), "they stay");
        }
        udp(&mut bed, "10.1.0.6:1").source_port();
    }

    /// The port of a flow that was forgotten is given to no other for two minutes while there are more.
    C5 FullNat "RFC 6888 REQ-8"
    fn a_port_rests_for_two_minutes() {
        for mapping in [Mapping::EndpointDependent, Mapping::EndpointIndependent] {
            let mut config = small(50);
            config.snat.mapping = mapping;
            let mut bed = Bed::new(config);
            let used: HashSet<_> =
                (1..=20).map(|n| udp(&mut bed, &format!("10.1.0.{n}:1")).source_port()).collect();
            bed.wait(Duration::from_secs(301));
            assert!(bed.engine.flows().is_empty());
            bed.wait(Duration::from_secs(118));
            for n in 1..=30 {
                assert!(!used.contains(&udp(&mut bed, &format!("10.1.1.{n}:1")).source_port()));
            }
            bed.wait(Duration::from_secs(2));
            let after: HashSet<_> =
                (1..=20).map(|n| udp(&mut bed, &format!("10.1.2.{n}:1")).source_port()).collect();
            assert_eq!(after, used);
            assert_eq!(bed.engine.stats().snat_reused_early, 0);
        }
    }

    /// The port of a connection that both sides closed rests until the flow's closing time is over, no
    /// longer.
    C5 FullNat "RFC 6888 REQ-8 A"
    fn a_closed_connection_has_waited_enough() {
        let mut bed = Bed::new(small(1));
        let client = "10.1.0.5:1";
        let mapped = open(&mut bed, client);
        bed.send(0, &format!("tcp {client} > 10.99.0.1:80 F. seq=1 ack=1"));
        bed.send(1, &format!("tcp 10.2.0.11:8080 > 10.99.0.250:{mapped} F. seq=1 ack=2"));
        bed.wait(Duration::from_secs(241));
        assert!(bed.engine.flows().is_empty());
        open(&mut bed, "10.1.0.6:1");
        assert_eq!(bed.engine.stats().snat_reused_early, 0);
    }

    /// A flow that cannot be mapped is refused with "host unreachable" and counted, and none that exists
    /// gives way to it.
    C6 Always "RFC 6888 REQ-11"
    fn exhaustion_is_told_and_takes_nothing_away() {
        for mapping in [Mapping::EndpointDependent, Mapping::EndpointIndependent] {
            let mut config = small(4);
            config.snat.mapping = mapping;
            config.services.push(service("tcp 10.99.0.2:81", Mode::Divert, 0));
            let mut bed = Bed::new(config);
            for n in 1..=4 {
                open(&mut bed, &format!("10.1.0.5:{n}"));
                udp(&mut bed, &format!("10.1.0.5:{n}")).source_port();
            }
            for n in 5..=9 {
                let seen = udp(&mut bed, &format!("10.1.0.5:{n}"));
                assert_eq!(seen.verdict, Verdict::Reject(DropReason::NoPort));
                assert!(seen.line.contains("unreachable code=host"), "{}", seen.line);
                let seen = bed.send(0, &format!("tcp 10.1.0.5:{n} > 10.99.0.1:80 S"));
                assert_eq!(seen.verdict, Verdict::Reject(DropReason::NoPort));
                assert!(seen.line.contains("unreachable code=host"), "{}", seen.line);
            }
            assert_eq!(bed.engine.stats().dropped(DropReason::NoPort), 10);
            assert_eq!(bed.engine.flows().len(), 8);
            for n in 1..=4 {
                udp(&mut bed, &format!("10.1.0.5:{n}")).source_port();
            }
        }
    }
}
