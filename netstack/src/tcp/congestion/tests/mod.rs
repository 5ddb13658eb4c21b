//! Every algorithm: by itself, and on a simulated path.

mod bbr;
mod flow;
mod loss_based;
mod path;
mod sharing;

use proptest::prelude::*;

use super::rate::RateSample;
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

/// Calls in any order, with values that a connection can have.
#[derive(Clone, Debug)]
enum Call {
    Sent { in_flight: u64, app_limited: bool },
    Ack { bytes: u64, in_flight: u64, rtt: Option<u64>, interval: u64, flags: u8 },
    Lost { bytes: u64, since_sent: u64, tx_in_flight: u64 },
    Congestion,
    Recovered,
    Timeout { in_flight: u64 },
    Undo,
    Restart { idle: u64 },
    Mss { mss: u32 },
}

fn call() -> impl Strategy<Value = Call> {
    let bytes = || prop_oneof![0..3_000_u64, 0..1_u64 << 30];
    prop_oneof![
        (bytes(), any::<bool>())
            .prop_map(|(in_flight, app_limited)| Call::Sent { in_flight, app_limited }),
        (bytes(), bytes(), proptest::option::of(0..1_u64 << 34), 0..1_u64 << 34, any::<u8>())
            .prop_map(|(bytes, in_flight, rtt, interval, flags)| Call::Ack {
                bytes,
                in_flight,
                rtt,
                interval,
                flags
            }),
        (bytes(), bytes(), bytes()).prop_map(|(bytes, since_sent, tx_in_flight)| Call::Lost {
            bytes,
            since_sent,
            tx_in_flight
        }),
        Just(Call::Congestion),
        Just(Call::Recovered),
        bytes().prop_map(|in_flight| Call::Timeout { in_flight }),
        Just(Call::Undo),
        (0..1_u64 << 40).prop_map(|idle| Call::Restart { idle }),
        (1..65_536_u32).prop_map(|mss| Call::Mss { mss }),
    ]
}

fn apply(congestion: &mut dyn Congestion, now: Instant, delivered: &mut u64, call: &Call) {
    let flag = |flags: u8, bit: u8| flags & (1 << bit) != 0;
    match *call {
        Call::Sent { in_flight, app_limited } => {
            congestion.on_sent(now, &Sent { in_flight, app_limited });
        }
        Call::Ack { bytes, in_flight, rtt, interval, flags } => {
            let prior_delivered = delivered.saturating_sub(in_flight);
            *delivered += bytes;
            let rtt = rtt.map(Duration::from_micros);
            let rate = RateSample {
                delivered: *delivered - prior_delivered,
                prior_delivered,
                interval: Duration::from_micros(interval),
                bandwidth: bytes.saturating_mul(1_000_000) / (interval + 1),
                app_limited: flag(flags, 0),
                lost: if flag(flags, 1) { in_flight } else { 0 },
                tx_in_flight: in_flight,
            };
            congestion.on_ack(
                now,
                &AckSample {
                    delivered: bytes,
                    in_flight,
                    prior_in_flight: in_flight + bytes,
                    rtt,
                    min_rtt: rtt.unwrap_or(Duration::MAX),
                    smoothed_rtt: rtt.unwrap_or_default(),
                    rate: flag(flags, 2).then_some(rate),
                    in_recovery: flag(flags, 3),
                    window_limited: flag(flags, 4),
                    next_offset: *delivered + in_flight,
                    una: *delivered,
                },
            );
        }
        Call::Lost { bytes, since_sent, tx_in_flight } => {
            let delivered = *delivered;
            let (app_limited, delivered_since_sent) = (false, delivered.min(tx_in_flight));
            let lost = Lost {
                bytes,
                since_sent,
                tx_in_flight,
                delivered_since_sent,
                delivered,
                app_limited,
            };
            congestion.on_lost(now, &lost);
        }
        Call::Congestion => congestion.on_congestion(now),
        Call::Recovered => congestion.on_recovered(now),
        Call::Timeout { in_flight } => congestion.on_timeout(now, in_flight),
        Call::Undo => congestion.undo(now),
        Call::Restart { idle } => {
            congestion.on_restart(now, Duration::from_micros(idle), Duration::from_millis(200));
        }
        Call::Mss { mss } => congestion.set_mss(mss),
    }
}

proptest! {
    #[test]
    fn any_calls_leave_a_window_and_a_pace(
        calls in proptest::collection::vec((call(), 0..2_000_000_u64), 1..300),
        seed in any::<u64>(),
    ) {
        for algorithm in Algorithm::ALL {
            let mut now = Instant::ZERO;
            let mut congestion = algorithm.start(now, 1_460, seed);
            let mut delivered = 0;
            let mut mss = 1_460;
            for (call, wait) in &calls {
                now += Duration::from_micros(*wait);
                if let Call::Mss { mss: new } = call {
                    mss = u64::from(*new);
                }
                apply(&mut *congestion, now, &mut delivered, call);
                prop_assert!(congestion.window() >= mss, "{algorithm} after {call:?}");
                prop_assert!(congestion.window() < 1 << 40);
                prop_assert!(congestion.slow_start_threshold() >= 2);
                prop_assert!(congestion.pacing_rate().is_none_or(|rate| rate > 0));
                prop_assert!(congestion.send_quantum().is_none_or(|quantum| quantum >= mss));
            }
        }
    }

    #[test]
    fn equal_seeds_give_equal_runs(
        calls in proptest::collection::vec((call(), 0..2_000_000_u64), 1..100),
    ) {
        for algorithm in Algorithm::ALL {
            let run = || {
                let mut now = Instant::ZERO;
                let mut congestion = algorithm.start(now, 1_460, 5);
                let mut delivered = 0;
                for (call, wait) in &calls {
                    now += Duration::from_micros(*wait);
                    apply(&mut *congestion, now, &mut delivered, call);
                }
                format!("{congestion:?}")
            };
            prop_assert_eq!(run(), run());
        }
    }
}
