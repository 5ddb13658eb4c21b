//! Programs of others, and the Debian packages that hold them.

use std::path::{Path, PathBuf};

use super::measure::Measure;

/// A program that is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    Curl,
    H2load,
    Haproxy,
    Ip,
    Iperf3,
    Nft,
    Nginx,
    Openssl,
    Setpriv,
    Wrk,
}

impl Tool {
    /// Its name as a command.
    pub(super) const fn program(self) -> &'static str {
        match self {
            Self::Curl => "curl",
            Self::H2load => "h2load",
            Self::Haproxy => "haproxy",
            Self::Ip => "ip",
            Self::Iperf3 => "iperf3",
            Self::Nft => "nft",
            Self::Nginx => "nginx",
            Self::Openssl => "openssl",
            Self::Setpriv => "setpriv",
            Self::Wrk => "wrk",
        }
    }

    const fn package(self) -> &'static str {
        match self {
            Self::Curl => "curl",
            Self::H2load => "nghttp2-client",
            Self::Haproxy => "haproxy",
            Self::Ip => "iproute2",
            Self::Iperf3 => "iperf3",
            Self::Nft => "nftables",
            Self::Nginx => "nginx-light",
            Self::Openssl => "openssl",
            Self::Setpriv => "util-linux",
            Self::Wrk => "wrk",
        }
    }

    /// Where it is: `PATH` first, then the places of system programs, which a user's `PATH` lacks.
    pub(super) fn find(self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let system = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"];
        std::env::split_paths(&path)
            .chain(system.iter().map(PathBuf::from))
            .map(|folder| folder.join(self.program()))
            .find(|candidate| is_program(candidate))
    }
}

/// What no session of `measures` can do without.
pub(super) fn needed_always(measures: &[Measure]) -> Vec<Tool> {
    let mut needed = vec![Tool::Ip, Tool::Setpriv, Tool::Nginx];
    for measure in measures {
        if !needed.contains(&measure.tool()) {
            needed.push(measure.tool());
        }
    }
    if measures.iter().any(|measure| measure.is_secure()) {
        needed.push(Tool::Openssl);
    }
    needed
}

/// The packages that hold those of `tools` that are not there.
pub(super) fn missing(tools: &[Tool]) -> Vec<&'static str> {
    tools.iter().filter(|tool| tool.find().is_none()).map(|tool| tool.package()).collect()
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
