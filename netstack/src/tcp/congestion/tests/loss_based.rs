use std::time::Duration;

use super::path::{Network, Path};
use crate::tcp::congestion::Algorithm;

const fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn probe_table() {
    for algorithm in Algorithm::ALL {
        for (mbit, rtt) in [(100, 1), (100, 20), (100, 100)] {
            for loss in [0, 1_000, 10_000, 30_000] {
                let path = Path { loss, ..Path::new(mbit, rtt) };
                let mut network = Network::with(path, algorithm);
                let first = network.rates_over(s(2))[0];
                let rate = network.rates_over(s(10))[0];
                let flow = &network.flows[0];
                println!(
                    "{algorithm:6} {mbit}M {rtt}ms loss {loss}: first {first} then {rate} Mbit/s, queue {:?}, retr {}, overflow {}, rto {}, {} w {} {:?}",
                    network.mean_queue(),
                    flow.retransmissions,
                    network.overflows,
                    flow.timeouts,
                    flow.congestion.phase(),
                    flow.congestion.window(),
                    flow.congestion.pacing_rate()
                );
            }
        }
    }
}
