//! A filter: which packets are meant, in the words of the packet line.
//!
//! ```text
//! tcp dst 10.99.0.1:80 S               every client's first segment
//! tcp 10.1.0.0/16 > *:80-89            from a network to a range of ports
//! host 10.1.0.5 and not port 22
//! (udp port 53) or icmp
//! tcp R+ ttl=1-5
//! ```
//!
//! | words | packets |
//! |---|---|
//! | `tcp`, `udp`, `icmp` (both families), `ip4`, `ip6`, `ip` (any) | of this protocol |
//! | `A > B` | from `A` to `B`: an address, a prefix or `*`, with a port or a range of ports: `10.0.0.0/8:1-1023`, `*:80`, `[fd99::/16]:80` |
//! | `src A`, `dst A`, `host A` | with `A` as source, as destination, as either |
//! | `port N`, `src port N`, `dst port N` | with this TCP or UDP port, or one of the range `N-M` |
//! | `S`, `S.`, `P.`, `.`, `none`, … | whose TCP flags are exactly these; `R+`: these and perhaps more |
//! | `echo`, `reply`, `error` | ICMP of this kind |
//! | `frag`, `df`, `malformed` | fragments; not to be fragmented (IPv4); broken |
//! | `ttl=N`, `tos=N`, `proto=N`, `size=N` | by fields of the IP header; `size` is the packet's whole length. Each number may be a range `N-M` |
//! | `len=N` | by bytes of payload of TCP or UDP |
//! | `seq=N`, `ack=N`, `win=N` | by fields of the TCP header |
//! | `type=N`, `code=N`, `id=N` | by fields of an ICMP message; `id` of an echo |
//!
//! Words that stand side by side all have to hold; `and` may stand between them. `or` binds weaker,
//! `not` stronger, parentheses strongest. What a packet does not have, a port of ICMP for one, does not
//! match. Of a malformed packet only `malformed` is true.

mod parse;
#[cfg(test)]
mod tests;

use super::ParseError;
use crate::wire::fragment::{self, Fragment};
use crate::wire::headers::{TCP, UDP};
use crate::wire::{Address, Family, Headers, Icmp, Tcp, TcpFlags, Transport};

/// The longest filter, in bytes.
pub const MAX_FILTER: usize = 4096;

/// Tests in one filter.
pub const MAX_TESTS: usize = 64;

/// How deep parentheses and `not` may be nested.
pub const MAX_DEPTH: usize = 16;

/// A filter that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    text: String,
    root: Node,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Test(Test),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    Tcp,
    Udp,
    Icmp,
    Ip,
    Family(Family),
    Src(Endpoint),
    Dst(Endpoint),
    Host(Endpoint),
    Flags { flags: TcpFlags, or_more: bool },
    Echo { request: bool },
    IcmpError,
    Fragment,
    DontFragment,
    Malformed,
    Field(Field, Range),
}

/// A number of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Ttl,
    Tos,
    Protocol,
    Size,
    Payload,
    Seq,
    Ack,
    Window,
    Type,
    Code,
    EchoId,
}

/// Numbers from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    from: u32,
    to: u32,
}

impl Range {
    const fn contains(self, value: u32) -> bool {
        self.from <= value && value <= self.to
    }
}

/// Addresses and ports; nothing means any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Endpoint {
    prefix: Option<Prefix>,
    ports: Option<Range>,
}

/// The addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Prefix {
    bits: u128,
    mask: u128,
}

impl Prefix {
    /// The first `len` bits of `address`, counted in its own family.
    fn new(address: Address, len: u32) -> Self {
        let front = if address.is_v4() { 96 } else { 0 };
        let mask = u128::MAX.checked_shl(128 - front - len).unwrap_or(0);
        Self { bits: u128::from_be_bytes(*address.mapped_octets()) & mask, mask }
    }

    const fn contains(self, address: Address) -> bool {
        u128::from_be_bytes(*address.mapped_octets()) & self.mask == self.bits
    }
}

impl Endpoint {
    fn matches(self, address: Address, port: Option<u16>) -> bool {
        self.prefix.is_none_or(|prefix| prefix.contains(address))
            && self.ports.is_none_or(|ports| port.is_some_and(|port| ports.contains(port.into())))
    }
}

impl Default for Filter {
    /// Every packet.
    fn default() -> Self {
        Self { text: String::new(), root: Node::All(Vec::new()) }
    }
}

impl Filter {
    /// Reads a filter. One without words matches every packet.
    ///
    /// # Errors
    /// [`ParseError`] at the first word that is wrong; its
    /// [`underline`](ParseError::underline) shows it.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Ok(Self { text: text.to_owned(), root: parse::filter(text)? })
    }

    /// The filter as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// True if it matches whatever the packet is.
    pub fn matches_all(&self) -> bool {
        self.root == Node::All(Vec::new())
    }

    /// True if `packet` is meant, whose headers were found to be `headers`: nothing if it is malformed.
    pub fn matches(&self, packet: &[u8], headers: Option<&Headers>) -> bool {
        if self.matches_all() {
            return true;
        }
        self.root.matches(headers.map(|headers| Seen::new(packet, headers)).as_ref())
    }
}

