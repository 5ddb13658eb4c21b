//! Request and response heads: parsed by `httparse`, judged by us.
//!
//! A head borrows the buffer it was parsed from and is used up (encoded for the other side) before
//! the next byte is read, so that parsing allocates nothing.

use std::mem::MaybeUninit;

use http::{Method, StatusCode, Version};

use super::field::Known;
use super::framing::{Declared, Framing};
use super::reject::{Reject, Rule};
use super::scan::TARGET_TOO_LONG;
use super::target::{self, Target};
use super::websocket::{self, Accept};
use super::{chars, host};
use crate::limits::{FIELDS, METHOD_BYTES, TARGET_BYTES};

/// A field line: name and trimmed value as received.
pub type Field<'b> = httparse::Header<'b>;

/// Room for the fields of one head, on the caller's stack.
pub type Slots<'b> = [MaybeUninit<Field<'b>>; FIELDS];

/// Empty [`Slots`].
pub const fn slots<'b>() -> Slots<'b> {
    [const { MaybeUninit::uninit() }; FIELDS]
}

/// The fields of a head in their order, each with its meaning.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'b, 'h> {
    list: &'h [Field<'b>],
    known: [Known; FIELDS],
    /// `Connection` names a field that has no other reason to be removed.
    nominates: bool,
}

impl<'b> Fields<'b, '_> {
    /// All fields, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Known, &Field<'b>)> {
        self.known.iter().copied().zip(self.list)
    }

    /// The values of all fields with this meaning.
    pub fn values(&self, wanted: Known) -> impl Iterator<Item = &'b [u8]> {
        self.iter().filter(move |(known, _)| *known == wanted).map(|(_, field)| field.value)
    }

    /// The values of all fields of that name, in any case.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        let named = move |field: &&Field<'b>| field.name.eq_ignore_ascii_case(name);
        self.list.iter().filter(named).map(|field| field.value)
    }

    /// Whether a `Connection` field names `name`.
    pub fn is_nominated(&self, name: &str) -> bool {
        self.nominates
            && self
                .values(Known::Connection)
                .flat_map(chars::members)
                .any(|member| member.eq_ignore_ascii_case(name.as_bytes()))
    }
}

/// What may be set about judging requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strictness {
    /// Refuse an absolute target whose authority is not that of `Host` (R9). If not set, the target
    /// wins, as RFC 9112 section 3.2.2 asks.
    pub strict_host: bool,
}

impl Default for Strictness {
    fn default() -> Self {
        Self { strict_host: true }
    }
}

/// A request head that broke no rule.
#[derive(Clone, Debug)]
pub struct RequestHead<'b, 'h> {
    /// The method.
    pub method: Method,
    /// What is asked for.
    pub target: Target<'b>,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// The authority: that of an absolute target, else `Host`. None only in HTTP/1.0.
    pub host: Option<&'b [u8]>,
    /// Where the body ends.
    pub framing: Framing,
    /// The client will keep the connection.
    pub persistent: bool,
    /// The client waits for 100 (Continue) before it sends the body (R12).
    pub expects_continue: bool,
    /// The client understands trailer fields (`TE: trailers`).
    pub trailers: bool,
    /// The client asks for a websocket; this is how a server must accept (R11).
    pub websocket: Option<Accept>,
    /// The fields as received.
    pub fields: Fields<'b, 'h>,
}

/// A response head that broke no rule.
#[derive(Clone, Debug)]
pub struct ResponseHead<'b, 'h> {
    /// The status.
    pub status: StatusCode,
    /// The reason phrase; may be empty.
    pub reason: &'b str,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// Where the body ends.
    pub framing: Framing,
    /// The `Content-Length`, which a response without body may carry as well.
    pub length: Option<u64>,
    /// The backend will keep the connection.
    pub persistent: bool,
    /// The value of `Sec-WebSocket-Accept` if the response upgrades to websocket.
    pub accept: Option<&'b [u8]>,
    /// The fields as received.
    pub fields: Fields<'b, 'h>,
}

/// Parses a complete request head: the bytes of an [`Extent`](super::scan::Extent).
///
/// # Errors
/// The first rule that the head breaks.
pub fn parse_request<'b, 'h>(
    bytes: &'b [u8],
    slots: &'h mut Slots<'b>,
    strictness: Strictness,
) -> Result<RequestHead<'b, 'h>, Reject> {
    let version = check_request_line(bytes)?;
    let mut parsed = httparse::Request::new(&mut []);
    let complete = parsed.parse_with_uninit_headers(bytes, slots).map_err(fault)?.is_complete();
    let (Some(method), Some(target), true) = (parsed.method, parsed.path, complete) else {
        return Err(Reject::bad(Rule::R08, "the request line is not one"));
    };
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|_| Reject::bad(Rule::R08, "the method is not a token"))?;
    let target = target::check(&method, target.as_bytes())?;
    let (fields, facts) = Facts::gather(parsed.headers)?;
    let framing = facts.declared.of_request(version)?;
    let host = authority(&target, &facts, version, strictness)?;
    let expects_continue = facts.expects_continue(version, framing)?;
    let websocket = facts.websocket(&method, version, framing);
    Ok(RequestHead {
        method,
        target,
        version,
        host,
        framing,
        persistent: facts.persistent(version),
        expects_continue,
        trailers: facts.trailers && version == Version::HTTP_11,
        websocket,
        fields,
    })
}

