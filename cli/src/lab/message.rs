//! What a lab and the init of a node say to each other: JSON lines, by pipe.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::config::model::Builtin;

/// What the init is told to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Serve.
    Serve {
        /// Who the node is.
        name: String,
        /// Its addresses.
        addresses: Vec<IpAddr>,
        /// What is served.
        builtin: Builtin,
    },
    /// Run a command.
    Run {
        /// Number of the command, for its events.
        id: u32,
        /// The program and its arguments.
        argv: Vec<String>,
        /// Kill it after so many milliseconds.
        patience_ms: Option<u64>,
    },
}

/// What the init says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Event {
    /// The server listens.
    Serving,
    /// The server cannot listen, or has failed.
    Failed(String),
    /// A command runs.
    Started(u32),
    /// A command has ended.
    Ended(Ended),
}

/// The end of a command.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Ended {
    /// Its number.
    pub(super) id: u32,
    /// How it ended.
    pub(super) how: How,
    /// The last of what it printed.
    pub(super) stdout: String,
    /// The last of what it printed for people.
    pub(super) stderr: String,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum How {
    /// By itself.
    Exit(i32),
    /// By a signal.
    Signal(i32),
    /// It took too long and was killed.
    TimedOut,
    /// It could not be started.
    NotStarted(String),
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "ended with exit code {code}"),
            Self::Signal(signal) => write!(f, "was ended by signal {signal}"),
            Self::TimedOut => f.write_str("took too long and was killed"),
            Self::NotStarted(why) => write!(f, "could not be started: {why}"),
        }
    }
}

impl Ended {
    /// The last lines that it printed, at most `count`.
    pub(super) fn last_lines(&self, count: usize) -> Vec<&str> {
        let text = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(count)..].to_vec()
    }
}
