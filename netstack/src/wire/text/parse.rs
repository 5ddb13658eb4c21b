//! From the line to words.

use super::icmp::{self, Rest};
use super::lex::{Word, words};
use super::print::icmp_protocol;
use super::{
    Body, BuildError, ChecksumSpec, Description, Extension, Frag, GsoSpec, IcmpSpec, IpSpec,
    MAX_LINE, PacketSpec, ParseError, Payload, Quote, TcpSpec, raw,
};
use crate::wire::headers::{TCP, UDP};
use crate::wire::{Address, Family, TcpFlags};

/// Words that a line may repeat: extension headers and TCP options, as a packet may.
const REPEATED: [&str; 8] = ["ext", "nop", "opt", "sack", "mss", "ws", "sackok", "ts"];

const ANY_WORDS: &str =
    "len, data, ttl, tos, ipid, df, frag, reserved, ipopt, ipsum, flow, ext, csum, sum";

pub(super) fn line(text: &str) -> Result<Description, ParseError> {
    if text.len() > MAX_LINE {
        let message = format!("a line is at most {MAX_LINE} bytes long");
        return Err(ParseError::new(0..text.len(), message));
    }
    let words = words(text, 0)?;
    let Some((proto, rest)) = words.split_first() else {
        return Err(ParseError::new(
            0..text.len(),
            "an empty line: try tcp 10.1.0.5:40000 > 10.99.0.1:80 S",
        ));
    };
    match proto.text {
        "raw" | "malformed" => raw::parse(*proto, rest).map(Description::Raw),
        _ => {
            let spec = Parser::new(*proto, rest, false)?.read(rest.get(3..).unwrap_or_default())?;
            match spec.build() {
                Ok(_) => Ok(Description::Packet(Box::new(spec))),
                Err(e) => Err(ParseError::new(0..text.len(), e.to_string())),
            }
        }
    }
}

struct Parser<'a> {
    spec: PacketSpec,
    family: Family,
    proto: Word<'a>,
    /// This is the line of a quoted packet.
    quoted: bool,
    seen: Vec<&'a str>,
    flags: bool,
    csum: bool,
    ecn: Option<Word<'a>>,
    id: Option<Word<'a>>,
    len: Option<Word<'a>>,
    cut: Option<Word<'a>>,
    protocol: Option<u8>,
}

