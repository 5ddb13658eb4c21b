//! Addresses, checked header views and checksums.
//!
//! [`Headers::parse`] checks a packet once; after that every offset it reports lies inside the packet
//! and [`Tcp`], [`Udp`] and [`Icmp`] read and write fields there without failing.

pub mod address;
pub mod checksum;
#[cfg(test)]
mod checksum_tests;
pub mod fields;
pub mod fragment;
pub mod headers;
pub mod quote;
pub mod text;

pub use address::{Address, Family, Protocol, Tuple};
pub use fields::{Icmp, Tcp, TcpFlags, TcpOption, TcpOptions, Udp};
pub use fragment::Fragment;
pub use headers::{Headers, Malformed, Transport};
pub use quote::Quote;
