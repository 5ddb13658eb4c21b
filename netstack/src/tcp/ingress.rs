//! What a received packet does.

use smoltcp::socket::tcp::State;

use super::connection::{Outcome, Owner, segments};
use super::edge::{self, Edge};
use super::endpoint::{Endpoint, Entry};
use super::reply::Reply;
use super::time_wait::Meaning;
use super::timestamps::Stamp;
use crate::packet::Packet;
use crate::time::Instant;
use crate::wire::{Headers, Tcp, TcpFlags, Transport, Tuple, checksum};

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpVerdict {
    /// A SYN that began a connection; it can be accepted once the handshake is complete.
    Opened,
    /// Handed to a connection.
    Taken,
    /// Answered without changing a connection: a challenge ACK, or an acknowledgment from TIME-WAIT.
    Acknowledged,
    /// A SYN beyond [`EndpointConfig::max_half_open`](super::EndpointConfig::max_half_open), answered by
    /// a SYN cookie: nothing is remembered of it.
    Cookie,
    /// For no connection, and answered by a RST.
    Reset,
    /// Ignored.
    Dropped(TcpDrop),
}

/// Why a packet was ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TcpDrop {
    /// Not a TCP segment.
    NotTcp,
    /// The TCP checksum is wrong.
    Checksum,
    /// An address or port that no connection can have: not unicast, port zero, or both ends alike.
    Address,
    /// A SYN beyond [`EndpointConfig::max_connections`](super::EndpointConfig::max_connections).
    ConnectionLimit,
    /// A SYN beyond [`EndpointConfig::max_half_open`](super::EndpointConfig::max_half_open) that a
    /// cookie cannot answer: its MSS is too small to be kept, or its tuple is in TIME-WAIT.
    HalfOpenLimit,
    /// A SYN again that has been answered.
    DuplicateSyn,
    /// A RST whose sequence number is not in the window.
    ResetOutOfWindow,
    /// A RST for no connection, or for one in TIME-WAIT.
    ResetOfNothing,
    /// A segment that asks nothing of a connection in TIME-WAIT.
    TimeWait,
    /// A challenge ACK would be due, but too many have been sent in this second.
    ChallengeLimit,
    /// An ICMP error about no segment that is on its way, or that changes nothing.
    Error,
}

impl TcpDrop {
    /// Every reason, in the order of declaration.
    pub const ALL: [Self; 11] = [
        Self::NotTcp,
        Self::Checksum,
        Self::Address,
        Self::ConnectionLimit,
        Self::HalfOpenLimit,
        Self::DuplicateSyn,
        Self::ResetOutOfWindow,
        Self::ResetOfNothing,
        Self::TimeWait,
        Self::ChallengeLimit,
        Self::Error,
    ];

    /// The name that counters and traces use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotTcp => "not-tcp",
            Self::Checksum => "tcp-checksum",
            Self::Address => "tcp-address",
            Self::ConnectionLimit => "connection-limit",
            Self::HalfOpenLimit => "half-open-limit",
            Self::DuplicateSyn => "duplicate-syn",
            Self::ResetOutOfWindow => "reset-out-of-window",
            Self::ResetOfNothing => "reset-of-nothing",
            Self::TimeWait => "time-wait",
            Self::ChallengeLimit => "challenge-limit",
            Self::Error => "icmp-error",
        }
    }
}

/// A received segment, checked.
pub(super) struct Segment<'a> {
    pub(super) tcp: Tcp<&'a [u8]>,
    pub(super) tuple: Tuple,
}

impl Endpoint {
    /// Takes a packet that is addressed to this endpoint, or an ICMP error about one that it sent.
    /// Nothing is sent before [`poll_transmit`](Self::poll_transmit).
    ///
    /// `headers` is what [`Headers::parse`] made of the packet. `tag` is kept with a connection that
    /// the packet opens and given back by [`accept`](Self::accept).
    pub fn handle_packet(
        &mut self,
        now: Instant,
        packet: &Packet,
        headers: &Headers,
        tag: u32,
    ) -> TcpVerdict {
        self.advance(now);
        if headers.transport == Transport::IcmpError {
            return self.on_error(packet, headers);
        }
        let (Transport::Tcp { .. }, Some(tuple)) = (headers.transport, headers.tuple()) else {
            return TcpVerdict::Dropped(TcpDrop::NotTcp);
        };
        if !checksum::verify_transport(packet, headers) {
            self.stats.checksum_errors += 1;
            return TcpVerdict::Dropped(TcpDrop::Checksum);
        }
        let segment = &packet.data()[headers.l4()..headers.total_len()];
        let Some(tcp) = Tcp::new_checked(segment) else {
            return TcpVerdict::Dropped(TcpDrop::NotTcp);
        };
        let segment = Segment { tcp, tuple };
        match self.table.get(&tuple) {
            Some(&Entry::Connection(index)) => {
                let vitals = &mut self.connections[index as usize].vitals;
                vitals.segments_received = vitals.segments_received.wrapping_add(segments(packet));
                self.on_connection(index as usize, &segment)
            }
            Some(&Entry::TimeWait(place)) => self.on_time_wait(place, &segment, tag),
            None => self.on_nothing(&segment, tag, None),
        }
    }

