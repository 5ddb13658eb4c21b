//! The simulator on a sample of seeds; `cargo xtask soak` runs thousands.
//!
//! `BALUN_SEED=n` repeats one, `BALUN_TRACE=1` prints the packets of one that fails.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use balun::sim::Watcher;
use nat::{Engine, Limits, Verdict};
use netstack::Instant;
use tests::bench::seeds;
use tests::soak::judge::Judge;
use tests::soak::{Plan, run, shrink, try_seed};
use tests::{bed, packet_on};

/// Seeds of the sample, and the time after which no further one is begun.
const SAMPLE: u64 = 200;
const TIME: Duration = Duration::from_secs(40);

#[test]
fn networks_that_break_break_nothing() {
    let begun = std::time::Instant::now();
    let mut ran = 0;
    for seed in seeds(SAMPLE) {
        if begun.elapsed() > TIME {
            break;
        }
        if let Err(failure) = try_seed(seed) {
            panic!("{failure}");
        }
        ran += 1;
    }
    println!("{ran} seeds");
    assert!(ran > 0);
}

#[test]
fn the_same_seed_gives_the_same_packets() {
    let digest = |seed| run(&Plan::from_seed(seed)).unwrap().digest;
    let first: Vec<_> = (1..4).map(digest).collect();
    let second: Vec<_> = (1..4).map(digest).collect();
    assert_eq!(first, second);
    assert!(first[0] != first[1] && first[1] != first[2], "{first:?}");
}

/// What a plan fails without is left out of it.
#[test]
fn a_failure_is_shown_with_as_little_as_it_takes() {
    let plan = (1..100).map(Plan::from_seed).find(|plan| plan.faults.len() > 4).unwrap();
    let (fault, work) = (plan.faults[3], plan.work[2]);
    let fails = |plan: &Plan| {
        let failed = plan.faults.contains(&fault) && plan.work.contains(&work);
        if failed { Err(format!("it failed\nwith {} faults", plan.faults.len())) } else { Ok(()) }
    };
    let (shrunk, what) = shrink(&plan, &fails(&plan).unwrap_err(), fails);
    assert_eq!((shrunk.faults, shrunk.work), (vec![fault], vec![work]));
    assert_eq!(what, "it failed\nwith 1 faults");
}

/// A judge of the test bed: clients at leg 0, backends at leg 1.
fn judge() -> (Engine, Judge) {
    let engine = Engine::new(bed::config()).unwrap();
    let hosts = HashMap::from([(bed::addr("10.1.0.5"), 0), (bed::addr("10.2.0.11"), 1)]);
    (engine, Judge::new(Limits::default(), hosts, false))
}

/// How a judge takes that `came` was forwarded as `after`, by this leg.
fn verdict_on(came: &str, after: &str, leg: u16) -> bool {
    let (engine, mut judge) = judge();
    let (came, after) = (packet_on(0, came), packet_on(leg, after));
    let look = || judge.decided(Instant::ZERO, &engine, &came, Verdict::Forward, &after);
    catch_unwind(AssertUnwindSafe(look)).is_ok()
}

#[test]
fn a_judge_sees_what_must_not_leave() {
    let came = "udp 10.1.0.5:4000 > 10.99.0.1:53 len=9 ttl=60";
    let after =
        |ttl: u8, more: &str| format!("udp 10.99.0.250:4000 > 10.2.0.11:53 len=9 ttl={ttl}{more}");
    assert!(verdict_on(came, &after(59, ""), 1));
    assert!(!verdict_on(came, &after(61, ""), 1), "the TTL grew");
    assert!(!verdict_on(came, &after(59, ""), 0), "another leg");
    assert!(!verdict_on(came, &after(59, " csum=bad"), 1), "a checksum");
    assert!(!verdict_on(came, &after(59, "").replace("10.2.0.11", "10.2.0.77"), 1), "nobody");
}
