//! One connection: its state machine, its streams, and who holds it.

use std::task::Waker;
use std::time::Duration;

use smoltcp::socket::tcp::State;

use super::acceptance::touches_window;
use super::buffer::Pool;
use super::congestion::Algorithm;
use super::control::{Control, Emitted};
use super::header::{self, Header};
use super::info::Vitals;
use super::keepalive::KeepaliveConfig;
use super::limits::{EndpointConfig, FIN_WAIT_2_TIMEOUT, HALF_OPEN_TIMEOUT, USER_TIMEOUT};
use super::mss;
use super::streams::Streams;
use super::syn::options::SynOptions;
use super::timers::Armed;
use super::timestamps::{Clock, Stamp};
use crate::packet::Packet;
use crate::time::Instant;
use crate::wire::{Family, Tcp, TcpFlags, Tuple};

/// Names a connection of an [`Endpoint`](super::Endpoint). Never names another one later (not before
/// 2^32 connections have been made).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// How far the application of a connection is in its two streams, in bytes from their beginnings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// What it has read.
    pub read: u64,
    /// What it has written, acknowledged or not.
    pub written: u64,
}

/// Who holds a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Nobody yet: it is half-open, or waits to be accepted.
    Endpoint,
    /// The application, which will close it.
    Application,
    /// Nobody any more: it ends by itself.
    Nobody,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Both sides have sent their FIN.
    Finished,
    /// The peer sent a RST.
    Reset,
    /// The peer answered our SYN with a RST.
    Refused,
    /// A timer of ours gave up.
    TimedOut,
}

/// What a timer of a connection brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timeout {
    Nothing,
    /// There may be something to send.
    Egress,
    /// The peer has not answered for too long.
    Expired,
}

/// What is known of how a connection's SYNs are to read, and its streams to be, before there are streams.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handshake {
    /// What our SYN offers.
    pub(super) ours: SynOptions,
    /// What the peer's SYN said, once it has come.
    pub(super) peer: Option<SynOptions>,
    /// The window of the peer's SYN, in bytes.
    pub(super) peer_window: u16,
    pub(super) clock: Clock,
    /// The window of our SYN, which is never scaled.
    pub(super) window: u16,
    /// When our SYN left first, and how often it has left.
    pub(super) sent_at: Option<Instant>,
    pub(super) sent: u32,
    pub(super) congestion: Algorithm,
    pub(super) keepalive: Option<KeepaliveConfig>,
}

pub(super) struct Connection {
    pub(super) id: ConnectionId,
    /// The tuple as incoming packets name it: the peer is its source.
    pub(super) tuple: Tuple,
    pub(super) tag: u32,
    /// The peer began.
    pub(super) passive: bool,
    pub(super) owner: Owner,
    /// Set once the connection has left the endpoint's table.
    pub(super) outcome: Option<Outcome>,
    /// It is in the list of connections to be polled for egress.
    pub(super) dirty: bool,
    /// It is in the list of those whose writers wait for memory.
    pub(super) starving: bool,
    /// It counts as half-open.
    pub(super) half_open: bool,
    pub(super) armed: Armed,
    /// Since when the peer has owed us a SYN or a FIN; nothing means since the next drain.
    pub(super) waiting_since: Option<Instant>,
    /// How far the application is in both streams.
    pub(super) position: Position,
    /// As far as the streams do not know it, and all of it once they are gone.
    pub(super) vitals: Vitals,
    pub(super) control: Control,
    pub(super) handshake: Handshake,
    /// From the handshake on.
    pub(super) streams: Option<Streams>,
    wakers: Wakers,
}

/// Who waits for the connection: one to read, one to write.
#[derive(Debug, Default)]
struct Wakers {
    read: Option<Waker>,
    write: Option<Waker>,
}

impl Connection {
    pub(super) fn new(
        config: &EndpointConfig,
        now: Instant,
        tuple: Tuple,
        isn: u32,
        clock: Clock,
    ) -> Self {
        Self {
            id: ConnectionId { index: 0, generation: 0 },
            tuple,
            tag: 0,
            passive: true,
            owner: Owner::Endpoint,
            outcome: None,
            dirty: false,
            starving: false,
            half_open: false,
            armed: Armed::NONE,
            waiting_since: Some(now),
            position: Position::default(),
            vitals: Vitals::default(),
            control: Control::new(now, tuple, isn),
            handshake: Handshake::new(config, &tuple, clock),
            streams: None,
            wakers: Wakers::default(),
        }
    }

    pub(super) fn state(&self) -> State {
        self.control.state()
    }

    /// True from the moment on in which both SYNs have been acknowledged.
    pub(super) const fn is_synchronized(&self) -> bool {
        self.streams.is_some()
    }

