//! How connections begin: the peer's SYN, the answer to ours, and both at once.

use smoltcp::socket::tcp::State;

use super::connection::{Connection, Outcome};
use super::endpoint::Endpoint;
use super::ingress::{Segment, TcpDrop, TcpVerdict, is_possible};
use super::reply::Reply;
use super::sequence::before;
use super::syn::options::SynOptions;
use super::timestamps::Clock;
use crate::time::Instant;
use crate::wire::{TcpFlags, Tuple};

/// What matters of a peer's SYN.
#[derive(Clone, Copy, Debug)]
pub(super) struct Syn {
    pub(super) seq: u32,
    pub(super) options: SynOptions,
    pub(super) window: u16,
}

impl Endpoint {
    /// A segment for no connection. `last` is our last sequence number on the tuple, if one is known.
    pub(super) fn on_nothing(
        &mut self,
        segment: &Segment<'_>,
        tag: u32,
        last: Option<u32>,
    ) -> TcpVerdict {
        let flags = segment.tcp.flags();
        if flags.contains(TcpFlags::RST) {
            return TcpVerdict::Dropped(TcpDrop::ResetOfNothing);
        }
        if !is_possible(&segment.tuple) {
            return TcpVerdict::Dropped(TcpDrop::Address);
        }
        if !self.listening.takes(segment.tuple.destination()) {
            self.reset(Reply::reset_for(&segment.tuple, &segment.tcp));
            return TcpVerdict::Reset;
        }
        if !flags.is_initial_syn() {
            if let Some(verdict) = self.redeem_cookie(segment, tag) {
                return verdict;
            }
            self.reset(Reply::reset_for(&segment.tuple, &segment.tcp));
            return TcpVerdict::Reset;
        }
        if let Some(reason) = self.syn_limit() {
            // A tuple in TIME-WAIT needs a number of its own.
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
        let tuple = segment.tuple;
        let mut isn = self.secret.isn(self.now, &tuple);
        if let Some(last) = last.filter(|&last| !before(last, isn)) {
            // RFC 6191 section 2: a number larger than any that the previous connection used. Its
            // segments may have outrun the timer.
            isn = last.wrapping_add(1 << 16);
        }
        match self.begin(tuple, tag, isn, Syn::read(segment)) {
            Some(_) => TcpVerdict::Opened,
            None => TcpVerdict::Dropped(TcpDrop::Address),
        }
    }

    /// Begins a connection with a peer's SYN and our number `isn`; gives its place, or nothing
    /// for addresses that the state machine will not have.
    pub(super) fn begin(&mut self, tuple: Tuple, tag: u32, isn: u32, syn: Syn) -> Option<usize> {
        let now = self.now;
        let mut connection = self.new_connection(tuple, isn);
        connection.tag = tag;
        if !connection.control.listen() {
            return None;
        }
        connection.on_syn(now, syn, None);
        if connection.state() != State::SynReceived {
            return None;
        }
        // Whatever the table says of the tuple is replaced.
        connection.half_open = true;
        let index = self.insert(connection);
        self.stats.half_open += 1;
        self.stats.opened += 1;
        self.mark_dirty(index);
        Some(index)
    }

    pub(super) fn new_connection(&self, tuple: Tuple, isn: u32) -> Connection {
        let clock = Clock::of(self.secret, &tuple);
        Connection::new(&self.config, self.now, tuple, isn, clock)
    }

    /// A segment in SYN-SENT (RFC 9293 section 3.10.7.3).
    pub(super) fn on_syn_sent(&mut self, index: usize, segment: &Segment<'_>) -> TcpVerdict {
        let (now, flags) = (self.now, segment.tcp.flags());
        let connection = &mut self.connections[index];
        let ours = flags.contains(TcpFlags::ACK).then(|| segment.tcp.ack());
        let expected = connection.outstanding().1;
        let reset = flags.contains(TcpFlags::RST);
        match ours {
            Some(ack) if ack != expected && reset => {
                return TcpVerdict::Dropped(TcpDrop::ResetOutOfWindow);
            }
            Some(ack) if ack != expected => {
                self.reset(Reply::reset_for(&segment.tuple, &segment.tcp));
                return TcpVerdict::Reset;
            }
            // Without an acknowledgment anybody could have sent it.
            None if reset => return TcpVerdict::Dropped(TcpDrop::ResetOutOfWindow),
            Some(_) if reset => {
                self.finish(index, Outcome::Refused);
                return TcpVerdict::Taken;
            }
            _ => {}
        }
        if flags.contains(TcpFlags::SYN) {
            connection.on_syn(now, Syn::read(segment), ours);
            connection.waiting_since = Some(now);
            if connection.state() == State::Established {
                self.established(index);
                self.acknowledge(index);
            }
            self.mark_dirty(index);
        }
        TcpVerdict::Taken
    }

    /// A segment in SYN-RECEIVED that is no RST (RFC 9293 section 3.10.7.4).
    pub(super) fn on_syn_received(&mut self, index: usize, segment: &Segment<'_>) -> TcpVerdict {
        let now = self.now;
        let connection = &mut self.connections[index];
        if !segment.tcp.flags().contains(TcpFlags::ACK) {
            return TcpVerdict::Taken;
        }
        let ack = segment.tcp.ack();
        if ack != connection.outstanding().1 {
            self.reset(Reply::reset_for(&segment.tuple, &segment.tcp));
            return TcpVerdict::Reset;
        }
        let syn = segment.tcp.flags().contains(TcpFlags::SYN);
        if !syn && !connection.is_acceptable(&segment.tcp) {
            return self.challenge(index);
        }
        connection.control.on_handshake_ack(now, ack);
        connection.waiting_since = Some(now);
        self.established(index);
        if syn {
            self.acknowledge(index);
            return TcpVerdict::Taken;
        }
        self.on_synchronized(index, segment)
    }

    /// Has the numbers of an established connection sent.
    pub(super) fn acknowledge(&mut self, index: usize) {
        if let Some(streams) = &mut self.connections[index].streams {
            streams.acknowledge();
            self.mark_dirty(index);
        }
    }

    /// Both SYNs have been acknowledged.
    fn established(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        let seed = self.secret.number(u64::from(connection.control.initial.isn));
        // The acknowledgment of the peer's SYN, which our streams send.
        connection.control.settle(self.now);
        connection.establish(&self.config, self.now, seed);
        if std::mem::take(&mut connection.half_open) {
            self.stats.half_open -= 1;
            self.stats.accepted += 1;
            let id = connection.id;
            self.push_accepted(id);
        } else {
            self.stats.connected += 1;
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
}

impl Syn {
    fn read(segment: &Segment<'_>) -> Self {
        let tcp = &segment.tcp;
        Self { seq: tcp.seq(), options: SynOptions::read(tcp), window: tcp.window() }
    }
}

impl Connection {
    /// Takes the peer's SYN, which acknowledges ours if it has `ack`.
    fn on_syn(&mut self, now: Instant, syn: Syn, ack: Option<u32>) {
        self.handshake.peer = Some(syn.options);
        self.handshake.peer_window = syn.window;
        self.control.on_syn(now, syn.seq, ack);
    }
}
