//! What a received packet does.

use smoltcp::socket::tcp::State;

use super::connection::{Connection, Outcome, Owner};
use super::edge::{self, Edge};
use super::endpoint::{Endpoint, Entry};
use super::limits::ACK_DELAY;
use super::mss;
use super::reply::{Bare, Reply};
use super::rescue;
use super::sequence::before;
use super::time_wait::Meaning;
use super::timestamps::Stamp;
use crate::packet::Packet;
use crate::time::Instant;
use crate::wire::fields::tcp_field;
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
    /// A SYN, or the acknowledgment of a SYN cookie, whose options are broken.
    Options,
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
    pub const ALL: [Self; 12] = [
        Self::NotTcp,
        Self::Checksum,
        Self::Address,
        Self::ConnectionLimit,
        Self::HalfOpenLimit,
        Self::Options,
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
            Self::Options => "syn-options",
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
    /// The IP packet.
    pub(super) data: &'a [u8],
    /// Where in it the TCP header begins.
    pub(super) start: usize,
    pub(super) tcp: Tcp<&'a [u8]>,
    pub(super) tuple: Tuple,
}

impl Endpoint {
    /// Takes a packet that is addressed to this endpoint, or an ICMP error about one that it sent. Nothing is sent before
    /// [`poll_transmit`](Self::poll_transmit).
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
        let (data, start) = (&packet.data()[..headers.total_len()], headers.l4());
        let Some(tcp) = Tcp::new_checked(&data[start..]) else {
            return TcpVerdict::Dropped(TcpDrop::NotTcp);
        };
        let segment = Segment { data, start, tcp, tuple };
        match self.table.get(&tuple) {
            Some(&Entry::Connection(index)) => self.on_connection(index as usize, &segment),
            Some(&Entry::TimeWait(place)) => self.on_time_wait(place, &segment, tag),
            None => self.on_nothing(&segment, tag, None),
        }
    }

    pub(super) fn on_connection(&mut self, index: usize, segment: &Segment<'_>) -> TcpVerdict {
        match edge::examine(&self.connections[index], &segment.tcp) {
            Edge::Drop(reason) => return TcpVerdict::Dropped(reason),
            Edge::Challenge => {
                return self.challenge(&segment.tuple, self.connections[index].numbers(), None);
            }
            Edge::Pass => {}
        }
        let connection = &self.connections[index];
        if repeats_before_fin(connection, &segment.tcp) {
            return TcpVerdict::Taken;
        }
        let (state, send_queue) = (connection.state(), connection.send_queue());
        if rescue::is_unheard(connection, &segment.tcp) {
            self.tell(index, segment.tcp.ack(), segment.tcp.window());
        }
        self.deliver(index, segment);
        let connection = &mut self.connections[index];
        if connection.fin_pending && connection.send_queue() == 0 {
            connection.close_sending();
        }
        self.delivered(index, segment, state, send_queue);
        TcpVerdict::Taken
    }

    fn on_time_wait(&mut self, place: u32, segment: &Segment<'_>, tag: u32) -> TcpVerdict {
        let now = self.now;
        let Some(record) = self.time_waits.get_mut(place) else {
            return TcpVerdict::Dropped(TcpDrop::TimeWait);
        };
        match record.examine(now, &segment.tcp, None) {
            Meaning::Ignore if segment.tcp.flags().contains(TcpFlags::RST) => {
                TcpVerdict::Dropped(TcpDrop::ResetOfNothing)
            }
            Meaning::Ignore => TcpVerdict::Dropped(TcpDrop::TimeWait),
            Meaning::Answer => {
                let (numbers, stamp) = (record.numbers(), record.stamp(now));
                self.challenge(&segment.tuple, numbers, stamp)
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

    /// A segment for no connection. `last` is our last sequence number on the tuple, if one is known.
    fn on_nothing(&mut self, segment: &Segment<'_>, tag: u32, last: Option<u32>) -> TcpVerdict {
        let flags = segment.tcp.flags();
        if flags.contains(TcpFlags::RST) {
            return TcpVerdict::Dropped(TcpDrop::ResetOfNothing);
        }
        if !is_possible(&segment.tuple) {
            return TcpVerdict::Dropped(TcpDrop::Address);
        }
        if !flags.is_initial_syn() {
            // SYN cookies, hook 1 of 2: it may end a handshake of which nothing was remembered.
            if let Some(verdict) = self.redeem_cookie(segment, tag) {
                return verdict;
            }
            self.reset(&segment.tuple, Bare::reset_for(&segment.tcp));
            return TcpVerdict::Reset;
        }
        if let Some(reason) = self.syn_limit() {
            // SYN cookies, hook 2 of 2. A tuple in TIME-WAIT needs a number of its own.
            if reason == TcpDrop::HalfOpenLimit && last.is_none() && self.offer_cookie(segment) {
                return TcpVerdict::Cookie;
            }
            self.stats.syns_dropped += 1;
            return TcpVerdict::Dropped(reason);
        }
        self.open(segment, tag, last)
    }

    /// Begins a connection with a peer's SYN.
    fn open(&mut self, segment: &Segment<'_>, tag: u32, last: Option<u32>) -> TcpVerdict {
        let (now, tuple) = (self.now, segment.tuple);
        let mut isn = self.secret.isn(now, &tuple);
        if let Some(last) = last.filter(|&last| !before(last, isn)) {
            // RFC 6191 section 2: a number larger than any that the previous connection used. Its
            // segments may have outrun the timer.
            isn = last.wrapping_add(1 << 16);
        }
        match self.begin(segment, tag, isn) {
            Ok(_) => TcpVerdict::Opened,
            Err(reason) => TcpVerdict::Dropped(reason),
        }
    }

    /// Begins a connection with a peer's SYN and our number `isn`; gives its place.
    pub(super) fn begin(
        &mut self,
        syn: &Segment<'_>,
        tag: u32,
        isn: u32,
    ) -> Result<usize, TcpDrop> {
        let tuple = syn.tuple;
        let mut connection = Connection::new(&self.config, self.now, tuple, isn, &mut self.scratch);
        connection.tag = tag;
        if !connection.listen() {
            return Err(TcpDrop::Address);
        }
        // Whatever the table says of the tuple is replaced, but only once smoltcp has taken the SYN.
        let previous = self.table.get(&tuple).copied();
        let index = self.insert(connection);
        self.deliver(index, syn);
        if self.connections[index].state() != State::SynReceived {
            self.remove(index);
            if let Some(previous) = previous {
                self.table.insert(tuple, previous);
            }
            return Err(TcpDrop::Options);
        }
        self.connections[index].half_open = true;
        self.stats.half_open += 1;
        self.stats.opened += 1;
        self.mark_dirty(index);
        Ok(index)
    }

    /// Hands a segment to the connection's socket.
    fn deliver(&mut self, index: usize, segment: &Segment<'_>) {
        let connection = &mut self.connections[index];
        let (tcp, flags) = (&segment.tcp, segment.tcp.flags());
        let syn = flags.contains(TcpFlags::SYN);
        let family = segment.tuple.dst.family();
        if syn && connection.expects(tcp) {
            let options = mss::read(tcp);
            connection.sequence.peer_syn(tcp.seq(), options);
            connection.mss = mss::effective(options.mss, self.config.mtu, family);
        }
        let overtaken = !syn && is_overtaken(connection, tcp);
        let crossing = flags.contains(TcpFlags::FIN) && crosses_window(connection, tcp);
        let mut data = segment.data;
        if syn || overtaken || crossing {
            self.rewritten.clear();
            self.rewritten.extend_from_slice(data);
            let header = &mut self.rewritten[segment.start..];
            if syn {
                mss::rewrite(header, mss::of_socket(family));
            }
            if overtaken {
                // smoltcp ignores a segment whole, data included, if its acknowledgment is older than
                // one that overtook it. Give it the latest one, as it adds nothing.
                let sequence = &connection.sequence;
                header[tcp_field::ACK].copy_from_slice(&sequence.snd_una.to_be_bytes());
                header[tcp_field::WINDOW].copy_from_slice(&sequence.peer_window.to_be_bytes());
            }
            if crossing {
                // smoltcp cuts off what lies beyond the window and believes the FIN behind it all the
                // same: the stream would end early, and look whole. The peer sends both again.
                header[tcp_field::FLAGS] &= !TcpFlags::FIN.0;
            }
            data = &self.rewritten;
        }
        if flags.contains(TcpFlags::ACK) {
            connection.sequence.received_ack(tcp.ack(), tcp.window());
        }
        if connection.receive(self.now, data, &mut self.scratch) {
            let reply = Reply::from_socket(&segment.tuple, &self.scratch);
            self.stats.resets_sent += u64::from(reply.is_some_and(|reply| reply.resets()));
            self.push_reply(reply);
        }
    }

    /// Draws the consequences of a segment; `state` and `send_queue` are those before it.
    fn delivered(&mut self, index: usize, segment: &Segment<'_>, state: State, send_queue: usize) {
        let now = self.now;
        let connection = &mut self.connections[index];
        let changed = connection.state() != state;
        match connection.state() {
            State::Closed | State::Listen => {
                let outcome = match state {
                    State::SynSent => Outcome::Refused,
                    _ if segment.tcp.flags().contains(TcpFlags::RST) => Outcome::Reset,
                    _ => Outcome::Finished,
                };
                return self.finish(index, outcome);
            }
            _ if connection.owner == Owner::Nobody && connection.recv_queue() > 0 => {
                // RFC 2525 section 2.17: nobody will ever read this.
                return self.abort_index(index);
            }
            State::TimeWait => return self.enter_time_wait(index),
            _ => {}
        }
        if connection.send_queue() < send_queue {
            connection.silence.broken();
        }
        let progress = connection.send_queue() < send_queue || connection.owner != Owner::Nobody;
        if changed || (progress && connection.awaits_acknowledgment()) {
            connection.waiting_since = Some(now);
        }
        if changed {
            self.state_changed(index, state);
        }
        self.schedule_egress(index, segment, changed);
    }

    fn state_changed(&mut self, index: usize, before: State) {
        let connection = &mut self.connections[index];
        match before {
            State::SynReceived if connection.half_open => {
                connection.half_open = false;
                self.stats.half_open -= 1;
                self.stats.accepted += 1;
                let id = connection.id;
                self.push_accepted(id);
            }
            State::SynSent | State::SynReceived if connection.state() != State::SynReceived => {
                self.stats.connected += 1;
            }
            _ => {}
        }
    }

    /// Decides whether the connection has something to send now, later, or not.
    fn schedule_egress(&mut self, index: usize, segment: &Segment<'_>, changed: bool) {
        let now = self.now;
        let connection = &mut self.connections[index];
        let unacknowledged = connection.sequence.unacknowledged(connection.rcv_nxt());
        let fin = segment.tcp.flags().contains(TcpFlags::FIN);
        // RFC 9293 section 3.8.6.3: "an ACK SHOULD be generated for at least every second full-sized
        // segment". Like Linux, we do not wait for the second.
        let stream = unacknowledged >= u32::from(connection.mss);
        if changed || fin || stream || connection.send_queue() > 0 {
            self.mark_dirty(index);
        } else if unacknowledged > 0 && connection.ack_due.is_none() {
            connection.ack_due = Some(now + ACK_DELAY);
            self.arm(index);
        }
    }

    pub(super) fn syn_limit(&self) -> Option<TcpDrop> {
        if self.connections.len() >= self.config.max_connections {
            Some(TcpDrop::ConnectionLimit)
        } else if self.stats.half_open >= self.config.max_half_open {
            Some(TcpDrop::HalfOpenLimit)
        } else {
            None
        }
    }

    /// Answers with the sequence numbers that we hold (RFC 5961 sections 3.2, 4.2 and 5.2), and with a
    /// timestamp where there are any.
    fn challenge(
        &mut self,
        tuple: &Tuple,
        (seq, ack, window): (u32, u32, u16),
        stamp: Option<Stamp>,
    ) -> TcpVerdict {
        if !self.challenges.take(self.now) {
            return TcpVerdict::Dropped(TcpDrop::ChallengeLimit);
        }
        self.stats.challenge_acks += 1;
        let bare = Bare { seq, ack: Some(ack), window, reset: false };
        self.push_reply(Some(Reply::stamped(tuple, bare, stamp)));
        TcpVerdict::Acknowledged
    }
}

/// True for a tuple that two ends of a connection can have.
pub(super) fn is_possible(tuple: &Tuple) -> bool {
    let ports = tuple.src_port != 0 && tuple.dst_port != 0;
    let alike = tuple.src == tuple.dst && tuple.src_port == tuple.dst_port;
    ports && !alike && tuple.src.is_unicast() && tuple.dst.is_unicast()
}

/// True for a duplicate acknowledgment while all that is outstanding is our FIN.
///
/// smoltcp counts such as signs of loss, and on the third it forgets the timer that would send the FIN
/// again, to retransmit data at once; there is none, and the FIN would never be sent again. It tells
/// nothing else, not even by its window, which a FIN does not need; so the timer does its work.
fn repeats_before_fin(connection: &Connection, tcp: &Tcp<&[u8]>) -> bool {
    let kind = tcp.flags() & (TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST | TcpFlags::ACK);
    matches!(connection.state(), State::FinWait1 | State::Closing | State::LastAck)
        && connection.send_queue() == 0
        && kind == TcpFlags::ACK
        && tcp.payload().is_empty()
        && tcp.ack() == connection.sequence.snd_una
}

/// True if a segment carries data beyond the window that the peer was told of.
fn crosses_window(connection: &Connection, tcp: &Tcp<&[u8]>) -> bool {
    let end = tcp.seq().wrapping_add(tcp.payload().len() as u32);
    let synchronized = !matches!(connection.state(), State::Listen | State::SynSent);
    synchronized && before(connection.sequence.edge(), end)
}

/// True for a data segment whose acknowledgment is older than the latest, by no more than what can
/// have been in flight (RFC 5961 section 5.2).
fn is_overtaken(connection: &Connection, tcp: &Tcp<&[u8]>) -> bool {
    let una = connection.sequence.snd_una;
    let in_flight = connection.socket().map_or(0, |socket| socket.send_capacity() as u32);
    let synchronized = !matches!(connection.state(), State::SynSent | State::SynReceived);
    synchronized
        && tcp.flags().contains(TcpFlags::ACK)
        && tcp.sequence_len() > 0
        && before(tcp.ack(), una)
        && una.wrapping_sub(tcp.ack()) <= in_flight
}
