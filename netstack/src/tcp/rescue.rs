//! What smoltcp does not hear, and what to do when it has fallen silent.
//!
//! **Unheard acknowledgments.** smoltcp throws away a segment that lies outside its window whole, with
//! the acknowledgment that it carries. RFC 9293 section 3.10.7.4: "special allowance should be made to
//! accept valid ACKs". Without it two peers that both have run over the other's window, or have a window
//! of zero, never hear each other again. So such a segment's news is told apart, by a bare
//! acknowledgment in its place in the sequence.
//!
//! **Silence.** smoltcp can lose the timer of data that it has yet to deliver: when a window opens
//! again after a probe, or a timeout meets a window of zero. Data without a timer is recognized by just
//! that, and after a while smoltcp is told once more what the peer said last: to a window of zero it
//! answers with its probe, otherwise repetition makes it send again.

use std::time::Duration;

use smoltcp::socket::tcp::State;

use super::connection::Connection;
use super::endpoint::Endpoint;
use super::reply::{Bare, Reply};
use super::sequence::before;
use crate::packet::Packet;
use crate::time::Instant;
use crate::wire::{Tcp, TcpFlags};

/// The first wait of a silent connection; doubled each time in vain.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// Doublings of the wait at the most: 12.8 s.
const MAX_DOUBLINGS: u32 = 6;

/// The state of a connection that may have fallen silent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Silence {
    /// When it is to be spoken to.
    due: Option<Instant>,
    /// How often that was in vain.
    in_vain: u32,
}

impl Silence {
    /// Takes note that there was progress.
    pub(super) const fn broken(&mut self) {
        self.in_vain = 0;
    }

    /// When a connection that is `silent` is to be spoken to.
    pub(super) fn deadline(&mut self, now: Instant, silent: bool) -> Option<Instant> {
        if !silent {
            self.due = None;
            return None;
        }
        let wait = FIRST_WAIT * (1 << self.in_vain.min(MAX_DOUBLINGS));
        Some(*self.due.get_or_insert(now + wait))
    }

    /// True if the time has come; the next wait is then longer.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let due = self.due.is_some_and(|due| due <= now);
        if due {
            self.due = None;
            self.in_vain += 1;
        }
        due
    }
}

/// True if a segment says something new of what we have sent, and smoltcp would not listen.
pub(super) fn is_unheard(connection: &Connection, tcp: &Tcp<&[u8]>) -> bool {
    let kind = tcp.flags() & (TcpFlags::SYN | TcpFlags::RST | TcpFlags::ACK);
    let Some(socket) = connection.socket().filter(|_| is_synchronized(connection.state())) else {
        return false;
    };
    if kind != TcpFlags::ACK {
        return false;
    }
    let sequence = &connection.sequence;
    let ours = !before(tcp.ack(), sequence.snd_una) && !before(sequence.snd_nxt, tcp.ack());
    let news = tcp.ack() != sequence.snd_una || tcp.window() != sequence.peer_window;
    let (next, edge) = (connection.rcv_nxt(), sequence.edge());
    let (start, end) = (tcp.seq(), tcp.seq().wrapping_add(tcp.sequence_len()));
    // Inside the window even by its first byte, or exactly where it is expected.
    let heard = start == next || (before(start, edge) && before(next, end));
    // No further off than a peer that is not making it up can be.
    let distance = start.wrapping_sub(next).cast_signed().unsigned_abs() as usize;
    ours && news && !heard && distance <= 2 * socket.recv_capacity()
}

const fn is_synchronized(state: State) -> bool {
    !matches!(state, State::Closed | State::Listen | State::SynSent | State::SynReceived)
}

impl Endpoint {
    /// Tells a connection's socket what the peer says of what we have sent.
    pub(super) fn tell(&mut self, index: usize, ack: u32, window: u16) {
        let connection = &mut self.connections[index];
        let bare = Bare { seq: connection.rcv_nxt(), ack: Some(ack), window, reset: false };
        let mut packet = Packet::with_capacity(0);
        // As if from the peer: the tuple names the peer as the source.
        Reply::bare(&connection.tuple.reversed(), bare).write(&mut packet);
        connection.sequence.received_ack(ack, window);
        // An answer would be a challenge to what the peer never sent.
        let _ = connection.receive(self.now, packet.data(), &mut self.scratch);
    }

    /// Speaks to a connection that has fallen silent.
    pub(super) fn break_silence(&mut self, index: usize) {
        let sequence = self.connections[index].sequence;
        // The first may pass for news of the window; three more are a sign of loss.
        let times = if sequence.peer_window == 0 { 1 } else { 4 };
        for _ in 0..times {
            self.tell(index, sequence.snd_una, sequence.peer_window);
        }
        self.mark_dirty(index);
    }
}
