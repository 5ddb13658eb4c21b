//! Direct server return: packets wrapped, not rewritten.
//!
//! # Theory of operation
//!
//! A client's packet is put into another one, addressed to a backend, which takes it out again. The
//! backend owns the VIP as well, on a device that answers no ARP, so the packet is its own, and it
//! answers the client directly, as the VIP, past us. Only what clients send passes here, which is
//! mostly the smaller part.
//!
//! ```text
//!            client ──► vip      becomes      snat ──► backend [ client ──► vip ]
//!            client ◄── vip      never seen
//! ```
//!
//! **Encapsulations.** IP in IP, each family in each (RFC 2003, RFC 2473, RFC 4213 section 3), or the
//! same behind UDP and four bytes of GUE (variant 0, without flags and extensions), for networks that
//! spread load by UDP ports or block other protocols. The UDP source port is a hash of the flow; over
//! IPv4 there is no UDP checksum, since what is carried has its own (RFC 6936 allows the same in IPv6,
//! but not every receiver does, so there it is computed). The flow label of IPv6 has the hash too
//! (RFC 6438). DSCP and ECN are copied (RFC 6040 section 4.1, normal mode).
//!
//! **The source** is an address of the SNAT pool: backends own the VIP, and a host drops what claims to
//! come from itself.
//!
//! **Length.** What is carried must fit the backend's leg, and the path behind it, with 20, 32, 40 or 52
//! bytes less. IPv4 that forbids fragments, and IPv6, is refused with the MTU that is left; no less than
//! 1,280 is ever told to IPv6, and packets up to that are carried in fragments if need be (RFC 2473
//! section 7.1, RFC 4213 section 3.2). IPv4 that allows fragments is carried in them: it is the outer
//! packet that is cut (RFC 2003 section 5.1, RFC 2473 section 7.2), so the client's comes out as it
//! went in. A TCP super-packet becomes segments that fit.
//!
//! The MSS of a client's SYN is left alone: it bounds what the backend sends, which does not pass here.
//! What bounds the client's segments is the MSS of the backend's answer, which we never see. A backend
//! should lower it by the overhead (Linux: `advmss` of the route); else the first long segment of each
//! client is refused as too big, and its path MTU discovery does the rest.
//!
//! **Errors about the outer packet** come to us, its source, from routers on the way to the backend.
//! "Too big" is kept for ten minutes for that backend's packets ([`Paths`]), and if it quotes enough of
//! the client's packet, the client is told too (RFC 2003 section 4). What says that the backend cannot
//! be reached gives an unanswered SYN to another backend, or tells the client so.
//!
//! **Errors about the backend's packets** are to the VIP, and thus come to us: they are carried to the
//! backend like what the client sends. Without this, path MTU discovery of the backends would fail.

mod fragment;
mod outer;
mod paths;
mod quote;

pub use fragment::fragment_v6;
pub use outer::{Encapsulation, Outer};
pub use paths::Paths;
pub use quote::Carried;

/// The port on which Linux's documentation has GUE listen: IANA's.
pub const GUE_PORT: u16 = 6080;
