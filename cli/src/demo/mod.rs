//! `balun demo`: a balancer, its backends and its clients, all made on the spot.
//!
//! Real: a TUN in each of several private namespaces, web servers and clients on kernel sockets in
//! them, and balun as the router between. Simulated: the same in memory on a virtual clock. Either way
//! an L4 and an L7 service share the backends, one backend dies half-way, and the summary says who
//! answered what.

mod ladder;
mod options;
mod real;
mod record;
mod report;
mod simulated;
mod topology;

pub(crate) use ladder::climb;
pub use ladder::show;
pub use options::{MAX_BACKENDS, Options};
pub use real::run as run_real;
pub use report::{Outcome, Report};
pub use simulated::run as run_simulated;

/// Why the real demo could not be shown.
#[derive(Debug)]
pub enum DemoError {
    /// The machine does not allow it; the text says why and what helps.
    Environment(String),
    /// Something else went wrong.
    Failed(String),
    /// Whoever read the demo's output has gone.
    Closed,
}

impl DemoError {
    fn new(environment: bool, error: &dyn std::error::Error) -> Self {
        if environment {
            Self::Environment(error.to_string())
        } else {
            Self::Failed(error.to_string())
        }
    }

    /// What an error of the writer means.
    fn writing(error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Failed(format!("cannot write: {error}")),
        }
    }
}

impl std::fmt::Display for DemoError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Environment(text) | Self::Failed(text) => f.write_str(text),
            Self::Closed => f.write_str("the output is closed"),
        }
    }
}

impl std::error::Error for DemoError {}
