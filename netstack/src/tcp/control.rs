//! The state machine of a connection: a smoltcp socket that sees control segments only.
//!
//! # Theory of operation
//!
//! The socket lives in a sequence space in which no data exists. Its SYN has our initial sequence
//! number and its FIN the next one; the peer's FIN follows the peer's SYN. What carries data goes
//! around it, through [`recovery`](super::recovery) and [`receiver`](super::receiver), which tell it
//! of the three things that change a state: the peer's FIN once everything before it has arrived, the
//! acknowledgment of ours, and a RST that has been found genuine.
//!
//! Before the connection is established the socket sends SYNs and repeats them by its own timer. From
//! then on what it writes is taken as the sign of a change and thrown away: the segments that leave
//! carry the numbers of the stream, which it does not know.
//!
//! One socket lies alone in an interface of its own: smoltcp's work for a packet grows with the
//! sockets of a set, and an interface's seed is what decides the initial sequence number (`isn`).

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet, SocketStorage};
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant as SocketInstant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpEndpoint};

use super::header::{self, Header};
use super::isn;
use crate::time::Instant;
use crate::wire::{TcpFlags, Tuple};

/// The longest packet that the socket writes: IPv6, TCP, and the options of a SYN.
const MAX_PACKET: usize = 128;

/// Segments that a socket can want to write in a row: an acknowledgment, a FIN.
const MAX_WRITES: u32 = 4;

/// What the socket wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Emitted {
    Syn,
    SynAck,
    /// What the streams say in its place.
    Other,
}

/// The sequence numbers with which a connection began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Initial {
    /// Ours.
    pub(super) isn: u32,
    /// The peer's; zero until its SYN has come.
    pub(super) irs: u32,
}

pub(super) struct Control {
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    /// The tuple as incoming packets name it.
    tuple: Tuple,
    pub(super) initial: Initial,
    /// Our FIN has been acknowledged.
    fin_acked: bool,
    /// The peer's FIN has been told to the socket.
    fin_received: bool,
}

impl Control {
    pub(super) fn new(now: Instant, tuple: Tuple, isn: u32) -> Self {
        // Nothing is ever written to either.
        let mut socket = Socket::new(SocketBuffer::new(vec![]), SocketBuffer::new(vec![]));
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);

        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = isn::interface_seed(isn);
        let mut interface = Interface::new(config, &mut Wire::default(), to_socket(now));
        interface.set_any_ip(true);
        let mut sockets = SocketSet::new(vec![SocketStorage::EMPTY]);
        let handle = sockets.add(socket);
        let initial = Initial { isn, irs: 0 };
        Self { interface, sockets, handle, tuple, initial, fin_acked: false, fin_received: false }
    }

    /// Waits for the SYN of the tuple; false if smoltcp will not.
    pub(super) fn listen(&mut self) -> bool {
        let local = endpoint(&self.tuple, false);
        self.socket_mut().listen(local).is_ok()
    }

    /// Begins with a SYN; false if smoltcp will not.
    pub(super) fn connect(&mut self) -> bool {
        let (remote, local) = (endpoint(&self.tuple, true), endpoint(&self.tuple, false));
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        socket.connect(self.interface.context(), remote, local).is_ok()
    }

    pub(super) fn state(&self) -> State {
        self.sockets.get::<Socket<'_>>(self.handle).state()
    }

    /// The peer's SYN, with the acknowledgment of ours if it has one.
    pub(super) fn on_syn(&mut self, now: Instant, seq: u32, ack: Option<u32>) {
        self.initial.irs = seq;
        let flags = ack.map_or(TcpFlags::SYN, |_| TcpFlags::SYN | TcpFlags::ACK);
        self.feed(now, flags, seq, ack.unwrap_or(0));
    }

    /// A segment that acknowledges our SYN while the peer's has come.
    pub(super) fn on_handshake_ack(&mut self, now: Instant, ack: u32) {
        self.feed(now, TcpFlags::ACK, self.initial.irs.wrapping_add(1), ack);
    }

    /// The peer's FIN, behind everything that it has sent.
    pub(super) fn on_fin(&mut self, now: Instant) {
        if !self.fin_received {
            let (seq, ack) = self.expected();
            self.feed(now, TcpFlags::FIN | TcpFlags::ACK, seq, ack);
            self.fin_received = true;
            self.settle(now);
        }
    }

    /// The acknowledgment of our FIN.
    pub(super) fn on_fin_acked(&mut self, now: Instant) {
        if !self.fin_acked {
            self.fin_acked = true;
            let (seq, ack) = self.expected();
            self.feed(now, TcpFlags::ACK, seq, ack);
            self.settle(now);
        }
    }

    /// We send no more: the socket is told, and what it writes for it swallowed.
    pub(super) fn close(&mut self, now: Instant) {
        self.socket_mut().close();
        self.settle(now);
    }

    /// Has the socket write what it wants to, and throws it away: it believes the acknowledgment of a
    /// FIN only once the FIN has been written, and segments only behind what it has acknowledged.
    pub(super) fn settle(&mut self, now: Instant) {
        for _ in 0..MAX_WRITES {
            if self.poll(now).is_none() {
                return;
            }
        }
    }

    /// Writes what the socket wants to send, if anything.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Emitted> {
        let mut wire = Wire::default();
        self.interface.poll_egress(to_socket(now), &mut wire, &mut self.sockets);
        wire.emitted()
    }

    /// When the socket repeats its SYN.
    pub(super) fn poll_at(&mut self, now: Instant) -> Option<Instant> {
        let at = self.interface.poll_at(to_socket(now), &self.sockets)?;
        Some(Instant::from_micros(u64::try_from(at.total_micros()).unwrap_or(0)))
    }

    /// The numbers of the peer's next segment in the socket's sequence space.
    fn expected(&self) -> (u32, u32) {
        let seq = self.initial.irs.wrapping_add(1 + u32::from(self.fin_received));
        let ack = self.initial.isn.wrapping_add(1 + u32::from(self.fin_acked));
        (seq, ack)
    }

    fn feed(&mut self, now: Instant, flags: TcpFlags, seq: u32, ack: u32) {
        let mut bytes = [0; MAX_PACKET];
        // As if from the peer: the tuple names the peer as the source.
        let header = Header { flags, seq, ack, window: u16::MAX };
        let len = header::write(&mut bytes, &self.tuple.reversed(), &header, &[], 0);
        let mut wire = Wire { ingress: bytes.get(..len), ..Wire::default() };
        self.interface.poll_ingress_single(to_socket(now), &mut wire, &mut self.sockets);
    }

    fn socket_mut(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }
}