/// Parses a complete response head to a request with `method`.
///
/// # Errors
/// The first rule that the head breaks, with 502.
pub fn parse_response<'b, 'h>(
    bytes: &'b [u8],
    slots: &'h mut Slots<'b>,
    method: &Method,
) -> Result<ResponseHead<'b, 'h>, Reject> {
    let bad = |detail| Reject::bad(Rule::R16, detail).in_response();
    let mut parsed = httparse::Response::new(&mut []);
    let complete = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut parsed, bytes, slots)
        .map_err(|error| fault(error).in_response())?
        .is_complete();
    let (Some(code), Some(minor), true) = (parsed.code, parsed.version, complete) else {
        return Err(bad("the status line is not one"));
    };
    let status = match StatusCode::from_u16(code) {
        Ok(status) if code < 600 => status,
        _ => return Err(bad("the status is not one")),
    };
    let version = if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    let (fields, facts) = Facts::gather(parsed.headers).map_err(Reject::in_response)?;
    let framing = facts.declared.of_response(version, method, status)?;
    let upgraded = facts.upgrades_to_websocket() && !facts.repeated_accept;
    Ok(ResponseHead {
        status,
        reason: parsed.reason.unwrap_or_default(),
        version,
        framing,
        length: facts.declared.length(),
        persistent: facts.persistent(version),
        accept: facts.accept.filter(|_| upgraded),
        fields,
    })
}

/// Checks what `httparse` is kind about: exactly two spaces, the version, the target's bytes.
fn check_request_line(bytes: &[u8]) -> Result<Version, Reject> {
    let end = memchr::memchr(b'\r', bytes).unwrap_or(bytes.len());
    let line = bytes.get(..end).unwrap_or_default();
    let mut parts = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Reject::bad(Rule::R08, "the request line has not two spaces"));
    };
    if !chars::token(method) || method.len() > METHOD_BYTES {
        return Err(Reject::bad(Rule::R08, "the method is not a token"));
    }
    if target.len() > TARGET_BYTES {
        return Err(TARGET_TOO_LONG);
    }
    if !target::is_target(target) {
        return Err(Reject::bad(Rule::R08, "the target has a character that it may not have"));
    }
    match version {
        b"HTTP/1.1" => Ok(Version::HTTP_11),
        b"HTTP/1.0" => Ok(Version::HTTP_10),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            let status = StatusCode::HTTP_VERSION_NOT_SUPPORTED;
            Err(Reject::new(Rule::R08, status, "the version is not 1.0 or 1.1"))
        }
        _ => Err(Reject::bad(Rule::R08, "the version is not one")),
    }
}

fn fault(error: httparse::Error) -> Reject {
    use httparse::Error;
    match error {
        Error::HeaderName => Reject::bad(Rule::R07, "a field name is not a token"),
        Error::HeaderValue => Reject::bad(Rule::R07, "control character in a field value"),
        Error::NewLine => Reject::bad(Rule::R06, "a line does not end with CRLF"),
        Error::Status => Reject::bad(Rule::R16, "the status line is not one"),
        Error::Token => Reject::bad(Rule::R08, "the request line is not one"),
        Error::Version => Reject::bad(Rule::R16, "the version is not 1.0 or 1.1"),
        Error::TooManyHeaders => {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            Reject::new(Rule::R18, status, "too many fields")
        }
    }
}

/// The effective authority (R9).
fn authority<'b>(
    target: &Target<'b>,
    facts: &Facts<'b>,
    version: Version,
    strictness: Strictness,
) -> Result<Option<&'b [u8]>, Reject> {
    if let Some(host) = facts.host {
        host::check(host)?;
    } else if version == Version::HTTP_11 {
        return Err(Reject::bad(Rule::R09, "no Host"));
    }
    let Target::Absolute { authority, .. } = *target else { return Ok(facts.host) };
    // Either default port will do: the scheme of the target says nothing about this connection.
    let agrees = |host| host::same(authority, host, "80") || host::same(authority, host, "443");
    if strictness.strict_host && !facts.host.is_none_or(agrees) {
        return Err(Reject::bad(Rule::R09, "Host is not the authority of the target"));
    }
    Ok(Some(authority))
}

