//! One connection: a smoltcp socket in an interface of its own, and what smoltcp does not keep.

use std::task::Waker;

use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet, SocketStorage};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer, State};
use smoltcp::wire::{HardwareAddress, IpAddress, IpEndpoint};

use super::acceptance::AckBounds;
use super::limits::{EndpointConfig, FIN_WAIT_2_TIMEOUT, HALF_OPEN_TIMEOUT, USER_TIMEOUT};
use super::rescue::Silence;
use super::sequence::{Sequence, before};
use super::timers::Armed;
use super::wire::{self, Link};
use super::{clock, isn, mss};
use crate::packet::Packet;
use crate::time::Instant;
use crate::wire::fields::tcp_field;
use crate::wire::{Tcp, TcpFlags, Tuple};

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
    /// It counts as half-open.
    pub(super) half_open: bool,
    pub(super) armed: Armed,
    /// The application is done writing, and the socket will hear of it when all has been acknowledged.
    pub(super) fin_pending: bool,
    /// When an acknowledgment is sent if nothing takes it along before.
    pub(super) ack_due: Option<Instant>,
    /// Since when the peer has owed us something; nothing means since the next drain.
    pub(super) waiting_since: Option<Instant>,
    pub(super) sequence: Sequence,
    pub(super) silence: Silence,
    /// How far the application is in both streams.
    pub(super) position: Position,
    /// Payload bytes of the longest segment to send.
    pub(super) mss: u16,
    socket: Option<OneSocket>,
}

impl Connection {
    pub(super) fn new(
        config: &EndpointConfig,
        now: Instant,
        tuple: Tuple,
        isn: u32,
        scratch: &mut Packet,
    ) -> Self {
        Self {
            id: ConnectionId { index: 0, generation: 0 },
            tuple,
            tag: 0,
            passive: true,
            owner: Owner::Endpoint,
            outcome: None,
            dirty: false,
            half_open: false,
            fin_pending: false,
            armed: Armed::NONE,
            ack_due: None,
            waiting_since: Some(now),
            sequence: Sequence::default(),
            silence: Silence::default(),
            position: Position::default(),
            mss: mss::effective(None, config.mtu, tuple.dst.family()),
            socket: Some(OneSocket::new(config, now, isn, scratch)),
        }
    }

    /// Waits for the SYN of the tuple; false if smoltcp will not.
    pub(super) fn listen(&mut self) -> bool {
        let local = endpoint(&self.tuple, false);
        self.socket_mut().is_some_and(|socket| socket.listen(local).is_ok())
    }

    /// Begins with a SYN; false if smoltcp will not.
    pub(super) fn connect(&mut self) -> bool {
        let (remote, local) = (endpoint(&self.tuple, true), endpoint(&self.tuple, false));
        self.passive = false;
        let Some(one) = &mut self.socket else { return false };
        let socket = one.sockets.get_mut::<Socket<'_>>(one.handle);
        socket.connect(one.interface.context(), remote, local).is_ok()
    }

    pub(super) fn state(&self) -> State {
        self.socket().map_or(State::Closed, Socket::state)
    }

