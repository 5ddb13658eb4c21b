//! An Ethernet interface as a leg: one end of a veth pair, or any other that a topology has.
//!
//! # Theory of operation
//!
//! The interface is not ours: it is there before and after. A packet socket (packet(7)) that is bound to
//! it reads and writes whole frames beside the kernel's own stack, which has no address there and so has
//! nothing to say. What a host says there, an [`Edge`] says.
//!
//! Each frame has a virtio header in front (`PACKET_VNET_HDR`), so that super-packets and unfinished
//! checksums, of which a veth carries almost nothing else, pass as they are. What the receiving
//! interface cannot take, the kernel cuts and completes. That, the readiness of the descriptor and the VLAN
//! tags that the kernel takes off frames (`PACKET_AUXDATA`) are why this is a socket of our own: `pnet`
//! cuts frames at 4,096 bytes, wants a thread for each reader, and shows none of the three.
//!
//! The socket is made without a protocol and gets one when it is bound, so that no frame of another
//! interface comes before. What we send ourselves is not shown to us (`PACKET_IGNORE_OUTGOING`).
//!
//! The time is what [`Veth::advance`] was told last.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socket, sockopt};

use super::netlink::{self, Change};
use super::netns::NamespaceError;
use super::sys::packet as sys;
use super::{Device, Namespace, Received, TransmitDrop, Transmitted};
use crate::ethernet::{Edge, EdgeConfig, EdgeDrop, Egress, Header, Ingress, Mac};
use crate::packet::{MAX_PACKET_LEN, Packet, VnetError};
use crate::time::Instant;
use crate::wire::Address;

/// Bytes of frames that may wait to be read: some hundred super-packets.
const RECEIVE_BUFFER: usize = 16 << 20;
/// Bytes of frames that may be on their way out.
const SEND_BUFFER: usize = 4 << 20;
/// Hardware type of Ethernet (`ARPHRD_ETHER`).
const ETHERNET: u16 = 1;

/// Which interface, and who we are on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VethConfig {
    /// Name of the interface.
    pub name: String,
    /// The longest IP packet in bytes; at most the interface's.
    pub mtu: u16,
    /// The leg's own addresses, with the lengths of the prefixes that are on the link.
    pub addresses: Vec<(Address, u8)>,
    /// What else we answer for: virtual addresses and those of the SNAT pool.
    pub answers: Vec<Address>,
    /// Who takes what is not on the link, one of each family.
    pub gateways: Vec<Address>,
}

/// Why an interface could not be used.
#[derive(Debug)]
pub enum VethError {
    /// There is none of that name.
    Missing {
        /// The name.
        name: String,
    },
    /// It has no Ethernet frames: a TUN, the loopback.
    NotEthernet {
        /// The interface.
        name: String,
    },
    /// Its packets are shorter than the leg's.
    SmallMtu {
        /// The interface.
        name: String,
        /// Its MTU.
        has: u32,
        /// The leg's.
        wanted: u16,
    },
    /// A right is missing.
    Denied {
        /// The interface.
        name: String,
        /// What was being done, to follow "cannot".
        step: &'static str,
        /// The capability that it takes.
        capability: &'static str,
    },
    /// The namespace could not be entered.
    Namespace(NamespaceError),
    /// The kernel refused one step.
    Kernel {
        /// The interface.
        name: String,
        /// What was being done, to follow "cannot".
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl VethError {
    /// True if it is this machine that stands in the way, as it is now.
    pub fn is_environment(&self) -> bool {
        match self {
            Self::Missing { .. } | Self::Denied { .. } => true,
            Self::Namespace(error) => error.is_environment(),
            _ => false,
        }
    }

    fn from_step(
        name: &str,
        step: &'static str,
        capability: &'static str,
        source: impl Into<io::Error>,
    ) -> Self {
        let (name, source) = (name.to_owned(), source.into());
        match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EPERM) => Self::Denied { name, step, capability },
            Some(Errno::ENODEV) => Self::Missing { name },
            _ => Self::Kernel { name, step, source },
        }
    }
}

impl fmt::Display for VethError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { name } => write!(
                f,
                "there is no interface `{name}` in this network namespace\n\
                 fix: make it, as by: ip link add {name} type veth peer name {name}-peer"
            ),
            Self::NotEthernet { name } => write!(
                f,
                "`{name}` is no Ethernet interface\n\
                 fix: name one end of a veth pair, or let balun make a TUN: kind = \"tun\""
            ),
            Self::SmallMtu { name, has, wanted } => write!(
                f,
                "the MTU of `{name}` is {has}, and the leg's is {wanted}\n\
                 fix: mtu = {has} in the leg, or: ip link set {name} mtu {wanted}"
            ),
            Self::Denied { name, step, capability } => write!(
                f,
                "cannot {step} `{name}`: {capability} is missing in this network namespace\n\
                 fix: run as root, or work in a user namespace that owns it (unshare -Urn)"
            ),
            Self::Namespace(error) => error.fmt(f),
            Self::Kernel { name, step, source } => write!(f, "cannot {step} `{name}`: {source}"),
        }
    }
}

