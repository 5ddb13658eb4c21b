use super::super::sample::ack;
use super::*;

const MSS: u64 = 1_000;

const fn ms(n: u64) -> Instant {
    Instant::from_millis(n)
}

fn cubic(window: u64) -> Cubic {
    Cubic { window: window * MSS, threshold: window * MSS, ..Cubic::new(ms(0), MSS as u32) }
}

/// Sends a window a round trip of `rtt` ms from `from` to `to` ms; an acknowledgment a segment.
fn run(cubic: &mut Cubic, from: u64, to: u64, rtt: u64) {
    let mut now = from * 1_000;
    while now < to * 1_000 {
        let ack = AckSample {
            min_rtt: Duration::from_millis(rtt),
            prior_in_flight: cubic.window,
            ..ack(MSS)
        };
        cubic.on_ack(Instant::from_micros(now), &ack);
        now += (rtt * 1_000 * MSS / cubic.window).max(1);
    }
}

#[test]
fn is_small() {
    assert!(size_of::<Cubic>() <= 150, "{}", size_of::<Cubic>());
}

#[test]
fn cube_roots() {
    for n in 0..2_000_u64 {
        assert_eq!(cube_root(n * n * n), n as u32);
        assert_eq!(cube_root((n + 1).pow(3) - 1), n as u32);
    }
    assert_eq!(cube_root(u64::MAX), 2_642_245);
}

#[test]
fn the_window_comes_back_after_k_seconds() {
    // RFC 9438 section 4.2: K = ∛(0.3 · 1,000 / 0.4) = 9.086 s. At 500 ms Reno is no match.
    let mut cubic = cubic(1_000);
    cubic.on_congestion(ms(0));
    cubic.on_recovered(ms(0));
    assert!((699_000..=701_000).contains(&cubic.window()), "{}", cubic.window());
    assert_eq!(cubic.slow_start_threshold(), cubic.window());
    run(&mut cubic, 0, 9_086, 500);
    assert_eq!(cubic.curve.k, 9_301, "in 1,024ths");
    assert!((990_000..=1_001_000).contains(&cubic.window()), "{}", cubic.window());
    run(&mut cubic, 9_086, 18_200, 500);
    // A window and 300 segments more, one round trip late.
    assert!((1_230_000..=1_310_000).contains(&cubic.window()), "{}", cubic.window());
}

#[test]
fn fast_convergence_gives_away_a_share() {
    let mut cubic = cubic(1_000);
    for (max, window) in [(1_000_000, 700_195), (595_234, 490_273)] {
        cubic.on_congestion(ms(0));
        cubic.on_recovered(ms(0));
        assert_eq!((u64::from(cubic.curve.max), cubic.window()), (max, window));
    }
}

#[test]
fn small_windows_grow_like_renos() {
    // 8/15 of a segment a round trip: 10 ms, 20 s, 2,000 round trips.
    let mut cubic = cubic(20);
    cubic.on_congestion(ms(0));
    cubic.on_recovered(ms(0));
    assert_eq!(cubic.window(), 14_003);
    run(&mut cubic, 0, 300, 10);
    let segments = (cubic.window() - 14_003) / MSS;
    assert!((14..=16).contains(&segments), "{segments} in 30 round trips");
}

#[test]
fn a_timeout_forgets_the_curve() {
    let mut cubic = cubic(100);
    cubic.on_timeout(ms(0), 0);
    assert_eq!((cubic.window(), cubic.slow_start_threshold()), (MSS, 70_019));
    cubic.on_timeout(ms(400), 0);
    assert_eq!(cubic.slow_start_threshold(), 70_019, "one reduction an episode");
    assert_eq!(cubic.phase(), "slow start");
    cubic.on_ack(ms(410), &ack(80 * MSS));
    assert!(cubic.window() >= cubic.slow_start_threshold());
    assert_eq!(cubic.curve.max, 0);
    let before = cubic.window();
    run(&mut cubic, 410, 420, 10);
    assert!(cubic.window() - before >= before / 22, "a twentieth a round trip");
}

#[test]
fn growth_is_at_most_half_a_round_trip() {
    let mut cubic = cubic(100);
    cubic.on_congestion(ms(0));
    cubic.on_recovered(ms(0));
    cubic.on_ack(ms(0), &ack(MSS));
    let before = cubic.window();
    cubic.on_ack(ms(100_000), &ack(before));
    assert!(cubic.window() <= before * 3 / 2 + 1);
}

#[test]
fn a_reduction_is_taken_back_with_its_curve() {
    let mut cubic = cubic(1_000);
    cubic.on_congestion(ms(0));
    cubic.on_recovered(ms(0));
    run(&mut cubic, 0, 1_000, 100);
    let before = cubic.clone();
    cubic.on_congestion(ms(1_000));
    assert!(cubic.window() < before.window());
    cubic.undo(ms(1_100));
    assert_eq!((cubic.window(), cubic.threshold), (before.window(), before.threshold));
    assert_eq!((cubic.curve.start, cubic.curve.k), (before.curve.start, before.curve.k));
    cubic.undo(ms(1_200));
    assert_eq!(cubic.window(), before.window(), "once");
}

#[test]
fn idleness_is_no_time_on_the_curve() {
    let sent = |in_flight| Sent { in_flight, app_limited: true };
    let mut cubic = cubic(1_000);
    cubic.on_congestion(ms(0));
    cubic.on_recovered(ms(0));
    cubic.on_ack(ms(0), &ack(MSS));
    cubic.on_sent(ms(100), &sent(MSS));
    cubic.on_sent(ms(60_100), &sent(0));
    assert_eq!(cubic.curve.start, ms(60_000));
    let before = cubic.window();
    cubic.on_ack(ms(60_110), &ack(MSS));
    assert!(cubic.window() - before < MSS, "the curve goes on where it was");
}

#[test]
fn slow_start_yields_to_the_growth_of_the_queue() {
    let mut cubic = Cubic::new(ms(0), MSS as u32);
    let mut una = 0;
    for round in 0..20 {
        let end = una + cubic.window();
        while una < end {
            una += MSS;
            // The path holds 100 segments; what is more waits.
            let queue = (cubic.window() / MSS).saturating_sub(100);
            let ack = AckSample {
                rtt: Some(Duration::from_micros(50_000 + 500 * queue)),
                una,
                next_offset: una + cubic.window(),
                prior_in_flight: cubic.window(),
                ..ack(MSS)
            };
            cubic.on_ack(ms(round * 50), &ack);
        }
    }
    assert!(cubic.slow_start_threshold() < 600 * MSS, "{cubic:?}");
    assert_eq!(cubic.phase(), "congestion avoidance");
}

#[test]
fn what_is_not_used_does_not_grow() {
    let mut cubic = cubic(100);
    let idle = AckSample { window_limited: false, ..ack(MSS) };
    cubic.on_ack(ms(0), &idle);
    assert_eq!(cubic.window(), 100 * MSS);
    assert!(!cubic.curve.has_begun());
}

#[test]
fn absurd_values_neither_panic_nor_overflow() {
    let mut cubic = cubic(1);
    cubic.window = MAX_WINDOW;
    cubic.threshold = MAX_WINDOW;
    cubic.set_mss(1);
    cubic.on_congestion(ms(0));
    cubic.on_recovered(ms(0));
    cubic.on_ack(ms(0), &AckSample { min_rtt: Duration::MAX, ..ack(u64::MAX) });
    cubic.on_ack(Instant::FAR_FUTURE, &ack(u64::from(u32::MAX)));
    assert!(cubic.window() <= MAX_WINDOW);
}
