//! The fuzzers' harnesses on bytes of a seed, and on every input that once made one fail.
//!
//! `BALUN_SEED=n` repeats a seed, `BALUN_SEEDS=n-m` runs many.

use std::fs;
use std::path::Path;

use nat::rng::{Rng, mix};
use tests::fuzz;

type Harness = fn(&[u8]);

const HARNESSES: &[(&str, Harness)] = &[
    ("headers", fuzz::headers),
    ("engine", fuzz::engine),
    ("configured", fuzz::configured),
    ("icmp", fuzz::icmp),
    ("tcp", fuzz::tcp),
    #[cfg(feature = "http")]
    ("http_request", fuzz::http::request),
    #[cfg(feature = "http")]
    ("http_response", fuzz::http::response),
    #[cfg(feature = "http")]
    ("http_chunks", fuzz::http::chunks),
    #[cfg(feature = "http")]
    ("http_translation", fuzz::http::translation),
    #[cfg(feature = "http")]
    ("hello", fuzz::preface::hello),
    #[cfg(feature = "http")]
    ("proxy_header", fuzz::preface::proxy_header),
];

#[test]
fn random_bytes_break_nothing() {
    for seed in seeds() {
        let mut rng = Rng::new(mix(seed));
        let bytes: Vec<u8> = (0..rng.below(3_000)).map(|_| rng.next_u64() as u8).collect();
        for (name, harness) in HARNESSES {
            let run = std::panic::AssertUnwindSafe(|| harness(&bytes));
            assert!(std::panic::catch_unwind(run).is_ok(), "{name}: repeat with BALUN_SEED={seed}");
        }
    }
}

fn seeds() -> std::ops::Range<u64> {
    let number = |text: &str| text.parse::<u64>().ok();
    let one = std::env::var("BALUN_SEED").ok().and_then(|seed| number(&seed));
    let many = std::env::var("BALUN_SEEDS").ok().and_then(|seeds| {
        let (first, last) = seeds.split_once('-')?;
        Some(number(first)?..number(last)? + 1)
    });
    one.map(|seed| seed..seed + 1).or(many).unwrap_or(0..150)
}

/// Inputs that a fuzzer found, by the harness that they broke: `regressions/HARNESS/NAME`, named after
/// what was wrong.
#[test]
fn what_once_broke_stays_mended() {
    for (name, harness) in HARNESSES {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions").join(name);
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries.filter_map(Result::ok) {
            println!("{name}: {}", entry.file_name().display());
            harness(&fs::read(entry.path()).unwrap_or_default());
        }
    }
}
