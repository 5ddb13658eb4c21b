//! The ports that backends see (RFC 6056, RFC 6191).

use std::collections::HashSet;

use nat::Config;
use tests::bed::{Bed, config, pool};

fn one_backend(ports: u16) -> Config {
    let mut config = config();
    config.pools[0] = pool("v4", &["10.2.0.11:8080"]);
    config.snat.ports = (5_000, 4_999 + ports);
    config
}

/// A connection that the backend closes first, so that the backend is in TIME-WAIT; its pool port.
fn closed_by_backend(bed: &mut Bed, n: u16) -> u16 {
    let client = format!("10.1.0.5:{n}");
    let seen = bed.send(0, &format!("tcp {client} > 10.99.0.1:80 S"));
    let port = seen.source_port();
    let answer = format!("tcp 10.2.0.11:8080 > 10.99.0.250:{port}");
    bed.send(1, &format!("{answer} S. ack=1"));
    bed.send(0, &format!("tcp {client} > 10.99.0.1:80 . seq=1 ack=1"));
    bed.send(1, &format!("{answer} F. seq=1 ack=1"));
    bed.send(0, &format!("tcp {client} > 10.99.0.1:80 F. seq=1 ack=2"));
    port
}

tests::conforms! {
    /// A port that a backend may hold in TIME-WAIT is not used toward it again while another is left;
    /// then the one that has waited longest is, in its turn.
    L7 FullNat "RFC 6191, RFC 9293 section 3.6.1"
    fn a_backend_in_time_wait_is_left_alone() {
        let mut bed = Bed::new(one_backend(200));
        let first: Vec<_> = (1..=200).map(|n| closed_by_backend(&mut bed, n)).collect();
        assert_eq!(first.iter().collect::<HashSet<_>>().len(), 200);
        assert_eq!(bed.engine.stats().snat_reused_early, 0);
        let second: Vec<_> = (201..=400).map(|n| closed_by_backend(&mut bed, n)).collect();
        assert_eq!(first, second);
        assert_eq!(bed.engine.stats().snat_reused_early, 200);
    }

    /// Ports are drawn at random (algorithm 1), from a range that each destination has to itself.
    L8 FullNat "RFC 6056 section 3.3.1"
    fn each_destination_has_ports_of_its_own() {
        let mut config = one_backend(100);
        config.pools[0] = pool("v4", &["10.2.0.11:8080", "10.2.0.12:8080"]);
        let mut bed = Bed::new(config);
        let mut by_backend: [Vec<u16>; 2] = Default::default();
        for n in 1..=200 {
            let seen = bed.send(0, &format!("udp 10.1.0.5:{n} > 10.99.0.1:53"));
            by_backend[usize::from(seen.ends().1 == "10.2.0.12:8080")].push(seen.source_port());
        }
        let [one, other] = by_backend;
        assert_eq!((one.len(), other.len()), (100, 100));
        let same = one.iter().zip(&other).filter(|(a, b)| a == b).count();
        assert!(same < 10, "the order toward one tells nothing of that toward the other");
    }
}