    pub(super) fn socket(&self) -> Option<&Socket<'static>> {
        self.socket.as_ref().map(|one| one.sockets.get(one.handle))
    }

    pub(super) fn socket_mut(&mut self) -> Option<&mut Socket<'static>> {
        self.socket.as_mut().map(|one| one.sockets.get_mut(one.handle))
    }

    /// Bytes received and not read.
    pub(super) fn recv_queue(&self) -> usize {
        self.socket().map_or(0, Socket::recv_queue)
    }

    /// Bytes written and not acknowledged.
    pub(super) fn send_queue(&self) -> usize {
        self.socket().map_or(0, Socket::send_queue)
    }

    /// The next sequence number that we expect.
    pub(super) fn rcv_nxt(&self) -> u32 {
        self.sequence.rcv_nxt(self.state(), self.recv_queue())
    }

    /// True for a SYN that tells the peer's sequence numbers and options: the first, or the answer to
    /// ours.
    pub(super) fn expects(&self, syn: &Tcp<&[u8]>) -> bool {
        match self.state() {
            State::Listen => true,
            State::SynSent => {
                !syn.flags().contains(TcpFlags::ACK) || syn.ack() == self.sequence.snd_nxt
            }
            _ => false,
        }
    }

    /// Hands a packet to the socket; true if it wrote an answer into `reply`.
    pub(super) fn receive(&mut self, now: Instant, data: &[u8], reply: &mut Packet) -> bool {
        let Some(one) = &mut self.socket else { return false };
        let mut link = Link::new(Some(data), reply);
        one.interface.poll_ingress_single(clock::to_socket(now), &mut link, &mut one.sockets);
        let emitted = link.emitted;
        if emitted {
            self.sent(reply);
        }
        emitted
    }

    /// Writes the next segment that the socket wants to send, ready to leave; false if there is none.
    pub(super) fn transmit(&mut self, now: Instant, packet: &mut Packet) -> bool {
        // A dead one that is kept to be read would say RST.
        let Some(one) = self.socket.as_mut().filter(|_| self.outcome.is_none()) else {
            return false;
        };
        let mut link = Link::new(None, packet);
        let result = one.interface.poll_egress(clock::to_socket(now), &mut link, &mut one.sockets);
        if result == PollResult::None || !link.emitted {
            self.ack_due = None;
            return false;
        }
        self.sent(packet);
        wire::offload(packet, self.tuple.dst, self.tuple.src, self.mss);
        true
    }

    /// Notes and corrects what smoltcp wrote.
    fn sent(&mut self, packet: &mut Packet) {
        let family = self.tuple.dst.family();
        let mtu = self.socket.as_ref().map_or(mss::SOCKET_MTU, |one| one.mtu);
        let Some(start) = wire::tcp_offset(packet.data()) else { return };
        let segment = &mut packet.data_mut()[start..];
        let Some(tcp) = Tcp::new_checked(&*segment) else { return };
        let syn = tcp.flags().contains(TcpFlags::SYN);
        if tcp.flags().contains(TcpFlags::RST) {
            return;
        }
        if !syn {
            let window = self.sequence.lasting_window(tcp.window());
            segment[tcp_field::WINDOW].copy_from_slice(&window.to_be_bytes());
        }
        let Some(tcp) = Tcp::new_checked(&*segment) else { return };
        // After a timeout smoltcp sends from the oldest byte on, and acknowledges from there too. A
        // segment so old is ignored whole, with its acknowledgment, by a peer like smoltcp: two such
        // peers would never hear each other again. RFC 9293 section 3.10.7.4: <SEQ=SND.NXT>.
        let rewound = tcp.sequence_len() == 0 && before(tcp.seq(), self.sequence.snd_nxt);
        self.sequence.sent(&tcp, if syn { mss::read(&tcp) } else { mss::SynOptions::default() });
        if syn {
            mss::rewrite(segment, mss::of_mtu(mtu, family));
        } else if rewound {
            segment[tcp_field::SEQ].copy_from_slice(&self.sequence.snd_nxt.to_be_bytes());
        }
    }

    /// The first instant at which something must be done, [`Instant::FAR_FUTURE`] if nothing.
    pub(super) fn deadline(&mut self, now: Instant, config: &EndpointConfig) -> Instant {
        let give_up = self.give_up_at(config);
        // While an acknowledgment waits, smoltcp would say "now".
        let next = self.ack_due.or_else(|| self.poll_at(now));
        let silent = next.is_none() && self.outcome.is_none() && self.send_queue() > 0;
        let spoken_to = self.silence.deadline(now, silent);
        next.or(spoken_to).map_or(give_up, |next| next.min(give_up))
    }

    /// True if the socket, or a waiting acknowledgment, wants to be polled for egress.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        self.ack_due.or_else(|| self.poll_at(now)).is_some_and(|at| at <= now)
    }

    fn poll_at(&mut self, now: Instant) -> Option<Instant> {
        let one = self.socket.as_mut().filter(|_| self.outcome.is_none())?;
        let at = one.interface.poll_at(clock::to_socket(now), &one.sockets)?;
        Some(clock::from_socket(at))
    }

    /// When the connection is given up if nothing happens (see the table in the theory of operation).
    pub(super) fn give_up_at(&self, config: &EndpointConfig) -> Instant {
        let (Some(since), None) = (self.waiting_since, self.outcome) else {
            return Instant::FAR_FUTURE;
        };
        let patience = match self.state() {
            State::SynSent => config.connect_timeout,
            State::SynReceived => HALF_OPEN_TIMEOUT,
            State::FinWait2 if self.owner == Owner::Nobody => FIN_WAIT_2_TIMEOUT,
            _ if self.awaits_acknowledgment() => USER_TIMEOUT,
            _ => return Instant::FAR_FUTURE,
        };
        since + patience
    }

    /// True if something that takes sequence space has been handed to the socket and is not
    /// acknowledged.
    pub(super) fn awaits_acknowledgment(&self) -> bool {
        let fin = matches!(self.state(), State::FinWait1 | State::Closing | State::LastAck);
        fin || self.send_queue() > 0
    }

    /// Sends a FIN behind what has been written.
    ///
    /// In CLOSE-WAIT only once that has been acknowledged: in LAST-ACK smoltcp answers every
    /// acknowledgment that acknowledges nothing with a challenge and looks no further, so it would
    /// never learn that the peer's window has opened again.
    pub(super) fn close_sending(&mut self) {
        self.fin_pending = self.state() == State::CloseWait && self.send_queue() > 0;
        if !self.fin_pending
            && let Some(socket) = self.socket_mut()
        {
            socket.close();
        }
    }

    /// True if the application has read so much that the peer should hear of it.
    pub(super) fn window_reopened(&self) -> bool {
        let Some(socket) = self.socket() else { return false };
        let free = socket.recv_capacity() - socket.recv_queue();
        self.sequence.worth_an_update(self.rcv_nxt(), free)
    }

    /// Which acknowledgments the peer can have sent. What was ever in flight is no more than the send
    /// buffer holds, nor than what has been acknowledged.
    pub(super) fn ack_bounds(&self) -> AckBounds {
        let Sequence { snd_una: una, snd_nxt: nxt, .. } = self.sequence;
        let in_flight = self.socket().map_or(0, Socket::send_capacity) as u64;
        // The SYN, and all that was written but what is still queued.
        let acknowledged = 1 + self.position.written - self.send_queue() as u64;
        AckBounds { una, nxt, max_window: in_flight.min(acknowledged) as u32 }
    }

    /// Sequence numbers and window for a segment of our own making.
    pub(super) fn numbers(&self) -> (u32, u32, u16) {
        let rcv_nxt = self.rcv_nxt();
        (self.sequence.snd_nxt, rcv_nxt, self.sequence.window_field(rcv_nxt))
    }

    /// Ends the connection. Received bytes can still be read; who waits is woken.
    pub(super) fn end(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
        self.ack_due = None;
        if let Some(socket) = self.socket_mut() {
            socket.abort();
        }
        self.release_buffers();
    }

    /// Frees a dead connection's socket once everything received has been read.
    pub(super) fn release_buffers(&mut self) {
        if self.outcome.is_some() && self.recv_queue() == 0 {
            self.socket = None;
        }
    }

    /// Wakes `waker` when what reading would give may have changed; now, if it cannot change any more.
    pub(super) fn wake_on_read(&mut self, waker: &Waker) {
        match self.socket_mut() {
            Some(socket) => socket.register_recv_waker(waker),
            None => waker.wake_by_ref(),
        }
    }

    /// Wakes `waker` when what writing would give may have changed; now, if it cannot change any more.
    pub(super) fn wake_on_write(&mut self, waker: &Waker) {
        match self.socket_mut() {
            Some(socket) => socket.register_send_waker(waker),
            None => waker.wake_by_ref(),
        }
    }
}

