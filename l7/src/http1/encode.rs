//! Heads as they are forwarded: our framing, our word about the client, nothing of the last hop.

use http::{Method, StatusCode, Version};

use super::edits::Changes;
use super::field::Known;
use super::framing::Framing;
use super::head::{Field, Fields, RequestHead, ResponseHead};
use crate::identity::Identity;

/// What backends are told about the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forwarded {
    /// Add to what the client's side said: for a balancer behind trusted proxies.
    ///
    /// `X-Forwarded-For`, `Via` and a received `Forwarded` grow by one; `X-Forwarded-Proto` and
    /// `-Host` are kept if received, since the first proxy knows them best.
    #[default]
    Append,
    /// Say it anew: what the client's side claims is dropped.
    Replace,
    /// Say nothing: the client stays anonymous.
    Hide,
}

/// In which fields backends are told about the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spelling {
    /// In those that begin with `X-Forwarded-`; a received `Forwarded` grows too.
    #[default]
    XForwarded,
    /// In `Forwarded` (RFC 7239).
    Forwarded,
    /// In both.
    Both,
}

/// What a request's connection adds to a forwarded head.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'a> {
    /// What to tell.
    pub forwarded: Forwarded,
    /// And in which fields.
    pub spelling: Spelling,
    /// The client's address as text, without port or brackets.
    pub client: &'a str,
    /// Our own end's address and port as text, for a request without `Host` (HTTP/1.0).
    pub local: &'a str,
    /// The client's side is TLS.
    pub secure: bool,
    /// Our name in `Via`: a token.
    pub name: &'a str,
    /// The version in which the request came, as `Via` has it: `1.1` or `2.0`.
    pub received: &'a str,
    /// What the request is called.
    pub identity: &'a Identity,
    /// What a route changes of the fields.
    pub changes: Changes<'a>,
}

impl Hop<'_> {
    const fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }
}

/// Appends the head to send to a backend.
pub fn request(head: &RequestHead<'_, '_>, hop: &Hop<'_>, out: &mut Vec<u8>) {
    push(out, &[head.method.as_str().as_bytes(), b" ", head.target.forwarded(), b" HTTP/1.1\r\n"]);
    let host = head.host.unwrap_or(hop.local.as_bytes());
    let mut host_sent = false;
    for (known, field) in head.fields.iter() {
        let keep = match known {
            Known::Host => {
                host_sent = true;
                push(out, &[field.name.as_bytes(), b": ", host, b"\r\n"]);
                false
            }
            Known::Alias | Known::ContentLength => false,
            Known::Expect => head.expects_continue,
            known if known.is_hop_by_hop() => false,
            known if known.is_forwarding() => keeps(hop.forwarded, known),
            known if known.is_naming() && !hop.identity.keeps(known) => false,
            _ => !head.fields.is_nominated(field.name),
        };
        if keep && hop.changes.keeps(field.name) {
            push(out, &[field.name.as_bytes(), b": ", field.value, b"\r\n"]);
        }
    }
    if !host_sent {
        push(out, &[b"Host: ", host, b"\r\n"]);
    }
    framing(head.framing, out);
    if head.websocket.is_some() {
        out.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\n");
    } else if head.trailers {
        // RFC 9110 section 10.1.4: it concerns this connection, and says so.
        out.extend_from_slice(b"TE: trailers\r\nConnection: TE\r\n");
    }
    hop.identity.fields(|name, value| push(out, &[name.as_bytes(), b": ", value, b"\r\n"]));
    if hop.forwarded != Forwarded::Hide {
        speak_for_client(&head.fields, hop, host, out);
    }
    put_in(hop.changes, out);
    out.extend_from_slice(b"\r\n");
}

/// Fields about the client that pass as received.
const fn keeps(forwarded: Forwarded, known: Known) -> bool {
    matches!(forwarded, Forwarded::Append)
        && !matches!(known, Known::XForwardedFor | Known::Forwarded | Known::Via)
}

fn speak_for_client(fields: &Fields<'_, '_>, hop: &Hop<'_>, host: &[u8], out: &mut Vec<u8>) {
    let append = hop.forwarded == Forwarded::Append;
    let received = |known| append && fields.values(known).next().is_some();
    let list = |name: &str, known, own: &[&[u8]], out: &mut Vec<u8>| {
        push(out, &[name.as_bytes(), b": "]);
        for value in fields.values(known).filter(|value| append && !value.is_empty()) {
            push(out, &[value, b", "]);
        }
        push(out, own);
        out.extend_from_slice(b"\r\n");
    };
    if hop.spelling != Spelling::Forwarded {
        list("X-Forwarded-For", Known::XForwardedFor, &[hop.client.as_bytes()], out);
        if !received(Known::XForwardedProto) {
            push(out, &[b"X-Forwarded-Proto: ", hop.scheme().as_bytes(), b"\r\n"]);
        }
        if !received(Known::XForwardedHost) {
            push(out, &[b"X-Forwarded-Host: ", host, b"\r\n"]);
        }
    }
    let asked = hop.spelling != Spelling::XForwarded;
    if asked || received(Known::Forwarded) {
        // RFC 7239 section 6: an IPv6 address is quoted and in brackets; so is a host with a port.
        let (open, close) = if hop.client.contains(':') { ("\"[", "]\"") } else { ("", "") };
        let (begin, named, end): (&[u8], &[u8], &[u8]) =
            if asked { (b";host=\"", host, b"\"") } else { (b"", b"", b"") };
        let who = ["for=", open, hop.client, close].map(str::as_bytes);
        let how = [";proto=", hop.scheme()].map(str::as_bytes);
        list("Forwarded", Known::Forwarded, &[&who[..], &[begin, named, end], &how].concat(), out);
    }
    list("Via", Known::Via, &[hop.received.as_bytes(), b" ", hop.name.as_bytes()], out);
}

