//! Whole transfers over bad links.

use std::time::Duration;

use super::link::{Link, Outcome, Scenario};
use crate::tcp::congestion::Algorithm;
use crate::time::Instant;

fn run(scenario: &Scenario) -> Outcome {
    let outcome = Link::new(scenario.clone()).run();
    assert!(outcome.finished, "{scenario:#?}\n{outcome:#?}");
    outcome
}

#[test]
fn a_clean_link_sees_nothing_twice() {
    for algorithm in Algorithm::ALL {
        let outcome = run(&Scenario { algorithm, queue: 1 << 24, ..Scenario::default() });
        assert_eq!(outcome.info.retransmitted, 0, "{algorithm}");
        assert_eq!(outcome.received_twice, 0);
        assert!(outcome.mbit_per_second() > 60.0, "{algorithm}: {outcome:#?}");
    }
}

#[test]
fn what_is_lost_is_sent_again_and_hardly_more() {
    for algorithm in Algorithm::ALL {
        for loss in [1_000, 10_000, 30_000, 100_000] {
            let scenario = Scenario { algorithm, loss, ack_loss: loss, ..Scenario::default() };
            let outcome = run(&scenario);
            let lost = outcome.lost + outcome.overflowed;
            let sent = u64::from(outcome.info.retransmitted_segments);
            // With a window of a few segments a lost acknowledgment makes a timeout.
            let needless = if loss < 100_000 { lost / 20 } else { lost / 5 };
            assert!(!outcome.info.reordering_seen || loss == 100_000, "{outcome:#?}");
            assert!(
                sent <= lost + needless + 5,
                "{algorithm} {loss}: {sent} for {lost}: {outcome:#?}"
            );
        }
    }
}

#[test]
fn no_loss_rate_stops_a_transfer() {
    for seed in 0..20 {
        for loss in [50_000, 150_000, 250_000] {
            run(&Scenario {
                loss,
                ack_loss: loss,
                duplicate: 10_000,
                reorder: 20_000,
                late: Duration::from_millis(3),
                bytes: 150_000,
                max_time: Duration::from_mins(50),
                user_timeout: Duration::ZERO,
                seed,
                ..Scenario::default()
            });
        }
    }
}

#[test]
fn reordering_is_learned() {
    for dsack in [true, false] {
        let outcome = run(&Scenario {
            reorder: 10_000,
            late: Duration::from_millis(2),
            bytes: 30_000_000,
            queue: 1 << 24,
            dsack,
            ..Scenario::default()
        });
        assert!(outcome.received_twice < 20, "{dsack}: {outcome:#?}");
        assert!(outcome.mbit_per_second() > 85.0, "{dsack}: {outcome:#?}");
    }
}

#[test]
fn duplicates_do_no_harm() {
    let outcome = run(&Scenario { duplicate: 50_000, queue: 1 << 24, ..Scenario::default() });
    assert_eq!(outcome.info.retransmitted, 0, "{outcome:#?}");
}

#[test]
fn a_peer_without_selective_acknowledgments_is_served() {
    for loss in [0, 1_000, 10_000, 50_000] {
        let scenario =
            Scenario { sack: false, loss, ack_loss: loss, bytes: 2_000_000, ..Scenario::default() };
        let outcome = run(&scenario);
        let lost = outcome.lost + outcome.overflowed;
        let sent = u64::from(outcome.info.retransmitted_segments);
        assert!(sent <= 3 * lost + 5, "{loss}: {sent} for {lost}: {outcome:#?}");
    }
}

#[test]
fn small_windows_and_slow_readers_do_not_stall() {
    for receive_buffer in [500, 1_448, 4_000, 20_000, 65_535] {
        for loss in [0, 20_000] {
            let outcome = run(&Scenario {
                receive_buffer,
                read_each: 300,
                read_every: Duration::from_millis(2),
                bytes: 60_000,
                loss,
                ack_loss: loss,
                max_time: Duration::from_mins(10),
                ..Scenario::default()
            });
            assert!(
                loss > 0 || outcome.info.retransmitted <= 3_000,
                "{receive_buffer}: {outcome:#?}"
            );
        }
    }
}

#[test]
fn a_peer_that_forgets_what_it_acknowledged_selectively_gets_it_again() {
    for at in (0..40).map(|i| Instant::from_millis(1_100 + 10 * i)) {
        run(&Scenario {
            loss: 30_000,
            renege_at: Some(at),
            bytes: 2_000_000,
            ..Scenario::default()
        });
    }
}

