//! What is measured, and with what.

mod curl;
mod h2load;
mod idle;
mod iperf;
mod wire;
mod wrk;

pub(super) use curl::large_file;

use super::rival::{Layer, Rival, Running};
use super::tools::Tool;
use super::{Failure, Site, table};

/// A kind of traffic and its figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// One TCP flow from the client to a server, Gbit/s.
    Stream,
    /// Requests with `Connection: close`, each on a connection of its own, a second.
    Connect,
    /// Requests over 64 connections that stay open, a second.
    Http,
    /// The same within TLS.
    Tls,
    /// As [`Self::Connect`] within TLS.
    TlsConnect,
    /// Requests of HTTP/2 within TLS, a second.
    Http2,
    /// Large answers, one after the other, Gbit/s.
    Download,
    /// Large requests, one after the other, Gbit/s.
    Upload,
    /// The time that 99 of 100 answers take at a rate that all can bear, milliseconds.
    Latency,
    /// Memory for a connection that waits, bytes.
    Idle,
    /// The same within TLS.
    IdleTls,
    /// Reads and writes of the balancer for one request.
    Syscalls,
    /// Acknowledgments without data that it sends for one request.
    Acks,
}

impl Measure {
    pub(super) const ALL: [Self; 13] = [
        Self::Stream,
        Self::Connect,
        Self::Http,
        Self::Tls,
        Self::TlsConnect,
        Self::Http2,
        Self::Download,
        Self::Upload,
        Self::Latency,
        Self::Idle,
        Self::IdleTls,
        Self::Syscalls,
        Self::Acks,
    ];

    /// Its name on the command line.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Connect => "connect",
            Self::Http => "http",
            Self::Tls => "tls",
            Self::TlsConnect => "tls-connect",
            Self::Http2 => "h2",
            Self::Download => "download",
            Self::Upload => "upload",
            Self::Latency => "p99",
            Self::Idle => "idle",
            Self::IdleTls => "idle-tls",
            Self::Syscalls => "syscalls",
            Self::Acks => "acks",
        }
    }

    /// A sentence for the table.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Stream => "one TCP flow from client to server (iperf3)",
            Self::Connect => "new connections, one request each (wrk, 1 thread, 64 at a time)",
            Self::Http => "keep-alive requests (wrk, 1 thread, 64 connections)",
            Self::Tls => "keep-alive requests within TLS (wrk, 1 thread, 64 connections)",
            Self::TlsConnect => "new connections within TLS, one request each (wrk, 64 at a time)",
            Self::Http2 => "requests of HTTP/2 within TLS (h2load, 8 connections, 16 streams each)",
            Self::Download => "large answers, one at a time (curl)",
            Self::Upload => "large requests, one at a time (curl)",
            Self::Latency => "99 of 100 answers come within (h2load, 64 connections, 12,800/s)",
            Self::Idle => "memory of its processes for a connection that had a request and waits",
            Self::IdleTls => "the same within TLS",
            Self::Syscalls => "its reads and writes for a keep-alive request",
            Self::Acks => "acknowledgments without data that it sends for a keep-alive request",
        }
    }

    pub(super) const fn unit(self) -> &'static str {
        match self {
            Self::Stream | Self::Download | Self::Upload => "Gbit/s",
            Self::Connect | Self::TlsConnect => "connections/s",
            Self::Http | Self::Tls | Self::Http2 => "requests/s",
            Self::Latency => "ms",
            Self::Idle | Self::IdleTls => "bytes",
            Self::Syscalls | Self::Acks => "a request",
        }
    }

    /// Less of it is better.
    pub(super) const fn is_cost(self) -> bool {
        matches!(self, Self::Latency | Self::Idle | Self::IdleTls | Self::Syscalls | Self::Acks)
    }

    /// Whether clients speak TLS.
    pub(super) const fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::TlsConnect | Self::Http2 | Self::IdleTls)
    }

    /// Whether `rival` can be measured so.
    pub(super) fn is_for(self, rival: Rival) -> bool {
        match self {
            // iperf3 does not speak HTTP.
            Self::Stream => rival.layer() == Layer::Four,
            // Requests go through anything.
            Self::Connect | Self::Http | Self::Download | Self::Upload => true,
            Self::Tls
            | Self::TlsConnect
            | Self::Http2
            | Self::Latency
            | Self::Idle
            | Self::IdleTls => rival.layer() == Layer::Seven,
            // Of others these say little: their packets are the kernel's.
            Self::Syscalls | Self::Acks => rival == Rival::BalunL7,
        }
    }

    pub(super) const fn tool(self) -> Tool {
        match self {
            Self::Stream => Tool::Iperf3,
            Self::Connect
            | Self::Http
            | Self::Tls
            | Self::TlsConnect
            | Self::Syscalls
            | Self::Acks => Tool::Wrk,
            Self::Http2 | Self::Latency => Tool::H2load,
            // It is its own client.
            Self::Idle | Self::IdleTls => Tool::Ip,
            Self::Download | Self::Upload => Tool::Curl,
        }
    }

    /// A figure with the digits that mean something.
    pub(super) fn format(self, value: f64) -> String {
        match self {
            Self::Stream | Self::Download | Self::Upload | Self::Latency | Self::Syscalls => {
                format!("{value:.2}")
            }
            Self::Acks => format!("{value:.3}"),
            _ => table::grouped(value),
        }
    }

    /// Measures `running` for `seconds`.
    pub(super) fn take(
        self,
        site: &Site<'_>,
        running: &Running,
        seconds: u32,
    ) -> Result<f64, Failure> {
        let (target, kept) = (running.target, wrk::Connections::Kept);
        match self {
            Self::Stream => iperf::measure(site, target, seconds),
            Self::Connect => {
                wrk::measure(site, &target.url("/"), seconds, wrk::Connections::Closed)
            }
            Self::Http => wrk::measure(site, &target.url("/"), seconds, kept),
            Self::Tls => wrk::measure(site, &target.secure_url("/"), seconds, kept),
            Self::TlsConnect => {
                wrk::measure(site, &target.secure_url("/"), seconds, wrk::Connections::Closed)
            }
            Self::Http2 => h2load::rate(site, &target.secure_url("/"), seconds),
            Self::Download => curl::download(site, target, seconds),
            Self::Upload => curl::upload(site, target, seconds),
            Self::Latency => h2load::latency(site, &target.url("/"), seconds),
            Self::Idle => idle::measure(site, running, target.web(), false),
            Self::IdleTls => idle::measure(site, running, target.secure_web(), true),
            Self::Syscalls => wire::syscalls(site, running, seconds),
            Self::Acks => wire::acks(site, target, seconds),
        }
    }
}