impl Error for VethError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Kernel { source, .. } => Some(source),
            Self::Namespace(error) => Some(error),
            _ => None,
        }
    }
}

impl From<NamespaceError> for VethError {
    fn from(error: NamespaceError) -> Self {
        Self::Namespace(error)
    }
}

/// An Ethernet interface (see the module's theory of operation).
#[derive(Debug)]
pub struct Veth {
    fd: OwnedFd,
    name: String,
    mtu: u16,
    edge: Edge,
    now: Instant,
}

impl Veth {
    /// Attaches to the interface, in the network namespace of the calling thread. It is set up if it is
    /// down.
    ///
    /// # Errors
    /// [`VethError`].
    pub fn open(config: &VethConfig) -> Result<Self, VethError> {
        let name = config.name.as_str();
        let (mac, up) = look_up(name)?;
        let fail = |step, e: io::Error| VethError::from_step(name, step, "CAP_NET_RAW", e);
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Packet, SockType::Raw, flags, None)
            .map_err(|e| fail("open a packet socket for", e.into()))?;
        let has = sys::mtu(fd.as_fd(), name).map_err(|e| fail("ask the MTU of", e))?;
        if has < u32::from(config.mtu) {
            return Err(VethError::SmallMtu { name: name.into(), has, wanted: config.mtu });
        }
        if !up {
            netlink::change_link(name, &[Change::Up])
                .map_err(|e| VethError::from_step(name, "set up", "CAP_NET_ADMIN", e.source))?;
        }
        for option in [sys::VNET_HDR, sys::IGNORE_OUTGOING, sys::AUXDATA] {
            sys::enable(fd.as_fd(), option).map_err(|e| fail("prepare a packet socket for", e))?;
        }
        buffers(&fd);
        let attach = "attach a packet socket to";
        let index = netlink::link_index(name).map_err(|e| fail(attach, e))?;
        sys::join_all_groups(fd.as_fd(), index).map_err(|e| fail(attach, e))?;
        sys::bind(fd.as_fd(), index).map_err(|e| fail(attach, e))?;
        let edge = EdgeConfig {
            mac,
            addresses: config.addresses.clone(),
            answers: config.answers.clone(),
            gateways: config.gateways.clone(),
        };
        let edge = Edge::new(&edge, Instant::ZERO);
        Ok(Self { fd, name: name.into(), mtu: config.mtu, edge, now: Instant::ZERO })
    }

    /// [`open`](Self::open) in another network namespace. The device works from any thread.
    ///
    /// # Errors
    /// As [`open`](Self::open), or the namespace cannot be entered.
    pub fn open_in(namespace: &Namespace, config: &VethConfig) -> Result<Self, VethError> {
        namespace.run(|| Self::open(config))?
    }

    /// Tells it the time, and lets it ask and announce what has come due.
    ///
    /// # Errors
    /// The interface is gone.
    pub fn advance(&mut self, now: Instant) -> io::Result<()> {
        self.now = now;
        if self.edge.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.edge.handle_timeout(now);
        }
        self.flush()
    }

    /// The next packet whose next hop did not answer.
    pub fn poll_lost(&mut self) -> Option<Packet> {
        self.edge.poll_lost()
    }

    /// Its Ethernet side.
    pub const fn edge(&self) -> &Edge {
        &self.edge
    }

    /// Sends what the edge has to say. What does not go now is lost, as on any full link.
    fn flush(&mut self) -> io::Result<()> {
        while let Some(mut frame) = self.edge.poll_transmit() {
            let _ = write(self.fd.as_fd(), &frame.header, &mut frame.body)?;
        }
        Ok(())
    }

    fn take(&mut self, frame: sys::Frame, packet: &mut Packet) -> io::Result<Received> {
        if frame.outgoing {
            return Ok(Received::Consumed);
        }
        if frame.cut {
            return Ok(Received::Malformed(VnetError::Truncated));
        }
        let header = match packet.received_frame(frame.len) {
            Ok(header) => header,
            Err(VnetError::Truncated) => {
                let _ = self.edge.refuse(EdgeDrop::ShortFrame);
                return Ok(Received::Consumed);
            }
            Err(lie) => return Ok(Received::Malformed(lie)),
        };
        match self.edge.receive(self.now, &header, frame.tagged, packet) {
            Ingress::Packet => Ok(Received::Packet),
            Ingress::Dropped(_) => Ok(Received::Consumed),
            Ingress::Consumed => {
                self.flush()?;
                Ok(Received::Consumed)
            }
        }
    }
}