#[test]
fn time_stamps_measure_what_was_sent_again() {
    for loss in [0, 30_000] {
        run(&Scenario { time_stamps: true, loss, ack_loss: loss, ..Scenario::default() });
    }
}

/// A new episode often begins while what was sent again in the last one is on its way. The echo of that
/// is older than the first retransmission of the new one, and says nothing about it.
#[test]
fn what_was_sent_again_before_an_episode_does_not_undo_it() {
    for algorithm in Algorithm::ALL {
        for seed in 0..5 {
            let outcome = run(&Scenario {
                algorithm,
                time_stamps: true,
                loss: 30_000,
                bytes: 10_000_000,
                seed,
                ..Scenario::default()
            });
            let info = &outcome.info;
            assert_eq!((info.undone, info.reordering_seen), (0, false), "{algorithm}, {seed}");
        }
    }
}

/// What the peer holds behind a hole takes no room from what is to follow it: a window in flight and one
/// more.
#[test]
fn a_sender_with_holes_does_not_run_out_of_data() {
    let mut link = Link::new(Scenario {
        loss: 30_000,
        algorithm: Algorithm::Bbr,
        buffer: 64 << 20,
        receive_buffer: 64 << 20,
        bytes: 1 << 30,
        ..Scenario::default()
    });
    let stop = link.now + Duration::from_secs(3);
    let mut with_holes = 0;
    while link.now < stop {
        link.write();
        let info = link.sender.info();
        assert!(info.queued as u64 >= 2 * info.window + info.sacked, "{info:#?}");
        with_holes += u32::from(info.sacked > info.window);
        link.drain();
        link.step(stop);
    }
    assert!(with_holes > 100, "{with_holes}");
}

/// Runs for a while.
fn run_for(link: &mut Link, time: Duration) -> f64 {
    let (began, delivered) = (link.now, link.sender.info().delivered);
    let stop = began + time;
    while link.now < stop {
        link.write();
        link.drain();
        link.step(stop);
    }
    let bytes = link.sender.info().delivered - delivered;
    bytes as f64 * 8.0 / (link.now - began).as_micros() as f64
}

/// A receiver's window often starts small and grows. As long as it is what limits, BBR has not seen what
/// the path can do.
#[test]
fn a_small_window_is_not_taken_for_a_slow_path() {
    let product = 250_000;
    let of = |receive_buffer| {
        Link::new(Scenario {
            algorithm: Algorithm::Bbr,
            buffer: 8 << 20,
            bytes: 1 << 30,
            receive_buffer,
            ..Scenario::default()
        })
    };
    let mut link = of(product / 5);
    let rate = run_for(&mut link, Duration::from_secs(1));
    assert!((15.0..25.0).contains(&rate), "{rate}");
    assert_eq!(link.sender.info().phase, "Startup");
    link.scenario.receive_buffer = 8 << 20;
    run_for(&mut link, Duration::from_millis(200));
    let rate = run_for(&mut link, Duration::from_millis(500));
    assert!(rate > 90.0, "{rate}: {:#?}", link.sender.info());

    let mut link = of(product * 3 / 2);
    run_for(&mut link, Duration::from_secs(1));
    assert_ne!(link.sender.info().phase, "Startup", "a queue shows that the path is full");
}

#[test]
fn timers_late_by_a_millisecond_cost_little() {
    for (rtt, least) in [(1, 900.0), (20, 600.0)] {
        let outcome = run(&Scenario {
            rate: 125_000_000,
            rtt: Duration::from_millis(rtt),
            tick: Duration::from_millis(1),
            bytes: 100_000_000,
            queue: 1 << 24,
            ..Scenario::default()
        });
        assert!(outcome.mbit_per_second() > least, "{rtt}: {outcome:#?}");
    }
}

/// The path stops taking large segments and does not say so.
#[test]
fn a_black_hole_is_passed_in_smaller_segments() {
    let from = Instant::from_millis(1_200);
    let outcome = run(&Scenario { shrinks: Some((from, 1_200)), ..Scenario::default() });
    assert_eq!(outcome.info.mss, 1_200);
    assert!(outcome.elapsed < Duration::from_secs(10), "{outcome:#?}");
}
