//! What is measured, and with what.

mod iperf;
mod wrk;

use super::tools::Tool;
use super::topology::Target;
use super::{Failure, Site, table};

/// A kind of traffic and its figure. More is better in all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// One TCP flow from the client to a server, Gbit/s.
    Stream,
    /// Requests with `Connection: close`, each on a connection of its own, a second.
    Connect,
    /// Requests over 64 connections that stay open, a second.
    Http,
}

impl Measure {
    pub(super) const ALL: [Self; 3] = [Self::Stream, Self::Connect, Self::Http];

    /// Its name on the command line.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Connect => "connect",
            Self::Http => "http",
        }
    }

    /// A sentence for the table.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Stream => "one TCP flow from client to server (iperf3)",
            Self::Connect => "new connections, one request each (wrk, 1 thread, 64 at a time)",
            Self::Http => "keep-alive requests (wrk, 1 thread, 64 connections)",
        }
    }

    pub(super) const fn unit(self) -> &'static str {
        match self {
            Self::Stream => "Gbit/s",
            Self::Connect => "connections/s",
            Self::Http => "requests/s",
        }
    }

    pub(super) const fn tool(self) -> Tool {
        match self {
            Self::Stream => Tool::Iperf3,
            Self::Connect | Self::Http => Tool::Wrk,
        }
    }

    /// A figure with the digits that mean something.
    pub(super) fn format(self, value: f64) -> String {
        match self {
            Self::Stream => format!("{value:.2}"),
            Self::Connect | Self::Http => table::grouped(value),
        }
    }

    /// Measures for `seconds`.
    pub(super) fn take(
        self,
        site: &Site<'_>,
        target: Target,
        seconds: u32,
    ) -> Result<f64, Failure> {
        match self {
            Self::Stream => iperf::measure(site, target, seconds),
            Self::Connect => wrk::measure(site, target, seconds, wrk::Connections::Closed),
            Self::Http => wrk::measure(site, target, seconds, wrk::Connections::Kept),
        }
    }
}
