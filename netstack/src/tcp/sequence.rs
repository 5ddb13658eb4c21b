//! Sequence numbers of a connection, kept by watching its segments: smoltcp does not tell its own.

use smoltcp::socket::tcp::State;

use super::mss::SynOptions;
use crate::wire::{Tcp, TcpFlags};

/// True if `a` comes before `b` in sequence space (RFC 9293 section 3.4).
pub(super) const fn before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() < 0
}

/// The later of two sequence numbers.
pub(super) const fn later(a: u32, b: u32) -> u32 {
    if before(a, b) { b } else { a }
}

/// What both sides have sent and acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sequence {
    /// Our next sequence number, as far as emitted.
    pub(super) snd_nxt: u32,
    /// The oldest of ours that is not acknowledged.
    pub(super) snd_una: u32,
    /// The peer's initial sequence number.
    pub(super) irs: u32,
    /// The peer's window field in the segment with the latest acknowledgment.
    pub(super) peer_window: u16,
    /// The acknowledgment number that we last sent.
    acked: u32,
    /// Right edge of the window that we last advertised.
    edge: u32,
    /// Payload bytes that the application has read.
    consumed: u32,
    /// Shift of our windows; zero until both sides have agreed on scaling.
    shift: u8,
    /// The shift that our SYN offered.
    offered_shift: Option<u8>,
    /// The shift that the peer's SYN offered.
    peer_shift: Option<u8>,
}

impl Sequence {
    /// Takes note of the peer's SYN.
    pub(super) fn peer_syn(&mut self, seq: u32, options: SynOptions) {
        self.irs = seq;
        self.acked = seq;
        self.edge = seq;
        self.peer_shift = options.window_scale;
        self.agree_on_shift();
    }

    /// Takes note of a segment that arrived with an acknowledgment.
    pub(super) fn received_ack(&mut self, ack: u32, window: u16) {
        if !before(ack, self.snd_una) && !before(self.snd_nxt, ack) {
            self.snd_una = ack;
            self.peer_window = window;
        }
    }

    /// Takes note of a segment that leaves.
    pub(super) fn sent(&mut self, tcp: &Tcp<&[u8]>, options: SynOptions) {
        let flags = tcp.flags();
        let end = tcp.seq().wrapping_add(tcp.sequence_len());
        if flags.contains(TcpFlags::SYN) {
            self.snd_una = tcp.seq();
            self.snd_nxt = end;
            self.offered_shift = options.window_scale;
            self.agree_on_shift();
        } else {
            self.snd_nxt = later(self.snd_nxt, end);
        }
        if flags.contains(TcpFlags::ACK) {
            // RFC 7323 section 2.2: the window of a SYN is never scaled.
            let shift = if flags.contains(TcpFlags::SYN) { 0 } else { self.shift };
            self.acked = tcp.ack();
            self.edge = tcp.ack().wrapping_add(u32::from(tcp.window()) << shift);
        }
    }

    /// Takes note that the application has read `len` bytes.
    pub(super) fn consumed(&mut self, len: usize) {
        self.consumed = self.consumed.wrapping_add(len as u32);
    }

    /// The right edge of the window that the peer was last told of.
    pub(super) const fn edge(&self) -> u32 {
        self.edge
    }

    /// The window field to send where smoltcp wrote `window`: one unit less if windows are scaled.
    ///
    /// smoltcp rounds its free space down to units, so that bytes which are no whole unit move the
    /// right edge back, and what a sender has there by then is dropped. RFC 9293 section 3.8.6: a
    /// window should not shrink. One unit in reserve is always enough.
    pub(super) const fn lasting_window(&self, window: u16) -> u16 {
        window.saturating_sub((self.shift > 0) as u16)
    }

    /// The next sequence number that we expect, with `queued` received bytes not read yet.
    pub(super) fn rcv_nxt(&self, state: State, queued: usize) -> u32 {
        let fin = match state {
            State::CloseWait | State::LastAck | State::Closing | State::TimeWait => 1,
            _ => 0,
        };
        self.irs.wrapping_add(1).wrapping_add(self.consumed).wrapping_add(queued as u32 + fin)
    }

    /// Bytes received and not acknowledged yet.
    pub(super) const fn unacknowledged(&self, rcv_nxt: u32) -> u32 {
        rcv_nxt.wrapping_sub(self.acked)
    }

    /// Bytes that the peer may still send by what we last advertised.
    pub(super) const fn window_left(&self, rcv_nxt: u32) -> u32 {
        if before(rcv_nxt, self.edge) { self.edge.wrapping_sub(rcv_nxt) } else { 0 }
    }

    /// That, as a window field.
    pub(super) fn window_field(&self, rcv_nxt: u32) -> u16 {
        u16::try_from(self.window_left(rcv_nxt) >> self.shift).unwrap_or(u16::MAX)
    }

    /// True if smoltcp would tell the peer of a window of `free` bytes by itself: it does when the
    /// window has doubled.
    pub(super) const fn worth_an_update(&self, rcv_nxt: u32, free: usize) -> bool {
        let free = free >> self.shift;
        free > 0 && free / 2 >= (self.window_left(rcv_nxt) >> self.shift) as usize
    }

    fn agree_on_shift(&mut self) {
        if let (Some(ours), Some(_)) = (self.offered_shift, self.peer_shift) {
            self.shift = ours;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_survives_the_wrap() {
        assert!(before(u32::MAX, 0) && before(5, 6) && !before(6, 6) && !before(0, u32::MAX));
        assert_eq!(later(u32::MAX, 2), 2);
    }

    #[test]
    fn an_old_or_future_acknowledgment_changes_nothing() {
        let mut sequence = Sequence { snd_una: 10, snd_nxt: 20, ..Sequence::default() };
        for ack in [9, 21, 10 + (1 << 31)] {
            sequence.received_ack(ack, 7);
            assert_eq!((sequence.snd_una, sequence.peer_window), (10, 0));
        }
        sequence.received_ack(20, 7);
        assert_eq!((sequence.snd_una, sequence.peer_window), (20, 7));
    }
}
