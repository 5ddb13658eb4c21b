//! ICMP of both families: answers made, errors made, errors translated.
//!
//! # Theory of operation
//!
//! An ICMP message is one of three things, and [`Headers`](netstack::wire::Headers) tells which:
//!
//! - **A query** (echo and its reply) makes a flow as a datagram does, with the identifier in the place
//!   of both ports. One to an address of ours that no service takes is answered ([`echo_reply`]).
//! - **An error** quotes the packet that it is about, as that packet looked where it met its end: after
//!   translation. The quote names the flow, and [`translate`] puts it back to what the flow's other end
//!   had sent (RFC 5508 sections 4 and 5). No flow is changed by one: not its state, not its deadline,
//!   since anybody can forge one. The exception is a SYN that no backend has answered yet: an error that
//!   quotes its very sequence number says that the backend is out of reach (RFC 5927 section 4.1).
//! - **Anything else** is not ours to answer: timestamps, address masks, router and neighbour discovery.
//!   One to an address of ours is dropped, one to somebody else is routed.
//!
//! What of the errors is passed on:
//!
//! | error | |
//! |---|---|
//! | unreachable, too big, time exceeded, parameter problem, unknown ones of `ICMPv6` | translated |
//! | too big, and unreachable about an unanswered SYN, of a connection of this process | diverted |
//! | redirect (RFC 792), for the sender's link only | dropped |
//! | source quench, deprecated by RFC 6633 | dropped |
//!
//! An error of our own ([`error`]) answers a packet that goes no further. It is never made about an
//! error, a fragment but the first, or a packet whose two ends are not one host each
//! ([`may_report`]: RFC 1812 section 4.3.2.7, RFC 4443 section 2.4 e). There are so many a second for
//! each peer and so many for all ([`ErrorBudget`]: RFC 1812 section 4.3.2.8, RFC 4443 section 2.4 f),
//! and none toward a leg that wants none (RFC 5508 REQ-9).

mod budget;
mod echo;
mod error;
mod translate;

pub use budget::ErrorBudget;
pub use echo::echo_reply;
pub(crate) use error::finish;
pub use error::{IcmpError, error, error_about, may_report, reset, set_checksum};
pub use translate::{Ends, is_of_a_link, translate};

/// TTL and hop limit of what the engine sends by itself (RFC 1700's recommended default).
pub const TTL: u8 = 64;
