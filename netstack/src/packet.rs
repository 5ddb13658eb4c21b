//! One IP packet with its offload state.
//!
//! # Theory of operation
//!
//! A packet is whatever one read of a TUN gave: an ordinary IP packet, or a *super-packet* of up to
//! 64 KiB that the kernel has not cut into segments yet. The virtio network header that precedes it
//! says which, and says whether the checksum of its transport header is complete. Both facts travel
//! with the packet as [`Offload`], from the device that read it to the device that writes it; nothing
//! in between joins packets, nor splits one that fits where it goes.
//!
//! The bytes live in one buffer with [`HEADROOM`] bytes in front, in which the virtio header is read
//! and written, so that one system call moves both without a copy:
//!
//! ```text
//!  0          HEADROOM-10   HEADROOM                end      capacity
//!  | headroom  | virtio hdr | IP packet ............ |  spare  |
//! ```

use std::fmt;

use crate::ethernet::{HEADER_LEN, Header};

/// Bytes kept free in front of the IP header: the virtio header, and room for a tunnel's headers.
pub const HEADROOM: usize = 64;

/// Length of the virtio network header that precedes each packet of a TUN (`IFF_VNET_HDR`).
pub const VNET_HDR_LEN: usize = 10;

/// The longest IP packet: the 16-bit length field of IPv4. (An IPv6 packet can be 40 bytes longer;
/// the kernel never builds one over 65,535 bytes for a TUN.)
pub const MAX_PACKET_LEN: usize = 65_535;

/// The number of a leg: where packets enter and leave, in the order of the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegId(pub u16);

/// What is known of the transport checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// It is in the packet, complete, and nobody has verified it.
    #[default]
    Complete,
    /// It is in the packet, complete, and the sender's device vouches for it
    /// (`VIRTIO_NET_HDR_F_DATA_VALID`).
    Verified,
    /// The field holds only the folded, uncomplemented sum of the pseudo-header
    /// (`VIRTIO_NET_HDR_F_NEEDS_CSUM`); who sends the packet on a wire must add the bytes from
    /// `start` to the end and store the complement at `start + offset`.
    Partial {
        /// Offset of the transport header from the start of the IP header.
        start: u16,
        /// Offset of the checksum field from `start`.
        offset: u16,
    },
}

/// The kind of segmentation that a super-packet still needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GsoKind {
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
    /// UDP datagrams of equal size, to be cut (USO), of either family.
    Udp,
}

/// A super-packet's segmentation: how it must be cut for a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gso {
    /// Protocol and family.
    pub kind: GsoKind,
    /// Payload bytes of each segment but the last.
    pub size: u16,
    /// Length of all headers up to the payload, as the sender claimed it: a hint only.
    pub header_len: u16,
    /// The first segment carries CWR (`VIRTIO_NET_HDR_GSO_ECN`).
    pub ecn: bool,
}

/// Offload state: what the virtio header says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// The transport checksum.
    pub checksum: Checksum,
    /// Present on a super-packet.
    pub gso: Option<Gso>,
}

/// A virtio header that lies about the packet behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VnetError {
    /// Fewer bytes than the header itself.
    Truncated,
    /// The checksum field would lie beyond the end of the packet.
    ChecksumBeyondEnd,
    /// A segmentation kind that balun never enables (UFO, or one unknown).
    UnknownGso,
    /// Segmentation into pieces of no size.
    ZeroGsoSize,
}

const F_NEEDS_CSUM: u8 = 1;
const F_DATA_VALID: u8 = 2;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

impl Offload {
    /// Reads a virtio header that precedes a packet of `packet_len` bytes.
    ///
    /// # Errors
    /// [`VnetError`] if the header contradicts the packet's length or itself. Whether `start` really
    /// is where the transport header begins is for [`wire`](crate::wire) to check.
    pub fn decode(header: &[u8], packet_len: usize) -> Result<Self, VnetError> {
        let header: &[u8; VNET_HDR_LEN] = header.first_chunk().ok_or(VnetError::Truncated)?;
        let [flags, gso_type, rest @ ..] = *header;
        // The device is set to the byte order of the host (no TUNSETVNETLE).
        let field = |i: usize| u16::from_ne_bytes([rest[i], rest[i + 1]]);
        let (header_len, size, start, offset) = (field(0), field(2), field(4), field(6));

        let checksum = if flags & F_NEEDS_CSUM != 0 {
            if usize::from(start) + usize::from(offset) + 2 > packet_len {
                return Err(VnetError::ChecksumBeyondEnd);
            }
            Checksum::Partial { start, offset }
        } else if flags & F_DATA_VALID != 0 {
            Checksum::Verified
        } else {
            Checksum::Complete
        };
        let kind = match gso_type & !GSO_ECN {
            0 => return Ok(Self { checksum, gso: None }),
            GSO_TCPV4 => GsoKind::TcpV4,
            GSO_TCPV6 => GsoKind::TcpV6,
            GSO_UDP_L4 => GsoKind::Udp,
            _ => return Err(VnetError::UnknownGso),
        };
        if size == 0 {
            return Err(VnetError::ZeroGsoSize);
        }
        let gso = Gso { kind, size, header_len, ecn: gso_type & GSO_ECN != 0 };
        Ok(Self { checksum, gso: Some(gso) })
    }

