//! What the demo says while it runs and when it is over.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nat::stats::Stats;
use tokio::time::Instant;

use super::options::Options;
use super::topology::backend_name;
use crate::lab::client::Tally;

/// What the clients of one service saw, shared with the threads that they run on.
pub(super) type SharedTally = Arc<Mutex<Tally>>;

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Both services answered, and nobody saw an error after the kill had settled.
    Good,
    /// Otherwise.
    Bad,
    /// It was interrupted.
    Interrupted,
}

/// The running account of a demo.
#[derive(Debug)]
pub struct Report {
    options: Options,
    /// Tallies of the L4 and the L7 service.
    pub(super) tallies: [SharedTally; 2],
    start: Instant,
    before: [Tally; 2],
}

const LABELS: [&str; 2] = ["L4 10.99.0.1:80", "L7 10.99.0.2:80"];

impl Report {
    /// An account that starts now. Must be made inside a tokio runtime.
    pub fn start(options: Options) -> Self {
        Self {
            options,
            tallies: Default::default(),
            start: Instant::now(),
            before: Default::default(),
        }
    }

    /// The heading of the lines that [`tick`](Self::tick) writes.
    ///
    /// # Errors
    /// The output is closed.
    pub fn heading(&self, out: &mut impl Write) -> io::Result<()> {
        write!(out, "\n{:>5}  ", "time")?;
        for label in LABELS {
            write!(out, "{label:<width$}", width = self.column())?;
        }
        writeln!(out, "  errors")?;
        write!(out, "{:>5}  ", "")?;
        for _ in LABELS {
            let names = (0..self.options.backends).map(backend_name);
            write!(out, "{:<width$}", row(names), width = self.column())?;
        }
        writeln!(out)
    }

    /// A line with the requests of each backend since the last.
    ///
    /// # Errors
    /// The output is closed.
    pub fn tick(&mut self, out: &mut impl Write) -> io::Result<()> {
        let now = self.snapshot();
        write!(out, "{:>4}s  ", self.start.elapsed().as_secs())?;
        let mut errors = 0;
        for (now, before) in now.iter().zip(&self.before) {
            let counts = (0..self.options.backends).map(|i| {
                let name = backend_name(i);
                let count = |tally: &Tally| tally.by_backend.get(&name).copied().unwrap_or(0);
                count(now) - count(before)
            });
            write!(out, "{:<width$}", row(counts), width = self.column())?;
            errors += now.errors.len() - before.errors.len();
        }
        writeln!(out, "  {errors:>6}")?;
        self.before = now;
        out.flush()
    }

    /// The last word.
    ///
    /// # Errors
    /// The output is closed.
    pub fn summary(&self, out: &mut impl Write, stats: &Stats) -> io::Result<Outcome> {
        let mut good = true;
        writeln!(out, "\nrequests per backend")?;
        for (tally, label) in self.snapshot().iter().zip(LABELS) {
            let shares: Vec<_> =
                tally.by_backend.iter().map(|(name, count)| format!("{name} {count}")).collect();
            let late = self.late_errors(tally);
            let during = tally.errors.len() - late;
            writeln!(out, "  {label}   {}", shares.join("   "))?;
            write!(out, "  {:<15}   {} answers, {late} errors", "", tally.answers())?;
            match self.options.kill_at() {
                Some(_) => writeln!(out, " after the kill settled, {during} cut off by it")?,
                None => writeln!(out)?,
            }
            if let Some((at, error)) = tally.errors.last().filter(|_| late > 0) {
                writeln!(out, "  {:<15}   last at {:.1?}: {error}", "", *at - self.start)?;
            }
            good &= late == 0 && tally.by_backend.len() == usize::from(self.options.backends);
        }
        writeln!(out, "packets")?;
        writeln!(out, "  {}", PacketLine(stats))?;
        for (reason, count) in stats.drops() {
            writeln!(out, "  dropped {count:>6}  {reason}: {}", reason.description())?;
        }
        Ok(if good { Outcome::Good } else { Outcome::Bad })
    }

    /// Errors that no kill explains.
    fn late_errors(&self, tally: &Tally) -> usize {
        let window = self.options.kill_at().zip(self.options.settled_at());
        let explained = |at: &Instant| {
            window.is_some_and(|(kill, settled)| (kill..settled).contains(&(*at - self.start)))
        };
        tally.errors.iter().filter(|(at, _)| !explained(at)).count()
    }

    fn snapshot(&self) -> [Tally; 2] {
        self.tallies.each_ref().map(|t| t.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn column(&self) -> usize {
        (7 * usize::from(self.options.backends)).max(LABELS[0].len()) + 3
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Cells side by side, each to the right of its column.
fn row(cells: impl Iterator<Item = impl fmt::Display>) -> String {
    let cells: Vec<_> = cells.map(|cell| format!("{cell:>7}")).collect();
    cells.concat()
}

struct PacketLine<'a>(&'a Stats);

impl fmt::Display for PacketLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stats { packets, bytes, forwarded, diverted, flows_opened, syn_failovers, .. } = self.0;
        write!(
            f,
            "{packets} handled ({:.1} MB), {forwarded} forwarded, {diverted} ended here; \
             {flows_opened} flows, {syn_failovers} refused SYNs moved to another backend",
            *bytes as f64 / 1e6
        )
    }
}
