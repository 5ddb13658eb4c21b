//! What a line of the log can tell.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::entry::Entry;
use super::escape;
use super::number::{self, Calendar};
use crate::http1::encode::push_decimal as decimal;

macro_rules! fields {
    ($($variant:ident = $name:literal: $about:literal,)+) => {
        /// One thing that a line can tell, by the name that formats and JSON use.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Field {
            $(#[doc = $about] $variant,)+
        }

        impl Field {
            /// All of them, in the order of JSON.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it means, in one line.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => $about,)+ }
            }
        }
    };
}

fields! {
    Time = "time": "when the first byte of the request was here, in UTC: 2026-11-21T22:56:50.123Z",
    ClfTime = "clf_time": "the same as the Common Log Format writes it: 21/Nov/2026:22:56:50 +0000",
    Service = "service": "the name of the service",
    RequestId = "request_id": "the id of the request: the one that the backend got, if it got one",
    TraceId = "trace_id": "the trace that the request belongs to, with `trace-context`",
    SpanId = "span_id": "our span in it",
    ParentId = "parent_id": "the caller's span, if the trace did not begin here",
    Client = "client": "the client's address and port",
    ClientIp = "client_ip": "its address alone",
    ClientPort = "client_port": "its port alone",
    Scheme = "scheme": "https inside TLS, else http; tcp in mode tcp",
    Line = "line": "method, target and version; of a head that was refused, how it began",
    Method = "method": "the method",
    Target = "target": "what is asked for, as the client wrote it, query and all",
    Version = "version": "HTTP/1.0, HTTP/1.1 or HTTP/2",
    Status = "status": "the status that the client got; none if it got no answer",
    RequestBody = "request_body": "bytes of the request's body that were passed on, without framing",
    ResponseBody = "response_body": "bytes of the answer's body that were passed on, without framing",
    Received = "received": "bytes of the client's TCP stream that were this request: head, framing and TLS",
    Sent = "sent": "bytes of the TCP stream to the client that were its answer",
    Backend = "backend": "the name of the backend that was tried last",
    BackendAddress = "backend_address": "its address and port",
    BackendReused = "backend_reused": "true if the connection to it was there before the request",
    Attempts = "attempts": "backends that were tried, one that is tried again counted again",
    Cache = "cache": "what the route's cache made of the request: hit, stale, stale-on-error, validated, changed, miss, vary-miss, bypass, method or unavailable",
    End = "end": "how it ended, one of the words below",
    Rule = "rule": "the rule that was broken, r01 to r20, by the request or by the answer",
    HeadMs = "head_ms": "from the first byte of the request to the end of its head",
    WaitMs = "wait_ms": "from there to the choice of a backend: in a queue, or while the request is buffered",
    ConnectMs = "connect_ms": "connecting to the backend; none on a connection that was there",
    FirstByteMs = "first_byte_ms": "from the connection to the backend to the head of its answer",
    TotalMs = "total_ms": "from the first byte of the request to the end of the answer",
    ClientHandshakeMs = "client_handshake_ms": "the round trip that the client's TCP handshake took",
    ClientRttMs = "client_rtt_ms": "the smoothed round trip to the client, at the end of the request",
    ClientRetransmits = "client_retransmits": "segments sent again to the client, on this connection so far",
    ClientSegmentsIn = "client_segments_in": "segments that came from the client, on this connection so far",
    ClientSegmentsOut = "client_segments_out": "segments sent to the client, on this connection so far",
    ClientReset = "client_reset": "true if the client ended its connection by a RST",
    BackendHandshakeMs = "backend_handshake_ms": "the same of the connection to the backend",
    BackendRttMs = "backend_rtt_ms": "the same of the connection to the backend",
    BackendRetransmits = "backend_retransmits": "the same of the connection to the backend",
    BackendSegmentsIn = "backend_segments_in": "the same of the connection to the backend",
    BackendSegmentsOut = "backend_segments_out": "the same of the connection to the backend",
    BackendReset = "backend_reset": "the same of the connection to the backend",
}

