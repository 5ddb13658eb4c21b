//! What must not reach a socket: resets, SYNs and data that an attacker could have made who does not see
//! the connection (RFC 5961).

use smoltcp::socket::tcp::State;

use super::acceptance::{self, AckPlace, Place};
use super::connection::Connection;
use super::ingress::TcpDrop;
use super::isn::Secret;
use super::limits::CHALLENGE_ACKS_PER_SECOND;
use crate::time::Instant;
use crate::wire::{Tcp, TcpFlags};

/// What to do with a segment for a known connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    /// Hand it to the socket.
    Pass,
    /// Answer with the sequence numbers that we hold and change nothing.
    Challenge,
    /// Ignore it.
    Drop(TcpDrop),
}

/// Judges a segment by its control bits and sequence number.
pub(super) fn examine(connection: &Connection, tcp: &Tcp<&[u8]>) -> Edge {
    let (state, flags) = (connection.state(), tcp.flags());
    // In SYN-SENT the acknowledgment number is what proves a segment; smoltcp checks it.
    if state == State::SynSent {
        return Edge::Pass;
    }
    if flags.contains(TcpFlags::RST) {
        return examine_reset(connection, tcp.seq());
    }
    if !flags.contains(TcpFlags::SYN) {
        return examine_acknowledgment(connection, tcp);
    }
    if state == State::SynReceived {
        let acks = flags.contains(TcpFlags::ACK);
        if !acks && tcp.seq() == connection.control.initial.irs {
            // The socket repeats its SYN-ACK by its own timer.
            return Edge::Drop(TcpDrop::DuplicateSyn);
        }
        if acks && !connection.passive {
            // The second half of a simultaneous open (RFC 9293 section 3.5, figure 7).
            return Edge::Pass;
        }
    }
    // RFC 5961 section 4.2: "If the SYN bit is set, irrespective of the sequence number, TCP MUST
    // send an ACK (also referred to as challenge ACK) to the remote peer".
    Edge::Challenge
}

/// RFC 5961 section 3.2.
fn examine_reset(connection: &Connection, seq: u32) -> Edge {
    let expected = connection.rcv_nxt();
    match acceptance::place(seq, expected, connection.receive_window()) {
        Place::Next => Edge::Pass,
        Place::InWindow => Edge::Challenge,
        Place::Outside => Edge::Drop(TcpDrop::ResetOutOfWindow),
    }
}

/// RFC 5961 section 5.2. In SYN-RECEIVED a wrong acknowledgment is reset instead (RFC 9293 section
/// 3.10.7.4).
fn examine_acknowledgment(connection: &Connection, tcp: &Tcp<&[u8]>) -> Edge {
    if connection.state() == State::SynReceived || !tcp.flags().contains(TcpFlags::ACK) {
        return Edge::Pass;
    }
    match connection.streams.as_ref().map(|streams| streams.ack_bounds().place(tcp.ack())) {
        Some(AckPlace::Impossible) => Edge::Challenge,
        _ => Edge::Pass,
    }
}

/// Limits challenge ACKs (RFC 5961 section 7).
///
/// A fixed limit would let an attacker count the challenge ACKs that are left for him after spoofing
/// segments of another's connection, and so learn whether it exists. The limit therefore changes each
/// second by a number that he cannot know.
#[derive(Debug)]
pub(super) struct Challenges {
    secret: Secret,
    second: u64,
    left: u32,
}

impl Challenges {
    pub(super) fn new(secret: Secret) -> Self {
        Self { secret, second: 0, left: Self::limit(secret, 0) }
    }

    /// Takes one challenge ACK off this second's limit; false if none is left.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let second = now.as_micros() / 1_000_000;
        if second != self.second {
            self.second = second;
            self.left = Self::limit(self.secret, second);
        }
        let left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        left
    }

    /// Between a half and one and a half of the average.
    fn limit(secret: Secret, second: u64) -> u32 {
        let spread = u64::from(CHALLENGE_ACKS_PER_SECOND);
        CHALLENGE_ACKS_PER_SECOND / 2 + (secret.number(second) % spread) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_challenges_moves_and_is_kept() {
        let mut challenges = Challenges::new(Secret::new([5, 6]));
        let counts: Vec<_> = (0..20)
            .map(|second| (0..5000).filter(|_| challenges.take(Instant::from_secs(second))).count())
            .collect();
        assert!(counts.iter().all(|count| (500..1500).contains(count)), "{counts:?}");
        assert!(counts.windows(2).any(|pair| pair[0] != pair[1]));
    }
}
