//! What a request costs on the wires: reads and writes of the balancer, packets without data.

use std::fs;

use super::wrk;
use crate::compare::rival::Running;
use crate::compare::topology::{Node, Target};
use crate::compare::{Failure, Site};

/// Reads and writes of the balancer for one request: those on its devices, and whatever else it does.
pub(super) fn syscalls(site: &Site<'_>, running: &Running, seconds: u32) -> Result<f64, Failure> {
    let Some(child) = &running.child else {
        return Err(Failure::because("it has no process"));
    };
    let path = format!("/proc/{}/io", child.group());
    let count = || -> Result<u64, Failure> {
        let text = fs::read_to_string(&path)
            .map_err(|error| Failure::because(format!("{path}: {error}")))?;
        Ok(value_of(&text, "syscr: ").unwrap_or(0) + value_of(&text, "syscw: ").unwrap_or(0))
    };
    per_request(site, running.target, seconds, count)
}

/// Acknowledgments without data that the client and the servers get for one request.
pub(super) fn acks(site: &Site<'_>, target: Target, seconds: u32) -> Result<f64, Failure> {
    let count = || -> Result<u64, Failure> {
        let mut sum = 0;
        for node in [Node::Client, Node::Web1, Node::Web2] {
            // The thread's own: `/proc/net` is the view of the process's main thread.
            let read = || fs::read_to_string("/proc/thread-self/net/netstat");
            let text = site.topology.within(node, read)?;
            let text = text.map_err(|error| Failure::because(format!("netstat: {error}")))?;
            sum += pure_acks(&text).ok_or_else(|| Failure::because("no TCPPureAcks"))?;
        }
        Ok(sum)
    };
    per_request(site, target, seconds, count)
}

/// By how much `count` grows for a request.
fn per_request(
    site: &Site<'_>,
    target: Target,
    seconds: u32,
    count: impl Fn() -> Result<u64, Failure>,
) -> Result<f64, Failure> {
    let before = count()?;
    let url = target.url("/");
    let requests = wrk::requests(site, &url, seconds, wrk::Connections::Kept)?;
    Ok((count()? - before) as f64 / requests as f64)
}

fn value_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
}

/// Of `/proc/net/netstat`, where a line of names is followed by one of values.
fn pure_acks(netstat: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter(|line| line.starts_with("TcpExt: "));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split(' ').position(|name| name == "TCPPureAcks")?;
    values.split(' ').nth(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_their_names() {
        let netstat = "TcpExt: SyncookiesSent TCPPureAcks TCPHPAcks\nTcpExt: 1 22 3\nIpExt: x\n";
        assert_eq!(pure_acks(netstat), Some(22));
        assert_eq!(pure_acks("TcpExt: a\nTcpExt: 1\n"), None);
        assert_eq!(value_of("rchar: 1\nsyscr: 7\n", "syscr: "), Some(7));
    }
}
