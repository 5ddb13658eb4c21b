//! What this machine allows: the findings of `balun doctor`.
//!
//! Each probe is a function that returns a finding and changes nothing that outlives it: trial
//! devices are made in a network namespace of their own. One question cannot be answered from within
//! a process that wants to go on: whether a user namespace can be made *and used*. A child process
//! answers it by calling [`try_user_namespace`] before it starts any thread.

use std::fs::OpenOptions;
use std::path::Path;

use super::error::{TUN_NODE, TunError, node_mode};
use super::userns::{Restriction, UserNamespaceError, enter_user_namespace, field};
use super::{Namespace, Tun, TunConfig, TunOffload};

/// How a finding is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// As it should be.
    Ok,
    /// Works, but less well, or only in one of the ways.
    Warn,
    /// Does not work.
    Fail,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What was looked at.
    pub name: &'static str,
    /// How it is.
    pub state: State,
    /// What was found.
    pub detail: String,
    /// Why it is so, unless it is as it should be.
    pub cause: Option<String>,
    /// What puts it right, if that is known.
    pub fix: Option<String>,
}

impl Probe {
    fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, state: State::Ok, detail: detail.into(), cause: None, fix: None }
    }

    fn new(name: &'static str, state: State, detail: impl Into<String>) -> Self {
        Self { state, ..Self::ok(name, detail) }
    }

    fn because(self, cause: impl Into<String>) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }

    fn fixed_by(self, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..self }
    }

    /// A finding from an error, whose lines say cause and fix.
    fn from_error(name: &'static str, state: State, error: &dyn std::error::Error) -> Self {
        let text = error.to_string();
        let line = |label| text.lines().find_map(|l| l.strip_prefix(label)).map(str::to_owned);
        let detail = text.lines().next().unwrap_or_default();
        Self { cause: line("cause: "), fix: line("fix: "), ..Self::new(name, state, detail) }
    }
}

/// Every probe that can be made from within the process, in the order in which causes precede
/// effects.
pub fn all() -> Vec<Probe> {
    let mut found = vec![tun_node(), capabilities(), user_namespaces()];
    found.extend(trial_devices());
    found
}

/// Is `/dev/net/tun` there, and may this user open it?
pub fn tun_node() -> Probe {
    let opened = OpenOptions::new().read(true).write(true).open(TUN_NODE);
    match opened.map_err(TunError::from_node) {
        Ok(_) => Probe::ok(TUN_NODE, format!("openable ({})", node_mode(Path::new(TUN_NODE)))),
        Err(error) => Probe::from_error(TUN_NODE, State::Fail, &error),
    }
}

/// Has this process `CAP_NET_ADMIN`, for TUNs, and `CAP_SYS_ADMIN`, for network namespaces?
#[expect(clippy::disallowed_methods, reason = "capabilities are read from /proc")]
pub fn capabilities() -> Probe {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    judge_capabilities(effective_capabilities(&status))
}

const CAP_NET_ADMIN: u64 = 1 << 12;
const CAP_SYS_ADMIN: u64 = 1 << 21;

fn effective_capabilities(status: &str) -> Option<u64> {
    u64::from_str_radix(field(status, "CapEff:")?, 16).ok()
}

fn judge_capabilities(effective: Option<u64>) -> Probe {
    let name = "capabilities";
    let Some(effective) = effective else {
        return Probe::new(name, State::Warn, "unknown").because("/proc/self/status is unreadable");
    };
    match (effective & CAP_NET_ADMIN != 0, effective & CAP_SYS_ADMIN != 0) {
        (true, true) => Probe::ok(name, "CAP_NET_ADMIN and CAP_SYS_ADMIN"),
        (true, false) => Probe::new(name, State::Warn, "CAP_NET_ADMIN, but not CAP_SYS_ADMIN")
            .because("TUNs can be made here, but no network namespaces")
            .fixed_by("run as root, or in a user namespace (unshare -Urn)"),
        (false, _) => Probe::new(name, State::Warn, "CAP_NET_ADMIN is missing")
            .because("the process is not privileged; a user namespace can stand in")
            .fixed_by("run as root, or sudo setcap cap_net_admin+ep on the binary"),
    }
}

/// Do the switches of this system allow user namespaces? Whether they are of use only
/// [`try_user_namespace`] tells.
pub fn user_namespaces() -> Probe {
    let name = "user namespaces";
    match Restriction::current() {
        None => Probe::ok(name, "allowed"),
        Some(restriction) => Probe::new(name, State::Warn, "restricted for unprivileged processes")
            .because(restriction.cause())
            .fixed_by(restriction.fix()),
    }
}