    /// Bytes received and not read.
    pub(super) fn recv_queue(&self) -> usize {
        self.streams.as_ref().map_or(0, Streams::readable)
    }

    /// Bytes written and not acknowledged.
    pub(super) fn send_queue(&self) -> usize {
        self.streams.as_ref().map_or(0, Streams::unacknowledged)
    }

    /// The next sequence number that we expect.
    pub(super) fn rcv_nxt(&self) -> u32 {
        let first = self.control.initial.irs.wrapping_add(1);
        self.streams.as_ref().map_or(first, Streams::rcv_nxt)
    }

    /// Bytes that the peer may still send by what we last advertised.
    pub(super) fn receive_window(&self) -> u32 {
        let told = u32::from(self.handshake.window);
        self.streams.as_ref().map_or(told, Streams::receive_window)
    }

    /// The sequence numbers of ours that the peer may acknowledge: from the oldest that it has not to
    /// the next that we send.
    pub(super) fn outstanding(&self) -> (u32, u32) {
        let isn = self.control.initial.isn;
        let first = (isn, isn.wrapping_add(1));
        self.streams.as_ref().map_or(first, Streams::outstanding)
    }

    /// True for a segment that may touch the window (RFC 9293 section 3.10.7.4).
    pub(super) fn is_acceptable(&self, tcp: &Tcp<&[u8]>) -> bool {
        touches_window(tcp.seq(), tcp.sequence_len(), self.rcv_nxt(), self.receive_window())
    }

    /// Sequence numbers and window for a segment of our own making.
    pub(super) fn numbers(&self) -> (u32, u32, u16) {
        let window = self.streams.as_ref().map_or(self.handshake.window, Streams::window_field);
        (self.outstanding().1, self.rcv_nxt(), window)
    }

    /// Takes note that the handshake is complete: there are streams from here on.
    pub(super) fn establish(&mut self, config: &EndpointConfig, now: Instant, seed: u64) {
        if let Some(peer) = self.handshake.peer {
            self.vitals.handshake_rtt = self.handshake.rtt(now);
            let streams = Streams::new(
                config,
                now,
                &self.tuple,
                self.control.initial,
                &self.handshake,
                peer,
                seed,
            );
            self.streams = Some(streams);
            self.wake();
        }
    }

    /// Writes the next segment that is to leave; false if there is none.
    pub(super) fn transmit(&mut self, now: Instant, packet: &mut Packet) -> bool {
        // A dead one that is kept to be read has nothing to say.
        if self.outcome.is_some() {
            return false;
        }
        let sent = match &mut self.streams {
            Some(streams) => streams.transmit(now, &self.tuple, packet),
            None => self.transmit_syn(now, packet),
        };
        if sent {
            let count = segments(packet);
            self.vitals.segments_sent = self.vitals.segments_sent.wrapping_add(count);
        }
        sent
    }

    fn transmit_syn(&mut self, now: Instant, packet: &mut Packet) -> bool {
        let Some(emitted) = self.control.poll(now) else { return false };
        let (handshake, initial) = (&mut self.handshake, self.control.initial);
        let (flags, options) = match (emitted, handshake.peer) {
            (Emitted::Syn, _) => (TcpFlags::SYN, handshake.ours_at(now)),
            (Emitted::SynAck, Some(peer)) => {
                (TcpFlags::SYN | TcpFlags::ACK, peer.answer(&handshake.ours_at(now)))
            }
            _ => return false,
        };
        handshake.sent_at.get_or_insert(now);
        handshake.sent += 1;
        let ack = initial.irs.wrapping_add(1);
        let header = Header { seq: initial.isn, ack, flags, window: handshake.window };
        header::begin(packet, &self.tuple, &header, options.write().bytes(), 0, u16::MAX);
        true
    }

    /// The first instant at which something must be done, [`Instant::FAR_FUTURE`] if nothing.
    pub(super) fn deadline(&mut self, now: Instant, config: &EndpointConfig) -> Instant {
        if self.outcome.is_some() {
            return Instant::FAR_FUTURE;
        }
        let next = match &self.streams {
            Some(streams) => streams.deadline(),
            None => self.control.poll_at(now),
        };
        next.unwrap_or(Instant::FAR_FUTURE).min(self.give_up_at(config))
    }

    /// Lets time pass.
    pub(super) fn on_timeout(&mut self, now: Instant, config: &EndpointConfig) -> Timeout {
        if self.outcome.is_some() {
            return Timeout::Nothing;
        }
        if self.give_up_at(config) <= now {
            return Timeout::Expired;
        }
        match &mut self.streams {
            Some(streams) => streams.on_timeout(now),
            None if self.control.poll_at(now).is_some_and(|at| at <= now) => Timeout::Egress,
            None => Timeout::Nothing,
        }
    }

