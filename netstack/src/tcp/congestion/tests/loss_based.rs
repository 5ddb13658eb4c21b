//! CUBIC and `NewReno` on a path.

use std::time::Duration;

use super::path::{MSS, Network, Path};
use crate::tcp::congestion::Algorithm::{Cubic, NewReno};

const fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn a_path_without_loss_is_filled() {
    for (algorithm, mbit, rtt, least) in [
        (Cubic, 100, 1, 97),
        (Cubic, 100, 20, 97),
        (Cubic, 400, 20, 390),
        (NewReno, 100, 1, 90),
        (NewReno, 100, 20, 90),
    ] {
        let mut path = Path::new(mbit, rtt);
        path.buffer = path.buffer.max(50 * MSS);
        let mut network = Network::with(path, algorithm);
        network.run_until(s(2));
        let rate = network.rates_over(s(6))[0];
        assert!(rate >= least, "{algorithm} at {mbit} Mbit/s and {rtt} ms: {rate}");
        assert_eq!(network.flows[0].timeouts, 0);
    }
}

/// Both follow their equations: Reno's is RFC 3448 section 3.1 without timeouts, CUBIC's is RFC 9438
/// section 5.1, or Reno's where that is more.
#[test]
fn rate_falls_with_the_square_root_of_loss() {
    for (algorithm, loss, least, most) in [
        // 1,448 bytes in 20 ms, by the square root of 1.5 / p: 22.4, 7.1.
        (NewReno, 1_000, 17, 27),
        (NewReno, 10_000, 5, 8),
        (Cubic, 1_000, 17, 27),
        (Cubic, 10_000, 5, 8),
    ] {
        let path = Path { loss, ..Path::new(100, 20) };
        let mut network = Network::with(path, algorithm);
        network.run_until(s(5));
        let rate = network.rates_over(s(60))[0];
        assert!((least..=most).contains(&rate), "{algorithm} at {loss} ppm: {rate}");
    }
}

#[test]
fn cubic_keeps_a_long_path_busier_than_reno() {
    let rate = |algorithm| {
        let path = Path { loss: 40, ..Path::new(100, 100) };
        let mut network = Network::with(path, algorithm);
        network.run_until(s(10));
        network.rates_over(s(60))[0]
    };
    let (cubic, reno) = (rate(Cubic), rate(NewReno));
    assert!(cubic > reno * 3 / 2, "CUBIC {cubic}, Reno {reno}");
}

#[test]
fn slow_start_ends_before_a_deep_queue_overflows() {
    let mut path = Path::new(100, 20);
    path.buffer = 12 * path.product();
    let mut network = Network::with(path, Cubic);
    network
        .run_while(s(5), |network| network.flows[0].congestion.slow_start_threshold() == u64::MAX);
    assert_eq!(network.overflows, 0);
    let window = network.flows[0].congestion.window();
    assert!(window >= path.product(), "not before the path is full: {window}");
    // NewReno has nothing of that kind.
    let mut network = Network::with(path, NewReno);
    network.run_until(s(2));
    assert!(network.overflows > 1_000, "{}", network.overflows);
}
