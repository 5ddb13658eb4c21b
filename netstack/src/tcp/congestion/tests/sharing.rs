//! Flows beside each other, on 100 Mbit/s and 20 ms.

use std::time::Duration;

use super::path::{Network, Path};
use crate::tcp::congestion::Algorithm::{self, Bbr, Cubic};

/// Rates of two flows over 30 s, after the first 10; the second starts `late` ms after the first.
fn share(first: Algorithm, second: Algorithm, late: u64, products: u64) -> Vec<u64> {
    let mut path = Path::new(100, 20);
    path.buffer = products * path.product();
    let mut network = Network::new(path);
    network.add(first);
    network.run_until(Duration::from_millis(late));
    network.add(second);
    network.run_until(Duration::from_secs(10));
    network.rates_over(Duration::from_secs(30))
}

#[test]
fn two_of_cubic() {
    for late in [0, 500, 5_000] {
        let rates = share(Cubic, Cubic, late, 1);
        assert!(rates.iter().all(|rate| *rate >= 35), "{rates:?}, late {late}");
        assert!(rates.iter().sum::<u64>() >= 97, "{rates:?}, late {late}");
    }
}

/// With a queue of one product CUBIC gets about 36 of 100, with two they are even, whoever was first.
#[test]
fn bbr_and_cubic() {
    for (first, second, late) in [(Bbr, Cubic, 0), (Cubic, Bbr, 500)] {
        for (products, least) in [(1, 33), (2, 40)] {
            let rates = share(first, second, late, products);
            let fair = rates.iter().all(|rate| *rate >= least);
            assert!(fair, "{first}, {second}, {late} ms, {products}: {rates:?}");
        }
    }
}

#[test]
fn two_of_bbr_converge() {
    let mut network = Network::with(Path::new(100, 20), Bbr);
    network.run_until(Duration::from_secs(5));
    network.add(Bbr);
    network.run_until(Duration::from_secs(45));
    let rates = network.rates_over(Duration::from_secs(15));
    assert!(rates.iter().all(|rate| *rate >= 35), "{rates:?}");
    assert!(network.mean_queue() < Duration::from_millis(20), "{:?}", network.mean_queue());
}
