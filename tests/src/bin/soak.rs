//! Runs simulator seeds until one fails: what `cargo xtask soak` starts.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tests::soak::{self, Failure};

/// From one line of progress to the next.
const EVERY: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let numbers: Result<Vec<u64>, _> = std::env::args().skip(1).map(|word| word.parse()).collect();
    let Ok(&[from, seeds, jobs, seconds]) = numbers.as_deref() else {
        eprintln!("usage: soak FROM SEEDS JOBS SECONDS (see `cargo xtask help`)");
        return ExitCode::from(2);
    };
    let run = Run::new(from, seeds, Duration::from_secs(seconds));
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| run.work());
        }
    });
    run.conclude()
}

struct Run {
    from: u64,
    end: u64,
    next: AtomicU64,
    started: Instant,
    limit: Duration,
    tally: Mutex<Tally>,
    failed: AtomicBool,
}

#[derive(Default)]
struct Tally {
    seeds: u64,
    packets: u64,
    done: usize,
    failed: usize,
    failure: Option<Box<Failure>>,
    told: Duration,
}

impl Run {
    fn new(from: u64, seeds: u64, limit: Duration) -> Self {
        Self {
            from,
            end: from.saturating_add(seeds),
            next: AtomicU64::new(from),
            started: Instant::now(),
            limit,
            tally: Mutex::default(),
            failed: AtomicBool::new(false),
        }
    }

    fn work(&self) {
        while !self.failed.load(Ordering::Relaxed) && self.started.elapsed() < self.limit {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            if seed >= self.end {
                return;
            }
            let outcome = soak::try_seed(seed);
            let Ok(mut tally) = self.tally.lock() else { return };
            match outcome {
                Ok(report) => {
                    tally.seeds += 1;
                    tally.packets += report.digest.packets;
                    tally.done += report.done;
                    tally.failed += report.failed;
                }
                Err(failure) => {
                    self.failed.store(true, Ordering::Relaxed);
                    tally.failure.get_or_insert(failure);
                }
            }
            let elapsed = self.started.elapsed();
            if elapsed >= tally.told + EVERY {
                tally.told = elapsed;
                eprintln!("{}", self.line(&tally));
            }
        }
    }

    fn line(&self, tally: &Tally) -> String {
        let seconds = self.started.elapsed().as_secs_f64();
        format!(
            "{} of {} seeds in {seconds:.0} s, {:.1} a second, {} packets, work: {} done, {} ended early",
            tally.seeds,
            self.end - self.from,
            tally.seeds as f64 / seconds.max(0.001),
            tally.packets,
            tally.done,
            tally.failed,
        )
    }

    fn conclude(&self) -> ExitCode {
        let Ok(tally) = self.tally.lock() else { return ExitCode::FAILURE };
        let mut out = io::stdout();
        // Who closed the output does not want to read it.
        let _ = writeln!(out, "{}", self.line(&tally));
        match &tally.failure {
            None => ExitCode::SUCCESS,
            Some(failure) => {
                let _ = writeln!(out, "\n{failure}");
                ExitCode::FAILURE
            }
        }
    }
}
