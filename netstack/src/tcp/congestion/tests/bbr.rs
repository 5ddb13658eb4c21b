//! BBR on a path: the example test cases of draft-ietf-ccwg-bbr appendix A, and random loss.

use std::time::Duration;

use super::path::{MSS, Network, Path};
use crate::tcp::congestion::Algorithm::Bbr;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Runs until the flow is in this phase.
fn run_to(network: &mut Network, phase: &str) {
    let until = network.now() + ms(20_000);
    network.run_while(until, |network| network.flows[0].congestion.phase() != phase);
    assert_eq!(network.flows[0].congestion.phase(), phase);
}

#[test]
fn a_path_without_loss_is_filled_without_a_queue() {
    for (mbit, rtt, least, queue) in [(100, 20, 95, 3), (400, 20, 384, 3), (200, 100, 190, 15)] {
        let mut network = Network::with(Path::new(mbit, rtt), Bbr);
        network.run_until(ms(2_000));
        let rate = network.rates_over(ms(8_000))[0];
        assert!(rate >= least, "{mbit} Mbit/s, {rtt} ms: {rate}");
        assert!(network.mean_queue() < ms(queue), "{mbit}: {:?}", network.mean_queue());
    }
}

#[test]
fn random_loss_costs_little() {
    // Parts per million, and the least rate.
    for (loss, least) in [(1_000, 88), (10_000, 85), (30_000, 85)] {
        for rtt in [1, 20, 100] {
            let mut path = Path::new(200, rtt);
            path.loss = loss;
            path.buffer = path.buffer.max(100 * MSS);
            let mut network = Network::with(path, Bbr);
            network.run_until(ms(2_000));
            let rate = network.rates_over(ms(8_000))[0] / 2;
            assert!(rate >= least, "{loss} ppm, {rtt} ms: {rate} %");
            let flow = &network.flows[0];
            let resent = flow.retransmissions * MSS * 1_000 / flow.acknowledged();
            assert!(resent <= loss / 1_000 + 6, "{loss} ppm, {rtt} ms: {resent} of a thousand");
        }
    }
}

#[test]
fn a_buffer_too_small_to_be_seen_bounds_what_is_in_flight() {
    let path = Path { buffer: 16 * MSS, ..Path::new(100, 20) };
    let mut network = Network::with(path, Bbr);
    network.run_until(ms(3_000));
    let before = network.overflows;
    let rate = network.rates_over(ms(10_000))[0];
    assert!(rate >= 90, "{rate}");
    // Of 80,000 segments.
    assert!(network.overflows - before < 800, "{}", network.overflows - before);
}

#[test]
fn the_phases_follow_each_other() {
    let mut network = Network::with(Path::new(100, 20), Bbr);
    let product = network.path.product();
    run_to(&mut network, "Drain");
    assert!(network.flows[0].in_flight() > product * 3 / 2, "Startup fills the queue");
    run_to(&mut network, "ProbeBW_CRUISE");
    let in_flight = network.flows[0].in_flight();
    assert!(in_flight < product * 11 / 10, "{in_flight} of {product}");
    assert!(network.now() < ms(500));
    for phase in ["ProbeBW_REFILL", "ProbeBW_UP", "ProbeBW_DOWN", "ProbeBW_CRUISE"] {
        run_to(&mut network, phase);
    }
    assert!(network.now() < ms(4_000), "within 62 rounds or 3 s: {:?}", network.now());
}

#[test]
fn probe_rtt_comes_every_five_seconds_and_lasts_200_ms() {
    let mut network = Network::with(Path::new(100, 20), Bbr);
    run_to(&mut network, "ProbeRTT");
    let began = network.now();
    assert!((ms(5_000)..ms(5_100)).contains(&began), "{began:?}");
    network.run_until(began + ms(100));
    let half = network.path.product() / 2 + 2 * MSS;
    assert!(network.flows[0].in_flight() <= half, "{}", network.flows[0].in_flight());
    run_to(&mut network, "ProbeBW_CRUISE");
    let end = network.now();
    assert!((began + ms(200)..began + ms(260)).contains(&end), "{began:?} to {end:?}");
    run_to(&mut network, "ProbeRTT");
    assert!(network.now() > began + ms(5_000));
}

#[test]
fn idleness_serves_instead_of_probe_rtt() {
    let mut network = Network::with(Path::new(100, 20), Bbr);
    network.run_until(ms(3_000));
    let window = network.flows[0].congestion.window();
    let now = network.instant();
    network.flows[0].set_supply(now, Some(0));
    network.run_until(ms(9_000));
    assert_eq!(network.flows[0].in_flight(), 0);
    let now = network.instant();
    network.flows[0].set_supply(now, None);
    network.wake(0);
    network.run_until(ms(9_100));
    assert_ne!(network.flows[0].congestion.phase(), "ProbeRTT");
    assert!(network.flows[0].congestion.window() > window * 9 / 10);
    assert!(network.rates_over(ms(300))[0] > 90, "it goes on where it was");
}

#[test]
fn startup_goes_on_while_the_application_is_the_limit() {
    let mut network = Network::with(Path::new(100, 20), Bbr);
    let now = network.instant();
    network.flows[0].set_supply(now, Some(1_000_000));
    network.run_until(ms(4_000));
    assert_eq!(network.flows[0].congestion.phase(), "Startup");
    let now = network.instant();
    network.flows[0].set_supply(now, None);
    network.run_until(ms(4_500));
    assert!(network.rates_over(ms(400))[0] > 90);
}

#[test]
fn ten_times_the_rate_is_found_in_seconds() {
    let mut network = Network::with(Path::new(10, 20), Bbr);
    network.run_until(ms(4_000));
    network.path.rate *= 10;
    network.run_until(ms(7_000));
    let rate = network.rates_over(ms(800))[0];
    assert!(rate > 90, "{rate}");
}

#[test]
fn a_tenth_of_the_rate_is_accepted() {
    let mut network = Network::with(Path::new(100, 20), Bbr);
    network.run_until(ms(4_500));
    network.path.rate /= 10;
    network.run_until(ms(13_000));
    let rate = network.rates_over(ms(2_000))[0];
    assert!(rate >= 8, "{rate}");
    assert!(network.mean_queue() < ms(20), "of 200: {:?}", network.mean_queue());
}

#[test]
fn bunched_acknowledgments_do_not_stall_it() {
    for bunch in [1, 5, 10] {
        let path = Path { bunch: ms(bunch), ..Path::new(100, 20) };
        let mut network = Network::with(path, Bbr);
        network.run_until(ms(3_000));
        let rate = network.rates_over(ms(5_000))[0];
        assert!(rate >= 93, "each {bunch} ms: {rate}");
    }
}

#[test]
fn less_than_a_segment_on_the_path_keeps_four_in_flight() {
    let path = Path { buffer: 50 * MSS, ..Path::new(1, 1) };
    let mut network = Network::with(path, Bbr);
    network.run_until(ms(5_000));
    let before = network.flows[0].acknowledged();
    network.run_until(ms(10_000));
    let rate = (network.flows[0].acknowledged() - before) * 8 / 5;
    assert!(rate > 930_000, "{rate} bit/s");
    assert!(network.flows[0].congestion.window() <= 8 * MSS);
    assert_eq!(network.overflows, 0);
}
