//! States, limits, slow starts and affinity, as choices show them.

use netstack::wire::Address;

use super::*;
use crate::limits::FAILURES_TO_EJECT;

const SECOND: Duration = Duration::from_secs(1);
const START: Instant = Instant::from_secs(1_000);

fn config(n: u8) -> PoolConfig {
    let backends =
        (0..n).map(|i| BackendConfig::new(format!("web{i}"), ([10, 2, 0, i], 80).into())).collect();
    PoolConfig::new("web", backends)
}

fn pool(n: u8) -> Pool {
    Pool::new(config(n), 1)
}

fn client(n: u32) -> Client {
    Client { address: Address::from_v4(n.to_be_bytes()), port: 1 }
}

/// Who is chosen, by some of 200 clients.
fn chosen(pool: &mut Pool, now: Instant) -> Vec<u16> {
    let mut ids: Vec<_> =
        (0..200).filter_map(|n| pool.choose(now, client(n), &[]).ok()).map(|id| id.0).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// How many of `clients` clients the first backend gets.
fn share_of_first(pool: &mut Pool, now: Instant, clients: u32) -> u32 {
    let ids = (0..clients).map(|n| pool.choose(now, client(n), &[]));
    ids.filter(|id| *id == Ok(BackendId(0))).count() as u32
}

fn eject(pool: &mut Pool, now: Instant, id: BackendId) {
    for _ in 0..FAILURES_TO_EJECT {
        pool.connect_failed(now, id);
    }
}

#[test]
fn only_ready_backends_are_chosen() {
    for scheduler in Scheduler::ALL {
        let mut pool = Pool::new(PoolConfig { scheduler, ..config(5) }, 1);
        pool.set_state(START, BackendId(0), BackendState::Drain);
        pool.set_state(START, BackendId(1), BackendState::Maint);
        pool.set_state(START, BackendId(2), BackendState::Down);
        pool.set_state(START, BackendId(4), BackendState::Starting);
        assert_eq!(chosen(&mut pool, START), [3]);
        pool.set_state(START, BackendId(3), BackendState::Drain);
        assert_eq!(pool.choose(START, client(1), &[]), Err(DropReason::NoBackend));
    }
}

#[test]
fn refusals_eject_for_longer_each_time_and_one_success_forgives() {
    let mut pool = pool(2);
    let id = BackendId(0);
    let mut now = Instant::from_secs(1);
    for _ in 1..FAILURES_TO_EJECT {
        pool.connect_failed(now, id);
        assert_eq!(chosen(&mut pool, now), [0, 1], "not yet");
    }
    pool.connect_failed(now, id);
    assert_eq!(chosen(&mut pool, now), [1]);
    now += EJECTION;
    assert_eq!(chosen(&mut pool, now), [0, 1], "its time is over");
    pool.connect_failed(now, id);
    now += EJECTION;
    assert_eq!(chosen(&mut pool, now), [1], "the second time is longer");
    now += EJECTION;
    assert_eq!(chosen(&mut pool, now), [0, 1]);
    pool.connect_succeeded(now, id);
    pool.connect_failed(now, id);
    assert_eq!(chosen(&mut pool, now), [0, 1], "forgiven");
}

#[test]
fn if_all_are_ejected_all_are_tried() {
    let mut pool = pool(2);
    eject(&mut pool, START, BackendId(0));
    eject(&mut pool, START, BackendId(1));
    assert_eq!(chosen(&mut pool, START), [0, 1]);
}

#[test]
fn silence_ejects_as_refusals_do() {
    let mut pool = pool(2);
    for _ in 0..FAILURES_TO_EJECT {
        pool.connect_timed_out(START, BackendId(0));
    }
    assert_eq!(chosen(&mut pool, START), [1]);
    assert_eq!(pool.backends()[0].unanswered, u64::from(FAILURES_TO_EJECT));
}

#[test]
fn nothing_is_sent_to_a_backend_that_starts_and_it_starts_in_full() {
    let slow_start = 30 * SECOND;
    let initial = BackendState::Starting;
    let mut pool =
        Pool::new(PoolConfig { initial, slow_start, panic_threshold: 100, ..config(2) }, 1);
    assert_eq!(pool.choose(START, client(1), &[]), Err(DropReason::NoBackend));
    pool.set_state(START, BackendId(0), BackendState::Ready);
    assert_eq!(chosen(&mut pool, START), [0]);
    pool.set_state(START, BackendId(1), BackendState::Ready);
    assert_eq!(share_of_first(&mut pool, START, 1_000), 500);
}

#[test]
fn a_full_backend_is_passed_over_and_when_all_are_the_flow_is_refused() {
    for scheduler in Scheduler::ALL {
        let mut config = PoolConfig { scheduler, ..config(3) };
        config.backends.iter_mut().for_each(|b| b.max_connections = Some(10));
        let mut pool = Pool::new(config, 1);
        for n in 0..30 {
            let id = pool.choose(START, client(n), &[]).unwrap();
            pool.flow_opened(id);
        }
        assert!(pool.backends().iter().all(|b| b.active == 10), "{scheduler:?}");
        assert_eq!(pool.choose(START, client(31), &[]), Err(DropReason::BackendsFull));
        pool.flow_closed(BackendId(1));
        assert_eq!(pool.choose(START, client(31), &[]), Ok(BackendId(1)), "{scheduler:?}");
    }
}

#[test]
fn a_full_backend_takes_nobody_from_the_others_under_a_hash() {
    for scheduler in [Scheduler::SourceHash, Scheduler::Maglev] {
        let mut config = PoolConfig { scheduler, ..config(5) };
        config.backends[0].max_connections = Some(1);
        let mut pool = Pool::new(config, 1);
        let choose = |pool: &mut Pool| -> Vec<_> {
            (0..1_000).map(|n| pool.choose(START, client(n), &[]).unwrap()).collect()
        };
        let before = choose(&mut pool);
        pool.flow_opened(BackendId(0));
        let after = choose(&mut pool);
        assert!(after.iter().all(|&id| id != BackendId(0)));
        let moved = before.iter().zip(&after).filter(|(b, a)| a != b && **b != BackendId(0));
        assert_eq!(moved.count(), 0, "{scheduler:?}");
    }
}

#[test]
fn groups_take_over_in_order_and_backups_last() {
    let mut config = config(4);
    config.backends[0].backup = true;
    config.backends[2].priority = 10;
    config.backends[3].priority = 10;
    config.backends[1].max_connections = Some(1);
    let mut pool = Pool::new(config, 1);
    assert_eq!(chosen(&mut pool, START), [1]);
    pool.flow_opened(BackendId(1));
    assert_eq!(chosen(&mut pool, START), [2, 3], "the first group is full");
    pool.set_state(START, BackendId(2), BackendState::Down);
    assert_eq!(chosen(&mut pool, START), [3]);
    eject(&mut pool, START, BackendId(3));
    assert_eq!(chosen(&mut pool, START), [0], "the backup");
    let skip = [BackendId(0)];
    assert_eq!(pool.choose(START, client(1), &skip), Err(DropReason::BackendsFull));
    pool.flow_closed(BackendId(1));
    assert_eq!(chosen(&mut pool, START), [1]);
}

#[test]
fn slow_start_climbs_in_a_line_from_a_tenth() {
    let slow_start = 100 * SECOND;
    for scheduler in Scheduler::ALL {
        let mut pool = Pool::new(PoolConfig { scheduler, slow_start, ..config(2) }, 1);
        let whole = share_of_first(&mut pool, START, 10_000);
        assert!((4_600..5_400).contains(&whole), "{scheduler:?} at the start: {whole}");
        pool.set_state(START, BackendId(0), BackendState::Down);
        pool.set_state(START, BackendId(0), BackendState::Ready);
        for percent in [0, 25, 50, 75, 100_u32] {
            let share = share_of_first(&mut pool, START + slow_start * percent / 100, 10_000);
            let part = 10 + 90 * percent / 100;
            // Of its own clients under a hash, of the weights' sum else.
            let expected =
                if scheduler.is_hash() { 50 * part } else { 10_000 * part / (100 + part) };
            let tolerance = 300 + expected / 20;
            assert!(
                share.abs_diff(expected) < tolerance,
                "{scheduler:?} after {percent} %: {share}, not {expected}"
            );
        }
    }
}

#[test]
fn under_a_hash_slow_start_moves_each_client_once_and_no_others() {
    for scheduler in [Scheduler::SourceHash, Scheduler::Maglev] {
        let slow_start = 100 * SECOND;
        let mut pool = Pool::new(PoolConfig { scheduler, slow_start, ..config(5) }, 1);
        let choose = |pool: &mut Pool, now| -> Vec<_> {
            (0..2_000).map(|n| pool.choose(now, client(n), &[]).unwrap()).collect()
        };
        let home = choose(&mut pool, START);
        pool.set_state(START, BackendId(0), BackendState::Down);
        pool.set_state(START, BackendId(0), BackendState::Ready);
        let mut last = choose(&mut pool, START);
        for second in (0..=100).step_by(10) {
            let now = choose(&mut pool, START + SECOND * second);
            for ((&home, &last), &now) in home.iter().zip(&last).zip(&now) {
                let came_home = now == home && home == BackendId(0);
                assert!(now == last || came_home, "{scheduler:?}: {last:?} to {now:?}");
                assert!(home == BackendId(0) || now == home);
            }
            last = now;
        }
        assert_eq!(last, home);
    }
}

#[test]
fn an_ejection_ends_in_a_slow_start_and_a_drain_does_not() {
    let mut pool = Pool::new(PoolConfig { slow_start: 100 * SECOND, ..config(2) }, 1);
    eject(&mut pool, START, BackendId(0));
    let back = START + EJECTION;
    assert!(share_of_first(&mut pool, back, 1_000) < 120);
    assert_eq!(share_of_first(&mut pool, back + 100 * SECOND, 1_000), 500);
    // Nobody looked for a while: the climb began when the ejection ended all the same.
    eject(&mut pool, START + 1_000 * SECOND, BackendId(0));
    assert_eq!(share_of_first(&mut pool, START + 1_200 * SECOND, 1_000), 500);
    let now = START + 2_000 * SECOND;
    pool.set_state(now, BackendId(0), BackendState::Drain);
    pool.set_state(now, BackendId(0), BackendState::Ready);
    assert_eq!(share_of_first(&mut pool, now, 1_000), 500);
}

#[test]
fn below_the_panic_threshold_health_is_not_believed() {
    let mut pool = Pool::new(PoolConfig { panic_threshold: 50, ..config(6) }, 1);
    pool.set_state(START, BackendId(4), BackendState::Maint);
    pool.set_state(START, BackendId(5), BackendState::Drain);
    pool.set_state(START, BackendId(0), BackendState::Down);
    pool.set_state(START, BackendId(1), BackendState::Down);
    assert_eq!(chosen(&mut pool, START), [2, 3], "half are healthy");
    assert!(pool.lost_its_flows(BackendId(0)));
    eject(&mut pool, START, BackendId(2));
    assert_eq!(chosen(&mut pool, START), [0, 1, 2, 3], "less than half are");
    assert!(!pool.lost_its_flows(BackendId(0)), "nor do its flows leave it");
    assert!(pool.lost_its_flows(BackendId(4)));
    pool.set_state(START, BackendId(1), BackendState::Ready);
    assert_eq!(chosen(&mut pool, START), [1, 3]);
}

#[test]
fn without_a_threshold_health_is_always_believed() {
    let mut pool = pool(3);
    for id in 0..3 {
        pool.set_state(START, BackendId(id), BackendState::Down);
    }
    assert_eq!(pool.choose(START, client(1), &[]), Err(DropReason::NoBackend));
}

#[test]
fn a_client_keeps_its_backend_until_it_was_quiet_for_too_long() {
    for scheduler in Scheduler::ALL {
        let affinity = Some(AffinityConfig::new(60 * SECOND));
        let mut pool = Pool::new(PoolConfig { scheduler, affinity, ..config(4) }, 1);
        let home = pool.choose(START, client(7), &[]).unwrap();
        for n in 1..10 {
            let again = pool.choose(START + 59 * SECOND * n, client(7), &[]);
            assert_eq!(again, Ok(home), "{scheduler:?}");
        }
    }
    let affinity = Some(AffinityConfig::new(60 * SECOND));
    let mut pool = Pool::new(PoolConfig { affinity, ..config(4) }, 1);
    assert_eq!(pool.choose(START, client(7), &[]), Ok(BackendId(0)));
    assert_eq!(pool.choose(START, client(8), &[]), Ok(BackendId(1)));
    let later = START + 60 * SECOND;
    assert_eq!(pool.choose(later, client(7), &[]), Ok(BackendId(2)), "it was forgotten");
}

#[test]
fn affinity_holds_in_drain_and_ends_where_a_backend_cannot_serve() {
    let affinity = Some(AffinityConfig::new(60 * SECOND));
    let with_client = || {
        let mut config = PoolConfig { affinity, ..config(3) };
        config.backends[0].max_connections = Some(1);
        let mut pool = Pool::new(config, 1);
        assert_eq!(pool.choose(START, client(7), &[]), Ok(BackendId(0)));
        pool
    };
    let mut pool = with_client();
    pool.set_state(START, BackendId(0), BackendState::Drain);
    assert_eq!(pool.choose(START, client(7), &[]), Ok(BackendId(0)), "drain keeps its clients");
    assert!((20..80).all(|n| pool.choose(START, client(n), &[]) != Ok(BackendId(0))));

    let outages: [fn(&mut Pool); 4] = [
        |pool| pool.set_state(START, BackendId(0), BackendState::Maint),
        |pool| pool.set_state(START, BackendId(0), BackendState::Down),
        |pool| eject(pool, START, BackendId(0)),
        |pool| pool.flow_opened(BackendId(0)),
    ];
    for outage in outages {
        let mut pool = with_client();
        outage(&mut pool);
        let next = pool.choose(START, client(7), &[]).unwrap();
        assert_ne!(next, BackendId(0));
        assert_eq!(pool.choose(START, client(7), &[]), Ok(next), "and there it stays");
    }
    let mut pool = with_client();
    let next = pool.choose(START, client(7), &[BackendId(0)]).unwrap();
    assert_ne!(next, BackendId(0), "it was refused there");
    assert_eq!(pool.choose(START, client(7), &[]), Ok(next));
}

#[test]
fn flows_that_last_are_shared_by_weight() {
    for scheduler in Scheduler::ALL {
        let mut config = PoolConfig { scheduler, ..config(4) };
        for (backend, weight) in config.backends.iter_mut().zip([1, 0, 2, 5]) {
            backend.weight = weight;
        }
        let mut pool = Pool::new(config, 1);
        for n in 0..40_000 {
            let id = pool.choose(START, client(n), &[]).unwrap();
            pool.flow_opened(id);
            pool.observe(START, id, Duration::from_millis(1));
        }
        for (backend, weight) in pool.backends().iter().zip([1_u32, 0, 2, 5]) {
            let expected = 5_000 * weight;
            let off = backend.active.abs_diff(expected);
            assert!(off <= expected / 20, "{scheduler:?}: {} for {weight}", backend.active);
        }
    }
}

#[test]
fn ewma_shuns_the_slow_and_forgives() {
    let mut pool = Pool::new(PoolConfig { scheduler: Scheduler::Ewma, ..config(4) }, 1);
    for id in 0..4 {
        let latency = Duration::from_millis(if id == 0 { 50 } else { 1 });
        pool.observe(START, BackendId(id), latency);
    }
    assert_eq!(share_of_first(&mut pool, START, 1_000), 0, "of any two it is the slower");
    let later = START + 60 * SECOND;
    (1..4).for_each(|id| pool.observe(later, BackendId(id), Duration::from_millis(1)));
    assert!(share_of_first(&mut pool, later, 1_000) > 400, "its peak has faded below the others'");
}

#[test]
fn ewma_tries_who_is_new_with_one_flow_until_it_answers() {
    let mut pool = Pool::new(PoolConfig { scheduler: Scheduler::Ewma, ..config(3) }, 1);
    pool.observe(START, BackendId(1), SECOND);
    pool.observe(START, BackendId(2), SECOND);
    let of_new = |pool: &mut Pool| share_of_first(pool, START, 1_000);
    assert!(of_new(&mut pool) > 500, "whenever it is one of the two");
    pool.flow_opened(BackendId(0));
    assert_eq!(of_new(&mut pool), 0);
    pool.observe(START, BackendId(0), SECOND / 10);
    assert!(of_new(&mut pool) > 500);
}

fn judging(ejection: EjectionConfig, n: u8) -> Pool {
    Pool::new(PoolConfig { ejection, ..config(n) }, 1)
}

fn answers(pool: &mut Pool, now: Instant, id: u16, good: bool, count: u32) {
    (0..count).for_each(|_| pool.answered(now, BackendId(id), good));
}

#[test]
fn how_many_failures_eject_and_for_how_long_can_be_said() {
    let ejection = EjectionConfig {
        failures: 1,
        time: SECOND,
        longest: 3 * SECOND,
        ..EjectionConfig::default()
    };
    let mut pool = judging(ejection, 2);
    let mut now = START;
    for length in [1, 2, 3, 3] {
        pool.connect_failed(now, BackendId(0));
        assert_eq!(chosen(&mut pool, now + SECOND * length / 2), [1], "{length} s");
        now += SECOND * length;
        assert_eq!(chosen(&mut pool, now), [0, 1], "{length} s");
    }
}

#[test]
fn errors_in_a_row_eject_and_a_good_answer_between_them_does_not_let_them() {
    let ejection = EjectionConfig { errors: Some(5), ..EjectionConfig::default() };
    let mut pool = judging(ejection, 2);
    answers(&mut pool, START, 0, false, 4);
    answers(&mut pool, START, 0, true, 1);
    answers(&mut pool, START, 0, false, 4);
    assert_eq!(chosen(&mut pool, START), [0, 1]);
    answers(&mut pool, START, 0, false, 1);
    assert_eq!(chosen(&mut pool, START), [1]);
    // What was on its way neither forgives nor adds to it.
    pool.connect_succeeded(START, BackendId(0));
    answers(&mut pool, START, 0, true, 5);
    answers(&mut pool, START, 0, false, 50);
    assert_eq!(chosen(&mut pool, START + EJECTION / 2), [1]);
    assert_eq!(chosen(&mut pool, START + EJECTION), [0, 1]);
}

#[test]
fn without_being_told_to_nobody_looks_at_answers() {
    let mut pool = pool(2);
    answers(&mut pool, START, 0, false, 1_000);
    answers(&mut pool, START + INTERVAL, 0, false, 1_000);
    assert_eq!(chosen(&mut pool, START + INTERVAL), [0, 1]);
}

#[test]
fn ejections_for_answers_grow_and_shrink_with_the_time_that_a_backend_stays() {
    let ejection = EjectionConfig { errors: Some(1), ..EjectionConfig::default() };
    let mut pool = judging(ejection, 2);
    let mut now = START;
    for doublings in [0, 1, 2, 3] {
        answers(&mut pool, now, 0, false, 1);
        let length = EJECTION * (1 << doublings);
        assert_eq!(chosen(&mut pool, now + length / 2), [1], "{doublings}");
        now += length;
        assert_eq!(chosen(&mut pool, now), [0, 1], "{doublings}");
    }
    now += 3 * EJECTION;
    answers(&mut pool, now, 0, false, 1);
    assert_eq!(chosen(&mut pool, now + 2 * EJECTION), [0, 1], "three times its time later");
}

#[test]
fn a_backend_that_answers_worse_than_the_others_is_ejected_when_the_interval_ends() {
    let ejection = EjectionConfig { worse_by: Some(20), ..EjectionConfig::default() };
    // Of 100 answers of the first so many are good, and 90 of 100 of each of the others.
    for (good, expected) in [(90, &[0, 1, 2][..]), (71, &[0, 1, 2]), (70, &[1, 2]), (0, &[1, 2])] {
        let mut pool = judging(ejection, 3);
        for (id, good) in [(0, good), (1, 90), (2, 90)] {
            answers(&mut pool, START, id, true, good);
            answers(&mut pool, START, id, false, 100 - good);
        }
        assert_eq!(chosen(&mut pool, START), [0, 1, 2], "not before the interval ends");
        answers(&mut pool, START + INTERVAL, 1, true, 1);
        assert_eq!(chosen(&mut pool, START + INTERVAL), expected, "{good} %");
    }
}

#[test]
fn few_answers_prove_nothing() {
    let ejection = EjectionConfig { worse_by: Some(20), answers: 50, ..EjectionConfig::default() };
    for (of_first, of_second, expected) in
        [(49, 50, &[0, 1][..]), (50, 49, &[0, 1]), (50, 50, &[1])]
    {
        let mut pool = judging(ejection, 2);
        answers(&mut pool, START, 0, false, of_first);
        answers(&mut pool, START, 1, true, of_second);
        answers(&mut pool, START + INTERVAL, 1, true, 1);
        assert_eq!(chosen(&mut pool, START + INTERVAL), expected, "{of_first} and {of_second}");
    }
}

#[test]
fn no_more_than_the_share_that_may_is_ejected_but_one_always_may() {
    for (most, expected) in [(0, 1), (24, 1), (50, 2), (75, 3), (99, 3)] {
        let ejection =
            EjectionConfig { most, errors: Some(1), failures: 1, ..EjectionConfig::default() };
        let mut pool = judging(ejection, 4);
        for id in 0..4 {
            if id % 2 == 0 {
                pool.connect_failed(START, BackendId(id));
            } else {
                answers(&mut pool, START, id, false, 1);
            }
        }
        let ejected = pool.backends().iter().filter(|b| b.is_ejected(START)).count();
        assert_eq!(ejected, expected, "at most {most} %");
    }
}

#[test]
fn limits_are_told_from_outages() {
    let mut config = config(3);
    config.backends.iter_mut().for_each(|b| b.max_connections = Some(1));
    let mut pool = Pool::new(config, 1);
    assert!(!pool.has_full(&[]));
    pool.flow_opened(BackendId(0));
    assert!(pool.has_full(&[]));
    assert!(!pool.has_full(&[BackendId(0)]), "it has been tried");
    pool.set_state(START, BackendId(0), BackendState::Down);
    assert!(!pool.has_full(&[]), "who is out has no limit to speak of");
}