impl<'a> Parser<'a> {
    /// Reads protocol and endpoints.
    fn new(proto: Word<'a>, rest: &[Word<'a>], quoted: bool) -> Result<Self, ParseError> {
        let [src_word, arrow, dst_word, ..] = *rest else {
            let end = rest.last().copied().unwrap_or(proto).span().end;
            let message = "a line begins with protocol, source, > and destination";
            return Err(ParseError::new(proto.at..end, message));
        };
        if arrow.text != ">" {
            return Err(arrow.error("source and destination stand on the two sides of a lone >"));
        }
        let ((src, src_port), (dst, dst_port)) = (src_word.endpoint()?, dst_word.endpoint()?);
        let family = src.family();
        if dst.family() != family {
            return Err(dst_word.error(BuildError::Families.to_string()));
        }
        let ports = match (src_port, dst_port) {
            (Some(src_port), Some(dst_port)) => Some((src_port, dst_port)),
            (None, None) => None,
            (Some(_), None) => return Err(dst_word.error("the destination has no port")),
            (None, Some(_)) => return Err(src_word.error("the source has no port")),
        };
        let body = match (proto.text, ports) {
            ("tcp", Some(ports)) => Body::Tcp(TcpSpec {
                src_port: ports.0,
                dst_port: ports.1,
                flags: TcpFlags(0),
                seq: 0,
                ack: 0,
                window: u16::MAX,
                urgent: 0,
                reserved: 0,
                options: Vec::new(),
            }),
            ("udp", Some((src_port, dst_port))) => Body::Udp { src_port, dst_port, length: None },
            ("tcp", None) => Body::Raw { protocol: TCP },
            ("udp", None) => Body::Raw { protocol: UDP },
            ("icmp", None) => Body::Raw { protocol: icmp_protocol(family) },
            ("ip", None) => Body::Raw { protocol: 0 },
            ("icmp" | "ip", Some(_)) => {
                return Err(src_word.error(format!("{} has no ports", proto.text)));
            }
            _ => return Err(proto.error("a line begins with tcp, udp, icmp, ip, raw or malformed")),
        };
        let spec = packet_spec(src, dst, body);
        Ok(Self {
            spec,
            family,
            proto,
            quoted,
            seen: Vec::new(),
            flags: false,
            csum: false,
            ecn: None,
            id: None,
            len: None,
            cut: None,
            protocol: None,
        })
    }

    /// Reads the words behind the endpoints.
    fn read(mut self, words: &[Word<'a>]) -> Result<PacketSpec, ParseError> {
        for word in words {
            let (name, value) = word.split();
            if !REPEATED.contains(&name) {
                if self.seen.contains(&name) {
                    return Err(word.error(format!("{name} is here for the second time")));
                }
                self.seen.push(name);
            }
            let known = match value {
                Some(value) => self.ip_value(name, value)? || self.body_value(name, value)?,
                None => self.bare_word(*word)?,
            };
            if !known {
                return Err(self.unknown(*word, name));
            }
        }
        self.finish()
    }

    fn unknown(&self, word: Word<'a>, name: &str) -> ParseError {
        let own = match self.spec.body {
            Body::Tcp(_) => {
                "flags (S S. P. . F. R none), seq, ack, win, urg, tcpres, mss, ws, sackok, sack, ts, nop, \
                 opt, gso, ecn"
            }
            Body::Udp { .. } => "udplen, gso, ecn",
            Body::Icmp(_) => "type, code, rest, id, seq, mtu, pointer, gateway, about, cut",
            Body::Raw { .. } if self.proto.text == "icmp" => &icmp::kind_names(self.family),
            Body::Raw { .. } if self.proto.text == "ip" => "proto",
            Body::Raw { .. } => "ports (10.1.0.5:40000)",
        };
        word.error(format!("{} does not know {name}: it takes {own}; {ANY_WORDS}", self.proto.text))
    }

    /// A word without a value.
    fn bare_word(&mut self, word: Word<'a>) -> Result<bool, ParseError> {
        match (word.text, &mut self.spec.body, self.family) {
            ("df", _, Family::V4) => self.spec.ip.df = true,
            ("reserved", _, Family::V4) => self.spec.ip.reserved = true,
            ("df" | "reserved", _, Family::V6) => {
                return Err(word.error("IPv6 has no such flag"));
            }
            ("ecn", Body::Tcp(_) | Body::Udp { .. }, _) => self.ecn = Some(word),
            ("nop", Body::Tcp(tcp), _) => tcp.options.push(1),
            ("sackok", Body::Tcp(tcp), _) => tcp.options.extend([4, 2]),
            (text, Body::Tcp(tcp), _) => {
                let Some(flags) = tcp_flags(text) else { return Ok(false) };
                if self.flags {
                    return Err(word.error("these are the second flags"));
                }
                tcp.flags = flags;
                self.flags = true;
            }
            (text, body @ Body::Raw { .. }, family) if self.proto.text == "icmp" => {
                let Some((kind, code)) = icmp::kind_by_name(family, text) else { return Ok(false) };
                *body = Body::Icmp(IcmpSpec { kind, code, rest: 0, about: None });
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// A word that every protocol takes.
    fn ip_value(&mut self, name: &str, value: Word<'a>) -> Result<bool, ParseError> {
        let ip = &mut self.spec.ip;
        match (name, self.family) {
            ("ttl", _) => ip.ttl = value.u8(name)?,
            ("tos", _) => ip.tos = value.u8(name)?,
            ("ipid", Family::V4) => ip.id = value.u16(name)?.into(),
            ("ipid", Family::V6) => {
                ip.id = value.u32(name)?;
                self.id = Some(value);
            }
            ("frag", _) => ip.frag = Some(frag(value)?),
            ("ipopt", Family::V4) => ip.options = padded_hex(name, value)?,
            ("ipsum", Family::V4) => ip.header_sum = Some(value.u16(name)?),
            ("ipopt" | "ipsum", Family::V6) => return Err(value.error("IPv6 has no such field")),
            ("flow", Family::V6) => ip.flow_label = value.number(name, 0xf_ffff)?,
            ("ext", Family::V6) => ip.extensions.push(extension(value)?),
            ("flow" | "ext", Family::V4) => return Err(value.error("IPv4 has no such field")),
            ("len", _) => {
                self.spec.payload.len = value.u16(name)?.into();
                self.len = Some(value);
            }
            ("data", _) => self.spec.payload.bytes = value.bytes(name)?,
            ("csum", _) => {
                self.spec.checksum =
                    ChecksumSpec::ALL.into_iter().find(|c| c.name() == value.text).ok_or_else(
                        || value.error("csum is complete, partial, verified, bad or none"),
                    )?;
                self.csum = true;
            }
            ("sum", _) => self.spec.sum = Some(value.u16(name)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// A word that one protocol takes.
    fn body_value(&mut self, name: &str, value: Word<'a>) -> Result<bool, ParseError> {
        if name == "gso" && matches!(self.spec.body, Body::Tcp(_) | Body::Udp { .. }) {
            let size = value.u16(name)?;
            self.spec.gso = Some(GsoSpec { size, ecn: false });
            return if size == 0 { Err(value.error("segments of no size")) } else { Ok(true) };
        }
        match &mut self.spec.body {
            Body::Tcp(tcp) => tcp_value(tcp, name, value),
            Body::Udp { length, .. } => {
                *length = if name == "udplen" { Some(value.u16(name)?) } else { return Ok(false) };
                Ok(true)
            }
            body @ Body::Raw { .. } if self.proto.text == "icmp" && name == "type" => {
                let kind = value.u8(name)?;
                *body = Body::Icmp(IcmpSpec { kind, code: 0, rest: 0, about: None });
                Ok(true)
            }
            Body::Icmp(icmp) if name == "about" => {
                if self.quoted {
                    return Err(value.error("a quoted packet is written without what it quotes"));
                }
                icmp.about = Some(Box::new(quote(value, self.family)?));
                Ok(true)
            }
            Body::Icmp(_) if name == "cut" => {
                self.cut = Some(value);
                Ok(true)
            }
            Body::Icmp(icmp) => icmp_value(icmp, self.family, name, value),
            Body::Raw { .. } if self.proto.text == "ip" && name == "proto" => {
                self.protocol = Some(value.u8(name)?);
                Ok(true)
            }
            Body::Raw { .. } => Ok(false),
        }
    }

    /// What only the whole line can tell.
    fn finish(mut self) -> Result<PacketSpec, ParseError> {
        let spec = &mut self.spec;
        match &mut spec.body {
            Body::Tcp(tcp) => {
                tcp.options = super::build::padded(&tcp.options);
                if !(self.flags || self.quoted) {
                    return Err(self
                        .proto
                        .error("tcp needs flags: S for a SYN, . for an ACK, none for none"));
                }
            }
            Body::Raw { protocol } if self.proto.text == "ip" => {
                *protocol = self
                    .protocol
                    .ok_or_else(|| self.proto.error("ip needs proto=N, the protocol number"))?;
            }
            Body::Raw { .. } if spec.ip.frag.is_none() => {
                return Err(match self.proto.text {
                    "icmp" => self.proto.error(format!(
                        "icmp needs a kind: {}; or type=N",
                        icmp::kind_names(self.family)
                    )),
                    _ => self.proto.error("ports are missing: 10.1.0.5:40000 or [fd99::1]:40000"),
                });
            }
            _ => {}
        }
        if let Some(word) = self.id.filter(|_| spec.ip.frag.is_none()) {
            return Err(word.error("IPv6 has an identification only with frag"));
        }
        match (self.ecn, &mut spec.gso) {
            (Some(_), Some(gso)) => gso.ecn = true,
            (Some(word), None) => {
                return Err(word.error("ecn belongs to a super-packet: gso is missing"));
            }
            (None, _) => {}
        }
        if spec.gso.is_some() && !self.csum {
            spec.checksum = ChecksumSpec::Partial;
        }
        let Payload { bytes, len } = &mut spec.payload;
        match self.len {
            None => *len = bytes.len(),
            Some(word) if *len < bytes.len() => {
                return Err(word.error(format!("data is already {} bytes long", bytes.len())));
            }
            Some(_) => {}
        }
        if let Some(word) = self.cut {
            let len = word.u16("cut")?.into();
            match &mut spec.body {
                Body::Icmp(IcmpSpec { about: Some(quote), .. }) => quote.len = len,
                _ => return Err(word.error("there is nothing to cut: about is missing")),
            }
        }
        Ok(self.spec)
    }
}

fn packet_spec(src: Address, dst: Address, body: Body) -> PacketSpec {
    PacketSpec {
        src,
        dst,
        ip: IpSpec::default(),
        body,
        payload: Payload::default(),
        checksum: ChecksumSpec::Complete,
        sum: None,
        gso: None,
    }
}

fn tcp_flags(text: &str) -> Option<TcpFlags> {
    if text == "none" {
        return Some(TcpFlags(0));
    }
    let flag = |c| match c {
        'F' => Some(TcpFlags::FIN),
        'S' => Some(TcpFlags::SYN),
        'R' => Some(TcpFlags::RST),
        'P' => Some(TcpFlags::PSH),
        '.' => Some(TcpFlags::ACK),
        'U' => Some(TcpFlags::URG),
        'E' => Some(TcpFlags::ECE),
        'W' => Some(TcpFlags::CWR),
        _ => None,
    };
    text.chars().try_fold(TcpFlags(0), |flags, c| flag(c).map(|flag| flags | flag))
}

fn tcp_value(tcp: &mut TcpSpec, name: &str, value: Word<'_>) -> Result<bool, ParseError> {
    match name {
        "seq" => tcp.seq = value.u32(name)?,
        "ack" => tcp.ack = value.u32(name)?,
        "win" => tcp.window = value.u16(name)?,
        "urg" => tcp.urgent = value.u16(name)?,
        "tcpres" => tcp.reserved = value.number(name, 15)? as u8,
        "mss" => {
            tcp.options.extend([2, 4]);
            tcp.options.extend(value.u16(name)?.to_be_bytes());
        }
        "ws" => tcp.options.extend([3, 3, value.u8(name)?]),
        "sack" => {
            let blocks = pairs(value, "sack", ',', '-')?;
            if blocks.is_empty() || blocks.len() > 4 {
                return Err(value.error("sack is one to four blocks: 1000-2000,3000-4000"));
            }
            tcp.options.extend([5, 2 + 8 * blocks.len() as u8]);
            let edges = blocks.into_iter().flat_map(|(left, right)| [left, right]);
            tcp.options.extend(edges.flat_map(u32::to_be_bytes));
        }
        "ts" => {
            let (time, echo) = if value.text.contains('/') {
                pairs(value, "ts", '\0', '/')?.first().copied().unwrap_or_default()
            } else {
                (value.u32(name)?, 0)
            };
            tcp.options.extend([8, 10]);
            tcp.options.extend([time, echo].into_iter().flat_map(u32::to_be_bytes));
        }
        "opt" => tcp.options.extend(value.hex(name)?),
        _ => return Ok(false),
    }
    Ok(true)
}

/// `A-B,C-D` with the given separators.
fn pairs(
    value: Word<'_>,
    name: &str,
    outer: char,
    inner: char,
) -> Result<Vec<(u32, u32)>, ParseError> {
    let mut at = value.at;
    let mut found = Vec::new();
    for text in value.text.split(outer) {
        let pair = Word { text, at };
        let (a, b) = text
            .split_once(inner)
            .ok_or_else(|| pair.error(format!("{name} has two numbers with {inner} in between")))?;
        let (first, second) = (Word { text: a, at }, Word { text: b, at: at + a.len() + 1 });
        found.push((first.u32(name)?, second.u32(name)?));
        at += text.len() + 1;
    }
    Ok(found)
}

fn icmp_value(
    icmp: &mut IcmpSpec,
    family: Family,
    name: &str,
    value: Word<'_>,
) -> Result<bool, ParseError> {
    let low = icmp.rest & 0xffff;
    match (icmp::rest_of(family, icmp.kind, icmp.code), family, name) {
        (_, _, "code") => {
            icmp.code = match icmp::code_by_name(family, icmp.kind, value.text) {
                Some(code) => code,
                None => value.u8(name)?,
            }
        }
        (_, _, "rest") => icmp.rest = value.u32(name)?,
        (Rest::Echo, _, "id") => icmp.rest = IcmpSpec::echo(value.u16(name)?, low as u16),
        (Rest::Echo, _, "seq") => icmp.rest = icmp.rest & 0xffff_0000 | u32::from(value.u16(name)?),
        (Rest::Mtu, Family::V4, "mtu") => icmp.rest = value.u16(name)?.into(),
        (Rest::Pointer, Family::V4, "pointer") => icmp.rest = u32::from(value.u8(name)?) << 24,
        (Rest::Mtu, Family::V6, "mtu") | (Rest::Pointer, Family::V6, "pointer") => {
            icmp.rest = value.u32(name)?;
        }
        (Rest::Gateway, _, "gateway") => {
            let gateway = value.address()?;
            let octets = gateway.octets().first_chunk().filter(|_| gateway.is_v4());
            let octets = octets.ok_or_else(|| value.error("a gateway is an IPv4 address"))?;
            icmp.rest = u32::from_be_bytes(*octets);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// `(LINE)`.
fn quote(value: Word<'_>, family: Family) -> Result<Quote, ParseError> {
    let inner = value.text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let inner = inner.ok_or_else(|| value.error("about is a packet line in parentheses"))?;
    let words = words(inner, value.at + 1)?;
    let Some((proto, rest)) = words.split_first() else {
        return Err(value.error("about is a packet line in parentheses"));
    };
    let packet = Parser::new(*proto, rest, true)?.read(rest.get(3..).unwrap_or_default())?;
    if packet.src.family() != family {
        return Err(value.error("an error is about a packet of its own family"));
    }
    packet.ip_bytes().map_err(|e| value.error(e.to_string()))?;
    let len = packet.default_quote();
    Ok(Quote { packet, len })
}

fn frag(value: Word<'_>) -> Result<Frag, ParseError> {
    let (text, more) = match value.text.strip_suffix('+') {
        Some(text) => (text, true),
        None => (value.text, false),
    };
    let offset = Word { text, at: value.at }.u16("frag")?;
    if offset % 8 != 0 {
        return Err(value.error("a fragment's offset is a multiple of 8 bytes"));
    }
    Ok(Frag { offset, more })
}

fn padded_hex(name: &str, value: Word<'_>) -> Result<Vec<u8>, ParseError> {
    Ok(super::build::padded(&value.hex(name)?))
}

fn extension(value: Word<'_>) -> Result<Extension, ParseError> {
    let (protocol, body) = value
        .text
        .split_once(':')
        .ok_or_else(|| value.error("ext is PROTO:HEX, such as 60:010400000000"))?;
    let at = value.at + protocol.len() + 1;
    Ok(Extension {
        protocol: Word { text: protocol, at: value.at }.u8("ext")?,
        body: Word { text: body, at }.hex("ext")?,
    })
}