/// What the fields say, gathered in one pass.
#[derive(Debug, Default)]
struct Facts<'b> {
    declared: Declared,
    host: Option<&'b [u8]>,
    close: bool,
    keep_alive: bool,
    upgrade_option: bool,
    upgrades: usize,
    /// The last `Upgrade` is to a websocket.
    upgrade_websocket: bool,
    expect: Option<&'b [u8]>,
    key: Option<&'b [u8]>,
    repeated_key: bool,
    accept: Option<&'b [u8]>,
    repeated_accept: bool,
    nominates: bool,
    trailers: bool,
}

impl<'b> Facts<'b> {
    fn gather<'h>(list: &'h [Field<'b>]) -> Result<(Fields<'b, 'h>, Self), Reject> {
        let mut facts = Self::default();
        let mut known = [Known::Other; FIELDS];
        for (field, known) in list.iter().zip(&mut known) {
            *known = Known::of(field.name.as_bytes());
            match *known {
                Known::Other => *known = alias(field.name)?,
                meaning => facts.take(meaning, field.value)?,
            }
        }
        let nominates = facts.nominates;
        Ok((Fields { list, known, nominates }, facts))
    }

    fn take(&mut self, known: Known, value: &'b [u8]) -> Result<(), Reject> {
        match known {
            Known::Host if self.host.replace(value).is_some() => {
                return Err(Reject::bad(Rule::R09, "several Host fields"));
            }
            Known::Expect if self.expect.replace(value).is_some() => {
                return Err(Reject::bad(Rule::R12, "several Expect fields"));
            }
            Known::ContentLength => self.declared.content_length(value)?,
            Known::TransferEncoding => self.declared.transfer_encoding(value)?,
            Known::Connection => self.connection(value)?,
            Known::Upgrade => {
                self.upgrades += 1;
                self.upgrade_websocket = value.eq_ignore_ascii_case(b"websocket");
            }
            Known::Te => {
                self.trailers |=
                    chars::members(value).any(|member| member.eq_ignore_ascii_case(b"trailers"));
            }
            Known::SecWebSocketKey => self.repeated_key |= self.key.replace(value).is_some(),
            Known::SecWebSocketAccept => {
                self.repeated_accept |= self.accept.replace(value).is_some();
            }
            _ => {}
        }
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) -> Result<(), Reject> {
        for member in chars::members(value) {
            if !chars::token(member) {
                return Err(Reject::bad(Rule::R10, "Connection is not a list of names"));
            }
            match Known::of(member) {
                Known::KeepAlive => self.keep_alive = true,
                Known::Upgrade => self.upgrade_option = true,
                known if known.is_protected() || starts_as_ours(member) => {
                    return Err(Reject::bad(Rule::R10, "Connection names a field that must stay"));
                }
                known if known.is_hop_by_hop() => {}
                _ if member.eq_ignore_ascii_case(b"close") => self.close = true,
                _ => self.nominates = true,
            }
        }
        Ok(())
    }

    /// RFC 9112 section 9.3.
    fn persistent(&self, version: Version) -> bool {
        !self.close && (version == Version::HTTP_11 || self.keep_alive)
    }

    fn expects_continue(&self, version: Version, framing: Framing) -> Result<bool, Reject> {
        match self.expect {
            // RFC 9110 section 10.1.1: an expectation in HTTP/1.0 is ignored.
            None => Ok(false),
            Some(_) if version == Version::HTTP_10 => Ok(false),
            Some(value) if value.eq_ignore_ascii_case(b"100-continue") => Ok(!framing.is_empty()),
            Some(_) => {
                let status = StatusCode::EXPECTATION_FAILED;
                Err(Reject::new(Rule::R12, status, "an expectation other than 100-continue"))
            }
        }
    }

    /// One `Upgrade`, to a websocket, and the option of that name.
    const fn upgrades_to_websocket(&self) -> bool {
        self.upgrade_option && self.upgrade_websocket && self.upgrades == 1
    }

    /// An `Upgrade` that is no proper request for a websocket is ignored, which HTTP allows.
    fn websocket(&self, method: &Method, version: Version, framing: Framing) -> Option<Accept> {
        let asked = self.upgrades_to_websocket() && !self.repeated_key;
        let able = *method == Method::GET && version == Version::HTTP_11 && framing.is_empty();
        self.key.filter(|_| asked && able).and_then(websocket::accept_for)
    }
}

/// Every `X-Forwarded-` name is the balancer's to say, known or not.
fn starts_as_ours(name: &[u8]) -> bool {
    const OURS: &[u8] = b"x-forwarded-";
    name.get(..OURS.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(OURS))
}

/// R19: aliases of names that frame or route are refused, those of names we own are dropped.
fn alias(name: &str) -> Result<Known, Reject> {
    match Known::of_alias(name.as_bytes()) {
        known if known.is_framing() => {
            Err(Reject::bad(Rule::R19, "a field name imitates one that frames the message"))
        }
        known if known.is_forwarding() || known.is_naming() => Ok(Known::Alias),
        _ => Ok(Known::Other),
    }
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
