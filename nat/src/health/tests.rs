use super::*;
use crate::BackendConfig;

const EVERY: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_millis(500);

fn pool(backends: u8, initial: BackendState) -> PoolConfig {
    let backend = |i| BackendConfig::new(format!("b{i}"), ([10, 2, 0, i], 80).into());
    let mut pool = PoolConfig::new("web", (0..backends).map(backend).collect());
    pool.initial = initial;
    pool.health = Some(HealthConfig::new(Probe::External));
    pool
}

/// Checks with a clock, and backends that are well or not.
struct World {
    health: Health,
    now: Instant,
    /// Which backends answer; the others say nothing.
    well: Vec<bool>,
    /// When each backend was asked.
    asked: Vec<Vec<Instant>>,
}

impl World {
    fn new(backends: u8, initial: BackendState, seed: u64) -> Self {
        let health = Health::new(&[pool(backends, initial)], seed);
        let n = usize::from(backends);
        Self { health, now: Instant::from_secs(5), well: vec![true; n], asked: vec![vec![]; n] }
    }

    /// Lets time pass; who is well answers within a millisecond.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.health.next_deadline().filter(|&due| due <= end) {
            self.now = self.now.max(due);
            while let Some(due) = self.health.poll(self.now) {
                self.health.assert_consistent();
                let Due::Ask(order) = due else { continue };
                let index = usize::from(order.ticket.backend.0);
                self.asked[index].push(self.now);
                if self.well[index] {
                    self.now += Duration::from_millis(1);
                    assert!(self.health.finish(self.now, order.ticket, &Outcome::Passed));
                }
            }
        }
        self.now = end;
        self.health.assert_consistent();
    }

    fn states(&self) -> Vec<BackendState> {
        (0..self.well.len() as u16)
            .filter_map(|i| self.health.state(PoolId(0), BackendId(i)))
            .collect()
    }

    fn admin(&mut self, admin: Admin) -> Option<Ticket> {
        self.health.set_admin(self.now, PoolId(0), BackendId(0), admin)
    }
}

#[test]
fn the_first_probes_are_spread_over_a_second_and_bring_everyone_up() {
    for seed in 1..20 {
        let mut world = World::new(10, BackendState::Starting, seed);
        let start = world.now;
        assert_eq!(world.states(), [BackendState::Starting; 10]);
        world.pass(FIRST_PROBES);
        assert_eq!(world.states(), [BackendState::Ready; 10]);
        let firsts: Vec<_> = world.asked.iter().map(|asked| asked[0] - start).collect();
        for (i, first) in (0..).zip(firsts) {
            let part = FIRST_PROBES / 10;
            // A moment later than its part, for the answers of those before take their time here.
            assert!((part * i..part * (i + 1) + part / 10).contains(&first), "{i}: {first:?}");
        }
    }
}

#[test]
fn probes_keep_their_distance_within_a_tenth_and_fall_out_of_step() {
    let mut world = World::new(2, BackendState::Starting, 7);
    world.pass(Duration::from_mins(10));
    for asked in &world.asked {
        let gaps: Vec<_> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let tenth = EVERY / 10;
        let slack = Duration::from_millis(2);
        assert!(gaps.iter().all(|gap| (EVERY * 9 / 10..=EVERY + tenth + slack).contains(gap)));
        let mean = gaps.iter().sum::<Duration>() / gaps.len() as u32;
        assert!(mean.abs_diff(EVERY) < EVERY / 50, "{mean:?}");
        assert!(gaps.iter().any(|gap| *gap < EVERY * 19 / 20), "jitter");
    }
    let apart = |n: usize| world.asked[0][n].as_micros().abs_diff(world.asked[1][n].as_micros());
    assert_ne!(apart(0), apart(200));
}

