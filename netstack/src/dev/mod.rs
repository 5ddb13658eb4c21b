//! Devices: where packets enter and leave.
//!
//! # Theory of operation
//!
//! A [`Device`] gives and takes one packet a call and never waits. Whoever drives it reads until
//! [`Received::WouldBlock`], writes what comes out, and waits for readiness by its own means (a TUN
//! is a file descriptor; a capture and a memory device are always ready).
//!
//! Nothing that a packet can cause is an error. A header that lies is [`Received::Malformed`], a
//! packet that the device cannot take is [`Transmitted::Dropped`] with its reason: the caller counts
//! both and goes on. `Err` means that the device itself is gone and the leg with it.
//!
//! ```text
//!            namespace "client"      |  this process        |  namespace "web1"
//!   curl ──► kernel ──► TUN queue ───┼─► Tun::receive       |
//!                                    |     Engine           |
//!                                    |   Tun::transmit ─────┼──► kernel ──► nginx
//! ```
//!
//! A TUN belongs to the network namespace in which it was made, and its descriptor works anywhere.
//! So [`netns::Namespace::run`] makes the TUN on a thread that has entered the namespace and brings
//! the descriptor out; a process that holds one per namespace *is* the router between them.
//!
//! | module | what it holds |
//! |---|---|
//! | [`tun`] | [`Tun`]: opens, configures, adopts, reads and writes TUN queues |
//! | [`offload`] | what a TUN may leave undone in a packet, as the kernel granted it |
//! | [`error`] | [`TunError`]: what failed, on what, why, and the fix |
//! | [`netlink`] | addresses, routes and links, by blocking calls |
//! | [`netns`] | network namespaces: made, opened, entered by threads |
//! | [`userns`] | the user namespace that stands in for root |
//! | [`probe`] | what this machine allows |
//! | [`veth`] | [`Veth`]: an Ethernet interface, by a packet socket and an [`Edge`](crate::ethernet::Edge) |
//! | [`interface`] | [`Interface`]: a TUN or an Ethernet interface |
//! | [`memory`] | two devices joined by bounded queues |
//! | [`pass`] | descriptors handed from process to process |
//! | [`pcap`] | classic captures: reader and writer |
//! | [`pcapng`] | captures of the newer format: reader and writer |
//! | [`link`] | what stands in front of IP packets in captures |
//! | [`capture_reader`] | [`CaptureReader`]: captures of either format |
//! | [`capture`] | [`PcapDevice`]: a capture as a device |
//! | `sys` | the calls that have no safe wrapper: the only unsafe code of the project |

pub mod capture;
pub mod capture_reader;
pub mod error;
pub mod interface;
pub mod link;
pub mod memory;
pub mod netlink;
pub mod netns;
pub mod offload;
pub mod pass;
pub mod pcap;
pub mod pcapng;
pub mod probe;
mod sys;
pub mod tun;
pub mod userns;
pub mod veth;

use std::io;

use crate::packet::{Packet, VnetError};
use crate::segment::SegmentError;

pub use self::tun::{Tun, TunConfig};
pub use capture::PcapDevice;
pub use capture_reader::{CaptureError, CaptureReader};
pub use error::TunError;
pub use interface::Interface;
pub use memory::MemoryDevice;
pub use netns::{Namespace, NamespaceError};
pub use offload::TunOffload;
pub use userns::{UserNamespaceError, enter_user_namespace};
pub use veth::{Veth, VethConfig, VethError};

/// What one [`Device::receive`] gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Received {
    /// The packet is filled.
    Packet,
    /// Nothing to read now.
    WouldBlock,
    /// Something was read whose virtio header lies: a drop to count. The packet's content is
    /// unspecified; more may be waiting.
    Malformed(VnetError),
    /// Something was read that was for the device itself, or for nobody here; more may be waiting.
    Consumed,
    /// There will never be another packet: the end of a capture, or the other side is gone.
    End,
}

/// What became of one packet given to [`Device::transmit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Transmitted {
    /// The device took it.
    Sent,
    /// The device has no room now, and nothing was sent: the same packet may be offered again.
    WouldBlock,
    /// The device did not take it and never will: a drop to count.
    Dropped(TransmitDrop),
}

/// Why a device did not take a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransmitDrop {
    /// The link is down (`EIO` of a TUN), or its far end is gone.
    LinkDown,
    /// No memory for it, or a full queue (`ENOBUFS`, `ENOMEM`).
    NoBuffers,
    /// The kernel found packet and virtio header in contradiction (`EINVAL`), or too long
    /// (`EMSGSIZE`).
    Refused,
    /// It had to be cut in software, and could not be (see [`SegmentError`]).
    Unsegmentable,
    /// On an Ethernet interface: no host of the link takes it (see
    /// [`EdgeDrop`](crate::ethernet::EdgeDrop)).
    NoNeighbor,
}

impl TransmitDrop {
    /// Every reason, in the order of declaration.
    pub const ALL: [Self; 5] =
        [Self::LinkDown, Self::NoBuffers, Self::Refused, Self::Unsegmentable, Self::NoNeighbor];

    /// The name that counters carry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LinkDown => "link-down",
            Self::NoBuffers => "no-buffers",
            Self::Refused => "refused",
            Self::Unsegmentable => "unsegmentable",
            Self::NoNeighbor => "no-neighbor",
        }
    }
}

impl From<SegmentError> for TransmitDrop {
    fn from(_: SegmentError) -> Self {
        Self::Unsegmentable
    }
}

/// Where packets enter and leave, one a call, never waiting.
pub trait Device {
    /// Reads one packet into `packet`, growing its buffer to the longest packet if it is smaller.
    /// The packet's leg is the caller's to set.
    ///
    /// # Errors
    /// The device is gone (for a TUN, `EBADFD`: it was deleted).
    fn receive(&mut self, packet: &mut Packet) -> io::Result<Received>;

    /// Sends one packet. Its checksum may be completed in place on the way.
    ///
    /// # Errors
    /// The device is gone.
    fn transmit(&mut self, packet: &mut Packet) -> io::Result<Transmitted>;

    /// The longest IP packet in bytes that the link carries. Super-packets are longer.
    fn mtu(&self) -> u16;

    /// The name that people know it by.
    fn name(&self) -> &str;
}
