//! What the tests that span crates share: packets written as lines and ways to look at them, and whole
//! networks, simulated and real, with traffic that knows whether it arrived.

#![forbid(unsafe_code)]

pub mod bed;
#[cfg(feature = "system")]
pub mod bench;
pub mod builder;
pub mod choices;
pub mod conformance;
pub mod conversation;
pub mod fuzz;
#[cfg(feature = "system")]
pub mod http;
#[cfg(feature = "system")]
pub mod kernel_nat;
#[cfg(feature = "system")]
pub mod ledger;
pub mod medley;
pub mod mutate;
#[cfg(feature = "system")]
pub mod netns;
pub mod oracle;
pub mod pattern;
pub mod payload;
pub mod reassembly;
#[cfg(feature = "system")]
pub mod rig;
#[cfg(feature = "system")]
pub mod soak;
#[cfg(feature = "system")]
pub mod sockets;
pub mod talk;
#[cfg(feature = "system")]
pub mod topology;
#[cfg(feature = "system")]
pub mod transfer;
pub mod tunnel;
pub mod watchdog;

pub use builder::{exact, fragments, line, packet, packet_on};