impl Node {
    fn matches(&self, seen: Option<&Seen<'_>>) -> bool {
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.matches(seen)),
            Self::Any(nodes) => nodes.iter().any(|node| node.matches(seen)),
            Self::Not(node) => !node.matches(seen),
            Self::Test(Test::Malformed) => seen.is_none(),
            Self::Test(test) => seen.is_some_and(|seen| seen.passes(*test)),
        }
    }
}

/// A packet while it is looked at.
struct Seen<'a> {
    packet: &'a [u8],
    /// Those of the packet; of a first fragment those with its transport header.
    headers: Headers,
    fragment: bool,
    ports: Option<(u16, u16)>,
}

impl<'a> Seen<'a> {
    fn new(packet: &'a [u8], headers: &Headers) -> Self {
        let mut headers = *headers;
        let fragment = headers.transport == Transport::Fragment;
        if fragment && Fragment::of(packet, &headers).is_some_and(|place| place.is_first()) {
            headers = fragment::first(packet, &headers).unwrap_or(headers);
        }
        let ports = match headers.transport {
            Transport::Tcp { src_port, dst_port, .. } | Transport::Udp { src_port, dst_port } => {
                Some((src_port, dst_port))
            }
            _ => None,
        };
        Self { packet, headers, fragment, ports }
    }

    fn passes(&self, test: Test) -> bool {
        let headers = &self.headers;
        let is_src = |end: Endpoint| end.matches(headers.src, self.ports.map(|ports| ports.0));
        let is_dst = |end: Endpoint| end.matches(headers.dst, self.ports.map(|ports| ports.1));
        match test {
            Test::Tcp => headers.protocol == TCP,
            Test::Udp => headers.protocol == UDP,
            Test::Icmp => self.is_icmp(),
            Test::Ip => true,
            Test::Family(family) => headers.family == family,
            Test::Src(end) => is_src(end),
            Test::Dst(end) => is_dst(end),
            Test::Host(end) => is_src(end) || is_dst(end),
            Test::Flags { flags: wanted, or_more } => match headers.transport {
                Transport::Tcp { flags, .. } => {
                    if or_more {
                        flags.contains(wanted)
                    } else {
                        flags == wanted
                    }
                }
                _ => false,
            },
            Test::Echo { request: wanted } => {
                matches!(headers.transport, Transport::Echo { request, .. } if request == wanted)
            }
            Test::IcmpError => headers.transport == Transport::IcmpError,
            Test::Fragment => self.fragment,
            Test::DontFragment => {
                headers.family == Family::V4 && self.packet.get(6).is_some_and(|b| b & 0x40 != 0)
            }
            Test::Malformed => false,
            Test::Field(field, range) => self.field(field).is_some_and(|v| range.contains(v)),
        }
    }

    fn is_icmp(&self) -> bool {
        let number = match self.headers.family {
            Family::V4 => 1,
            Family::V6 => 58,
        };
        self.headers.protocol == number
    }

    fn field(&self, field: Field) -> Option<u32> {
        let headers = &self.headers;
        let byte = |at| self.packet.get(at).copied();
        Some(match field {
            Field::Ttl => headers.ttl.into(),
            Field::Tos => match headers.family {
                Family::V4 => byte(1)?.into(),
                Family::V6 => (byte(0)? << 4 | byte(1)? >> 4).into(),
            },
            Field::Protocol => headers.protocol.into(),
            Field::Size => headers.total_len() as u32,
            Field::Payload => match headers.transport {
                Transport::Tcp { .. } => self.tcp()?.payload().len() as u32,
                Transport::Udp { .. } => self.transport()?.len().checked_sub(8)? as u32,
                _ => return None,
            },
            Field::Seq => self.tcp()?.seq(),
            Field::Ack => self.tcp()?.ack(),
            Field::Window => self.tcp()?.window().into(),
            Field::Type => self.icmp()?.kind().into(),
            Field::Code => self.icmp()?.code().into(),
            Field::EchoId => match headers.transport {
                Transport::Echo { id, .. } => id.into(),
                _ => return None,
            },
        })
    }

    fn transport(&self) -> Option<&'a [u8]> {
        self.packet.get(self.headers.l4()..self.headers.total_len())
    }

    fn tcp(&self) -> Option<Tcp<&'a [u8]>> {
        let is_tcp = matches!(self.headers.transport, Transport::Tcp { .. });
        Tcp::new_checked(self.transport().filter(|_| is_tcp)?)
    }

    fn icmp(&self) -> Option<Icmp<&'a [u8]>> {
        let shown = !self.fragment || self.headers.transport != Transport::Fragment;
        Icmp::new_checked(self.transport().filter(|_| self.is_icmp() && shown)?)
    }
}