impl Device for Veth {
    fn receive(&mut self, packet: &mut Packet) -> io::Result<Received> {
        if packet.capacity() < MAX_PACKET_LEN {
            // A read into less would cut the packet short.
            packet.set_len(MAX_PACKET_LEN);
        }
        loop {
            let error = match sys::receive(self.fd.as_fd(), packet.frame_receive_buffer()) {
                Ok(frame) => return self.take(frame, packet),
                Err(error) => error,
            };
            return match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EINTR) => continue,
                Some(Errno::EAGAIN) => Ok(Received::WouldBlock),
                // It went down, which is said once, and may come up again.
                Some(Errno::ENETDOWN) => Ok(Received::Consumed),
                // A super-packet of a kind that has no place in a virtio header.
                Some(Errno::EINVAL) => Ok(Received::Malformed(VnetError::UnknownGso)),
                _ => Err(error),
            };
        }
    }

    fn transmit(&mut self, packet: &mut Packet) -> io::Result<Transmitted> {
        match self.edge.route(self.now, packet) {
            Egress::Send(header) => {
                let sent = write(self.fd.as_fd(), &header, packet)?;
                self.flush()?;
                Ok(sent)
            }
            Egress::Waits => {
                self.flush()?;
                Ok(Transmitted::Sent)
            }
            Egress::Dropped(EdgeDrop::NeighborsFull) => {
                Ok(Transmitted::Dropped(TransmitDrop::NoBuffers))
            }
            Egress::Dropped(_) => Ok(Transmitted::Dropped(TransmitDrop::NoNeighbor)),
        }
    }

    fn mtu(&self) -> u16 {
        self.mtu
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl AsFd for Veth {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Veth {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// The hardware address of an interface, and whether it is up.
fn look_up(name: &str) -> Result<(Mac, bool), VethError> {
    let all =
        getifaddrs().map_err(|e| VethError::from_step(name, "look for", "CAP_NET_ADMIN", e))?;
    let mut found = false;
    for entry in all.filter(|entry| entry.interface_name == name) {
        found = true;
        let Some(link) = entry.address.as_ref().and_then(|address| address.as_link_addr()) else {
            continue;
        };
        if link.hatype() == ETHERNET
            && let Some(mac) = link.addr()
        {
            return Ok((Mac(mac), entry.flags.contains(InterfaceFlags::IFF_UP)));
        }
    }
    let name = name.to_owned();
    Err(if found { VethError::NotEthernet { name } } else { VethError::Missing { name } })
}

/// Asks for long queues. With fewer rights they are as long as the system lets anybody have them.
fn buffers(fd: &OwnedFd) {
    if setsockopt(fd, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        // What is refused stays as it is.
        let _ = setsockopt(fd, sockopt::RcvBuf, &RECEIVE_BUFFER);
    }
    if setsockopt(fd, sockopt::SndBufForce, &SEND_BUFFER).is_err() {
        let _ = setsockopt(fd, sockopt::SndBuf, &SEND_BUFFER);
    }
}

fn write(fd: BorrowedFd<'_>, header: &Header, packet: &mut Packet) -> io::Result<Transmitted> {
    let bytes = packet.frame_transmit_bytes(header);
    loop {
        return match nix::unistd::write(fd, bytes) {
            Ok(_) => Ok(Transmitted::Sent),
            Err(Errno::EINTR) => continue,
            Err(Errno::EAGAIN) => Ok(Transmitted::WouldBlock),
            Err(Errno::ENETDOWN) => Ok(Transmitted::Dropped(TransmitDrop::LinkDown)),
            Err(Errno::ENOBUFS | Errno::ENOMEM) => {
                Ok(Transmitted::Dropped(TransmitDrop::NoBuffers))
            }
            Err(Errno::EINVAL | Errno::EMSGSIZE) => Ok(Transmitted::Dropped(TransmitDrop::Refused)),
            Err(error) => Err(error.into()),
        };
    }
}

/// What the kernel does in a namespace that a leg's interface is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelView {
    /// Addresses of all interfaces, and the names of these: Linux answers for each on every interface.
    pub addresses: Vec<(String, IpAddr)>,
    /// It forwards what comes by the interface, in one family at least.
    pub forwards: bool,
}

/// Looks at what the kernel does: in the namespace of the caller, or a named one.
///
/// # Errors
/// The namespace cannot be entered, or the interfaces not be listed.
pub fn kernel_view(namespace: Option<&str>, interface: &str) -> io::Result<KernelView> {
    let look = || -> io::Result<KernelView> {
        let named = getifaddrs()?.filter_map(|entry| {
            let address = entry.address?;
            let ip = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
                (Some(v4), _) => IpAddr::V4(v4.ip()),
                (_, Some(v6)) => IpAddr::V6(v6.ip()),
                _ => return None,
            };
            Some((entry.interface_name, ip))
        });
        let forwards = |family| {
            let path = format!("/proc/sys/net/{family}/conf/{interface}/forwarding");
            #[expect(
                clippy::disallowed_methods,
                reason = "a setting of the kernel, not of the core"
            )]
            let text = std::fs::read_to_string(path);
            text.is_ok_and(|text| text.trim() == "1")
        };
        Ok(KernelView {
            addresses: named.collect(),
            forwards: forwards("ipv4") || forwards("ipv6"),
        })
    };
    match namespace {
        None => look(),
        Some(name) => {
            let namespace = Namespace::open(name).map_err(io::Error::other)?;
            namespace.run(look).map_err(io::Error::other)?
        }
    }
}
