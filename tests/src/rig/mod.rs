//! The TCP endpoint beside the kernel's, on the same link: what `cargo xtask compare --tcp` runs.
//!
//! # Theory of operation
//!
//! ```text
//!   near end ──► tally ──► ┌──────┐ ──► far end
//!   near end ◄──────────── │ wire │ ◄──
//!                          └──────┘
//! ```
//!
//! An [`End`](end::End) is a kernel's TCP behind a TUN in a namespace of its own ([`kernel`]), or an
//! [`Endpoint`](netstack::tcp::Endpoint) with an application, in this process ([`ours`]). A
//! [`Pump`](pump::Pump) carries packets between ends over a [`Wire`](wire::Wire), on one thread, by one
//! clock, in the same way whoever the ends are. So what differs between two rows of a table is the
//! sender, or the receiver, and nothing else. The endpoint's work is done on the pump's thread, a
//! kernel's on the threads of its sockets and partly within the pump's reads and writes.
//!
//! The pump spins while packets are due soon, for a timer of the kernel is late by as much as a short
//! path is long. How late packets were carried nonetheless is measured ([`pump::Lateness`]), and so is
//! what the pump can carry at most: without that a figure says nothing.
//!
//! Both stacks may use as much memory ([`BUFFER`]): the kernel by the maxima of `tcp_rmem` and
//! `tcp_wmem`, below which it tunes itself, ours by the buffers of its configuration. Chances of a link
//! follow from a seed, the same for both in a round. Namespaces have no names and go with the process.

pub mod end;
pub mod groups;
pub mod kernel;
pub mod measure;
pub mod options;
pub mod ours;
pub mod pump;
pub mod report;
pub mod scenario;
pub mod tally;
pub mod wire;

use std::fmt;

/// Bytes that a connection may buffer in each direction: more than 1 Gbit/s holds at 100 ms, the queue
/// of the link included.
pub const BUFFER: usize = 64 << 20;

/// Why something could not be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The machine lacks what it takes, and will lack it in the next round.
    Lacking(String),
    /// A sentence for the table.
    Because(String),
}

impl Failure {
    /// A reason to give in the table.
    pub fn because(reason: impl fmt::Display) -> Self {
        Self::Because(reason.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lacking(reason) | Self::Because(reason) => f.write_str(reason),
        }
    }
}

/// A congestion control that both stacks are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RFC 9438.
    Cubic,
    /// The kernel's is version 1.
    Bbr,
}

impl Algorithm {
    /// The name that `TCP_CONGESTION` takes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cubic => "cubic",
            Self::Bbr => "bbr",
        }
    }
}