    /// When the connection is given up if nothing happens (see the table in the theory of operation).
    pub(super) fn give_up_at(&self, config: &EndpointConfig) -> Instant {
        let (Some(since), None) = (self.waiting_since, self.outcome) else {
            return Instant::FAR_FUTURE;
        };
        let patience: Duration = match self.state() {
            State::SynSent => config.connect_timeout,
            State::SynReceived => HALF_OPEN_TIMEOUT,
            State::FinWait2 if self.owner == Owner::Nobody => FIN_WAIT_2_TIMEOUT,
            // A peer that answers without taking anything is waited for by who holds the connection.
            _ if self.owner == Owner::Nobody => USER_TIMEOUT,
            _ => return Instant::FAR_FUTURE,
        };
        since + patience
    }

    /// Sends a FIN behind what has been written.
    pub(super) fn close_sending(&mut self, now: Instant) {
        self.control.close(now);
        if let Some(streams) = &mut self.streams {
            streams.sender.close(now);
        }
    }

    /// Ends the connection. Received bytes can still be read; who waits is woken.
    pub(super) fn end(&mut self, outcome: Outcome, pool: &mut Pool) {
        self.outcome = Some(outcome);
        if let Some(streams) = &mut self.streams {
            streams.sender.clear(pool);
        }
        self.release(pool);
        self.wake();
    }

    /// Frees a dead connection's streams once everything received has been read.
    pub(super) fn release(&mut self, pool: &mut Pool) {
        if self.outcome.is_some() && self.recv_queue() == 0 {
            self.clear(pool);
        }
    }

    /// Gives everything back to the pool.
    pub(super) fn clear(&mut self, pool: &mut Pool) {
        if let Some(mut streams) = self.streams.take() {
            self.vitals = self.vitals.with(&streams);
            streams.clear(pool);
        }
    }

    /// Wakes `waker` when what reading would give may have changed; now, if it cannot change any more.
    pub(super) fn wake_on_read(&mut self, waker: &Waker) {
        register(&mut self.wakers.read, waker, self.outcome.is_some());
    }

    /// Wakes `waker` when what writing would give may have changed; now, if it cannot change any more.
    pub(super) fn wake_on_write(&mut self, waker: &Waker) {
        register(&mut self.wakers.write, waker, self.outcome.is_some());
    }

    pub(super) fn wake_reader(&mut self) {
        self.wakers.read.take().into_iter().for_each(Waker::wake);
    }

    pub(super) fn wake_writer(&mut self) {
        self.wakers.write.take().into_iter().for_each(Waker::wake);
    }

    /// Wakes both: the state has changed.
    pub(super) fn wake(&mut self) {
        self.wake_reader();
        self.wake_writer();
    }
}

fn register(place: &mut Option<Waker>, waker: &Waker, over: bool) {
    if over {
        waker.wake_by_ref();
    } else if !place.as_ref().is_some_and(|known| known.will_wake(waker)) {
        *place = Some(waker.clone());
    }
}

/// The segments that a packet is on the wire.
pub(super) fn segments(packet: &Packet) -> u32 {
    let Some(gso) = packet.offload.gso else { return 1 };
    let payload = packet.len().saturating_sub(usize::from(gso.header_len));
    payload.div_ceil(usize::from(gso.size.max(1))).max(1) as u32
}

/// What our SYNs offer.
pub(super) fn own_options(config: &EndpointConfig, family: Family) -> SynOptions {
    SynOptions {
        mss: Some(mss::of_mtu(config.mtu, family)),
        window_scale: Some(config.window_scale()),
        sack_permitted: true,
        stamp: config.timestamps.then(Stamp::default),
    }
}

impl Handshake {
    fn new(config: &EndpointConfig, tuple: &Tuple, clock: Clock) -> Self {
        let ours = own_options(config, tuple.dst.family());
        let window = config.syn_window();
        Self {
            ours,
            peer: None,
            peer_window: 0,
            window,
            clock,
            sent_at: None,
            sent: 0,
            congestion: config.congestion,
            keepalive: config.keepalive,
        }
    }

    /// The round trip of our SYN whose acknowledgment has come now. Karn: one that was repeated tells
    /// none.
    pub(super) fn rtt(&self, now: Instant) -> Option<Duration> {
        let sent_at = self.sent_at.filter(|_| self.sent == 1)?;
        Some(now.saturating_since(sent_at))
    }

    /// What our SYN says now.
    fn ours_at(&self, now: Instant) -> SynOptions {
        let stamp = self.ours.stamp.map(|_| Stamp { value: self.clock.at(now), echo: 0 });
        SynOptions { stamp, ..self.ours }
    }
}
