//! A TCP connection as a middlebox sees it: its state, and which segments count.
//!
//! # Theory of operation
//!
//! The [state machine](TcpState) follows RFC 7857 section 2 and RFC 6146 section 3.5.2. It is a table,
//! [`ROWS`]; drawings of it are made from it (`diagram`).
//!
//! Not every segment on a flow's tuple is from one of its ends: who knows the tuple can forge a RST, a
//! FIN or a SYN without seeing any traffic. [`Windows`] holds what both ends have said about sequence
//! numbers, and a segment that does not fit *counts for nothing*: it is translated and passed on, since
//! the endpoints judge better and may owe an answer to it (a challenge ACK, RFC 5961), but it changes
//! neither the state nor what is known. No packet is ever dropped for its numbers.
//!
//! | segment | counts if |
//! |---|---|
//! | RST | its sequence number is one that the receiver waits for: from its last acknowledgment to the end of its window. One that answers the client's SYN must acknowledge it |
//! | FIN | so is the FIN's own number, and the rest of the segment fits |
//! | SYN | it is the backend's first, and acknowledges the client's unless both crossed |
//! | other | it starts no later than the receiver's window ends, ends no earlier than one window before its sender's newest, and acknowledges nothing that was not sent |
//!
//! A connection that was [picked up](Windows::picked_up) after its handshake has an unknown window
//! scale; the largest is assumed. Until one end is heard, whatever the other says fits.
//!
//! A SYN in a connection that is not over changes nothing either, but it is remembered: if the backend
//! acknowledges it, both ends have forgotten the old connection, and the flow begins
//! [anew](Windows::restart).

mod diagram;
mod segment;
mod state;
mod window;

pub use diagram::{dot, mermaid};
pub use segment::Segment;
pub use state::{Event, ROWS, Row, TcpState, Timer};
pub use window::Windows;