#[test]
fn the_same_seed_asks_at_the_same_times() {
    let run = |seed| {
        let mut world = World::new(3, BackendState::Starting, seed);
        world.pass(Duration::from_mins(1));
        world.asked
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn out_after_fall_failures_and_back_after_rise_successes() {
    let mut world = World::new(2, BackendState::Starting, 3);
    world.pass(Duration::from_secs(20));
    while world.health.poll_change().is_some() {}

    world.well[0] = false;
    let died = world.now;
    world.pass(EVERY * 5);
    assert_eq!(world.states(), [BackendState::Down, BackendState::Ready]);
    let change = world.health.poll_change().unwrap();
    assert_eq!((change.from, change.to), (BackendState::Ready, BackendState::Down));
    assert_eq!(change.cause, Cause::Failed(3, Failure::TimedOut));
    assert_eq!(change.cause.to_string(), "3 checks failed: no answer in time");
    let took = change.at - died;
    let tenth = EVERY / 10;
    assert!(took >= EVERY * 9 / 10 * 2 && took <= (EVERY + tenth) * 3 + TIMEOUT, "{took:?}");
    assert_eq!(world.health.poll_change(), None);

    world.well[0] = true;
    let revived = world.now;
    world.pass(EVERY * 4);
    let change = world.health.poll_change().unwrap();
    assert_eq!((change.to, change.cause), (BackendState::Ready, Cause::Passed(2)));
    assert!(change.at - revived <= (EVERY + tenth) * 2, "{:?}", change.at - revived);
}

#[test]
fn nobody_is_up_before_the_first_success_unless_asked_for() {
    let mut world = World::new(2, BackendState::Starting, 3);
    world.well = vec![false; 2];
    world.pass(EVERY);
    assert_eq!(world.states(), [BackendState::Starting; 2]);
    world.pass(EVERY * 5);
    assert_eq!(world.states(), [BackendState::Down; 2]);

    let mut world = World::new(2, BackendState::Ready, 3);
    world.well = vec![false, true];
    assert_eq!(world.states(), [BackendState::Ready; 2]);
    world.pass(EVERY * 5);
    assert_eq!(world.states(), [BackendState::Down, BackendState::Ready]);
}

#[test]
fn an_answer_that_comes_too_late_is_ignored() {
    let mut world = World::new(1, BackendState::Ready, 3);
    world.health.poll(world.now);
    world.now = world.health.next_deadline().unwrap();
    let Some(Due::Ask(order)) = world.health.poll(world.now) else { panic!("nothing is asked") };
    assert!(world.health.awaits(order.ticket));
    world.now += TIMEOUT;
    assert_eq!(world.health.poll(world.now), Some(Due::TimedOut(order.ticket)));
    assert!(!world.health.finish(world.now, order.ticket, &Outcome::Passed));
    world.now = world.health.next_deadline().unwrap();
    let Some(Due::Ask(next)) = world.health.poll(world.now) else { panic!("nothing is asked") };
    assert!(!world.health.finish(world.now, order.ticket, &Outcome::Passed));
    assert!(world.health.finish(world.now, next.ticket, &Outcome::Passed));
}

#[test]
fn one_probe_at_a_time_even_if_answers_take_longer_than_the_interval() {
    let mut config = pool(1, BackendState::Ready);
    config.health.as_mut().unwrap().timeout = EVERY * 3;
    let mut health = Health::new(&[config], 1);
    let mut asked = Vec::new();
    while let Some(due) = health.next_deadline().filter(|&due| due < Instant::from_secs(60)) {
        if let Some(Due::Ask(order)) = health.poll(due) {
            assert!(health.awaits(order.ticket));
            asked.push(due);
        }
    }
    assert!(asked.windows(2).all(|pair| pair[1] - pair[0] == EVERY * 3), "{asked:?}");
}

#[test]
fn maintenance_stops_probes_and_begins_anew_drain_does_not() {
    let mut world = World::new(1, BackendState::Starting, 3);
    world.pass(Duration::from_secs(10));
    assert_eq!(world.admin(Admin::Drain), None);
    let before = world.asked[0].len();
    world.pass(Duration::from_secs(10));
    assert!(world.asked[0].len() > before, "drain is asked");
    assert_eq!(world.states(), [BackendState::Drain]);

    assert_eq!(world.admin(Admin::Maint), None, "no probe was under way");
    let before = world.asked[0].len();
    world.pass(Duration::from_secs(10));
    assert_eq!(world.asked[0].len(), before, "maintenance is left alone");
    assert_eq!(world.health.next_deadline(), None);
    assert_eq!(world.states(), [BackendState::Maint]);

    world.admin(Admin::Ready);
    assert_eq!(world.states(), [BackendState::Starting]);
    world.pass(Duration::from_millis(10));
    assert_eq!(world.states(), [BackendState::Ready], "asked at once, and one success is enough");
}

#[test]
fn maintenance_gives_up_the_probe_that_is_under_way() {
    let mut world = World::new(1, BackendState::Starting, 3);
    world.health.poll(world.now);
    let Some(Due::Ask(order)) = world.health.poll(world.now + FIRST_PROBES) else {
        panic!("nothing is asked")
    };
    assert_eq!(world.admin(Admin::Maint), Some(order.ticket));
    assert!(!world.health.finish(world.now, order.ticket, &Outcome::Passed));
    world.health.assert_consistent();
}

#[test]
fn news_are_told_once_and_not_if_they_are_none() {
    let mut world = World::new(1, BackendState::Ready, 3);
    world.admin(Admin::Drain);
    world.admin(Admin::Maint);
    let change = world.health.poll_change().unwrap();
    assert_eq!((change.from, change.to), (BackendState::Ready, BackendState::Maint));
    assert_eq!(change.cause, Cause::Operator);
    world.admin(Admin::Ready);
    world.admin(Admin::Maint);
    assert_eq!(world.health.poll_change(), None);
}

#[test]
fn without_checks_the_operator_alone_decides() {
    let mut config = pool(1, BackendState::Ready);
    config.health = None;
    let mut health = Health::new(&[config], 1);
    let id = (PoolId(0), BackendId(0));
    assert_eq!((health.next_deadline(), health.poll(Instant::FAR_FUTURE)), (None, None));
    for (admin, state) in [
        (Admin::Drain, BackendState::Drain),
        (Admin::Maint, BackendState::Maint),
        (Admin::Ready, BackendState::Ready),
    ] {
        health.set_admin(Instant::ZERO, id.0, id.1, admin);
        assert_eq!(health.state(id.0, id.1), Some(state));
        assert_eq!(health.poll_change().map(|change| change.to), Some(state));
    }
    health.assert_consistent();
}
