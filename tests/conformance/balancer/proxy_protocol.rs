//! Who the client is, told to a backend (`HAProxy`'s `proxy-protocol.txt`).

use std::time::Duration;

use balun::sim::Impairment;
use tests::bench::{Scenario, seeds, simulate};
use tests::topology::FAMILIES;
use tests::transfer::{Job, Order};

const PERCENT: u32 = 10_000;

tests::conforms! {
    /// A PROXY header precedes the first byte to a backend exactly once, whatever is lost, reordered,
    /// doubled or cut on the way, and whoever speaks first.
    L16 Always "PROXY protocol 2.2"
    fn the_header_comes_first_and_once() {
        for family in FAMILIES {
            for mtu in [0, 1500] {
                for seed in seeds(3) {
                    let mut scenario = Scenario::new(seed, family);
                    let (loss, reorder, duplicate) = (2 * PERCENT, 5 * PERCENT, 5 * PERCENT);
                    scenario.impairment =
                        Impairment { loss, reorder, duplicate, mtu, ..scenario.impairment };
                    simulate(scenario, "behind a PROXY header", async |bench| {
                        let orders = [Order::Duplex, Order::ClientFirst, Order::ServerFirst];
                        let jobs = orders.map(|order| {
                            Job { upload: 70_000, download: 70_000, salt: seed, order }
                        });
                        let running = jobs.map(|job| bench.start_proxied(job)).into();
                        for result in bench.finish(Duration::from_mins(4), running).await {
                            assert!(result.is_ok(), "{result:?}");
                        }
                        // A server may wait a while for the last acknowledgment.
                        bench.pass(Duration::from_mins(1)).await;
                        assert_eq!(bench.ledger.served_by(0) + bench.ledger.served_by(1), 3);
                    });
                }
            }
        }
    }
}
