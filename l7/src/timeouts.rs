//! How long the proxy waits, and for what.

use std::time::Duration;

/// Waiting times of a service. Each but the last is measured from the last progress of what it waits
/// for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A TLS handshake, with a client or a backend; the hello that a server name is read from, or a
    /// PROXY header. Then the connection is dropped. Default 10 s.
    pub handshake: Duration,
    /// The first byte of a request on a connection, new or kept alive. Then it is closed without a
    /// word. Default 60 s.
    pub idle: Duration,
    /// The rest of a request head, from its first byte; a byte now and then does not extend it.
    /// Then 408. Default 10 s.
    pub head: Duration,
    /// Any byte of a body, either way. Then the connections are dropped, or 408 if nothing was
    /// answered yet. Default 60 s.
    pub body: Duration,
    /// A connection to a backend. Then the next backend, in the end 504. Default 3 s.
    pub connect: Duration,
    /// A response head, from the last byte of the request that was sent. Then 504. Default 60 s.
    pub response: Duration,
    /// 100 (Continue) from a backend. Then the body is sent without, since HTTP/1.0-like servers
    /// never answer (RFC 9110 section 10.1.1). Default 1 s.
    pub expect: Duration,
    /// Any byte through a tunnel or splice, either way. Default 1 h.
    pub tunnel: Duration,
    /// A request as a whole, from the end of its head to the end of its answer; a tunnel is not of it.
    /// Then 504, or 408 if the client's body is what is waited for, or a cut if the answer has begun.
    /// None is no such limit, the default.
    pub total: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            idle: Duration::from_mins(1),
            head: Duration::from_secs(10),
            body: Duration::from_mins(1),
            connect: Duration::from_secs(3),
            response: Duration::from_mins(1),
            expect: Duration::from_secs(1),
            tunnel: Duration::from_hours(1),
            total: None,
        }
    }
}