fn endpoint(tuple: &Tuple, remote: bool) -> IpEndpoint {
    let addr = if remote { tuple.source() } else { tuple.destination() };
    IpEndpoint::new(IpAddress::from(addr.ip()), addr.port())
}

fn to_socket(now: Instant) -> SocketInstant {
    // Leaves room for smoltcp to add a duration.
    SocketInstant::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX).min(i64::MAX / 2))
}

/// A device that holds at most one packet to receive and keeps one that is sent.
#[derive(Default)]
struct Wire<'a> {
    ingress: Option<&'a [u8]>,
    egress: Egress,
}

struct Egress {
    bytes: [u8; MAX_PACKET],
    written: bool,
}

impl Default for Egress {
    fn default() -> Self {
        Self { bytes: [0; MAX_PACKET], written: false }
    }
}

impl Wire<'_> {
    fn emitted(&self) -> Option<Emitted> {
        if !self.egress.written {
            return None;
        }
        let flags = header::flags(&self.egress.bytes)?;
        Some(match (flags.contains(TcpFlags::SYN), flags.contains(TcpFlags::ACK)) {
            (true, false) => Emitted::Syn,
            (true, true) => Emitted::SynAck,
            (false, _) => Emitted::Other,
        })
    }
}

struct Received<'a>(&'a [u8]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

impl TxToken for &mut Egress {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        self.written = true;
        match self.bytes.get_mut(..len) {
            Some(room) => write(room),
            // Longer than a segment without payload can be: lost, like any packet that does not fit.
            None => write(&mut vec![0; len]),
        }
    }
}

impl Device for Wire<'_> {
    type RxToken<'t>
        = Received<'t>
    where
        Self: 't;
    type TxToken<'t>
        = &'t mut Egress
    where
        Self: 't;

    fn receive(&mut self, _: SocketInstant) -> Option<(Received<'_>, &mut Egress)> {
        let bytes = self.ingress.take()?;
        Some((Received(bytes), &mut self.egress))
    }

    fn transmit(&mut self, _: SocketInstant) -> Option<&mut Egress> {
        (!self.egress.written).then_some(&mut self.egress)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = 1_500;
        // Nobody outside sees these packets.
        capabilities.checksum.ipv4 = Checksum::None;
        capabilities.checksum.tcp = Checksum::None;
        capabilities
    }
}
