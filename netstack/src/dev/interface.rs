//! A TUN or an Ethernet interface: what a leg of a running balancer is made of.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use tokio::io::unix::AsyncFd;

use super::{Device, Received, Transmitted, Tun, Veth, sys};
use crate::ethernet::Edge;
use crate::packet::Packet;
use crate::time::Instant;

/// An interface.
#[derive(Debug)]
pub enum Interface {
    /// A queue of a TUN.
    Tun(Tun),
    /// An Ethernet interface.
    Veth(Box<Veth>),
}

impl Interface {
    /// Registers it with the tokio runtime that this is called in, to be told when it can be read.
    ///
    /// # Errors
    /// The runtime's reactor could not take the descriptor.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn into_async(self) -> io::Result<AsyncFd<Self>> {
        sys::register_interface(self)
    }

    /// Tells it the time, and lets it do what has come due. A TUN has nothing of that kind.
    ///
    /// # Errors
    /// The device is gone.
    pub fn advance(&mut self, now: Instant) -> io::Result<()> {
        match self {
            Self::Tun(_) => Ok(()),
            Self::Veth(veth) => veth.advance(now),
        }
    }

    /// When [`advance`](Self::advance) has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.edge().and_then(Edge::poll_timeout)
    }

    /// The next packet that could not be sent since nobody takes it. Its sender should hear of it.
    pub fn poll_lost(&mut self) -> Option<Packet> {
        match self {
            Self::Tun(_) => None,
            Self::Veth(veth) => veth.poll_lost(),
        }
    }

    /// The Ethernet side, of an interface that has one.
    pub fn edge(&self) -> Option<&Edge> {
        match self {
            Self::Tun(_) => None,
            Self::Veth(veth) => Some(veth.edge()),
        }
    }
}

impl Device for Interface {
    fn receive(&mut self, packet: &mut Packet) -> io::Result<Received> {
        match self {
            Self::Tun(tun) => tun.receive(packet),
            Self::Veth(veth) => veth.receive(packet),
        }
    }

    fn transmit(&mut self, packet: &mut Packet) -> io::Result<Transmitted> {
        match self {
            Self::Tun(tun) => tun.transmit(packet),
            Self::Veth(veth) => veth.transmit(packet),
        }
    }

    fn mtu(&self) -> u16 {
        match self {
            Self::Tun(tun) => tun.mtu(),
            Self::Veth(veth) => veth.mtu(),
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Tun(tun) => tun.name(),
            Self::Veth(veth) => veth.name(),
        }
    }
}

impl From<Tun> for Interface {
    fn from(tun: Tun) -> Self {
        Self::Tun(tun)
    }
}

impl From<Veth> for Interface {
    fn from(veth: Veth) -> Self {
        Self::Veth(Box::new(veth))
    }
}

impl AsFd for Interface {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tun(tun) => tun.as_fd(),
            Self::Veth(veth) => veth.as_fd(),
        }
    }
}

impl AsRawFd for Interface {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
