//! Goodput by loss and round trip, printed for people.

use std::time::Duration;

use super::link::{Link, Scenario};
use crate::tcp::congestion::Algorithm;

/// `cargo test -p netstack --release --lib recovery::tests::table -- --ignored --nocapture`
#[test]
#[ignore = "prints a table; takes a minute"]
fn goodput() {
    println!("1 Gbit/s, queue of 2 BDP, 4 MiB buffers, timers of 1 ms, 100 MB or 60 s");
    println!(
        "| RTT ms | loss % | reordered % | algorithm | Mbit/s | lost | dropped | sent again | twice \
         | timeouts | undone |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for reorder in [0, 50_000] {
        for rtt in [100, 1_000, 20_000, 100_000] {
            for loss in [0, 1_000, 10_000, 30_000] {
                for algorithm in Algorithm::ALL {
                    one_of_the_table(rtt, loss, reorder, algorithm);
                }
            }
        }
    }
}

fn one_of_the_table(rtt: u64, loss: u32, reorder: u32, algorithm: Algorithm) {
    let outcome = Link::new(Scenario {
        algorithm,
        rate: 125_000_000,
        rtt: Duration::from_micros(rtt),
        loss,
        ack_loss: loss,
        reorder,
        late: Duration::from_micros(rtt / 5),
        bytes: 100_000_000,
        max_time: Duration::from_mins(1),
        tick: Duration::from_millis(1),
        ..Scenario::default()
    })
    .run();
    println!(
        "| {} | {} | {} | {algorithm} | {:.1} | {} | {} | {} | {} | {} | {} |",
        rtt as f64 / 1_000.0,
        f64::from(loss) / 10_000.0,
        reorder / 10_000,
        outcome.mbit_per_second(),
        outcome.lost,
        outcome.overflowed,
        outcome.info.retransmitted_segments,
        outcome.received_twice,
        outcome.info.timeouts,
        outcome.info.undone,
    );
}

/// How long answers of 20 KB take.
#[test]
#[ignore = "prints a table; takes a while"]
fn answers() {
    println!(
        "| RTT ms | loss % | algorithm | median ms | p99 | p99.9 | lost | sent again | timeouts |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (rtt, loss) in [(1, 0), (1, 10_000), (1, 30_000), (20, 10_000), (20, 30_000)] {
        for algorithm in Algorithm::ALL {
            let mut outcome = Link::new(Scenario {
                algorithm,
                rate: 125_000_000,
                rtt: Duration::from_millis(rtt),
                loss,
                ack_loss: loss,
                bytes: 100_000_000,
                message: 20_000,
                max_time: Duration::from_hours(1),
                tick: Duration::from_millis(1),
                ..Scenario::default()
            })
            .run();
            outcome.latencies.sort();
            let at = |share: usize| {
                let index = outcome.latencies.len() * share / 1_000;
                outcome.latencies[index].as_micros() as f64 / 1_000.0
            };
            println!(
                "| {rtt} | {} | {algorithm} | {:.1} | {:.1} | {:.1} | {} | {} | {} |",
                f64::from(loss) / 10_000.0,
                at(500),
                at(990),
                at(999),
                outcome.lost,
                outcome.info.retransmitted_segments,
                outcome.info.timeouts,
            );
        }
    }
}
