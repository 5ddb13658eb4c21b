//! Segments that belong to no established connection: resets, challenge ACKs, acknowledgments from
//! TIME-WAIT, SYN-ACKs of which nothing is remembered.

use super::header::{self, Header};
use super::syn::options::Written;
use super::timestamps::Stamp;
use crate::packet::Packet;
use crate::wire::{Tcp, TcpFlags, Tuple};

/// A segment without payload that waits to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reply {
    /// The tuple as incoming packets name it: the reply goes to its source.
    pub(super) tuple: Tuple,
    pub(super) header: Header,
    pub(super) options: Written,
}

impl Reply {
    /// An acknowledgment with the numbers that we hold: ours, the peer's, and a window field; with a
    /// timestamp where there are any.
    pub(super) fn acknowledgment(
        tuple: &Tuple,
        (seq, ack, window): (u32, u32, u16),
        stamp: Option<Stamp>,
    ) -> Self {
        let header = Header { seq, ack, flags: TcpFlags::ACK, window };
        let options = stamp.map_or_else(Written::default, |stamp| Written::new(&stamp.padded()));
        Self { tuple: *tuple, header, options }
    }

    /// A RST of a connection of which we hold the numbers.
    pub(super) fn reset(tuple: &Tuple, (seq, ack, window): (u32, u32, u16)) -> Self {
        let header = Header { seq, ack, flags: TcpFlags::RST | TcpFlags::ACK, window };
        Self { tuple: *tuple, header, options: Written::default() }
    }

    /// The RST that answers a segment for no connection.
    pub(super) fn reset_for(tuple: &Tuple, tcp: &Tcp<&[u8]>) -> Self {
        // RFC 9293 section 3.10.7.1: "If the ACK bit is off, sequence number zero is used,
        // <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>. If the ACK bit is on, <SEQ=SEG.ACK><CTL=RST>."
        if tcp.flags().contains(TcpFlags::ACK) {
            let header = Header { seq: tcp.ack(), flags: TcpFlags::RST, ..Header::default() };
            Self { tuple: *tuple, header, options: Written::default() }
        } else {
            Self::reset(tuple, (0, tcp.seq().wrapping_add(tcp.sequence_len()), 0))
        }
    }

    /// Writes the packet out.
    pub(super) fn write(&self, packet: &mut Packet) {
        header::begin(packet, &self.tuple, &self.header, self.options.bytes(), 0, u16::MAX);
    }
}
