//! Every algorithm: by itself, and on a simulated path.

mod bbr;
mod flow;
mod loss_based;
mod path;
mod sharing;

use super::*;

#[test]
fn algorithms_are_known_by_name() {
    for algorithm in Algorithm::ALL {
        assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
        let controller = algorithm.start(Instant::ZERO, 1_460, 1);
        assert_eq!(controller.algorithm(), algorithm);
        assert_eq!(controller.window(), 14_600, "{algorithm}: the initial window");
        assert_eq!(controller.slow_start_threshold(), u64::MAX);
    }
    let error = "vegas".parse::<Algorithm>().unwrap_err();
    assert!(error.to_string().contains("there is cubic, reno, bbr"), "{error}");
}

#[test]
fn initial_window_is_that_of_rfc_6928() {
    assert_eq!(initial_window(1_460), 14_600);
    assert_eq!(initial_window(536), 5_360);
    assert_eq!(initial_window(8_960), 17_920);
}

#[test]
fn a_window_fades_with_idleness() {
    let rto = Duration::from_millis(200);
    assert_eq!(idle_window(1_000_000, 1_460, Duration::from_millis(199), rto), 1_000_000);
    assert_eq!(idle_window(1_000_000, 1_460, Duration::from_millis(450), rto), 250_000);
    assert_eq!(idle_window(1_000_000, 1_460, Duration::from_hours(1), rto), 14_600);
    assert_eq!(idle_window(2_920, 1_460, Duration::from_hours(1), rto), 2_920);
}
