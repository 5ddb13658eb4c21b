//! What routes refer to by name, and the control of a running instance.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// So many in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At least 1.
    pub count: u32,
    /// A second, a minute or an hour.
    pub per: Duration,
}

/// How a running instance is reached.
#[derive(Clone, Debug, Default)]
pub struct Control {
    /// Unix socket for commands.
    pub socket: Option<PathBuf>,
    /// Address of the metrics.
    pub metrics: Option<SocketAddr>,
    /// Address of the live page.
    pub web: Option<SocketAddr>,
}
