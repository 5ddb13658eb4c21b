//! Segments that no socket sends: resets, challenge ACKs, acknowledgments from TIME-WAIT, SYN-ACKs with
//! a cookie.

use super::syn::options::{SynOptions, Written};
use super::timestamps::Stamp;
use super::wire;
use crate::packet::{LegId, Offload, Packet};
use crate::wire::fields::tcp_field;
use crate::wire::headers::{TCP, V4_CHECKSUM};
use crate::wire::{Family, Tcp, TcpFlags, Tuple, checksum};

/// The longest IP and TCP headers without extensions.
const MAX_LEN: usize = 100;

const HOP_LIMIT: u8 = 64;

/// A packet without payload that waits to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reply {
    tuple: Tuple,
    len: u8,
    bytes: [u8; MAX_LEN],
}

/// What of a bare segment is not given by its tuple.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bare {
    pub(super) seq: u32,
    pub(super) ack: Option<u32>,
    pub(super) window: u16,
    pub(super) reset: bool,
}

impl Bare {
    /// The reset that answers a segment for no connection.
    pub(super) fn reset_for(tcp: &Tcp<&[u8]>) -> Self {
        // RFC 9293 section 3.10.7.1: "If the ACK bit is off, sequence number zero is used,
        // <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>. If the ACK bit is on, <SEQ=SEG.ACK><CTL=RST>."
        if tcp.flags().contains(TcpFlags::ACK) {
            Self { seq: tcp.ack(), ack: None, window: 0, reset: true }
        } else {
            let ack = tcp.seq().wrapping_add(tcp.sequence_len());
            Self { seq: 0, ack: Some(ack), window: 0, reset: true }
        }
    }
}

impl Reply {
    /// A segment towards the source of `tuple`, which is named as incoming packets name it.
    pub(super) fn bare(tuple: &Tuple, segment: Bare) -> Self {
        Self::new(tuple, segment, TcpFlags::default(), &[])
    }

    /// The same with a timestamp, if the connection has them.
    pub(super) fn stamped(tuple: &Tuple, segment: Bare, stamp: Option<Stamp>) -> Self {
        match stamp {
            Some(stamp) => Self::new(tuple, segment, TcpFlags::default(), &stamp.padded()),
            None => Self::bare(tuple, segment),
        }
    }

    /// A SYN, or a SYN-ACK if there is something to acknowledge.
    pub(super) fn syn(tuple: &Tuple, segment: Bare, options: &SynOptions) -> Self {
        Self::new(tuple, segment, TcpFlags::SYN, options.write().bytes())
    }

    fn new(tuple: &Tuple, segment: Bare, flags: TcpFlags, options: &[u8]) -> Self {
        debug_assert!(options.len() <= Written::MAX && options.len().is_multiple_of(4));
        let header_len = tcp_field::MIN_LEN + options.len();
        let mut bytes = [0; MAX_LEN];
        let start = write_ip(&mut bytes, tuple, header_len as u8);
        let mut flags = flags;
        if segment.reset {
            flags = flags | TcpFlags::RST;
        }
        if segment.ack.is_some() {
            flags = flags | TcpFlags::ACK;
        }
        let tcp = &mut bytes[start..start + header_len];
        tcp[tcp_field::SRC_PORT].copy_from_slice(&tuple.dst_port.to_be_bytes());
        tcp[tcp_field::DST_PORT].copy_from_slice(&tuple.src_port.to_be_bytes());
        tcp[tcp_field::SEQ].copy_from_slice(&segment.seq.to_be_bytes());
        tcp[tcp_field::ACK].copy_from_slice(&segment.ack.unwrap_or(0).to_be_bytes());
        tcp[tcp_field::DATA_OFFSET] = ((header_len / 4) << 4) as u8;
        tcp[tcp_field::FLAGS] = flags.0;
        tcp[tcp_field::WINDOW].copy_from_slice(&segment.window.to_be_bytes());
        tcp[tcp_field::MIN_LEN..].copy_from_slice(options);
        Self { tuple: *tuple, len: (start + header_len) as u8, bytes }
    }

    /// The IP packet, its TCP checksum still missing.
    pub(super) fn data(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// A segment that a socket wrote in answer to a packet; nothing if it is not that.
    pub(super) fn from_socket(tuple: &Tuple, packet: &Packet) -> Option<Self> {
        let mut bytes = [0; MAX_LEN];
        wire::tcp_offset(packet.data())?;
        bytes.get_mut(..packet.len())?.copy_from_slice(packet.data());
        Some(Self { tuple: *tuple, len: packet.len() as u8, bytes })
    }

    /// True for a RST.
    pub(super) fn resets(&self) -> bool {
        let segment = wire::tcp_offset(&self.bytes).and_then(|start| self.bytes.get(start..));
        let tcp = segment.and_then(Tcp::new_checked);
        tcp.is_some_and(|tcp| tcp.flags().contains(TcpFlags::RST))
    }

    /// Writes the packet out.
    pub(super) fn write(&self, packet: &mut Packet) {
        packet.set_len(usize::from(self.len));
        packet.data_mut().copy_from_slice(self.data());
        packet.leg = LegId::default();
        packet.offload = Offload::default();
        wire::offload(packet, self.tuple.dst, self.tuple.src, u16::MAX);
    }
}

/// Writes an IP header towards the source of `tuple` before `payload_len` bytes; gives its length.
fn write_ip(bytes: &mut [u8; MAX_LEN], tuple: &Tuple, payload_len: u8) -> usize {
    let (local, remote) = (tuple.dst, tuple.src);
    match local.family() {
        Family::V4 => {
            bytes[0] = 0x45;
            bytes[3] = 20 + payload_len;
            bytes[6] = 0x40; // Don't fragment.
            bytes[8] = HOP_LIMIT;
            bytes[9] = TCP;
            bytes[12..16].copy_from_slice(local.octets());
            bytes[16..20].copy_from_slice(remote.octets());
            let sum = !checksum::sum(&bytes[..20]);
            bytes[V4_CHECKSUM..V4_CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
            20
        }
        Family::V6 => {
            bytes[0] = 0x60;
            bytes[5] = payload_len;
            bytes[6] = TCP;
            bytes[7] = HOP_LIMIT;
            bytes[8..24].copy_from_slice(local.octets());
            bytes[24..40].copy_from_slice(remote.octets());
            40
        }
    }
}
