//! Why a TUN cannot be had, told so that it can be put right.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;

use nix::errno::Errno;

use super::netlink::{Change, NetlinkError};
use super::netns::NamespaceError;

/// The node that every TUN is opened by.
pub const TUN_NODE: &str = "/dev/net/tun";

/// Why a TUN could not be opened, configured or adopted.
#[derive(Debug)]
pub enum TunError {
    /// The name is taken: by a TUN that is open, or by an interface of another kind.
    Busy {
        /// The device.
        name: String,
    },
    /// `/dev/net/tun` is not there, or no driver is behind it.
    Missing,
    /// A right is missing.
    Denied(Denied),
    /// The kernel could not take this as the name of an interface.
    BadName {
        /// The name.
        name: String,
        /// What is wrong with it, to follow "it".
        why: &'static str,
    },
    /// A configuration that no kernel would take.
    Invalid {
        /// What is wrong, to follow the device's name.
        what: String,
    },
    /// A descriptor to adopt that is no TUN, or one without the flags that balun needs.
    Unsuitable {
        /// What it is instead.
        why: String,
    },
    /// The namespace could not be entered.
    Namespace(NamespaceError),
    /// The kernel refused one step of making the device ready.
    Kernel {
        /// The device.
        name: String,
        /// What was being done, to follow "cannot".
        step: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The right that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The permissions of `/dev/net/tun` keep this user out.
    Node {
        /// Permissions and owner, as `ls -l` shows them.
        mode: String,
    },
    /// The node's permissions allow it, but the rules of a container or a systemd unit do not.
    DeviceRules,
    /// `CAP_NET_ADMIN` over the network namespace.
    Capability {
        /// What it was wanted for, to follow "cannot".
        step: String,
    },
}

impl TunError {
    /// True if it is this machine that stands in the way, as it is now: it forbids it, or has the name
    /// in use. What exit code 77 says.
    pub fn is_environment(&self) -> bool {
        match self {
            Self::Missing | Self::Denied(_) | Self::Busy { .. } => true,
            Self::Namespace(e) => e.is_environment(),
            _ => false,
        }
    }

    /// From opening [`TUN_NODE`].
    pub(super) fn from_node(source: io::Error) -> Self {
        match Errno::from_raw(source.raw_os_error().unwrap_or(0)) {
            Errno::ENOENT | Errno::ENODEV | Errno::ENXIO | Errno::ENOTDIR => Self::Missing,
            Errno::EACCES => Self::Denied(Denied::Node { mode: node_mode(Path::new(TUN_NODE)) }),
            Errno::EPERM => Self::Denied(Denied::DeviceRules),
            _ => Self::Kernel { name: TUN_NODE.into(), step: "open".into(), source },
        }
    }

    /// From a step that needs `CAP_NET_ADMIN`.
    pub(super) fn from_step(name: &str, step: impl Into<String>, source: io::Error) -> Self {
        let step = step.into();
        if source.raw_os_error() == Some(nix::libc::EPERM) {
            return Self::Denied(Denied::Capability { step: format!("{step} `{name}`") });
        }
        Self::Kernel { name: name.into(), step, source }
    }

    /// From netlink, on the device `name`.
    pub(super) fn from_netlink(name: &str, error: NetlinkError) -> Self {
        let ipv6 = matches!(error.change, Some(Change::Address(a, _)) if a.is_ipv6());
        if ipv6 && error.source.raw_os_error() == Some(nix::libc::EACCES) {
            let what = "cannot have an IPv6 address: IPv6 is disabled in this namespace\n\
                        fix: sysctl net.ipv6.conf.all.disable_ipv6=0, or configure IPv4 only";
            return Self::Invalid { what: what.into() }.on(name);
        }
        let step = error.step();
        Self::from_step(name, step, error.source)
    }

    fn on(self, name: &str) -> Self {
        match self {
            Self::Invalid { what } => Self::Invalid { what: format!("`{name}` {what}") },
            other => other,
        }
    }
}

impl fmt::Display for TunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy { name } => write!(
                f,
                "cannot open TUN `{name}`: the name is taken in this network namespace\n\
                 fix: choose another name, or see who has it: ip -d link show dev {name}"
            ),
            Self::Missing => write!(
                f,
                "cannot open `{TUN_NODE}`: there is no such device\n\
                 cause: the tun module is not loaded, or the container was not given the device\n\
                 fix: sudo modprobe tun   (container: --device {TUN_NODE})"
            ),
            Self::Denied(denied) => denied.fmt(f),
            Self::BadName { name, why } => write!(
                f,
                "cannot open TUN `{}`: as the name of an interface it {why}\n\
                 fix: 1 to 15 letters, digits, `-`, `_` or `.`",
                name.escape_debug()
            ),
            Self::Invalid { what } => write!(f, "TUN {what}"),
            Self::Unsuitable { why } => write!(
                f,
                "cannot adopt the descriptor as a TUN: {why}\n\
                 fix: make it with TUNSETIFF and IFF_TUN|IFF_NO_PI|IFF_VNET_HDR"
            ),
            Self::Namespace(error) => error.fmt(f),
            Self::Kernel { name, step, source } => write!(f, "cannot {step} `{name}`: {source}"),
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node { mode } => write!(
                f,
                "cannot open `{TUN_NODE}`: its permissions deny it ({mode})\n\
                 fix: sudo chmod 0666 {TUN_NODE}   (opens no hole: a TUN still needs \
                 CAP_NET_ADMIN), or run as root"
            ),
            Self::DeviceRules => write!(
                f,
                "cannot open `{TUN_NODE}`: the device rules of a container or a unit deny it\n\
                 fix: --device {TUN_NODE}   (systemd: DeviceAllow={TUN_NODE} rw)"
            ),
            Self::Capability { step } => write!(
                f,
                "cannot {step}: CAP_NET_ADMIN is missing in this network namespace\n\
                 fix: run as root, or sudo setcap cap_net_admin+ep on the binary, or work in a \
                 user namespace (unshare -Urn)"
            ),
        }
    }
}

