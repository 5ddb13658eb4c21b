//! A user-space TCP endpoint.
//!
//! # Theory of operation
//!
//! [`Endpoint`] ends TCP connections that arrive as IP packets and opens connections that leave as IP
//! packets. It does no I/O and reads no clock:
//!
//! ```text
//!   handle_packet(now, packet) ─►┌──────────┐─► accept() ─► ConnectionId ─► send, recv, shutdown, close
//!   handle_timeout(now) ────────►│ Endpoint │
//!   poll_transmit(now) ◄─────────└──────────┘◄─ connect(now, local, remote)
//! ```
//!
//! **One smoltcp socket a connection**, alone in a socket set of its own with an interface of its own
//! (`connection`). smoltcp's work for a packet grows with the sockets of a set; with one there is
//! nothing to search. Connections lie in a slab and are found by our own hash of the tuple; their
//! deadlines lie in a [`Wheel`](crate::wheel::Wheel), lazily, at most two entries at a time.
//!
//! **The application goes before egress.** A connection that a packet, a timer or the application has
//! touched is put in a list; nothing is sent until [`Endpoint::poll_transmit`] drains it. A driver that
//! first feeds all packets, then runs the application, then drains gets acknowledgments that ride on
//! the answers. An acknowledgment with nothing to ride on waits [`limits::ACK_DELAY`], but not when a
//! full-sized segment's worth of bytes waits for it: the peer is sending a stream, and a stream is
//! clocked by acknowledgments. (smoltcp's own delay timer cannot be shortened once it runs, so it is
//! off and the delay is that of not polling.)
//!
//! **Super-packets.** smoltcp is told of an MTU of 65,535, and the MSS option is rewritten in both
//! directions (`mss`): the peer learns the MSS of the real path and smoltcp learns one that lets it
//! emit segments of 64 KiB, which leave with the peer's true MSS as the size to cut them into. All
//! checksums of emitted segments are [partial](crate::packet::Checksum::Partial).
//!
//! Congestion control is smoltcp's CUBIC, which counts in the segments that it believes in: below
//! 64 KiB in flight it brakes only the first flight, of 2 KiB. Retransmissions repeat up to 64 KiB.
//!
//! **The edge** (`edge`). smoltcp resets a connection on any RST in the window and stays silent to a
//! SYN on an open connection. Here a RST must carry the exact next sequence number, and one that is
//! merely in the window, like any SYN, is answered by a challenge ACK (RFC 5961 sections 3.2 and 4.2), and
//! so is data whose acknowledgment the peer cannot have sent (section 5.2, `acceptance`).
//! Segments for no connection are answered by a RST as RFC 9293 section 3.10.7.1 says.
//!
//! **Initial sequence numbers** follow RFC 6528 (`isn`). smoltcp draws its own from a generator that
//! can be inverted, so each interface gets the seed that makes it draw ours.
//!
//! **The path** (`path`). A router that a segment was too big for is believed if it quotes one that is on
//! its way; segments are then cut smaller.
//!
//! **Rescue** (`rescue`). smoltcp can overhear an acknowledgment and lose a timer; either would leave a
//! connection waiting for ever.
//!
//! **Time** inside smoltcp runs five times as fast (`clock`): its least retransmission timeout of one
//! second becomes 200 ms. Every duration that smoltcp sees passes through that one file.
//!
//! **The end.** A socket that reaches TIME-WAIT is replaced by a small record (`time_wait`) that answers
//! for it, so that its buffers are freed. What smoltcp would wait for without end is bounded by one
//! deadline a connection, `Connection::give_up_at`:
//!
//! | state | given up after |
//! |---|---|
//! | SYN-SENT | [`EndpointConfig::connect_timeout`] |
//! | SYN-RECEIVED | [`limits::HALF_OPEN_TIMEOUT`] |
//! | data or FIN not acknowledged | [`limits::USER_TIMEOUT`] without a segment from the peer; without progress once nobody holds the connection |
//! | FIN-WAIT-2 that nobody holds | [`limits::FIN_WAIT_2_TIMEOUT`] |
//!
//! **Limits** are in [`limits`] and [`EndpointConfig`]; at a limit a SYN is dropped (its sender tries
//! again) and [`Endpoint::connect`] is refused. Established connections are never evicted. At the limit
//! of half-open connections SYNs are answered by cookies (`syn`), which cost no memory.
//!
//! RFCs: 9293, 1191, 8201, 5927 (path), 4987 (SYN cookies), 5961, 6528, 6056 (ports), 6691 (MSS), 1337 (TIME-WAIT), 6191 (its reuse), 2525 (RST on
//! unread data).

mod acceptance;
mod application;
#[cfg_attr(not(test), expect(dead_code, reason = "joined to the connection next"))]
mod buffer;
mod clock;
#[expect(dead_code, reason = "joined to the connection next")]
mod congestion;
mod connection;
mod edge;
mod endpoint;
mod ingress;
mod isn;
#[cfg_attr(not(test), expect(dead_code, reason = "joined to the connection next"))]
mod keepalive;
pub mod limits;
mod mss;
mod path;
mod ports;
#[cfg_attr(not(test), expect(dead_code, reason = "joined to the connection next"))]
mod receiver;
mod reply;
mod rescue;
mod sequence;
mod stats;
#[cfg(feature = "stream")]
mod stream;
#[cfg_attr(not(test), expect(dead_code, reason = "joined to the connection next"))]
mod stream_offset;
mod syn;
#[cfg(test)]
mod tests;
mod time_wait;
mod timers;
#[cfg_attr(not(test), expect(dead_code, reason = "joined to the connection next"))]
mod timestamps;
mod wire;

pub use application::{Accepted, ConnectError, StreamError};
pub use congestion::{Algorithm, UnknownAlgorithm};
pub use connection::{ConnectionId, Position};
pub use endpoint::Endpoint;
pub use ingress::{TcpDrop, TcpVerdict};
pub use keepalive::KeepaliveConfig;
pub use limits::EndpointConfig;
/// The states of RFC 9293 section 3.3.2.
pub use smoltcp::socket::tcp::State;
pub use stats::Stats;
#[cfg(feature = "stream")]
pub use stream::{Stack, TcpStream};
