//! What the tests that span crates share: packets written as lines, and ways to look at them.

#![forbid(unsafe_code)]

pub mod builder;

pub use builder::{exact, fragments, line, packet, packet_on};
pub mod bed;