impl Error for TunError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Kernel { source, .. } => Some(source),
            Self::Namespace(error) => Some(error),
            _ => None,
        }
    }
}

impl From<NamespaceError> for TunError {
    fn from(error: NamespaceError) -> Self {
        Self::Namespace(error)
    }
}

/// `crw-rw-rw- 0:0`, as `ls -ln` shows a node; what the system says if it cannot be looked at.
pub(super) fn node_mode(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    match path.metadata() {
        Ok(meta) => format!("{} {}:{}", mode_text(meta.mode()), meta.uid(), meta.gid()),
        Err(e) => e.to_string(),
    }
}

fn mode_text(mode: u32) -> String {
    let kind = if mode & 0o170_000 == 0o020_000 { 'c' } else { '-' };
    let bits = (0..9).map(|i| match mode & (0o400 >> i) {
        0 => '-',
        _ => ['r', 'w', 'x'][i % 3],
    });
    std::iter::once(kind).chain(bits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(code: i32) -> io::Error {
        io::Error::from_raw_os_error(code)
    }

    #[test]
    fn the_ways_of_not_opening_the_node_are_told_apart() {
        use nix::libc;
        assert!(matches!(TunError::from_node(os(libc::ENOENT)), TunError::Missing));
        assert!(matches!(TunError::from_node(os(libc::ENODEV)), TunError::Missing));
        let by_mode = TunError::from_node(os(libc::EACCES));
        assert!(matches!(by_mode, TunError::Denied(Denied::Node { .. })));
        let by_rules = TunError::from_node(os(libc::EPERM));
        assert!(matches!(by_rules, TunError::Denied(Denied::DeviceRules)));
        assert!(!TunError::from_node(os(libc::EMFILE)).is_environment());
        for error in [TunError::Missing, by_mode, by_rules] {
            assert!(error.is_environment());
        }
    }

    #[test]
    fn a_missing_capability_is_not_a_kernel_refusal() {
        let denied = TunError::from_step("balun0", "set the MTU of", os(nix::libc::EPERM));
        assert!(denied.is_environment());
        assert!(denied.to_string().starts_with("cannot set the MTU of `balun0`: CAP_NET_ADMIN"));
        let refused = TunError::from_step("balun0", "set the MTU of", os(nix::libc::EINVAL));
        assert!(!refused.is_environment());
    }

    #[test]
    fn disabled_ipv6_is_not_mistaken_for_a_missing_right() {
        let error = NetlinkError {
            link: "balun0".into(),
            change: Some(Change::Address("fd00::1".parse().unwrap(), 64)),
            source: os(nix::libc::EACCES),
        };
        let error = TunError::from_netlink("balun0", error);
        assert!(!error.is_environment());
        assert!(error.to_string().contains("disable_ipv6=0"), "{error}");
    }

    #[test]
    fn every_message_has_three_lines_at_most_and_no_control_characters() {
        let errors = [
            TunError::Busy { name: "balun0".into() },
            TunError::Missing,
            TunError::Denied(Denied::Node { mode: "crw------- 0:0".into() }),
            TunError::Denied(Denied::DeviceRules),
            TunError::Denied(Denied::Capability { step: "make `balun0`".into() }),
            TunError::BadName { name: "a\u{1b}b".into(), why: "has a control character" },
            TunError::Invalid { what: "`balun0` has no queue".into() },
            TunError::Unsuitable { why: "it is a TAP".into() },
            TunError::from_step("balun0", "set the MTU of", os(22)),
        ];
        for error in errors {
            let text = error.to_string();
            assert!(text.lines().count() <= 3, "{text}");
            assert!(!text.contains('\u{1b}') && !text.ends_with('.'), "{text}");
        }
    }

    #[test]
    fn modes_read_as_ls_prints_them() {
        assert_eq!(mode_text(0o020_666), "crw-rw-rw-");
        assert_eq!(mode_text(0o020_600), "crw-------");
        assert_eq!(mode_text(0o100_755), "-rwxr-xr-x");
    }
}