/// A smoltcp socket, alone.
struct OneSocket {
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    /// MTU of the path, for the MSS that the peer is told.
    mtu: u16,
}

impl OneSocket {
    fn new(config: &EndpointConfig, now: Instant, isn: u32, scratch: &mut Packet) -> Self {
        let mut socket = Socket::new(
            SocketBuffer::new(vec![0; config.receive_buffer]),
            SocketBuffer::new(vec![0; config.send_buffer]),
        );
        socket.set_nagle_enabled(false);
        // Delaying is done by not polling; see the theory of operation.
        socket.set_ack_delay(None);
        socket.set_congestion_control(CongestionControl::Cubic);

        let mut interface_config = Config::new(HardwareAddress::Ip);
        interface_config.random_seed = isn::interface_seed(isn);
        let mut link = Link::new(None, scratch);
        let mut interface = Interface::new(interface_config, &mut link, clock::to_socket(now));
        interface.set_any_ip(true);
        let mut sockets = SocketSet::new(vec![SocketStorage::EMPTY]);
        let handle = sockets.add(socket);
        Self { interface, sockets, handle, mtu: config.mtu }
    }
}

fn endpoint(tuple: &Tuple, remote: bool) -> IpEndpoint {
    let addr = if remote { tuple.source() } else { tuple.destination() };
    IpEndpoint::new(IpAddress::from(addr.ip()), addr.port())
}
