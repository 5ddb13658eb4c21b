//! Memory for connections that wait.

use std::fs;
use std::thread;
use std::time::Duration;

use super::h2load;
use crate::compare::children::{Child, Errors};
use crate::compare::rival::Running;
use crate::compare::{Failure, Site};

/// Connections that are opened.
const CONNECTIONS: u32 = 1_000;

/// How long after their beginning memory is looked at: all are there by then, and have been idle.
const SETTLED: Duration = Duration::from_secs(4);

/// Seconds that they stay.
const STAY: u32 = 5;

/// Bytes that the balancer's processes grow by for a connection that sends a request a second. What the
/// kernel holds for a connection of its own is not in it.
pub(super) fn measure(site: &Site<'_>, running: &Running, url: &str) -> Result<f64, Failure> {
    let Some(child) = &running.child else {
        return Err(Failure::because("it has no process"));
    };
    let before = resident(child)?;
    let mut command = h2load::command(site, STAY);
    command.args(["--h1", "--rps", "1", "--clients", &CONNECTIONS.to_string(), url]);
    let mut load = Child::start(site.scratch, command, Errors::Kept)?;
    thread::sleep(SETTLED);
    load.check()?;
    let after = resident(child)?;
    Ok(after.saturating_sub(before) as f64 / f64::from(CONNECTIONS))
}

/// Resident bytes of all processes of a child's group.
fn resident(child: &Child) -> Result<u64, Failure> {
    let failed = |error| Failure::because(format!("/proc: {error}"));
    let mut bytes = 0;
    for entry in fs::read_dir("/proc").map_err(failed)?.flatten() {
        let path = entry.path();
        let Ok(stat) = fs::read_to_string(path.join("stat")) else { continue };
        if group_of(&stat) == Some(child.group())
            && let Ok(status) = fs::read_to_string(path.join("status"))
        {
            bytes += resident_of(&status).unwrap_or(0);
        }
    }
    if bytes == 0 { Err(Failure::because("it has no memory")) } else { Ok(bytes) }
}

/// The process group, of `/proc/PID/stat`; the name before it may hold anything.
fn group_of(stat: &str) -> Option<u32> {
    stat.rsplit_once(") ")?.1.split(' ').nth(2)?.parse().ok()
}

fn resident_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_and_memory_are_read() {
        assert_eq!(group_of("17 (a b) c) S 1 16 15 0 -1"), Some(16));
        assert_eq!(group_of("17"), None);
        assert_eq!(resident_of("Name:\tx\nVmRSS:\t   12 kB\n"), Some(12 * 1024));
        assert_eq!(resident_of("Name:\tx\n"), None);
    }
}
