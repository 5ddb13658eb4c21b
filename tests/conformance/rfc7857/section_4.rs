//! Address pooling.

use std::time::Duration;

use nat::{Config, Verdict};
use netstack::wire::Address;
use tests::bed::{Bed, addr, config, pool};

fn source(bed: &mut Bed, client: &str) -> Address {
    let seen = bed.send(0, &format!("udp {client} > 10.99.0.1:53 len=4"));
    assert_eq!(seen.verdict, Verdict::Forward);
    addr(seen.ends().0.split(':').next().unwrap_or_default())
}

fn with_pool(addresses: &[&str]) -> Config {
    let mut config = config();
    config.pools[0] = pool("v4", &["10.2.0.11:8080"]);
    config.snat.addresses = addresses.iter().map(|a| addr(a)).collect();
    config
}

const OLD: [&str; 2] = ["10.99.0.250", "10.99.0.251"];
const NEW: [&str; 4] = ["10.99.0.251", "10.99.0.252", "10.99.0.253", "10.99.0.250"];

tests::conforms! {
    /// A client with live flows keeps its pool address when the pool changes.
    V7 FullNat "RFC 7857 section 4"
    fn a_client_with_flows_stays_where_it_is() {
        let mut bed = Bed::new(with_pool(&OLD));
        let before: Vec<_> =
            (1..=40).map(|n| source(&mut bed, &format!("10.1.0.{n}:1"))).collect();
        bed.engine.set_snat_addresses(&NEW.map(addr)).unwrap();
        for (n, before) in (1..).zip(&before) {
            assert_eq!(source(&mut bed, &format!("10.1.0.{n}:2")), *before);
        }
        // Without a flow a client has no address to keep.
        bed.wait(Duration::from_mins(6));
        let moved = (1..).zip(&before).filter(|(n, before)| {
            source(&mut bed, &format!("10.1.0.{n}:3")) != **before
        });
        assert!((5..=35).contains(&moved.count()));
    }

    /// A client whose address has left the pool gets another for new flows, and its old flows stay.
    V7 FullNat "RFC 7857 section 4"
    fn an_address_that_is_gone_is_not_used_again() {
        let mut bed = Bed::new(with_pool(&OLD[..1]));
        assert_eq!(source(&mut bed, "10.1.0.5:1"), addr("10.99.0.250"));
        let port = bed.flow().snat.port;
        bed.engine.set_snat_addresses(&[addr("10.99.0.251")]).unwrap();
        assert_eq!(source(&mut bed, "10.1.0.5:2"), addr("10.99.0.251"));
        assert_eq!(source(&mut bed, "10.1.0.5:1"), addr("10.99.0.250"));
        let answer = format!("udp 10.2.0.11:8080 > 10.99.0.250:{port} len=4");
        assert_eq!(bed.send(1, &answer).verdict, Verdict::Forward);
    }

    /// When a client's address has no port left toward a backend, the next address of the pool is used
    /// and counted.
    V7 FullNat "RFC 7857 section 4"
    fn a_full_address_gives_way_to_the_next() {
        let mut config = with_pool(&OLD);
        config.snat.ports = (5_000, 5_003);
        let mut bed = Bed::new(config);
        let first = source(&mut bed, "10.1.0.5:1");
        for port in 2..=4 {
            assert_eq!(source(&mut bed, &format!("10.1.0.5:{port}")), first);
        }
        assert_eq!(bed.engine.stats().snat_unpaired, 0);
        assert_ne!(source(&mut bed, "10.1.0.5:5"), first);
        assert_eq!(bed.engine.stats().snat_unpaired, 1);
    }
}