/// What a field comes to for one request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    /// Nothing to tell.
    None,
    /// Text of a stranger.
    Foreign(&'a [u8]),
    /// Text of ours, or checked, that needs no escapes.
    Word(&'a str),
    /// Three words with spaces between.
    Line([&'a [u8]; 3]),
    Count(u64),
    Flag(bool),
    Millis(Duration),
    Iso(Duration),
    Clf(Duration),
    Hex(&'a [u8]),
    Address(SocketAddr),
    Ip(IpAddr),
}

impl Value<'_> {
    /// Appends it for a line of text; `-` for nothing.
    pub(super) fn text(self, calendar: &Calendar, out: &mut Vec<u8>) {
        match self {
            Self::None => out.push(b'-'),
            Self::Foreign(bytes) => escape::text(bytes, out),
            Self::Line(words) => join(words, escape::text, out),
            plain => plain.write(calendar, out),
        }
    }

    /// Appends it as a JSON value. Not for nothing.
    pub(super) fn json(self, calendar: &Calendar, out: &mut Vec<u8>) {
        let bare = matches!(self, Self::Count(_) | Self::Flag(_) | Self::Millis(_));
        if !bare {
            out.push(b'"');
        }
        match self {
            Self::Foreign(bytes) => escape::json(bytes, out),
            Self::Line(words) => join(words, escape::json, out),
            plain => plain.write(calendar, out),
        }
        if !bare {
            out.push(b'"');
        }
    }

    /// Appends what is written alike everywhere.
    fn write(self, calendar: &Calendar, out: &mut Vec<u8>) {
        use std::io::Write as _;
        match self {
            Self::None | Self::Foreign(_) | Self::Line(_) => {}
            Self::Word(word) => out.extend_from_slice(word.as_bytes()),
            Self::Count(count) => decimal(count, out),
            Self::Flag(flag) => out.extend_from_slice(if flag { b"true" } else { b"false" }),
            Self::Millis(duration) => number::millis(duration, out),
            Self::Iso(time) => calendar.iso(time, out),
            Self::Clf(time) => calendar.clf(time, out),
            Self::Hex(bytes) => number::hex(bytes, out),
            // Writing to memory does not fail.
            Self::Address(address) => drop(write!(out, "{address}")),
            Self::Ip(address) => drop(write!(out, "{address}")),
        }
    }
}

fn join(words: [&[u8]; 3], write: fn(&[u8], &mut Vec<u8>), out: &mut Vec<u8>) {
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    if let Some(first) = words.next() {
        write(first, out);
    }
    for word in words {
        out.push(b' ');
        write(word, out);
    }
}

impl Entry {
    /// What `field` comes to. `names` are those of the service and its backends, `time` is when the
    /// request began, from the Unix epoch.
    pub(super) fn value<'a>(&'a self, field: Field, names: &'a Names, time: Duration) -> Value<'a> {
        let count = |count: Option<u64>| count.map_or(Value::None, Value::Count);
        let millis = |phase: Option<Duration>| phase.map_or(Value::None, Value::Millis);
        let trace = self.identity.trace.as_ref();
        match field {
            Field::Time => Value::Iso(time),
            Field::ClfTime => Value::Clf(time),
            Field::Service => Value::Word(&names.service),
            Field::RequestId => {
                self.identity.id.as_ref().map_or(Value::None, |id| Value::Word(id.as_str()))
            }
            Field::TraceId => trace.map_or(Value::None, |trace| Value::Hex(&trace.trace_id)),
            Field::SpanId => trace.map_or(Value::None, |trace| Value::Hex(&trace.span_id)),
            Field::ParentId => trace
                .and_then(|trace| trace.parent_id.as_ref())
                .map_or(Value::None, |id| Value::Hex(id)),
            Field::Client => Value::Address(self.client),
            Field::ClientIp => Value::Ip(self.client.ip()),
            Field::ClientPort => Value::Count(self.client.port().into()),
            Field::Scheme => Value::Word(self.scheme),
            Field::Line if self.line.is_empty() => {
                let words =
                    [self.part(&self.method), self.part(&self.target), self.version().as_bytes()];
                if words.iter().all(|word| word.is_empty()) {
                    Value::None
                } else {
                    Value::Line(words)
                }
            }
            Field::Line => Value::Foreign(self.part(&self.line)),
            Field::Method => self.foreign(&self.method),
            Field::Target => self.foreign(&self.target),
            Field::Version => match self.version() {
                "" => Value::None,
                version => Value::Word(version),
            },
            Field::Status => count(self.status.map(|status| status.as_u16().into())),
            Field::RequestBody => Value::Count(self.request_body),
            Field::ResponseBody => Value::Count(self.response_body),
            Field::Received => count(self.received),
            Field::Sent => count(self.sent),
            Field::Backend => {
                let name = self.backend.and_then(|address| names.backend(address));
                name.map_or(Value::None, Value::Word)
            }
            Field::BackendAddress => self.backend.map_or(Value::None, Value::Address),
            Field::BackendReused => self.reused.map_or(Value::None, Value::Flag),
            Field::Attempts => Value::Count(self.attempts.into()),
            Field::Cache => self.cache.map_or(Value::None, Value::Word),
            Field::End => Value::Word(self.end.name()),
            Field::Rule => self.end.rule().map_or(Value::None, |rule| Value::Word(rule.name())),
            Field::HeadMs => millis(self.head),
            Field::WaitMs => millis(self.wait),
            Field::ConnectMs => millis(self.connect),
            Field::FirstByteMs => millis(self.first_byte),
            Field::TotalMs => Value::Millis(self.total),
            wire => self.wire(wire),
        }
    }

    /// What the connections' own TCP knows.
    fn wire(&self, field: Field) -> Value<'static> {
        let is_client = matches!(
            field,
            Field::ClientHandshakeMs
                | Field::ClientRttMs
                | Field::ClientRetransmits
                | Field::ClientSegmentsIn
                | Field::ClientSegmentsOut
                | Field::ClientReset
        );
        let Some(vitals) = (if is_client { self.client_vitals } else { self.backend_vitals })
        else {
            return Value::None;
        };
        let millis = |phase: Option<Duration>| phase.map_or(Value::None, Value::Millis);
        match field {
            Field::ClientHandshakeMs | Field::BackendHandshakeMs => millis(vitals.handshake_rtt),
            Field::ClientRttMs | Field::BackendRttMs => millis(vitals.smoothed_rtt),
            Field::ClientRetransmits | Field::BackendRetransmits => {
                Value::Count(vitals.retransmitted_segments.into())
            }
            Field::ClientSegmentsIn | Field::BackendSegmentsIn => {
                Value::Count(vitals.segments_received.into())
            }
            Field::ClientSegmentsOut | Field::BackendSegmentsOut => {
                Value::Count(vitals.segments_sent.into())
            }
            _ => Value::Flag(vitals.was_reset),
        }
    }
}

/// What the service and its backends are called.
#[derive(Clone, Debug, Default)]
pub struct Names {
    service: String,
    /// By address, in its order.
    backends: Vec<(SocketAddr, String)>,
}

impl Names {
    /// Of a service and all backends that it may use. Of several at one address the first counts.
    pub fn new(service: String, mut backends: Vec<(SocketAddr, String)>) -> Self {
        backends.sort_by_key(|(address, _)| *address);
        backends.dedup_by_key(|(address, _)| *address);
        Self { service, backends }
    }

    fn backend(&self, address: SocketAddr) -> Option<&str> {
        let at = self.backends.binary_search_by_key(&address, |(address, _)| *address).ok()?;
        self.backends.get(at).map(|(_, name)| name.as_str())
    }
}
