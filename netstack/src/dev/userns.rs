//! The user namespace that stands in for root.
//!
//! Inside a user namespace of its own a process has every capability over what belongs to that
//! namespace, a network namespace made with it among them: enough to make TUNs, and nothing outside
//! can be harmed. Some systems forbid it; [`Restriction`] knows how.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use super::netlink::{self, Change};

/// A switch of the system by which user namespaces are forbidden or disarmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restriction {
    /// `user.max_user_namespaces` is 0.
    Disabled,
    /// `kernel.unprivileged_userns_clone` is 0 (Debian's patch).
    UnprivilegedClone,
    /// `kernel.apparmor_restrict_unprivileged_userns` is 1: a namespace may be made, but without an
    /// `AppArmor` profile that says `userns` it has no capabilities.
    AppArmor,
}

impl Restriction {
    const ALL: [Self; 3] = [Self::Disabled, Self::UnprivilegedClone, Self::AppArmor];

    /// The switch, its file under `/proc/sys`, and the value that restricts.
    const fn switch(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Disabled => ("user.max_user_namespaces", "user/max_user_namespaces", "0"),
            Self::UnprivilegedClone => {
                ("kernel.unprivileged_userns_clone", "kernel/unprivileged_userns_clone", "0")
            }
            Self::AppArmor => (
                "kernel.apparmor_restrict_unprivileged_userns",
                "kernel/apparmor_restrict_unprivileged_userns",
                "1",
            ),
        }
    }

    /// The restriction that this system has on for processes without privilege, if any.
    #[expect(clippy::disallowed_methods, reason = "the switches are files under /proc/sys")]
    pub fn current() -> Option<Self> {
        Self::of(|file| std::fs::read_to_string(format!("/proc/sys/{file}")).ok())
    }

    fn of(read: impl Fn(&str) -> Option<String>) -> Option<Self> {
        Self::ALL.into_iter().find(|restriction| {
            let (_, file, value) = restriction.switch();
            read(file).is_some_and(|text| text.trim() == value)
        })
    }

    /// The setting, as `sysctl` prints it.
    pub fn cause(self) -> String {
        let (name, _, value) = self.switch();
        format!("{name} = {value}")
    }

    /// The command that lifts it.
    pub fn fix(self) -> String {
        let (name, _, _) = self.switch();
        let value = match self {
            Self::Disabled => "15000",
            Self::UnprivilegedClone => "1",
            Self::AppArmor => "0",
        };
        format!("sudo sysctl {name}={value}")
    }
}

/// Why there is no user namespace, or none that is of use.
#[derive(Debug)]
pub enum UserNamespaceError {
    /// The process has more than one thread; the kernel allows only a process of one to change its
    /// user namespace.
    Threads {
        /// How many.
        count: usize,
    },
    /// The system forbids it.
    Forbidden(Option<Restriction>),
    /// The limit of namespaces of this user is reached (`user.max_user_namespaces`), or they are
    /// nested too deep.
    Limit,
    /// The namespace was made, but capabilities are denied inside it.
    Disarmed(Option<Restriction>),
    /// Another refusal. The process may be in the namespace already.
    Kernel {
        /// What was being done, to follow "cannot".
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl UserNamespaceError {
    /// True if the system forbids it: what exit code 77 says.
    pub const fn is_environment(&self) -> bool {
        matches!(self, Self::Forbidden(_) | Self::Limit | Self::Disarmed(_))
    }

    /// The system's switch that forbids it, if it is known.
    pub const fn restriction(&self) -> Option<Restriction> {
        match self {
            Self::Forbidden(restriction) | Self::Disarmed(restriction) => *restriction,
            _ => None,
        }
    }

    fn from_unshare(errno: Errno) -> Self {
        match errno {
            Errno::EPERM | Errno::EACCES => Self::Forbidden(Restriction::current()),
            // With user.max_user_namespaces = 0 the answer is ENOSPC as well.
            Errno::ENOSPC | Errno::EUSERS => match Restriction::current() {
                Some(Restriction::Disabled) => Self::Forbidden(Some(Restriction::Disabled)),
                _ => Self::Limit,
            },
            other => Self::Kernel { step: "make a user namespace", source: other.into() },
        }
    }

    fn from_inside(step: &'static str, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(nix::libc::EPERM | nix::libc::EACCES) => Self::Disarmed(Restriction::current()),
            _ => Self::Kernel { step, source },
        }
    }
}

impl fmt::Display for UserNamespaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threads { count } => {
                write!(f, "cannot enter a user namespace: the process has {count} threads, not one")
            }
            Self::Forbidden(_) => f.write_str("cannot make a user namespace: not permitted"),
            Self::Limit => f.write_str(
                "cannot make a user namespace: the limit is reached\n\
                 fix: sudo sysctl user.max_user_namespaces=15000",
            ),
            Self::Disarmed(_) => {
                f.write_str("user namespace made, but CAP_NET_ADMIN is denied inside it")
            }
            Self::Kernel { step, source } => write!(f, "cannot {step}: {source}"),
        }?;
        match self.restriction() {
            Some(why) => write!(f, "\ncause: {}\nfix: {}", why.cause(), why.fix()),
            None => Ok(()),
        }
    }
}