/// How a response is sent to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The framing towards the client; [`Framing::UntilClose`] implies `close`.
    pub framing: Framing,
    /// The connection ends after this response.
    pub close: bool,
    /// The client speaks HTTP/1.0 and must be told that the connection stays.
    pub confirm_persistence: bool,
}

impl Delivery {
    /// The delivery of a response with `framing` to a client of `version` which wants the
    /// connection kept if `keep`.
    pub fn new(framing: Framing, version: Version, keep: bool) -> Self {
        let old = version == Version::HTTP_10;
        let framing = match framing {
            Framing::Chunked | Framing::UntilClose if version == Version::HTTP_2 => {
                return Self {
                    framing: Framing::UntilClose,
                    close: false,
                    confirm_persistence: false,
                };
            }
            Framing::Chunked if old => Framing::UntilClose,
            Framing::UntilClose if !old => Framing::Chunked,
            same => same,
        };
        let close = !keep || framing == Framing::UntilClose;
        Self { framing, close, confirm_persistence: old && !close }
    }
}

/// Appends the head of a response to send to a client, with `changes`.
pub fn response(
    head: &ResponseHead<'_, '_>,
    changes: Changes<'_>,
    delivery: Delivery,
    out: &mut Vec<u8>,
) {
    push(out, &[b"HTTP/1.1 ", head.status.as_str().as_bytes(), b" "]);
    push(out, &[head.reason.as_bytes(), b"\r\n"]);
    for field in response_fields(head, changes) {
        push(out, &[field.name.as_bytes(), b": ", field.value, b"\r\n"]);
    }
    put_in(changes, out);
    match told_length(head, delivery) {
        Some(length) => framing(Framing::Length(length), out),
        None => framing(delivery.framing, out),
    }
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        out.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\n");
    } else if delivery.close && !head.status.is_informational() {
        out.extend_from_slice(b"Connection: close\r\n");
    } else if delivery.confirm_persistence && !head.status.is_informational() {
        out.extend_from_slice(b"Connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

fn put_in(changes: Changes<'_>, out: &mut Vec<u8>) {
    for (name, value) in changes.added() {
        push(out, &[name.as_bytes(), b": ", value, b"\r\n"]);
    }
}

/// The fields of a response that pass on to a client with `changes`; its length is not among them, nor
/// is what is put in.
pub fn response_fields<'a, 'b>(
    head: &'a ResponseHead<'b, '_>,
    changes: Changes<'a>,
) -> impl Iterator<Item = &'a Field<'b>> {
    let fields = head.fields.iter().filter(move |(known, field)| {
        !known.is_hop_by_hop()
            && *known != Known::ContentLength
            && !head.fields.is_nominated(field.name)
            && changes.keeps(field.name)
    });
    fields.map(|(_, field)| field)
}

/// The length that the client is told.
///
/// RFC 9110 section 8.6: none with 1xx and 204; with HEAD and 304 it tells of the body that is not
/// there.
pub fn told_length(head: &ResponseHead<'_, '_>, delivery: Delivery) -> Option<u64> {
    match (delivery.framing, head.length) {
        (Framing::Length(length), _) => Some(length),
        (Framing::None, Some(length)) if may_tell_length(head.status) => Some(length),
        _ => None,
    }
}

fn may_tell_length(status: StatusCode) -> bool {
    !status.is_informational() && status != StatusCode::NO_CONTENT
}

/// The body of a response of our own: the status and a line of text.
pub fn notice_body(status: StatusCode, detail: &str) -> String {
    format!("{} {}\n{detail}\n", status.as_u16(), status.canonical_reason().unwrap_or("Error"))
}

/// The type of such a body.
pub const NOTICE_TYPE: &str = "text/plain; charset=utf-8";

/// Appends a response of our own with `body`, which is of that type.
pub fn notice(
    status: StatusCode,
    (kind, body): (&str, &[u8]),
    method: &Method,
    delivery: Delivery,
    out: &mut Vec<u8>,
) {
    let code = status.as_u16();
    let reason = status.canonical_reason().unwrap_or("Error");
    let connection = match delivery {
        Delivery { close: true, .. } => "Connection: close\r\n",
        Delivery { confirm_persistence: true, .. } => "Connection: keep-alive\r\n",
        _ => "",
    };
    let head = format!(
        "HTTP/1.1 {code} {reason}\r\n{connection}Content-Type: {kind}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    out.extend_from_slice(head.as_bytes());
    if *method != Method::HEAD {
        out.extend_from_slice(body);
    }
}

fn framing(framing: Framing, out: &mut Vec<u8>) {
    match framing {
        Framing::Length(length) => {
            out.extend_from_slice(b"Content-Length: ");
            push_decimal(length, out);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Framing::None | Framing::UntilClose => {}
    }
}

pub(crate) fn push_decimal(mut value: u64, out: &mut Vec<u8>) {
    // u64::MAX has twenty digits.
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    for (index, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
        first = index;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(first..).unwrap_or_default());
}

fn push(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
