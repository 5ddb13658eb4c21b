//! Pools and their backends.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Alpn, BackendTls, Pooling, Spanned};

/// A named set of backends.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its name, at its place in the header.
    pub name: Spanned<String>,
    /// Default round-robin.
    pub scheduler: Scheduler,
    /// How a client is kept at its backend.
    pub affinity: Option<Affinity>,
    /// How backends are probed.
    pub health: Option<Health>,
    /// How long a returning backend takes to get its full share.
    pub slow_start: Option<Duration>,
    /// Percent of the weight below which health is not believed; default 0.
    pub panic_threshold: u8,
    /// Connections to its backends.
    pub pooling: Pooling,
    /// What its backends speak in mode `http`; default HTTP/1.1.
    pub protocol: Option<Spanned<Alpn>>,
    /// Its backends.
    pub backends: Vec<Backend>,
}

impl Pool {
    /// True if its backends speak HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.protocol.as_ref().is_some_and(|protocol| protocol.value == Alpn::Http2)
    }
}

/// Which backend is next. All honour weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheduler {
    /// In turn.
    #[default]
    RoundRobin,
    /// At random.
    Random,
    /// The one with the fewest connections.
    LeastConnections,
    /// The less loaded of two random ones.
    P2c,
    /// By a hash of the client's address.
    SourceHash,
    /// By a hash of the client's address and port, in a Maglev table.
    Maglev,
    /// The one with the least recent latency.
    Ewma,
}

/// How a client is kept at its backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Affinity {
    /// By its address, for so long after its last flow.
    ClientIp {
        /// How long.
        timeout: Duration,
        /// Leading bits of an IPv4 address that make a client; default 32.
        prefix: u8,
        /// Of an IPv6 address; default 128.
        prefix6: u8,
    },
    /// By a cookie.
    Cookie(Box<AffinityCookie>),
    /// By the value of the field of that name.
    Header {
        /// The field.
        name: Spanned<String>,
    },
}

/// How backends are probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What is asked.
    pub probe: Spanned<Probe>,
    /// From one probe to the next; default 2 s.
    pub every: Spanned<Duration>,
    /// Time that an answer may take; default 500 ms.
    pub timeout: Spanned<Duration>,
    /// Failures in a row that take a backend out.
    pub fall: u32,
    /// Successes in a row that bring it back.
    pub rise: u32,
    /// What backends are before the first answer; default down.
    pub initial: Initial,
}

/// What backends are before their first check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Initial {
    /// They take flows at once.
    Up,
    /// They take none before their first success.
    #[default]
    Down,
}

/// What a probe asks of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A GET is answered with 2xx or 3xx.
    Http {
        /// The path.
        path: String,
        /// The `Host`; none is the backend's address.
        host: Option<String>,
    },
    /// A connection is accepted.
    Tcp,
    /// An echo request is answered.
    Icmp,
    /// The gRPC health service says that it serves.
    Grpc {
        /// The service that is asked for; none is the server as a whole.
        service: Option<String>,
        /// The authority; none is the backend's address.
        host: Option<String>,
    },
    /// A datagram with that text is answered.
    Udp(String),
}

impl Probe {
    /// The key that asks for it.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Http { .. } => "http",
            Self::Tcp => "tcp",
            Self::Icmp => "icmp",
            Self::Grpc { .. } => "grpc",
            Self::Udp(_) => "udp",
        }
    }
}

/// A server.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Unique within its pool.
    pub name: Spanned<String>,
    /// Where it listens; port 0 stands for the one that the client asked for. An ICMP service does not
    /// use the port.
    pub address: Spanned<SocketAddr>,
    /// Its share of the load, relative to the others'; default 1, and 0 takes none.
    pub weight: Spanned<u16>,
    /// Connections that it takes at once.
    pub max_connections: Option<Spanned<u32>>,
    /// True if it is used only when no other can be; default false.
    pub backup: bool,
    /// Its group: used only when no backend of a lower number can be; default 0.
    pub priority: u16,
    /// How it is spoken to over TLS.
    pub tls: Option<BackendTls>,
}

/// A cookie by which clients are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AffinityCookie {
    /// Its name.
    pub name: Spanned<String>,
    /// The file of its key, relative to the folder of the configuration; one that follows from the seed if
    /// it is not said.
    pub key: Option<Spanned<std::path::PathBuf>>,
    /// What follows its value, each with a semicolon before it.
    pub attributes: String,
    /// It ends some time after it was last used.
    pub renews: bool,
}
