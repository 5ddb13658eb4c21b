//! Which addresses are listened on, and by whom.
//!
//! # Theory of operation
//!
//! An endpoint answers for every address whose packets it is handed. Until somebody listens it takes
//! connections to all of them, for [`Endpoint::accept`]: what it is handed has been chosen before, as
//! the balancer does. From the first [`Endpoint::listen`] on it takes those that are listened for, each
//! for one listener, and refuses all others by a RST, as a host does.
//!
//! If several listeners fit, the one with an address of its own comes before one with all addresses, and
//! one of a single port before one of all ports.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use slab::Slab;

use super::application::Accepted;
use super::connection::{ConnectionId, Owner};
use super::endpoint::Endpoint;

/// The most listeners of an endpoint: each SYN is compared with all of them.
pub(super) const MAX_LISTENERS: usize = 1_024;

/// Names a listener of an [`Endpoint`], for as long as it listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(usize);

/// Why an address cannot be listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenError {
    /// Somebody listens on the same address and port.
    InUse,
    /// A multicast or broadcast address.
    Address,
    /// 1,024 listeners exist.
    Limit,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InUse => "somebody listens on the same address and port",
            Self::Address => "nobody can listen on such an address",
            Self::Limit => "too many listeners",
        })
    }
}

impl std::error::Error for ListenError {}

/// All listeners of an endpoint.
#[derive(Debug, Default)]
pub(super) struct Listening {
    listeners: Slab<Listener>,
    /// Somebody has listened: what nobody listens for is refused.
    chosen: bool,
}

#[derive(Debug)]
struct Listener {
    local: SocketAddr,
    /// Established connections that wait to be accepted; some may have ended since.
    accepted: VecDeque<ConnectionId>,
}

impl Listener {
    /// How well it fits; nothing if it does not.
    fn fits(&self, local: SocketAddr) -> Option<u8> {
        let by_address = match self.local.ip() {
            ip if ip == local.ip() => 4,
            IpAddr::V4(ip) if ip.is_unspecified() && local.is_ipv4() => 2,
            IpAddr::V6(ip) if ip.is_unspecified() => 0,
            _ => return None,
        };
        match self.local.port() {
            port if port == local.port() => Some(by_address + 1),
            0 => Some(by_address),
            _ => None,
        }
    }
}

impl Listening {
    /// True if connections to `local` are taken.
    pub(super) fn takes(&self, local: SocketAddr) -> bool {
        !self.chosen || self.best(local).is_some()
    }

    fn best(&self, local: SocketAddr) -> Option<usize> {
        let fitting = self.listeners.iter().filter_map(|(id, one)| Some((one.fits(local)?, id)));
        fitting.max_by_key(|&(fits, _)| fits).map(|(_, id)| id)
    }

    /// Where connections to `local` wait for their listener; nothing if they wait for anybody.
    pub(super) fn queue(&mut self, local: SocketAddr) -> Option<&mut VecDeque<ConnectionId>> {
        if self.listeners.is_empty() {
            return None;
        }
        let best = self.best(local)?;
        self.listeners.get_mut(best).map(|listener| &mut listener.accepted)
    }

    /// True if a connection waits for its listener.
    #[cfg(feature = "stream")]
    pub(super) fn has_accepted(&self) -> bool {
        self.listeners.iter().any(|(_, listener)| !listener.accepted.is_empty())
    }
}

impl Endpoint {
    /// Listens on `local`: from now on connections to addresses that nobody listens on are refused.
    ///
    /// Port 0 stands for every port, `0.0.0.0` for every IPv4 address and `::` for every address of both
    /// versions. What waits to be accepted is bounded by
    /// [`EndpointConfig::max_connections`](super::EndpointConfig::max_connections) alone.
    ///
    /// # Errors
    /// [`ListenError`]
    pub fn listen(&mut self, local: SocketAddr) -> Result<ListenerId, ListenError> {
        let listening = &mut self.listening;
        let broadcast = matches!(local.ip(), IpAddr::V4(ip) if ip.is_broadcast());
        if local.ip().is_multicast() || broadcast {
            return Err(ListenError::Address);
        }
        if listening.listeners.iter().any(|(_, listener)| listener.local == local) {
            return Err(ListenError::InUse);
        }
        if listening.listeners.len() >= MAX_LISTENERS {
            return Err(ListenError::Limit);
        }
        listening.chosen = true;
        let listener = Listener { local, accepted: VecDeque::new() };
        Ok(ListenerId(listening.listeners.insert(listener)))
    }

    /// The next connection to what this listener listens on, oldest first. The caller owns it from here
    /// on.
    pub fn accept_from(&mut self, listener: ListenerId) -> Option<Accepted> {
        loop {
            let id = self.listening.listeners.get_mut(listener.0)?.accepted.pop_front()?;
            // One that was reset while it waited is not worth mentioning.
            if let Some(accepted) = self.take_accepted(id) {
                return Some(accepted);
            }
        }
    }

    /// Ends a listener. Connections that nobody has accepted and nobody listens for any more are reset;
    /// new ones to its address are refused, even if no listener is left.
    pub fn stop_listening(&mut self, listener: ListenerId) {
        let Some(mut ended) = self.listening.listeners.try_remove(listener.0) else { return };
        let waiting = |endpoint: &Self, index: usize| {
            let connection = &endpoint.connections[index];
            let unowned = connection.passive && connection.owner == Owner::Endpoint;
            unowned && !endpoint.listening.takes(connection.tuple.destination())
        };
        let indices: Vec<_> = self.connections.iter().map(|(index, _)| index).collect();
        for index in indices {
            if waiting(self, index) {
                self.abort_index(index);
            }
        }
        // A wider listener may have them.
        for id in ended.accepted.drain(..) {
            if self.get(id).is_some() {
                self.push_accepted(id);
            }
        }
    }
}
