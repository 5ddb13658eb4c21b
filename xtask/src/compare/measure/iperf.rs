//! One TCP flow by iperf3.

use std::time::Duration;

use serde_json::Value;

use crate::compare::children::{Child, Errors};
use crate::compare::tools::Tool;
use crate::compare::topology::{Node, STREAM_PORT, Target};
use crate::compare::{Failure, Site};

/// What iperf3 may take beyond the transfer itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// Gbit/s that arrived at the server.
pub(super) fn measure(site: &Site<'_>, target: Target, seconds: u32) -> Result<f64, Failure> {
    let mut command = site.topology.tool(Node::Client, Tool::Iperf3);
    command.args(["--client", &target.address.to_string(), "--port", &STREAM_PORT.to_string()]);
    command.args(["--time", &seconds.to_string(), "--connect-timeout", "3000", "--json"]);
    let child = Child::start(site.scratch, command, Errors::Kept)?;
    // iperf3 says in its JSON what went wrong, and fails as well: the former is the better reason.
    let (_, report) = child.finish(Duration::from_secs(seconds.into()) + PATIENCE)?;
    received(&report).map_err(|reason| Failure::because(format!("iperf3: {reason}")))
}

/// The rate at the receiver, in Gbit/s, of iperf3's report.
fn received(report: &str) -> Result<f64, String> {
    let report: Value =
        serde_json::from_str(report).map_err(|error| format!("no JSON report: {error}"))?;
    if let Some(error) = report.get("error").and_then(Value::as_str) {
        return Err(error.to_owned());
    }
    let rate = report.pointer("/end/sum_received/bits_per_second").and_then(Value::as_f64);
    match rate {
        Some(rate) if rate > 0.0 => Ok(rate / 1e9),
        Some(_) => Err("nothing arrived".to_owned()),
        None => Err("its report has no rate".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_receivers_rate_counts() {
        let report = r#"{
            "start": { "connected": [] },
            "intervals": [{ "sum": { "bits_per_second": 1.0 } }],
            "end": {
                "sum_sent": { "bytes": 9, "bits_per_second": 17000000000.5 },
                "sum_received": { "bytes": 8, "bits_per_second": 16500000000 }
            }
        }"#;
        assert_eq!(received(report), Ok(16.5));
    }

    #[test]
    fn failures_have_reasons() {
        let refused = r#"{ "start": {}, "end": {}, "error": "unable to connect to server" }"#;
        assert_eq!(received(refused), Err("unable to connect to server".to_owned()));
        let stalled = r#"{ "end": { "sum_received": { "bits_per_second": 0 } } }"#;
        assert_eq!(received(stalled), Err("nothing arrived".to_owned()));
        assert_eq!(received("{}"), Err("its report has no rate".to_owned()));
        assert!(received("").unwrap_err().starts_with("no JSON report"));
    }
}
