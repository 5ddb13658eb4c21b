//! Which requests a route is for.

use std::fmt;
use std::net::IpAddr;

use http::Method;
use nat::Prefix;
use nat::rng::derive;
use netstack::wire::Address;

use super::RouteId;
use super::path::PathPattern;
use super::text::TextPattern;
use crate::http1::field::Known;
use crate::http1::head::{Fields, RequestHead};
use crate::http1::host;
use crate::http1::target::Target;

/// The whole, in which a [share](Condition::share) is given.
pub const MILLION: u32 = 1_000_000;

/// A request, as routes look at it.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Its method.
    pub method: &'a Method,
    /// The host that is asked for, without port or a dot at its end, in any case.
    pub host: &'a [u8],
    /// The path, normalised.
    pub path: &'a [u8],
    /// What follows its `?`, if there is one.
    pub query: Option<&'a [u8]>,
    /// Its fields.
    pub fields: &'a Fields<'a, 'a>,
    /// Who asks.
    pub client: IpAddr,
    /// What its chances come from.
    pub chance: u64,
}

impl<'a> Ask<'a> {
    /// The request of `head` by `client`.
    pub fn new(head: &'a RequestHead<'_, '_>, client: IpAddr, chance: u64) -> Self {
        let target = match &head.target {
            Target::Asterisk => &b"*"[..],
            target => target.forwarded(),
        };
        let (path, query) = match memchr::memchr(b'?', target) {
            Some(at) => (target.get(..at).unwrap_or_default(), target.get(at + 1..)),
            None => (target, None),
        };
        let host = host::name(head.host.unwrap_or_default());
        let client = client.to_canonical();
        Self { method: &head.method, host, path, query, fields: &head.fields, client, chance }
    }

    /// The values of the fields of that name.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let fields = self.fields.iter().map(|(_, field)| field);
        fields.filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// The values of the cookies of that name.
    pub fn cookies(&self, name: &[u8]) -> impl Iterator<Item = &'a [u8]> {
        let crumbs = self.fields.values(Known::Cookie).flat_map(|line| line.split(|b| *b == b';'));
        crumbs.filter_map(move |crumb| {
            let crumb = crumb.trim_ascii();
            let (found, value) = crumb.split_at(memchr::memchr(b'=', crumb)?);
            (found == name).then(|| value.get(1..)).flatten()
        })
    }

    /// The method that a browser asks for, if this is its question whether it may: a preflight.
    pub fn preflight(&self) -> Option<&'a [u8]> {
        let asks = self.method == Method::OPTIONS && self.values("origin").next().is_some();
        if asks { self.values("access-control-request-method").next() } else { None }
    }

    /// Something that happens to so many of a million requests, independently for each `what`.
    pub(super) fn happens(&self, share: u32, route: RouteId, what: u64) -> bool {
        let drawn = derive(self.chance, u64::from(route.0) << 8 | what);
        // The upper half is scaled, which no share tells from an even draw.
        (((drawn >> 32) * u64::from(MILLION)) >> 32) < u64::from(share)
    }
}

/// Which requests: all that fit in each respect. What is empty fits all.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    /// Hosts, in lower case: one of these.
    pub hosts: Vec<HostPattern>,
    /// The path.
    pub path: Option<PathPattern>,
    /// Methods: one of these. HEAD goes with GET.
    pub methods: Vec<Method>,
    /// Fields, all of these: one of those of the name has such a value.
    pub headers: Vec<(Box<str>, TextPattern)>,
    /// Parts of the query, all of these: one of those of the name has such a value.
    pub query: Vec<(Box<[u8]>, TextPattern)>,
    /// Cookies, all of these: one of those of the name has such a value.
    pub cookies: Vec<(Box<[u8]>, TextPattern)>,
    /// Types of the body, without parameters, in lower case: one of these.
    pub content_types: Vec<TextPattern>,
    /// Networks of clients: one of these.
    pub clients: Vec<Prefix>,
    /// Networks of clients whose requests do not fit.
    pub except_clients: Vec<Prefix>,
    /// A browser's question whether it may make such a request fits too.
    pub preflights: bool,
    /// So many of a million requests, by chance.
    pub share: Option<u32>,
}

/// Which hosts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This one.
    Exact(Box<str>),
    /// Those with one label more: of `*.b.lab`, `.b.lab`.
    Wildcard(Box<str>),
}

impl HostPattern {
    /// The pattern that is written as `text`, in any case: a host, or `*.` and one.
    pub fn new(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        match text.strip_prefix('*') {
            Some(suffix) => Self::Wildcard(suffix.into()),
            None => Self::Exact(text.into()),
        }
    }