    /// What a virtio header says whose offsets count from a header of `len` bytes in front of the packet.
    ///
    /// # Errors
    /// [`VnetError::ChecksumBeyondEnd`] if the checksum would be over a part of that header.
    fn without_front(mut self, len: u16) -> Result<Self, VnetError> {
        if let Checksum::Partial { start, .. } = &mut self.checksum {
            *start = start.checked_sub(len).ok_or(VnetError::ChecksumBeyondEnd)?;
        }
        if let Some(gso) = &mut self.gso {
            gso.header_len = gso.header_len.saturating_sub(len);
        }
        Ok(self)
    }

    /// The inverse of [`without_front`](Self::without_front).
    fn with_front(mut self, len: u16) -> Self {
        if let Checksum::Partial { start, .. } = &mut self.checksum {
            *start = start.saturating_add(len);
        }
        if let Some(gso) = self.gso.as_mut().filter(|gso| gso.header_len > 0) {
            gso.header_len = gso.header_len.saturating_add(len);
        }
        self
    }

    /// Writes the virtio header.
    pub fn encode(self, header: &mut [u8; VNET_HDR_LEN]) {
        let (flags, start, offset) = match self.checksum {
            // "Verified" is what a receiver is told; a sender that claims it is not believed by
            // every kernel, and "nothing known" is always true.
            Checksum::Complete => (0, 0, 0),
            Checksum::Verified => (F_DATA_VALID, 0, 0),
            Checksum::Partial { start, offset } => (F_NEEDS_CSUM, start, offset),
        };
        let (gso_type, header_len, size) = match self.gso {
            None => (0, 0, 0),
            Some(gso) => {
                let kind = match gso.kind {
                    GsoKind::TcpV4 => GSO_TCPV4,
                    GsoKind::TcpV6 => GSO_TCPV6,
                    GsoKind::Udp => GSO_UDP_L4,
                };
                (kind | if gso.ecn { GSO_ECN } else { 0 }, gso.header_len, gso.size)
            }
        };
        header[0] = flags;
        header[1] = gso_type;
        for (at, value) in [(2, header_len), (4, size), (6, start), (8, offset)] {
            header[at..at + 2].copy_from_slice(&value.to_ne_bytes());
        }
    }
}

/// One IP packet (see the module's theory of operation).
#[derive(Clone)]
pub struct Packet {
    buf: Vec<u8>,
    end: usize,
    /// Names the packet in captures: what it is rewritten, held, cut and answered as keeps it. 0 if
    /// nobody has named it.
    pub id: u64,
    /// The leg that the packet entered by, or will leave by.
    pub leg: LegId,
    /// Checksum and segmentation state.
    pub offload: Offload,
}

