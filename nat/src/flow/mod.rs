//! Tracked connections.
//!
//! # Theory of operation
//!
//! A flow has four transport addresses, which name both directions as seen on both sides:
//!
//! ```text
//!            forward:  client ──► vip    becomes   snat ──► backend
//!            reverse:  client ◄── vip    becomes   snat ◄── backend
//! ```
//!
//! Its two keys are (client → vip), so that one client may reach the same backend through two
//! services, and (backend → snat). What is rewritten, the change to checksums, and where a packet
//! leaves follow from the four and are worked out once, when the flow is made. DNAT is the flow in
//! which `snat` is the client; a flow that ends in this process is one in which nothing differs.
//!
//! Each flow has a deadline, moved by traffic as the RFCs say. A [`Wheel`](netstack::wheel::Wheel)
//! holds one entry a flow and is corrected lazily: traffic moves only the flow's own deadline, and the
//! entry is put back when it comes up too early.
//!
//! Flows that may give way at a limit stand in lists by age ([`evict`]).

pub mod evict;
mod index;
pub mod table;
pub mod tcp;

use netstack::wire::checksum::Delta;
use netstack::wire::{Address, Protocol, Tuple};
use netstack::{Instant, LegId};

use crate::{BackendId, PoolId, ServiceId, Timeouts};
use evict::{Class, Link};
use tcp::{Event, Segment, TcpState, Timer, Windows};

pub use table::{FlowId, FlowTable};

/// An address and a port; for ICMP echo the port is the identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransportAddr {
    /// Address.
    pub address: Address,
    /// Port or identifier.
    pub port: u16,
}

impl TransportAddr {
    /// Both parts.
    pub const fn new(address: Address, port: u16) -> Self {
        Self { address, port }
    }

    /// Both parts, as a pair.
    pub const fn pair(self) -> (Address, u16) {
        (self.address, self.port)
    }
}

/// The direction of a packet within its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the backend.
    Forward,
    /// From the backend to the client.
    Reverse,
}

/// Where a flow's two ends are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Both ends are elsewhere.
    Nat,
    /// A client's connection that ends in this process; the process is the backend.
    Diverted,
    /// A connection that this process opened; the process is the client.
    Upstream,
    /// Both ends are elsewhere, and only what the client sends passes here, wrapped: `snat` is the client
    /// and `backend` the VIP, as neither is rewritten. Who the backend is says the assignment.
    Tunnel,
}

/// What is known of a flow's liveness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// TCP, by what both sides have sent.
    Tcp(TcpState),
    /// UDP or ICMP: `true` once an answer was seen.
    Datagram(bool),
}

impl State {
    /// True once both sides have closed the connection, or one has reset it.
    pub const fn is_closing(self) -> bool {
        matches!(self, Self::Tcp(TcpState::Closing | TcpState::Reset))
    }
}

/// The service that a flow belongs to and the backend that it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The service; absent for connections of this process.
    pub service: Option<ServiceId>,
    /// Pool and backend, if the engine chose one.
    pub backend: Option<(PoolId, BackendId)>,
}

/// Packets and bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets as read; a super-packet is one.
    pub packets: u64,
    /// Bytes of IP.
    pub bytes: u64,
}

/// One tracked connection.
///
/// The order of the fields is that of their use: a packet of a known flow reads and writes the first
/// 128 bytes, two cache lines, and in TCP the 24 bytes behind them, and nothing else.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct Flow {
    /// The client, as it calls itself.
    pub client: TransportAddr,
    /// What the client calls the service.
    pub vip: TransportAddr,
    /// What the backend calls the client.
    pub snat: TransportAddr,
    /// Change that forward rewriting makes to sums over the addresses.
    pub address_delta: Delta,
    /// Change that forward rewriting makes to sums over the ports.
    pub port_delta: Delta,
    /// Where packets to the client leave.
    pub client_leg: LegId,
    /// Where packets to the backend leave.
    pub backend_leg: LegId,
    /// Liveness.
    pub state: State,

    /// The backend, as it calls itself.
    pub backend: TransportAddr,
    /// Transport.
    pub protocol: Protocol,
    /// Where its ends are.
    pub kind: Kind,
    /// Tells this flow from earlier ones in the same place of the table, which sets it.
    generation: u32,
    /// When it is forgotten if nothing more comes.
    pub expires: Instant,
    /// Traffic from the client.
    pub forward: Counters,
    /// Traffic to the client.
    pub reverse: Counters,

    /// What both ends of a TCP connection have said about sequence numbers.
    pub windows: Windows,
    /// When it was made.
    pub created: Instant,
    /// When the wheel's entry for this flow comes up: no later than its deadline.
    timer: Instant,
    /// Its place among those that give way.
    link: Link,
    /// Service and backend by number.
    pub assignment: Assignment,
}

const _: () = assert!(std::mem::offset_of!(Flow, windows) == 128, "two cache lines are hot");
const _: () = assert!(size_of::<Flow>() == 192, "and a third, of which TCP uses the beginning");

