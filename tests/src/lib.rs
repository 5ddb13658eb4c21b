//! What the tests that span crates share: packets written as lines and ways to look at them, and whole
//! networks, simulated and real, with traffic that knows whether it arrived.

#![forbid(unsafe_code)]

pub mod bed;
pub mod bench;
pub mod builder;
pub mod http;
pub mod ledger;
pub mod mutate;
pub mod netns;
pub mod oracle;
pub mod pattern;
pub mod topology;
pub mod transfer;
pub mod watchdog;

pub use builder::{exact, fragments, line, packet, packet_on};
