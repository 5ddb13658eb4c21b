//! What goes wrong on a bench.

use std::fmt;

/// Why a bench could not do what it was asked to, or did not see what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BenchError {
    /// The configuration cannot be used, and why.
    Config(String),
    /// A packet line, a pattern or an answer that cannot be read, and why.
    Line(String),
    /// No leg has this name, or none leads to the sender.
    NoLeg(String),
    /// No pool and backend have these names.
    NoBackend(String),
    /// A variable that nothing has captured.
    Unbound(String),
    /// There is no packet to answer: nothing was expected and came.
    NothingToAnswer,
    /// Another packet than the expected one came.
    Differs {
        /// The pattern.
        expected: String,
        /// The packet that came.
        got: String,
        /// The leg that it left by.
        leg: String,
        /// The first difference.
        difference: String,
    },
    /// No packet came.
    Nothing {
        /// The pattern.
        expected: String,
    },
    /// More happened in one act than is bearable: [`MAX_SENT`](super::bench::MAX_SENT),
    /// [`MAX_DEADLINES`](super::bench::MAX_DEADLINES).
    Endless,
}

impl fmt::Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(why) | Self::Line(why) => f.write_str(why),
            Self::NoLeg(which) => f.write_str(which),
            Self::NoBackend(name) => write!(f, "no backend is called {name}"),
            Self::Unbound(name) => write!(f, "${name} has not been captured"),
            Self::NothingToAnswer => f.write_str("no expected packet to answer"),
            Self::Differs { expected, got, leg, difference } => {
                write!(f, "expected {expected}, but {got} left by {leg}: {difference}")
            }
            Self::Nothing { expected } => write!(f, "expected {expected}, but nothing came"),
            Self::Endless => f.write_str("the balancer does not come to rest"),
        }
    }
}

impl std::error::Error for BenchError {}
