//! What a request is called: its id, and its place in a trace.

use std::net::{IpAddr, SocketAddr};

use nat::Prefix;
use netstack::wire::Address;

use crate::http1::field::Known;
use crate::http1::head::Fields;
use crate::ids::Ids;
use crate::trace_context::Trace;

/// The longest request id that is taken from a client, in bytes.
pub const MAX_ID: usize = 64;

/// What is done about `X-Request-Id`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequestId {
    /// Nothing: the field passes as any other, and a request without one has none.
    #[default]
    Off,
    /// A client's is passed on if it is sane; else one of ours takes its place.
    Pass,
    /// Every request gets one of ours: for the edge, where clients are not to be believed.
    Create,
}

/// How requests of a service are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Naming {
    /// By an id.
    pub request_id: RequestId,
    /// By a place in a trace ([`crate::trace_context`]). Default false: its fields pass as any others.
    pub trace: bool,
}

/// A request's id.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Id {
    bytes: [u8; MAX_ID],
    len: u8,
}

/// What one request is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its id.
    pub id: Option<Id>,
    /// Its place in a trace, if it is to have one.
    pub trace: Option<Trace>,
    /// The id is sent to the backend in place of the client's.
    sends_id: bool,
}

impl Id {
    /// One of ours: 32 hexadecimal digits.
    pub fn create(ids: &Ids) -> Self {
        let mut id = Self { bytes: [0; MAX_ID], len: 32 };
        let digits = ids.next16();
        let digits = digits.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
        for (nibble, place) in digits.zip(&mut id.bytes) {
            *place = if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
        }
        id
    }

    /// One that a client gave its request, if it is a word that can be part of a file's name.
    pub fn sane(name: &[u8]) -> Option<Self> {
        let is_sane = |&b: &u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if name.is_empty() || name.starts_with(b".") || !name.iter().all(is_sane) {
            return None;
        }
        let mut bytes = [0; MAX_ID];
        bytes.get_mut(..name.len())?.copy_from_slice(name);
        Some(Self { bytes, len: name.len() as u8 })
    }

    /// It as bytes, all of them graphic ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// It as text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl std::fmt::Debug for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Naming {
    /// Names the request with these fields. `wanted` says that somebody here asks for its id, whatever
    /// backends are to see.
    pub fn name(self, fields: &Fields<'_, '_>, wanted: bool, ids: &Ids) -> Identity {
        let sends_id = self.request_id != RequestId::Off;
        let id = (sends_id || wanted).then(|| {
            let mut given = fields.values(Known::XRequestId);
            let given = match (self.request_id, given.next(), given.next()) {
                (RequestId::Off | RequestId::Pass, Some(given), None) => Id::sane(given),
                _ => None,
            };
            given.unwrap_or_else(|| Id::create(ids))
        });
        let trace = self.trace.then(|| Trace::of(fields, ids));
        Identity { id, trace, sends_id }
    }
}

impl Identity {
    /// Nobody asks, and nobody is told.
    pub const NONE: Self = Self { id: None, trace: None, sends_id: false };

    /// Whether a received field passes to the backend.
    pub fn keeps(&self, known: Known) -> bool {
        match known {
            Known::XRequestId => !self.sends_id,
            Known::TraceParent => self.trace.is_none(),
            Known::TraceState => self.trace.is_none_or(|trace| trace.keeps_state()),
            _ => true,
        }
    }

