//! The balancers that are compared.

mod balun;
mod direct;
mod haproxy;
mod nft;
mod nginx;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::Duration;

use super::backend::BODY;
use super::children::{Child, wait_until};
use super::tools::Tool;
use super::topology::{Node, Target};
use super::{Failure, Site};

/// Within this a balancer has to answer its first request.
const READY_LIMIT: Duration = Duration::from_secs(5);

/// What one attempt to get an answer may take.
const PROBE_LIMIT: Duration = Duration::from_millis(500);

/// A balancer, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rival {
    Direct,
    Nft,
    HaproxyTcp,
    HaproxyHttp,
    Nginx,
    BalunL4,
    BalunL7,
    /// [`Self::BalunL4`] while it captures every packet.
    BalunCapture,
}

/// What a balancer understands of what it balances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    /// Connections.
    Four,
    /// HTTP requests.
    Seven,
}

/// What lies between the namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wires {
    /// veth pairs, made before the rival starts.
    Veth,
    /// Nothing: the rival brings its own.
    None,
}

impl Rival {
    pub(super) const ALL: [Self; 8] = [
        Self::Direct,
        Self::Nft,
        Self::HaproxyTcp,
        Self::HaproxyHttp,
        Self::Nginx,
        Self::BalunL4,
        Self::BalunL7,
        Self::BalunCapture,
    ];

    /// Its name on the command line and in the table.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nft => "nft",
            Self::HaproxyTcp => "haproxy-tcp",
            Self::HaproxyHttp => "haproxy-http",
            Self::Nginx => "nginx",
            Self::BalunL4 => "balun-l4",
            Self::BalunL7 => "balun-l7",
            Self::BalunCapture => "balun-capture",
        }
    }

    pub(super) const fn layer(self) -> Layer {
        match self {
            Self::Direct | Self::Nft | Self::HaproxyTcp | Self::BalunL4 | Self::BalunCapture => {
                Layer::Four
            }
            Self::HaproxyHttp | Self::Nginx | Self::BalunL7 => Layer::Seven,
        }
    }

    pub(super) const fn is_balun(self) -> bool {
        matches!(self, Self::BalunL4 | Self::BalunL7 | Self::BalunCapture)
    }

    /// Measured only if it is named: it is no rival of the others.
    pub(super) const fn is_special(self) -> bool {
        matches!(self, Self::BalunCapture)
    }

    /// Programs that it is made of.
    pub(super) const fn tools(self) -> &'static [Tool] {
        match self {
            Self::Direct | Self::BalunL4 | Self::BalunL7 | Self::BalunCapture => &[],
            Self::Nft => &[Tool::Nft],
            Self::HaproxyTcp | Self::HaproxyHttp => &[Tool::Haproxy],
            Self::Nginx => &[Tool::Nginx],
        }
    }

    pub(super) const fn wires(self) -> Wires {
        if self.is_balun() { Wires::None } else { Wires::Veth }
    }

    /// Starts it at the site.
    pub(super) fn start(self, site: &Site<'_>) -> Result<Running, Failure> {
        match self {
            Self::Direct => Ok(direct::start()),
            Self::Nft => nft::start(site),
            Self::HaproxyTcp => haproxy::start(site, Layer::Four),
            Self::HaproxyHttp => haproxy::start(site, Layer::Seven),
            Self::Nginx => nginx::start(site),
            Self::BalunL4 => balun::start(site, Layer::Four, ""),
            Self::BalunL7 => balun::start(site, Layer::Seven, ""),
            Self::BalunCapture => balun::start(site, Layer::Four, balun::CAPTURE),
        }
    }
}

/// A balancer at work; it ends with this.
#[derive(Debug)]
pub(super) struct Running {
    /// Its process; the kernel's balancers have none.
    pub(super) child: Option<Child>,
    pub(super) target: Target,
}

impl Running {
    /// An error if its process has ended.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        self.child.as_mut().map_or(Ok(()), Child::check)
    }

    /// Waits until a request from the client's namespace gets its answer.
    pub(super) fn wait_until_ready(&mut self, site: &Site<'_>) -> Result<(), Failure> {
        let address = self.target.web();
        wait_until(&format!("no answer from {address}"), READY_LIMIT, || {
            self.check()?;
            site.topology.within(Node::Client, || answers(address))
        })
    }
}

/// Gives the balancer's namespace `address`, for those that listen on it as any server does.
fn own_address(site: &Site<'_>, address: Ipv4Addr) -> Result<(), Failure> {
    let address = format!("{address}/32");
    site.topology.ip(Node::Balancer, &["address", "add", &address, "dev", "lo"])?;
    Ok(())
}

/// True if a web server's answer comes from `address`.
fn answers(address: SocketAddrV4) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address.into(), PROBE_LIMIT)?;
        stream.set_read_timeout(Some(PROBE_LIMIT))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: compare\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(BODY))
}