impl Flow {
    /// A flow from `client` to `vip` whose packets came in by `leg`: not translated yet, its first
    /// packet of `bytes` bytes counted, with no time left to live.
    pub fn new(now: Instant, kind: Kind, tuple: &Tuple, leg: LegId, bytes: u64) -> Self {
        let client = TransportAddr::new(tuple.src, tuple.src_port);
        let vip = TransportAddr::new(tuple.dst, tuple.dst_port);
        Self {
            client,
            vip,
            snat: client,
            address_delta: Delta::default(),
            port_delta: Delta::default(),
            client_leg: leg,
            backend_leg: leg,
            state: match tuple.protocol {
                Protocol::Tcp => State::Tcp(TcpState::SynSent),
                Protocol::Udp | Protocol::Icmp => State::Datagram(false),
            },
            backend: vip,
            protocol: tuple.protocol,
            kind,
            generation: 0,
            expires: now,
            forward: Counters { packets: 1, bytes },
            reverse: Counters::default(),
            windows: Windows::default(),
            created: now,
            timer: now,
            link: Link::default(),
            assignment: Assignment { service: None, backend: None },
        }
    }

    /// Takes note of a TCP flow's first segment: a SYN, or one of a connection that is older than its
    /// flow.
    pub fn begin(&mut self, direction: Direction, segment: &Segment) {
        if segment.flags.is_initial_syn() {
            self.windows = Windows::opened_by(segment);
        } else {
            self.windows = Windows::picked_up(direction, segment);
            self.state = State::Tcp(match direction {
                Direction::Forward => TcpState::PickedUp,
                Direction::Reverse => {
                    TcpState::Established.next(direction, Event::of(segment.flags))
                }
            });
        }
    }

    /// True for a TCP flow whose connection is over, so that a SYN of the client opens a new one: it was
    /// reset, or both sides have closed it and heard each other out. Until then one of them may still
    /// have to send something again, which a forged SYN, or a late one, must not cut off. Of connections
    /// through a tunnel, whose backend is not heard, only those that were reset are known to be over.
    pub fn is_over(&self) -> bool {
        match self.state {
            State::Tcp(TcpState::Reset) => true,
            State::Tcp(TcpState::Closing) => self.windows.are_settled(),
            _ => false,
        }
    }

    /// The forward key: packets as the client sends them.
    pub const fn forward_key(&self) -> Tuple {
        Tuple {
            protocol: self.protocol,
            src: self.client.address,
            dst: self.vip.address,
            src_port: self.client.port,
            dst_port: self.vip.port,
        }
    }

    /// The reverse key: packets as the backend sends them.
    pub const fn reverse_key(&self) -> Tuple {
        Tuple {
            protocol: self.protocol,
            src: self.backend.address,
            dst: self.snat.address,
            src_port: self.backend.port,
            dst_port: self.snat.port,
        }
    }

    /// True if this is the key of that direction.
    #[inline]
    pub fn has_key(&self, direction: Direction, key: &Tuple) -> bool {
        let (src, dst) = match direction {
            Direction::Forward => (&self.client, &self.vip),
            Direction::Reverse => (&self.backend, &self.snat),
        };
        src.address == key.src
            && dst.address == key.dst
            && (src.port, dst.port) == (key.src_port, key.dst_port)
            && self.protocol == key.protocol
    }

    /// What a packet of this direction is rewritten to.
    pub const fn rewritten(&self, direction: Direction) -> Tuple {
        match direction {
            Direction::Forward => self.reverse_key().reversed(),
            Direction::Reverse => self.forward_key().reversed(),
        }
    }

    /// True for a TCP flow whose SYN its backend has yet to answer.
    pub fn is_syn_sent(&self) -> bool {
        self.state == State::Tcp(TcpState::SynSent)
    }

    /// Gives the flow another far end, and works out anew what follows from it.
    pub fn set_backend(&mut self, snat: TransportAddr, backend: TransportAddr, leg: LegId) {
        self.snat = snat;
        self.backend = backend;
        self.backend_leg = leg;
        let replace =
            |old: Address, new: Address| Delta::default().replace(old.octets(), new.octets());
        self.address_delta = replace(self.client.address, snat.address)
            .and(replace(self.vip.address, backend.address));
        let ports = Delta::default().replace_u16(self.client.port, snat.port);
        self.port_delta = match self.protocol {
            // One identifier, not two ports.
            Protocol::Icmp => ports,
            _ => ports.replace_u16(self.vip.port, backend.port),
        };
    }

    /// True if the backend sees an address of the SNAT pool.
    pub fn is_mapped(&self) -> bool {
        self.snat != self.client
    }

    /// The list that it waits in to give way to others; none if it never does.
    pub fn class(&self) -> Option<Class> {
        match self.state {
            State::Tcp(state) => match state.timer() {
                Timer::HalfOpen => Some(Class::HalfOpen),
                // By the word of a client alone, which may be forged.
                Timer::Established if self.kind == Kind::Tunnel => Some(Class::Unreplied),
                Timer::Established => None,
                Timer::Closing => Some(Class::Closing),
            },
            State::Datagram(false) => Some(Class::Unreplied),
            State::Datagram(true) => None,
        }
    }

    /// The idle time that its state allows.
    pub fn idle_timeout(&self, timeouts: &Timeouts) -> std::time::Duration {
        match (self.state, self.protocol) {
            (State::Tcp(state), _) => state.timer().duration(timeouts),
            (_, Protocol::Icmp) => timeouts.icmp,
            _ => timeouts.udp,
        }
    }

    /// Counters of a direction.
    pub const fn counters_mut(&mut self, direction: Direction) -> &mut Counters {
        match direction {
            Direction::Forward => &mut self.forward,
            Direction::Reverse => &mut self.reverse,
        }
    }
}