    /// The fields that the backend gets instead, names in small letters.
    pub fn fields(&self, mut tell: impl FnMut(&'static str, &[u8])) {
        if let Some(id) = self.id.as_ref().filter(|_| self.sends_id) {
            tell("x-request-id", id.as_bytes());
        }
        if let Some(trace) = &self.trace {
            tell("traceparent", &trace.parent());
        }
    }
}

/// Whether one of `networks` holds `address`.
pub fn is_within(networks: &[Prefix], address: IpAddr) -> bool {
    let address = Address::from(address.to_canonical());
    networks.iter().any(|network| network.contains(address))
}

/// Whose request it is that came from `peer`: what trusted proxies say, from the last to the first, up to
/// the first address that is not one of theirs.
///
/// Each proxy appends the address of its own peer to `X-Forwarded-For`, so what is behind an address that
/// is not trusted was said by a stranger. What is no address ends the reading. `Forwarded` is looked at if
/// there is no `X-Forwarded-For`.
pub fn client(peer: IpAddr, trusted: &[Prefix], fields: &Fields<'_, '_>) -> IpAddr {
    let mut client = peer.to_canonical();
    let listed = fields.values(Known::XForwardedFor).next().is_some();
    let known = if listed { Known::XForwardedFor } else { Known::Forwarded };
    let lines: Vec<&[u8]> = fields.values(known).collect();
    for line in lines.into_iter().rev() {
        for element in line.rsplit(|&byte| byte == b',') {
            if !is_within(trusted, client) {
                return client;
            }
            let said = if listed { Some(element) } else { forwarded_for(element) };
            let Some(address) = said.and_then(address) else { return client };
            client = address;
        }
    }
    client
}

/// The value of `for` in an element of `Forwarded`.
fn forwarded_for(element: &[u8]) -> Option<&[u8]> {
    element.split(|&byte| byte == b';').find_map(|pair| {
        let pair = pair.trim_ascii();
        let (name, value) = pair.split_at_checked(4)?;
        name.eq_ignore_ascii_case(b"for=").then_some(value)
    })
}

/// An address, with or without brackets, quotes and a port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text.trim_ascii()).ok()?;
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.parse::<IpAddr>().ok().or_else(with_port).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_trusted_proxies_say_of_clients_is_believed() {
        let prefix = |text: &str| {
            let (address, len) = text.split_once('/').unwrap();
            let address = address.parse::<IpAddr>().unwrap().into();
            Prefix::new(address, len.parse().unwrap()).unwrap()
        };
        let trusted = ["10.8.0.0/16", "fd08::/16"].map(prefix);
        for (peer, fields, expected) in [
            ("10.1.0.5", "X-Forwarded-For: 192.0.2.1\r\n", "10.1.0.5"),
            ("10.8.0.1", "", "10.8.0.1"),
            ("10.8.0.1", "X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1"),
            ("::ffff:10.8.0.1", "X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1"),
            ("10.8.0.1", "X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.8.0.2\r\n", "192.0.2.1"),
            ("10.8.0.1", "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1"),
            ("10.8.0.1", "X-Forwarded-For: 192.0.2.1, unknown, 10.8.0.2\r\n", "10.8.0.2"),
            ("10.8.0.1", "X-Forwarded-For: 192.0.2.1:4711\r\n", "192.0.2.1"),
            ("10.8.0.1", "X-Forwarded-For: [2001:db8::1]:4711\r\n", "2001:db8::1"),
            ("10.8.0.1", "X-Forwarded-For: 10.8.0.3\r\n", "10.8.0.3"),
            (
                "fd08::1",
                "Forwarded: for=192.0.2.1;proto=http, FOR=\"[fd08::2]:80\"\r\n",
                "192.0.2.1",
            ),
            ("fd08::1", "Forwarded: by=x;For=\"_hidden\"\r\n", "fd08::1"),
        ] {
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            let mut slots = head::slots();
            let head =
                head::parse_request(text.as_bytes(), &mut slots, Strictness::default()).unwrap();
            let found = client(peer.parse().unwrap(), &trusted, &head.fields);
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{peer} {fields}");
        }
    }
    use crate::http1::head::{self, Strictness};

    #[test]
    fn a_name_of_a_request_is_one_that_a_file_can_have() {
        let longest = "x".repeat(MAX_ID);
        for good in ["7f3c", "a-b_c.d", "3e9a1c52-77aa-4c7c-9f60-1b1f5a3c2d10", &longest] {
            assert_eq!(Id::sane(good.as_bytes()).unwrap().as_str(), good);
        }
        let long = "x".repeat(MAX_ID + 1);
        for bad in ["", "../../etc/passwd", ".hidden", "a b", "a/b", "a\0", "é", &long] {
            assert_eq!(Id::sane(bad.as_bytes()), None, "{bad}");
        }
    }

    fn named(request_id: RequestId, wanted: bool, fields: &str) -> Identity {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let mut slots = head::slots();
        let head = head::parse_request(text.as_bytes(), &mut slots, Strictness::default()).unwrap();
        Naming { request_id, trace: false }.name(&head.fields, wanted, &Ids::new(1))
    }

    #[test]
    fn a_request_is_named_by_its_client_or_by_us() {
        use RequestId::{Create, Off, Pass};
        let ours = Id::create(&Ids::new(1));
        assert_eq!(ours.as_str().len(), 32);
        let theirs = Id::sane(b"theirs").unwrap();
        let field = "X-Request-Id: theirs\r\n";
        let (bad, two) = ("X-Request-Id: a b\r\n", "X-Request-Id: a\r\nX-Request-Id: b\r\n");
        for (config, wanted, fields, id, sent) in [
            (Off, false, field, None, None),
            (Off, true, field, Some(theirs), None),
            (Off, true, "", Some(ours), None),
            (Pass, false, field, Some(theirs), Some(theirs)),
            (Pass, false, "", Some(ours), Some(ours)),
            (Pass, false, bad, Some(ours), Some(ours)),
            (Pass, false, two, Some(ours), Some(ours)),
            (Create, false, field, Some(ours), Some(ours)),
        ] {
            let identity = named(config, wanted, fields);
            assert_eq!(identity.id, id, "{config:?} {fields}");
            assert_eq!(identity.keeps(Known::XRequestId), sent.is_none());
            let mut told = None;
            identity.fields(|name, value| told = Some((name, value.to_vec())));
            let expected = sent.map(|sent| ("x-request-id", sent.as_bytes().to_vec()));
            assert_eq!(told, expected);
        }
    }
}