    pub(super) fn on_connection(&mut self, index: usize, segment: &Segment<'_>) -> TcpVerdict {
        match edge::examine(&self.connections[index], &segment.tcp) {
            Edge::Drop(reason) => return TcpVerdict::Dropped(reason),
            Edge::Challenge => return self.challenge(index),
            Edge::Pass => {}
        }
        match self.connections[index].state() {
            State::SynSent => self.on_syn_sent(index, segment),
            _ if segment.tcp.flags().contains(TcpFlags::RST) => {
                self.finish(index, Outcome::Reset);
                TcpVerdict::Taken
            }
            State::SynReceived => self.on_syn_received(index, segment),
            _ => self.on_synchronized(index, segment),
        }
    }

    fn on_time_wait(&mut self, place: u32, segment: &Segment<'_>, tag: u32) -> TcpVerdict {
        let now = self.now;
        let timestamps = self.config.timestamps;
        let Some(record) = self.time_waits.get_mut(place) else {
            return TcpVerdict::Dropped(TcpDrop::TimeWait);
        };
        let stamp = if timestamps { Stamp::read(&segment.tcp) } else { None };
        match record.examine(now, &segment.tcp, stamp) {
            Meaning::Ignore if segment.tcp.flags().contains(TcpFlags::RST) => {
                TcpVerdict::Dropped(TcpDrop::ResetOfNothing)
            }
            Meaning::Ignore => TcpVerdict::Dropped(TcpDrop::TimeWait),
            Meaning::Answer => {
                let reply =
                    Reply::acknowledgment(&segment.tuple, record.numbers(), record.stamp(now));
                self.limited(|endpoint| endpoint.push_reply(reply))
            }
            Meaning::Reopen => {
                let last = record.snd_nxt;
                let verdict = self.on_nothing(segment, tag, Some(last));
                if verdict == TcpVerdict::Opened {
                    self.time_waits.remove(place);
                }
                verdict
            }
        }
    }

    /// A segment of an established connection that is neither a SYN nor a RST.
    pub(super) fn on_synchronized(&mut self, index: usize, segment: &Segment<'_>) -> TcpVerdict {
        let now = self.now;
        let connection = &mut self.connections[index];
        let before = connection.state();
        let Some(streams) = &mut connection.streams else {
            return TcpVerdict::Taken;
        };
        let heard = streams.on_segment(now, &mut self.pool, &segment.tcp);
        if heard.fin_acked {
            connection.control.on_fin_acked(now);
        }
        if heard.fin {
            connection.control.on_fin(now);
        }
        if heard.readable || heard.fin {
            connection.wake_reader();
        }
        if heard.writable || heard.fin_acked {
            connection.wake_writer();
        }
        let changed = connection.state() != before;
        if changed || heard.progress {
            connection.waiting_since = Some(now);
        }
        self.consequences(index);
        if heard.unacceptable { TcpVerdict::Acknowledged } else { TcpVerdict::Taken }
    }

    /// Draws the consequences of the state that a connection is in after a segment.
    fn consequences(&mut self, index: usize) {
        let connection = &self.connections[index];
        match connection.state() {
            State::Closed => self.finish(index, Outcome::Finished),
            _ if connection.owner == Owner::Nobody && connection.recv_queue() > 0 => {
                // RFC 2525 section 2.17: nobody will ever read this.
                self.abort_index(index);
            }
            State::TimeWait => self.enter_time_wait(index),
            _ => self.mark_dirty(index),
        }
    }

    /// Answers with the sequence numbers that we hold (RFC 5961 sections 3.2, 4.2 and 5.2).
    pub(super) fn challenge(&mut self, index: usize) -> TcpVerdict {
        let connection = &self.connections[index];
        if connection.is_synchronized() {
            return self.limited(|endpoint| endpoint.acknowledge(index));
        }
        let reply = Reply::acknowledgment(&connection.tuple, connection.numbers(), None);
        self.limited(|endpoint| endpoint.push_reply(reply))
    }

    /// Answers, if so many challenge ACKs have not been sent yet.
    fn limited(&mut self, answer: impl FnOnce(&mut Self)) -> TcpVerdict {
        if !self.challenges.take(self.now) {
            return TcpVerdict::Dropped(TcpDrop::ChallengeLimit);
        }
        self.stats.challenge_acks += 1;
        answer(self);
        TcpVerdict::Acknowledged
    }
}

/// True for a tuple that two ends of a connection can have.
pub(super) fn is_possible(tuple: &Tuple) -> bool {
    let ports = tuple.src_port != 0 && tuple.dst_port != 0;
    let alike = tuple.src == tuple.dst && tuple.src_port == tuple.dst_port;
    ports && !alike && tuple.src.is_unicast() && tuple.dst.is_unicast()
}
