//! HTTP requests by wrk.

use std::time::Duration;

use crate::compare::children::{Child, Errors};
use crate::compare::tools::Tool;
use crate::compare::topology::Node;
use crate::compare::{Failure, Site};

/// What wrk may take beyond its duration.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connections open at a time.
const CONNECTIONS: &str = "64";

/// The share of requests that may fail before the figure is one of failing.
const TOLERATED_ERRORS: f64 = 0.01;

/// Makes wrk say its totals in one line, exactly; its own report rounds and prints what it likes.
const SCRIPT: &str = "\
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(\"totals %d %d %d %d\\n\", summary.requests, summary.duration,
    e.status, e.connect + e.read + e.write + e.timeout))
end
";

/// Whether each request has a connection of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connections {
    /// `Connection: close` on each request.
    Closed,
    /// Kept for the next request.
    Kept,
}

/// Answers a second.
pub(super) fn measure(
    site: &Site<'_>,
    url: &str,
    seconds: u32,
    connections: Connections,
) -> Result<f64, Failure> {
    let totals = run(site, url, seconds, connections)?;
    totals.rate().map_err(|reason| Failure::because(format!("wrk: {reason}")))
}

/// Answers in all.
pub(super) fn requests(
    site: &Site<'_>,
    url: &str,
    seconds: u32,
    connections: Connections,
) -> Result<u64, Failure> {
    let totals = run(site, url, seconds, connections)?;
    totals.rate().map_err(|reason| Failure::because(format!("wrk: {reason}")))?;
    Ok(totals.requests)
}

fn run(
    site: &Site<'_>,
    url: &str,
    seconds: u32,
    connections: Connections,
) -> Result<Totals, Failure> {
    let script = site.scratch.write("totals.lua", SCRIPT)?;
    let mut command = site.topology.tool(Node::Client, Tool::Wrk);
    command.args(["--threads", "1", "--connections", CONNECTIONS]);
    command.args(["--duration", &format!("{seconds}s"), "--timeout", "2s"]);
    command.arg("--script").arg(script);
    if connections == Connections::Closed {
        command.args(["--header", "Connection: close"]);
    }
    command.arg(url);
    let child = Child::start(site.scratch, command, Errors::Kept)?;
    let report = child.succeed(Duration::from_secs(seconds.into()) + PATIENCE)?;
    Totals::parse(&report).ok_or_else(|| Failure::because("wrk gave no totals"))
}

/// What [`SCRIPT`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Totals {
    /// Answers, of whatever status.
    requests: u64,
    micros: u64,
    /// Answers of a status of 400 or more.
    refused: u64,
    /// Connections that failed, and requests without an answer.
    broken: u64,
}

impl Totals {
    fn parse(report: &str) -> Option<Self> {
        let line = report.lines().find_map(|line| line.strip_prefix("totals "))?;
        let mut numbers = line.split(' ').map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(Self { requests: next()?, micros: next()?, refused: next()?, broken: next()? })
    }

    fn rate(self) -> Result<f64, String> {
        if self.requests == 0 || self.micros == 0 {
            return Err(format!("no answer, {} connections broke", self.broken));
        }
        let errors = (self.refused + self.broken) as f64;
        if errors > self.requests as f64 * TOLERATED_ERRORS {
            return Err(format!(
                "of {} requests {} got an error and {} broke",
                self.requests, self.refused, self.broken
            ));
        }
        Ok((self.requests - self.refused) as f64 * 1e6 / self.micros as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_read_from_among_wrks_own_words() {
        let report = "\
Running 1s test @ http://10.99.0.1:80/
  1 threads and 64 connections
Requests/sec:  20000.99
totals 20001 1000050 0 3
";
        let totals = Totals { requests: 20_001, micros: 1_000_050, refused: 0, broken: 3 };
        assert_eq!(Totals::parse(report), Some(totals));
        assert_eq!(Totals::parse("Requests/sec: 20000.99"), None);
        assert_eq!(Totals::parse("totals 1 2 three 4"), None);
        assert_eq!(Totals::parse("totals 1 2 3"), None);
    }

    #[test]
    fn a_rate_counts_good_answers_and_refuses_failure() {
        let good = Totals { requests: 1_000, micros: 2_000_000, refused: 0, broken: 10 };
        assert_eq!(good.rate(), Ok(500.0));
        assert!(Totals { broken: 11, ..good }.rate().is_err(), "one more is too many");
        assert_eq!(Totals { refused: 10, broken: 0, ..good }.rate(), Ok(495.0));
        assert!(Totals { refused: 1_000, ..good }.rate().is_err());
        assert!(Totals { requests: 0, ..good }.rate().is_err());
        assert!(Totals { micros: 0, ..good }.rate().is_err());
    }
}