    fn fits(&self, host: &[u8]) -> bool {
        match self {
            Self::Exact(name) => name.as_bytes().eq_ignore_ascii_case(host),
            Self::Wildcard(suffix) => {
                let dot = memchr::memchr(b'.', host).filter(|&dot| dot > 0);
                let found = dot.and_then(|dot| host.get(dot..));
                found.is_some_and(|found| found.eq_ignore_ascii_case(suffix.as_bytes()))
            }
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(suffix) => write!(f, "*{suffix}"),
        }
    }
}

/// The first respect in which a request does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The host is another.
    Host,
    /// The path is another.
    Path,
    /// The method is another.
    Method,
    /// The field of that name is not there, or has another value.
    Header(Box<str>),
    /// The part of the query of that name is not there, or has another value.
    Query(Box<str>),
    /// The cookie of that name is not there, or has another value.
    Cookie(Box<str>),
    /// The body is of another type.
    ContentType,
    /// The client is of another network.
    Client,
    /// Chance decided otherwise.
    Share,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("another host"),
            Self::Path => f.write_str("another path"),
            Self::Method => f.write_str("another method"),
            Self::Header(name) => write!(f, "no such field `{name}`"),
            Self::Query(name) => write!(f, "no such `{name}` in the query"),
            Self::Cookie(name) => write!(f, "no such cookie `{name}`"),
            Self::ContentType => f.write_str("another type of body"),
            Self::Client => f.write_str("another client"),
            Self::Share => f.write_str("not of its share, by chance"),
        }
    }
}

impl Condition {
    /// Whether the request is one of these; `route` is whose condition it is.
    ///
    /// # Errors
    /// The first respect in which it is not.
    pub fn check(&self, ask: &Ask<'_>, route: RouteId) -> Result<(), Mismatch> {
        if !self.hosts.is_empty() && !self.hosts.iter().any(|host| host.fits(ask.host)) {
            return Err(Mismatch::Host);
        }
        if self.path.as_ref().is_some_and(|path| !path.fits(ask.path)) {
            return Err(Mismatch::Path);
        }
        self.check_rest(ask, route)
    }

    /// The same but for host and path.
    fn check_rest(&self, ask: &Ask<'_>, route: RouteId) -> Result<(), Mismatch> {
        if !self.methods.is_empty() {
            let method = if ask.method == Method::HEAD { &Method::GET } else { ask.method };
            let asked = if self.preflights { ask.preflight() } else { None };
            let fits = |one: &Method| {
                one == method || one == ask.method || asked == Some(one.as_str().as_bytes())
            };
            if !self.methods.iter().any(fits) {
                return Err(Mismatch::Method);
            }
        }
        for (name, pattern) in &self.headers {
            if !ask.values(name).any(|value| pattern.fits(value)) {
                return Err(Mismatch::Header(name.clone()));
            }
        }
        for (name, pattern) in &self.query {
            if !query(ask.query.unwrap_or_default(), name, pattern) {
                return Err(Mismatch::Query(String::from_utf8_lossy(name).into()));
            }
        }
        for (name, pattern) in &self.cookies {
            if !ask.cookies(name).any(|value| pattern.fits(value)) {
                return Err(Mismatch::Cookie(String::from_utf8_lossy(name).into()));
            }
        }
        if !self.content_types.is_empty() {
            let mut values = ask.values("content-type");
            let kind = values.next().unwrap_or_default();
            let end = memchr::memchr(b';', kind).unwrap_or(kind.len());
            let kind = kind.get(..end).unwrap_or_default().trim_ascii().to_ascii_lowercase();
            if kind.is_empty() || !self.content_types.iter().any(|pattern| pattern.fits(&kind)) {
                return Err(Mismatch::ContentType);
            }
        }
        if !self.clients.is_empty() || !self.except_clients.is_empty() {
            let client = Address::from(ask.client);
            let is_of = |networks: &[Prefix]| networks.iter().any(|one| one.contains(client));
            if !self.clients.is_empty() && !is_of(&self.clients) || is_of(&self.except_clients) {
                return Err(Mismatch::Client);
            }
        }
        match self.share {
            Some(share) if !ask.happens(share, route, 0) => Err(Mismatch::Share),
            _ => Ok(()),
        }
    }
}

/// Whether a part of `query` has that name and such a value, both decoded.
fn query(query: &[u8], name: &[u8], pattern: &TextPattern) -> bool {
    query.split(|&byte| byte == b'&').any(|part| {
        let end = memchr::memchr(b'=', part).unwrap_or(part.len());
        let (found, value) = part.split_at(end);
        *decoded(found) == *name && pattern.fits(&decoded(value.get(1..).unwrap_or_default()))
    })
}

/// What a part of a query stands for: `+` is a space, and `%` comes before the digits of a byte.
fn decoded(text: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', text).is_none() {
        return text.into();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        match (*first, after) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    rest = after;
                }
                _ => bytes.push(b'%'),
            },
            (byte, _) => bytes.push(byte),
        }
    }
    bytes.into()
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}