/// Makes a user namespace and a TUN in it. **The whole process moves**: this is for a child process
/// that reports and ends.
///
/// # Errors
/// [`UserNamespaceError::Threads`] if the process has several threads, which answers nothing.
pub fn try_user_namespace() -> Result<Probe, UserNamespaceError> {
    let name = "rootless";
    match enter_user_namespace() {
        Ok(()) => {}
        Err(error @ UserNamespaceError::Threads { .. }) => return Err(error),
        Err(error) => return Ok(Probe::from_error(name, State::Fail, &error)),
    }
    Ok(match Tun::open(&TunConfig::new(TRIAL)) {
        Ok(_) => Probe::ok(name, "a TUN can be made in a user namespace"),
        Err(error) => Probe::from_error(name, State::Fail, &error),
    })
}

/// The trial device's name, in a namespace where it is alone.
const TRIAL: &str = "balun-trial";

/// Makes TUNs in a private network namespace: can they be made, with which offloads, with several
/// queues?
pub fn trial_devices() -> Vec<Probe> {
    let name = "trial device";
    let namespace = match Namespace::create() {
        Ok(namespace) => namespace,
        Err(error) => return vec![Probe::from_error(name, State::Warn, &error)],
    };
    let one = match Tun::open_in(&namespace, &TunConfig::new(TRIAL)) {
        Ok(queues) => queues,
        Err(error) => return vec![Probe::from_error(name, State::Fail, &error)],
    };
    let granted = one.first().map(Tun::offload).unwrap_or_default();
    drop(one);
    let two = TunConfig { queues: 2, ..TunConfig::new("balun-trial2") };
    let queues = match Tun::open_in(&namespace, &two) {
        Ok(_) => Probe::ok("multi-queue", "granted"),
        Err(error) => Probe::from_error("multi-queue", State::Warn, &error),
    };
    vec![Probe::ok(name, "made and removed"), judge_offload(granted), queues]
}

fn judge_offload(granted: TunOffload) -> Probe {
    let (name, detail) = ("offloads", granted.to_string());
    match granted {
        TunOffload { checksum: true, tso4: true, tso6: true, uso: true } => Probe::ok(name, detail),
        TunOffload { checksum: true, tso4: true, tso6: true, uso: false } => {
            Probe::new(name, State::Warn, detail)
                .because("the kernel has no UDP segmentation for TUN (Linux 6.2 has)")
        }
        _ => Probe::new(name, State::Warn, detail)
            .because("the kernel refuses TCP segmentation: every packet comes at MTU size, slower"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_the_effective_set() {
        let status = "Name:\tbalun\nCapPrm:\t000001ffffffffff\nCapEff:\t0000000000001000\n";
        assert_eq!(effective_capabilities(status), Some(CAP_NET_ADMIN));
        assert_eq!(effective_capabilities("Name:\tbalun\n"), None);
        assert_eq!(effective_capabilities("CapEff:\tzz\n"), None);
    }

    #[test]
    fn each_set_of_capabilities_is_judged() {
        let state = |caps| judge_capabilities(caps).state;
        assert_eq!(state(Some(CAP_NET_ADMIN | CAP_SYS_ADMIN)), State::Ok);
        assert_eq!(state(Some(CAP_NET_ADMIN)), State::Warn);
        assert_eq!(state(Some(0)), State::Warn);
        assert_eq!(state(None), State::Warn);
        assert!(judge_capabilities(Some(0)).fix.is_some());
    }

    #[test]
    fn an_error_gives_its_cause_and_cure() {
        let probe = Probe::from_error("node", State::Fail, &TunError::Missing);
        assert_eq!(probe.detail, "cannot open `/dev/net/tun`: there is no such device");
        assert!(probe.cause.is_some_and(|c| c.contains("module")));
        assert!(probe.fix.is_some_and(|f| f.contains("modprobe")));
    }

    #[test]
    fn fewer_offloads_are_a_warning() {
        let all = TunOffload { checksum: true, tso4: true, tso6: true, uso: true };
        assert_eq!(judge_offload(all).state, State::Ok);
        assert_eq!(judge_offload(TunOffload { uso: false, ..all }).state, State::Warn);
        let none = judge_offload(TunOffload::default());
        assert_eq!((none.state, none.detail.as_str()), (State::Warn, "none"));
    }
}
