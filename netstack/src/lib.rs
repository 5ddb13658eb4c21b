//! Packets and what is needed to understand, hold and carry them.
//!
//! | module | what it holds |
//! |---|---|
//! | [`time`] | [`Instant`]: microseconds since the run's epoch; no clock is read here |
//! | [`packet`] | one IP packet, possibly a super-packet, with its offload state |
//! | [`wire`] | addresses, checked header views, checksums, the packet line |
//! | [`segment`], [`fragment`] | cutting super-packets, and packets that a link is too small for |
//! | [`ethernet`] | what a leg on an Ethernet interface needs: ARP, neighbour discovery, neighbours |
//! | [`wheel`] | deadlines, in a hierarchical timer wheel |
//! | [`tcp`] | a user-space TCP endpoint: one smoltcp socket a connection |
//! | `dev` | TUN, namespaces, captures, memory: the only code that does I/O on packets |
//!
//! Everything outside `dev` is a function of its arguments: packets, time and a seed.

#[cfg(feature = "dev")]
pub mod dev;
pub mod ethernet;
pub mod fragment;
pub mod packet;
pub mod segment;
pub mod tcp;
pub mod time;
pub mod wheel;
pub mod wire;

pub use packet::{LegId, Packet};
pub use time::Instant;