impl Error for UserNamespaceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Kernel { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Moves the whole process into a new user namespace, in which its user is root, and into a new
/// network namespace that belongs to it, with `lo` up.
///
/// There is no way back. Call it before any thread is started.
///
/// # Errors
/// [`UserNamespaceError`]. With [`Threads`](UserNamespaceError::Threads),
/// [`Forbidden`](UserNamespaceError::Forbidden) and [`Limit`](UserNamespaceError::Limit) the process
/// is where it was; after the others it is of no use for networking.
pub fn enter_user_namespace() -> Result<(), UserNamespaceError> {
    let count = settled_thread_count();
    if count > 1 {
        return Err(UserNamespaceError::Threads { count });
    }
    // After unshare both read as the overflow id: they must be asked for before.
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)
        .map_err(UserNamespaceError::from_unshare)?;
    // user_namespaces(7): gid_map of an unprivileged process can be written only after setgroups has
    // been given up.
    write_proc("setgroups", "deny")?;
    write_proc("uid_map", &format!("0 {uid} 1"))?;
    write_proc("gid_map", &format!("0 {gid} 1"))?;
    // The first act that needs CAP_NET_ADMIN shows whether it is real.
    netlink::change_link("lo", &[Change::Up])
        .map_err(|e| UserNamespaceError::from_inside("set up `lo`", e.source))
}

#[expect(clippy::disallowed_methods, reason = "id maps are written to files under /proc")]
fn write_proc(file: &str, text: &str) -> Result<(), UserNamespaceError> {
    std::fs::write(format!("/proc/self/{file}"), text)
        .map_err(|e| UserNamespaceError::from_inside("map the user into the user namespace", e))
}

/// A thread that has been joined is still counted for a moment, until the kernel has buried it; a
/// process that has just tried something on a thread should not be turned away for that.
#[expect(clippy::disallowed_methods, reason = "there is nothing to wait on but time")]
fn settled_thread_count() -> usize {
    for _ in 0..SETTLE_TRIES {
        if thread_count() <= 1 {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    thread_count()
}

/// Milliseconds to wait for threads that have ended.
const SETTLE_TRIES: u32 = 50;

#[expect(clippy::disallowed_methods, reason = "the thread count is in a file under /proc")]
fn thread_count() -> usize {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| field(&status, "Threads:")?.parse().ok())
        .unwrap_or(1)
}

/// The value of a line of `/proc/PID/status`.
pub(super) fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_many_threads_is_told_so() {
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let other = std::thread::Builder::new().spawn(move || wait.recv()).unwrap();
        let error = enter_user_namespace().unwrap_err();
        assert!(matches!(error, UserNamespaceError::Threads { count } if count > 1), "{error}");
        assert!(!error.is_environment());
        drop(done);
        other.join().unwrap().unwrap_err();
    }

    #[test]
    fn each_switch_is_recognised() {
        for expected in Restriction::ALL {
            let (_, restricting, value) = expected.switch();
            let found = Restriction::of(|file| {
                let other = if file == Restriction::AppArmor.switch().1 { "0\n" } else { "1\n" };
                Some(if file == restricting { format!("{value}\n") } else { other.into() })
            });
            assert_eq!(found, Some(expected));
        }
        assert_eq!(Restriction::of(|_| None), None);
    }

    #[test]
    fn messages_carry_cause_and_cure() {
        let error = UserNamespaceError::Disarmed(Some(Restriction::AppArmor));
        let text = error.to_string();
        assert_eq!(text.lines().count(), 3);
        assert!(text.contains("cause: kernel.apparmor_restrict_unprivileged_userns = 1"), "{text}");
        assert!(UserNamespaceError::Limit.is_environment());
    }
}
