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
//! **Who does what.** A connection is a state machine and two streams:
//!
//! ```text
//!   send ─► recovery::Sender ──────► streams ─► segments
//!   recv ◄─ receiver::Receiver ◄──── streams ◄─ segments ◄─ edge, acceptance, timestamps
//!                                       │ ▲
//!                          FIN, its ACK ▼ │ states
//!                                    control (a smoltcp socket)
//! ```
//!
//! - `control` holds a smoltcp socket that never sees a byte of data. It sees SYN and FIN, and it
//!   decides states. smoltcp's own sender repeats its whole window after a timeout and ignores SACK, its
//!   receiver knows 32 holes, and its buffers neither grow nor shrink.
//! - `recovery` has the only copy of what was written until the peer has acknowledged it: scoreboard,
//!   RACK-TLP, retransmission timeout, undo of recoveries that were for nothing, pacing, and the
//!   persist timer. How much may be in flight is for a congestion control (`congestion`) to say.
//! - `receiver` puts the peer's stream together and decides on windows, SACK blocks and acknowledgments.
//! - `buffer` lends both the memory, from a pool that all connections of an endpoint share.
//! - `streams` converts between stream offsets and sequence numbers, and writes segments.
//!
//! Connections lie in a slab and are found by our own hash of the tuple; their deadlines lie in a
//! [`Wheel`](crate::wheel::Wheel), lazily, at most two entries at a time.
//!
//! **The application goes before egress.** A connection that a packet, a timer or the application has
//! touched is put in a list; nothing is sent until [`Endpoint::poll_transmit`] drains it. A driver that
//! first feeds all packets, then runs the application, then drains gets acknowledgments that ride on
//! the answers.
//!
//! **Super-packets.** New data leaves in runs of up to 64 KiB of whole segments, with the peer's true MSS
//! as the size to cut them into. All checksums of emitted segments are
//! [partial](crate::packet::Checksum::Partial).
//!
//! **The edge** (`edge`, `acceptance`). A RST must carry the exact next sequence number; one that is
//! merely in the window, like any SYN, is answered by a challenge ACK, and so is data whose
//! acknowledgment the peer cannot have sent (RFC 5961 sections 3.2, 4.2 and 5.2). Segments for no
//! connection are answered by a RST as RFC 9293 section 3.10.7.1 says.
//!
//! **The beginning** (`handshake`, `syn`). Initial sequence numbers follow RFC 6528 (`isn`); smoltcp
//! draws its own from a generator that can be inverted, so each interface gets the seed that makes it
//! draw ours. At the limit of half-open connections SYNs are answered by cookies.
//!
//! **The path** (`path`). A router that a segment was too big for is believed if it quotes one that is on
//! its way; segments are then cut smaller. If full-sized segments time out again and again while nobody
//! says so, smaller ones are tried.
//!
//! **The end.** A connection that reaches TIME-WAIT is replaced by a small record (`time_wait`) that
//! answers for it, so that its buffers are freed. Waiting has an end:
//!
//! | state | given up after |
//! |---|---|
//! | SYN-SENT | [`EndpointConfig::connect_timeout`] |
//! | SYN-RECEIVED | [`limits::HALF_OPEN_TIMEOUT`] |
//! | data or FIN not acknowledged | [`limits::USER_TIMEOUT`] without a segment from the peer; without progress once nobody holds the connection |
//! | FIN-WAIT-2 that nobody holds | [`limits::FIN_WAIT_2_TIMEOUT`] |
//! | idle | never, unless [`EndpointConfig::keepalive`] says so |
//!
//! **Limits** are in [`limits`] and [`EndpointConfig`]; at the limit of connections a SYN is dropped (its
//! sender tries again) and [`Endpoint::connect`] is refused. Established connections are never evicted.
//!
//! RFCs: 9293, 1191, 8201, 5927 (path), 4987 (SYN cookies), 5961, 6528, 6056 (ports), 6691 (MSS), 7323
//! (timestamps), 1337 (TIME-WAIT), 6191 (its reuse), 2525 (RST on unread data); those of recovery,
//! congestion control and receiving are named there.

mod acceptance;
mod application;
mod buffer;
mod congestion;
mod connection;
mod control;
mod edge;
mod endpoint;
mod handshake;
mod header;
mod info;
mod ingress;
mod isn;
mod keepalive;
pub mod limits;
#[cfg(feature = "stream")]
mod listener;
mod listening;
mod mss;
mod options;
mod path;
mod ports;
mod receiver;
mod recovery;
mod reply;
mod sequence;
mod stats;
#[cfg(feature = "stream")]
mod stream;
mod stream_offset;
mod streams;
mod syn;
#[cfg(test)]
mod tests;
mod time_wait;
mod timers;
mod timestamps;

pub use application::{Accepted, ConnectError, StreamError};
pub use congestion::{Algorithm, UnknownAlgorithm};
pub use connection::{ConnectionId, Position};
pub use endpoint::Endpoint;
pub use info::{Info, ReceiverInfo, SenderInfo, Vitals};
pub use ingress::{TcpDrop, TcpVerdict};
pub use keepalive::KeepaliveConfig;
pub use limits::EndpointConfig;
#[cfg(feature = "stream")]
pub use listener::TcpListener;
pub use listening::{ListenError, ListenerId};
/// The states of RFC 9293 section 3.3.2.
pub use smoltcp::socket::tcp::State;
pub use stats::Stats;
#[cfg(feature = "stream")]
pub use stream::{Stack, TcpStream};
