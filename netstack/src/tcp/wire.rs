//! Between smoltcp and packets: the device that it reads one packet from and writes one packet to,
//! and what is added to a packet that it wrote.

use smoltcp::phy::{Checksum as Verify, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant as SocketInstant;

use super::mss::SOCKET_MTU;
use crate::packet::{Checksum, Gso, GsoKind, LegId, Offload, Packet};
use crate::wire::fields::tcp_field;
use crate::wire::headers::TCP;
use crate::wire::{Address, Family, Tcp, checksum};

/// Longest IP and TCP headers that smoltcp writes.
const MAX_HEADERS: usize = 100;

/// A device that holds at most one packet to receive and takes at most one.
pub(super) struct Link<'a> {
    pub(super) ingress: Option<&'a [u8]>,
    pub(super) egress: &'a mut Packet,
    /// Whether `egress` has been written.
    pub(super) emitted: bool,
}

impl<'a> Link<'a> {
    pub(super) const fn new(ingress: Option<&'a [u8]>, egress: &'a mut Packet) -> Self {
        Self { ingress, egress, emitted: false }
    }
}

pub(super) struct Received<'a>(&'a [u8]);

pub(super) struct Room<'a> {
    packet: &'a mut Packet,
    emitted: &'a mut bool,
}

impl Device for Link<'_> {
    type RxToken<'t>
        = Received<'t>
    where
        Self: 't;
    type TxToken<'t>
        = Room<'t>
    where
        Self: 't;

    fn receive(&mut self, _: SocketInstant) -> Option<(Received<'_>, Room<'_>)> {
        let bytes = self.ingress.take()?;
        Some((Received(bytes), Room { packet: self.egress, emitted: &mut self.emitted }))
    }

    fn transmit(&mut self, _: SocketInstant) -> Option<Room<'_>> {
        (!self.emitted).then_some(Room { packet: self.egress, emitted: &mut self.emitted })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = usize::from(SOCKET_MTU);
        // Both checksums of a received packet have been verified before it gets here.
        capabilities.checksum.ipv4 = Verify::Tx;
        capabilities.checksum.tcp = Verify::None;
        capabilities
    }
}

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

impl TxToken for Room<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        self.packet.set_len(len);
        self.packet.offload = Offload::default();
        self.packet.leg = LegId::default();
        *self.emitted = true;
        let bytes = self.packet.data_mut();
        // smoltcp writes into the bytes of an earlier packet, and not quite all of the header.
        bytes[..len.min(MAX_HEADERS)].fill(0);
        write(bytes)
    }
}

/// Offset of the TCP header of a packet written by smoltcp or by `reply`, or nothing if it holds none.
pub(super) fn tcp_offset(data: &[u8]) -> Option<usize> {
    match *data {
        [0x45, _, _, _, _, _, _, _, _, TCP, ..] => Some(20),
        [0x60..=0x6f, _, _, _, _, _, TCP, ..] => Some(40),
        _ => None,
    }
}

/// Declares the checksum of an emitted segment partial, and one longer than `mss` a super-packet.
pub(super) fn offload(packet: &mut Packet, local: Address, remote: Address, mss: u16) {
    let Some(start) = tcp_offset(packet.data()) else { return };
    let segment = &packet.data()[start..];
    let Some(tcp) = Tcp::new_checked(segment) else { return };
    let (header_len, payload_len) = (tcp.header_len(), tcp.payload().len());
    let pseudo = checksum::pseudo_header(local, remote, TCP, segment.len());

    // RFC 6691 section 2: the sender takes the options off the MSS.
    let size = mss - (header_len - tcp_field::MIN_LEN) as u16;
    let kind = match local.family() {
        Family::V4 => GsoKind::TcpV4,
        Family::V6 => GsoKind::TcpV6,
    };
    let header_len = (start + header_len) as u16;
    let gso = Gso { kind, size, header_len, ecn: false };
    packet.offload = Offload {
        checksum: Checksum::Partial {
            start: start as u16,
            offset: tcp_field::CHECKSUM.start as u16,
        },
        gso: (payload_len > usize::from(size)).then_some(gso),
    };
    let field = start + tcp_field::CHECKSUM.start;
    packet.data_mut()[field..field + 2].copy_from_slice(&pseudo.to_be_bytes());
}
