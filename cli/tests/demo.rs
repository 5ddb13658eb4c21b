//! The simulated demo: what it shows, and that it shows it again.

#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use balun::demo::{Options, Outcome, run_simulated};

fn show(seed: u64) -> (Outcome, String) {
    let options = Options {
        length: Duration::from_secs(4),
        backends: 3,
        break_after: None,
        seed,
        hold: false,
    };
    let mut out = Vec::new();
    let outcome = run_simulated(options, None, &mut out).expect("a simulation needs nothing");
    (outcome, String::from_utf8(out).expect("text"))
}

#[test]
fn every_backend_serves_both_services_until_one_dies() {
    let (outcome, text) = show(1);
    assert_eq!(outcome, Outcome::Good, "{text}");
    let lines: Vec<_> = text.lines().collect();
    let last = lines.iter().find(|line| line.starts_with("   4s")).expect("a line a second");
    let counts: Vec<u64> = last.split_whitespace().skip(1).flat_map(str::parse).collect();
    let [l4_1, l4_2, l4_3, l7_1, l7_2, l7_3, errors] = counts[..] else { panic!("{last}") };
    assert_eq!((l4_1, l7_1, errors), (0, 0, 0), "web1 is dead: {last}");
    assert!([l4_2, l4_3, l7_2, l7_3].iter().all(|&n| n > 100), "{last}");
    assert!(text.contains("0 errors after the kill settled"), "{text}");
}

#[test]
fn a_seed_repeats_it_to_the_letter() {
    assert_eq!(show(7), show(7));
}