impl Packet {
    /// An empty packet that can hold `capacity` bytes of IP.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            buf: vec![0; HEADROOM + capacity],
            end: HEADROOM,
            id: 0,
            leg: LegId::default(),
            offload: Offload::default(),
        }
    }

    /// A packet that can hold the longest read of any device.
    pub fn max_sized() -> Self {
        Self::with_capacity(MAX_PACKET_LEN)
    }

    /// A packet that holds a copy of `ip`, with complete checksums.
    pub fn from_ip(ip: &[u8]) -> Self {
        let mut packet = Self::with_capacity(ip.len());
        packet.set_len(ip.len());
        packet.data_mut().copy_from_slice(ip);
        packet
    }

    /// The IP packet.
    pub fn data(&self) -> &[u8] {
        &self.buf[HEADROOM..self.end]
    }

    /// The IP packet, to rewrite.
    pub fn data_mut(&mut self) -> &mut [u8] {
        &mut self.buf[HEADROOM..self.end]
    }

    /// Length of the IP packet in bytes.
    pub fn len(&self) -> usize {
        self.end - HEADROOM
    }

    /// True if there is no byte in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The longest IP packet that the buffer can hold without growing.
    pub fn capacity(&self) -> usize {
        self.buf.len() - HEADROOM
    }

    /// Sets the length, growing the buffer if it must; bytes that come in view are whatever the
    /// buffer held.
    pub fn set_len(&mut self, len: usize) {
        let end = HEADROOM + len;
        if end > self.buf.len() {
            self.buf.resize(end, 0);
        }
        self.end = end;
    }

    /// Makes this packet a copy of `other`, keeping its own buffer.
    pub fn copy_from(&mut self, other: &Self) {
        self.set_len(other.len());
        self.data_mut().copy_from_slice(other.data());
        self.id = other.id;
        self.leg = other.leg;
        self.offload = other.offload;
    }

    /// Where a device with virtio headers reads to: the header, then the packet.
    /// Call [`received_with_vnet`](Self::received_with_vnet) with the count of bytes read.
    pub fn vnet_receive_buffer(&mut self) -> &mut [u8] {
        &mut self.buf[HEADROOM - VNET_HDR_LEN..]
    }

    /// Takes note that `n` bytes were read into [`vnet_receive_buffer`](Self::vnet_receive_buffer).
    ///
    /// # Errors
    /// [`VnetError`] if the virtio header lies; the packet is then without offload state.
    pub fn received_with_vnet(&mut self, n: usize) -> Result<(), VnetError> {
        self.offload = Offload::default();
        self.end = HEADROOM.max(HEADROOM - VNET_HDR_LEN + n).min(self.buf.len());
        if n < VNET_HDR_LEN {
            return Err(VnetError::Truncated);
        }
        self.offload = Offload::decode(&self.buf[HEADROOM - VNET_HDR_LEN..HEADROOM], self.len())?;
        Ok(())
    }

    /// The virtio header and the packet, in one slice for one write.
    pub fn vnet_transmit_bytes(&mut self) -> &[u8] {
        let start = HEADROOM - VNET_HDR_LEN;
        if let Some(header) = self.buf[start..].first_chunk_mut() {
            self.offload.encode(header);
        }
        &self.buf[start..self.end]
    }

    /// Where a packet socket with virtio headers reads to: that header, the Ethernet header, then what
    /// the frame holds. Call [`received_frame`](Self::received_frame) with the count of bytes read.
    pub fn frame_receive_buffer(&mut self) -> &mut [u8] {
        &mut self.buf[HEADROOM - HEADER_LEN - VNET_HDR_LEN..]
    }

    /// Takes note that `n` bytes were read into [`frame_receive_buffer`](Self::frame_receive_buffer);
    /// the Ethernet header. What the frame holds is the packet's data now.
    ///
    /// # Errors
    /// [`VnetError`] if the virtio header lies; the packet is then without offload state.
    pub fn received_frame(&mut self, n: usize) -> Result<Header, VnetError> {
        let start = HEADROOM - HEADER_LEN - VNET_HDR_LEN;
        self.offload = Offload::default();
        self.end = HEADROOM.max(start + n).min(self.buf.len());
        let front = self.buf[start..HEADROOM].split_at_checked(VNET_HDR_LEN);
        let (vnet, header) = front.ok_or(VnetError::Truncated)?;
        if n < VNET_HDR_LEN + HEADER_LEN {
            return Err(VnetError::Truncated);
        }
        let offload = Offload::decode(vnet, HEADER_LEN + self.len())?;
        self.offload = offload.without_front(HEADER_LEN as u16)?;
        header.first_chunk().copied().ok_or(VnetError::Truncated)
    }

    /// The virtio header, this Ethernet header and the packet, in one slice for one write.
    pub fn frame_transmit_bytes(&mut self, header: &Header) -> &[u8] {
        let start = HEADROOM - HEADER_LEN - VNET_HDR_LEN;
        if let Some(vnet) = self.buf[start..].first_chunk_mut() {
            self.offload.with_front(HEADER_LEN as u16).encode(vnet);
        }
        self.buf[start + VNET_HDR_LEN..HEADROOM].copy_from_slice(header);
        &self.buf[start..self.end]
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packet")
            .field("leg", &self.leg)
            .field("offload", &self.offload)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(flags: u8, gso: u8, fields: [u16; 4]) -> Vec<u8> {
        let mut bytes = vec![flags, gso];
        bytes.extend(fields.iter().flat_map(|f| f.to_ne_bytes()));
        bytes
    }

    #[test]
    fn a_header_survives_the_round_trip() {
        let offload = Offload {
            checksum: Checksum::Partial { start: 20, offset: 16 },
            gso: Some(Gso { kind: GsoKind::TcpV4, size: 1448, header_len: 52, ecn: true }),
        };
        let mut bytes = [0; VNET_HDR_LEN];
        offload.encode(&mut bytes);
        assert_eq!(Offload::decode(&bytes, 64_000), Ok(offload));
    }

    #[test]
    fn a_checksum_beyond_the_end_is_refused_at_the_exact_byte() {
        let h = header(F_NEEDS_CSUM, 0, [0, 0, 20, 16]);
        assert!(Offload::decode(&h, 38).is_ok());
        assert_eq!(Offload::decode(&h, 37), Err(VnetError::ChecksumBeyondEnd));
        let h = header(F_NEEDS_CSUM, 0, [0, 0, 65_535, 65_535]);
        assert_eq!(Offload::decode(&h, 65_535), Err(VnetError::ChecksumBeyondEnd));
    }

    #[test]
    fn segmentation_that_we_never_asked_for_is_refused() {
        assert_eq!(Offload::decode(&header(0, 3, [0; 4]), 40), Err(VnetError::UnknownGso));
        assert_eq!(Offload::decode(&header(0, 1, [0; 4]), 40), Err(VnetError::ZeroGsoSize));
        assert_eq!(Offload::decode(&[0; 9], 40), Err(VnetError::Truncated));
    }

    #[test]
    fn a_read_shorter_than_the_header_leaves_an_empty_packet() {
        let mut packet = Packet::with_capacity(100);
        for n in 0..VNET_HDR_LEN {
            assert_eq!(packet.received_with_vnet(n), Err(VnetError::Truncated));
            assert!(packet.is_empty());
        }
        assert_eq!(packet.received_with_vnet(VNET_HDR_LEN), Ok(()));
        assert!(packet.is_empty());
    }

    #[test]
    fn one_slice_carries_header_and_packet() {
        let mut packet = Packet::from_ip(&[0x45, 1, 2]);
        let bytes = packet.vnet_transmit_bytes().to_vec();
        assert_eq!(&bytes[..VNET_HDR_LEN], &[0; VNET_HDR_LEN]);
        let mut back = Packet::with_capacity(100);
        back.vnet_receive_buffer()[..bytes.len()].copy_from_slice(&bytes);
        assert_eq!(back.received_with_vnet(bytes.len()), Ok(()));
        assert_eq!(back.data(), packet.data());
    }

    #[test]
    fn a_frame_has_its_header_between_and_its_offsets_count_from_there() {
        let header = [7; HEADER_LEN];
        let mut packet = Packet::from_ip(&[0x45; 60]);
        packet.offload.checksum = Checksum::Partial { start: 20, offset: 16 };
        packet.offload.gso =
            Some(Gso { kind: GsoKind::TcpV4, size: 9, header_len: 40, ecn: false });
        let offload = packet.offload;
        let bytes = packet.frame_transmit_bytes(&header).to_vec();
        let on_the_wire = Offload::decode(&bytes, bytes.len() - VNET_HDR_LEN).unwrap();
        assert_eq!(on_the_wire.checksum, Checksum::Partial { start: 34, offset: 16 });
        assert_eq!(on_the_wire.gso.map(|gso| gso.header_len), Some(54));
        assert_eq!(bytes[VNET_HDR_LEN..][..HEADER_LEN], header);

        let mut back = Packet::with_capacity(100);
        back.frame_receive_buffer()[..bytes.len()].copy_from_slice(&bytes);
        assert_eq!(back.received_frame(bytes.len()), Ok(header));
        assert_eq!((back.data(), back.offload), (packet.data(), offload));
        for n in 0..VNET_HDR_LEN + HEADER_LEN {
            assert_eq!(back.received_frame(n), Err(VnetError::Truncated));
            assert!(back.is_empty());
        }
    }

    #[test]
    fn a_checksum_over_the_ethernet_header_is_refused() {
        let mut packet = Packet::with_capacity(100);
        packet.frame_receive_buffer()[..VNET_HDR_LEN].copy_from_slice(&header(1, 0, [0, 0, 13, 6]));
        assert_eq!(packet.received_frame(60), Err(VnetError::ChecksumBeyondEnd));
    }
}
