//! HTTP requests by h2load, of either version.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::compare::children::{Child, Errors};
use crate::compare::tools::Tool;
use crate::compare::topology::Node;
use crate::compare::{Failure, Site};

/// What h2load may take beyond its duration.
const PATIENCE: Duration = Duration::from_secs(10);

/// Of [`latency`]: connections, and requests a second on each.
const STEADY: (&str, &str) = ("64", "200");

/// Answers a second over HTTP/2.
pub(super) fn rate(site: &Site<'_>, url: &str, seconds: u32) -> Result<f64, Failure> {
    let mut command = command(site, seconds);
    command.args(["--clients", "8", "--max-concurrent-streams", "16", url]);
    let report = run(site, command, seconds)?;
    Counts::parse(&report)?.good().map(|good| good / f64::from(seconds))
}

/// The time within which 99 of 100 answers come at a steady rate, in milliseconds.
pub(super) fn latency(site: &Site<'_>, url: &str, seconds: u32) -> Result<f64, Failure> {
    let log = site.scratch.path("h2load.log");
    let mut command = command(site, seconds);
    command.args(["--h1", "--clients", STEADY.0, "--rps", STEADY.1, "--log-file"]);
    command.arg(&log).arg(url);
    let report = run(site, command, seconds)?;
    let good = Counts::parse(&report)?.good()?;
    let wanted = f64::from(seconds) * 64.0 * 200.0;
    if good < wanted * 0.9 {
        return Err(Failure::because(format!("{good} answers instead of {wanted}")));
    }
    let times = fs::read_to_string(&log)
        .map_err(|error| Failure::because(format!("{}: {error}", log.display())))?;
    percentile_99(&times).ok_or_else(|| Failure::because("h2load wrote no times"))
}

/// h2load for `seconds`, after half a second that does not count.
fn command(site: &Site<'_>, seconds: u32) -> Command {
    let mut command = site.topology.tool(Node::Client, Tool::H2load);
    command.args(["--threads", "1", "--duration", &seconds.to_string()]);
    command.args(["--warm-up-time", "500ms"]);
    command
}

fn run(site: &Site<'_>, command: Command, seconds: u32) -> Result<String, Failure> {
    let child = Child::start(site.scratch, command, Errors::Kept)?;
    child.succeed(Duration::from_secs(seconds.into()) + PATIENCE)
}

/// What became of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    done: u64,
    succeeded: u64,
}

impl Counts {
    /// Out of the line `requests: 9 total, 9 started, 9 done, 9 succeeded, …`.
    fn parse(report: &str) -> Result<Self, Failure> {
        let line = report.lines().find_map(|line| line.strip_prefix("requests: "));
        let count = |what: &str| {
            line?.split(", ").find_map(|part| part.strip_suffix(what)?.trim().parse().ok())
        };
        match (count("done"), count("succeeded")) {
            (Some(done), Some(succeeded)) => Ok(Self { done, succeeded }),
            _ => Err(Failure::because("h2load gave no counts")),
        }
    }

    /// How many answers were good, if nearly all were.
    fn good(self) -> Result<f64, Failure> {
        if self.succeeded == 0 || self.succeeded < self.done - self.done / 100 {
            let Self { done, succeeded } = self;
            return Err(Failure::because(format!("h2load: {succeeded} of {done} succeeded")));
        }
        Ok(self.succeeded as f64)
    }
}

/// In milliseconds, of a log with lines of a start, a status and microseconds.
fn percentile_99(log: &str) -> Option<f64> {
    let mut times: Vec<u64> =
        log.lines().filter_map(|line| line.split('\t').nth(2)?.parse().ok()).collect();
    times.sort_unstable();
    let at = (times.len() * 99).div_ceil(100).checked_sub(1)?;
    times.get(at).map(|&micros| micros as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_and_judged() {
        let report = "\
finished in 2.00s, 15000.00 req/s, 1.2MB/s
requests: 200 total, 200 started, 200 done, 198 succeeded, 2 failed, 2 errored, 0 timeout
";
        let counts = Counts::parse(report).unwrap();
        assert_eq!(counts, Counts { done: 200, succeeded: 198 });
        assert_eq!(counts.good(), Ok(198.0));
        assert!(Counts { succeeded: 197, ..counts }.good().is_err());
        assert!(Counts { done: 0, succeeded: 0 }.good().is_err());
        assert!(Counts::parse("finished").is_err());
    }

    #[test]
    fn the_99th_of_100_times_counts() {
        let lines: Vec<_> = (1..=100).rev().map(|n| format!("0\t200\t{}", n * 1000)).collect();
        assert_eq!(percentile_99(&lines.join("\n")), Some(99.0));
        assert_eq!(percentile_99("0\t200\t1500\n"), Some(1.5));
        assert_eq!(percentile_99("nothing"), None);
    }
}
