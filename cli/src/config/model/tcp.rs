//! TCP that ends here.

use netstack::tcp::{Algorithm, KeepaliveConfig};

/// What a service says of its TCP connections, those of clients and those to backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tcp {
    /// How much may be in flight; default CUBIC.
    pub congestion: Option<Algorithm>,
    /// How idle connections are probed; default not at all.
    pub keepalive: Option<KeepaliveConfig>,
}
