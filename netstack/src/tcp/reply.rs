//! Segments that no socket sends: resets, challenge ACKs, acknowledgments from TIME-WAIT.

use super::wire;
use crate::packet::{LegId, Offload, Packet};
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
        let mut bytes = [0; MAX_LEN];
        let (local, remote) = (tuple.dst, tuple.src);
        let start = match local.family() {
            Family::V4 => {
                bytes[0] = 0x45;
                bytes[3] = 40;
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
                bytes[5] = 20;
                bytes[6] = TCP;
                bytes[7] = HOP_LIMIT;
                bytes[8..24].copy_from_slice(local.octets());
                bytes[24..40].copy_from_slice(remote.octets());
                40
            }
        };
        let mut flags = if segment.reset { TcpFlags::RST } else { TcpFlags::default() };
        if segment.ack.is_some() {
            flags = flags | TcpFlags::ACK;
        }
        let tcp = &mut bytes[start..start + 20];
        tcp[0..2].copy_from_slice(&tuple.dst_port.to_be_bytes());
        tcp[2..4].copy_from_slice(&tuple.src_port.to_be_bytes());
        tcp[4..8].copy_from_slice(&segment.seq.to_be_bytes());
        tcp[8..12].copy_from_slice(&segment.ack.unwrap_or(0).to_be_bytes());
        tcp[12] = 5 << 4;
        tcp[13] = flags.0;
        tcp[14..16].copy_from_slice(&segment.window.to_be_bytes());
        Self { tuple: *tuple, len: start as u8 + 20, bytes }
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
        packet.data_mut().copy_from_slice(&self.bytes[..usize::from(self.len)]);
        packet.leg = LegId::default();
        packet.offload = Offload::default();
        wire::offload(packet, self.tuple.dst, self.tuple.src, u16::MAX);
    }
}
