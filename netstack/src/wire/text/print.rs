//! From words to the line.

use std::fmt::{self, Display, Formatter, Write};
use std::net::{IpAddr, Ipv4Addr};

use super::build::padded;
use super::icmp::{self, Rest};
use super::{
    Body, ChecksumSpec, Description, IcmpSpec, IpSpec, PacketSpec, Payload, RawPacket, TcpSpec,
};
use crate::packet::{Checksum, GsoKind};
use crate::wire::headers::{TCP, UDP};
use crate::wire::{Address, Family, Malformed, TcpFlags};

impl Malformed {
    /// The reason in kebab case, as lines, counters and captures name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::IpVersion => "ip-version",
            Self::Truncated => "truncated",
            Self::IpHeaderLength => "ip-header-length",
            Self::IpTotalLength => "ip-total-length",
            Self::IpChecksum => "ip-checksum",
            Self::ExtensionHeader => "extension-header",
            Self::MappedAddress => "mapped-address",
            Self::TcpHeader => "tcp-header",
            Self::UdpLength => "udp-length",
            Self::IcmpLength => "icmp-length",
            Self::ChecksumOffload => "checksum-offload",
            Self::GsoKind => "gso-kind",
        }
    }
}

impl Display for Description {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packet(spec) => spec.fmt(f),
            Self::Raw(packet) => raw(f, packet, usize::MAX),
        }
    }
}

impl Display for PacketSpec {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        packet(f, self, false)
    }
}

/// A packet in bytes, of which at most `limit` are shown.
pub(super) fn raw(f: &mut impl Write, raw: &RawPacket, limit: usize) -> fmt::Result {
    let (data, offload) = (raw.packet.data(), raw.packet.offload);
    match raw.reason {
        Some(reason) => write!(f, "malformed {}", reason.name())?,
        None => f.write_str("raw")?,
    }
    write!(f, " len={}", data.len())?;
    match offload.checksum {
        Checksum::Complete => {}
        Checksum::Verified => f.write_str(" csum=verified")?,
        Checksum::Partial { start, offset } => {
            write!(f, " csum=partial start={start} offset={offset}")?;
        }
    }
    if let Some(gso) = offload.gso {
        write!(f, " gso={} kind={}", gso.size, gso_name(gso.kind))?;
        f.write_str(if gso.ecn { " ecn" } else { "" })?;
    }
    if !data.is_empty() {
        f.write_str(" data=")?;
        hex(f, &data[..data.len().min(limit)])?;
        f.write_str(if data.len() > limit { "..." } else { "" })?;
    }
    Ok(())
}

/// The name of a segmentation kind.
pub(super) const fn gso_name(kind: GsoKind) -> &'static str {
    match kind {
        GsoKind::TcpV4 => "tcp4",
        GsoKind::TcpV6 => "tcp6",
        GsoKind::Udp => "udp",
    }
}

pub(super) fn packet(f: &mut impl Write, spec: &PacketSpec, quoted: bool) -> fmt::Result {
    let family = spec.src.family();
    match &spec.body {
        Body::Tcp(tcp) => {
            ends(f, "tcp ", (spec.src, tcp.src_port), (spec.dst, tcp.dst_port))?;
            tcp_words(f, tcp, quoted)?;
        }
        Body::Udp { src_port, dst_port, length } => {
            ends(f, "udp ", (spec.src, *src_port), (spec.dst, *dst_port))?;
            if let Some(length) = length {
                number(f, " udplen=", *length)?;
            }
        }
        Body::Icmp(icmp) => {
            write!(f, "icmp {} > {}", spec.src, spec.dst)?;
            icmp_words(f, icmp, family)?;
        }
        Body::Raw { protocol } => {
            let name = match *protocol {
                TCP => Some("tcp"),
                UDP => Some("udp"),
                p if p == icmp_protocol(family) => Some("icmp"),
                _ => None,
            };
            match name.filter(|_| spec.ip.frag.is_some()) {
                Some(name) => write!(f, "{name} {} > {}", spec.src, spec.dst)?,
                None => write!(f, "ip {} > {} proto={protocol}", spec.src, spec.dst)?,
            }
        }
    }
    payload(f, &spec.payload)?;
    ip_words(f, &spec.ip, family)?;
    offload_words(f, spec)
}

/// The protocol number of a family's ICMP.
pub(super) const fn icmp_protocol(family: Family) -> u8 {
    match family {
        Family::V4 => crate::wire::headers::ICMPV4,
        Family::V6 => crate::wire::headers::ICMPV6,
    }
}

/// A decimal number behind a word.
fn number(f: &mut impl Write, word: &str, number: impl itoa::Integer) -> fmt::Result {
    f.write_str(word)?;
    f.write_str(itoa::Buffer::new().format(number))
}

/// Both ends, with their ports.
fn ends(
    f: &mut impl Write,
    protocol: &str,
    source: (Address, u16),
    destination: (Address, u16),
) -> fmt::Result {
    f.write_str(protocol)?;
    end(f, source)?;
    f.write_str(" > ")?;
    end(f, destination)
}

fn end(f: &mut impl Write, (address, port): (Address, u16)) -> fmt::Result {
    match IpAddr::from(address) {
        IpAddr::V4(address) => {
            let [first, rest @ ..] = address.octets();
            number(f, "", first)?;
            rest.into_iter().try_for_each(|octet| number(f, ".", octet))?;
        }
        IpAddr::V6(address) => write!(f, "[{address}]")?,
    }
    number(f, ":", port)
}

fn tcp_words(f: &mut impl Write, tcp: &TcpSpec, quoted: bool) -> fmt::Result {
    // The eight bytes that every error quotes end in front of the flags.
    if !(quoted && tcp.flags == TcpFlags(0)) {
        f.write_str(" ")?;
        tcp.flags.write_to(f)?;
    }
    number(f, " seq=", tcp.seq)?;
    if tcp.ack != 0 || tcp.flags.contains(TcpFlags::ACK) {
        number(f, " ack=", tcp.ack)?;
    }
    if tcp.window != u16::MAX {
        number(f, " win=", tcp.window)?;
    }
    if tcp.urgent != 0 {
        number(f, " urg=", tcp.urgent)?;
    }
    if tcp.reserved & 0xf != 0 {
        write!(f, " tcpres={}", tcp.reserved & 0xf)?;
    }
    tcp_options(f, &padded(&tcp.options))
}

fn tcp_options(f: &mut impl Write, mut rest: &[u8]) -> fmt::Result {
    let be32 = |b: &[u8]| b.iter().fold(0, |value: u32, byte| value << 8 | u32::from(*byte));
    loop {
        let len = match *rest {
            [] => return Ok(()),
            [1, ..] => 1,
            // Up to three zeros fill the last word.
            [0, ..] if rest.len() < 4 && rest.iter().all(|b| *b == 0) => return Ok(()),
            [kind, len, ..] if kind != 0 && (2..=rest.len()).contains(&usize::from(len)) => {
                usize::from(len)
            }
            _ => rest.len(),
        };
        let (option, behind) = rest.split_at(len);
        match *option {
            [1] => f.write_str(" nop")?,
            [2, 4, a, b] => number(f, " mss=", u16::from_be_bytes([a, b]))?,
            [3, 3, shift] => number(f, " ws=", shift)?,
            [4, 2] => f.write_str(" sackok")?,
            // An option longer than what is left of the header is none.
            [5, len @ (10 | 18 | 26 | 34), ref blocks @ ..] if option.len() == len.into() => {
                for (i, block) in blocks.chunks(8).enumerate() {
                    f.write_str(if i == 0 { " sack=" } else { "," })?;
                    write!(f, "{}-{}", be32(&block[..4]), be32(&block[4..]))?;
                }
            }
            [8, 10, ref times @ ..] if times.len() == 8 => {
                number(f, " ts=", be32(&times[..4]))?;
                number(f, "/", be32(&times[4..]))?;
            }
            _ => {
                f.write_str(" opt=")?;
                hex(f, option)?;
            }
        }
        rest = behind;
    }
}

fn icmp_words(f: &mut impl Write, icmp: &IcmpSpec, family: Family) -> fmt::Result {
    let IcmpSpec { kind, code, rest, about } = icmp;
    let name = icmp::kind_name(family, *kind, *code);
    match name {
        Some((name, _)) => write!(f, " {name}")?,
        None => write!(f, " type={kind}")?,
    }
    let said =
        name.is_some_and(|(name, says_code)| says_code || name != icmp::UNREACHABLE && *code == 0);
    match icmp::code_name(family, *kind, *code) {
        _ if said || name.is_none() && *code == 0 => {}
        Some(name) => write!(f, " code={name}")?,
        None => write!(f, " code={code}")?,
    }
    match (icmp::rest_of(family, *kind, *code), family) {
        (Rest::Echo, _) => write!(f, " id={} seq={}", rest >> 16, rest & 0xffff)?,
        (Rest::Mtu, Family::V4) if rest >> 16 == 0 => write!(f, " mtu={rest}")?,
        (Rest::Pointer, Family::V4) if rest.trailing_zeros() >= 24 => {
            write!(f, " pointer={}", rest >> 24)?;
        }
        (Rest::Mtu, Family::V6) => write!(f, " mtu={rest}")?,
        (Rest::Pointer, Family::V6) => write!(f, " pointer={rest}")?,
        (Rest::Gateway, _) => write!(f, " gateway={}", Ipv4Addr::from_bits(*rest))?,
        _ if *rest != 0 => write!(f, " rest={rest:#x}")?,
        _ => {}
    }
    if let Some(quote) = about {
        f.write_str(" about=(")?;
        packet(f, &quote.packet, true)?;
        f.write_str(")")?;
        if quote.len != quote.packet.default_quote() {
            write!(f, " cut={}", quote.len)?;
        }
    }
    Ok(())
}

impl PacketSpec {
    /// How many bytes of this packet an error quotes, if nothing else is said.
    pub(super) fn default_quote(&self) -> usize {
        let len = self.ip_bytes().map_or(0, |bytes| bytes.len());
        len.min(icmp::quote_limit(self.src.family()))
    }
}

fn payload(f: &mut impl Write, payload: &Payload) -> fmt::Result {
    let bytes = payload.bytes.as_slice();
    let text = |b: &u8| (b' '..=b'~').contains(b) || b"\n\r\t".contains(b);
    if !bytes.is_empty() && bytes.iter().all(text) {
        f.write_str(" data=\"")?;
        for byte in bytes {
            match byte {
                b'\n' => f.write_str("\\n")?,
                b'\r' => f.write_str("\\r")?,
                b'\t' => f.write_str("\\t")?,
                b'"' | b'\\' => write!(f, "\\{}", *byte as char)?,
                _ => write!(f, "{}", *byte as char)?,
            }
        }
        f.write_str("\"")?;
    } else if !bytes.is_empty() {
        f.write_str(" data=")?;
        hex(f, bytes)?;
    }
    if payload.len == bytes.len() { Ok(()) } else { number(f, " len=", payload.len) }
}

fn ip_words(f: &mut impl Write, ip: &IpSpec, family: Family) -> fmt::Result {
    number(f, " ttl=", ip.ttl)?;
    if ip.tos != 0 {
        write!(f, " tos={:#x}", ip.tos)?;
    }
    if ip.id != 0 && (family == Family::V4 || ip.frag.is_some()) {
        number(f, " ipid=", ip.id)?;
    }
    if let Some(frag) = ip.frag {
        write!(f, " frag={}{}", frag.offset, if frag.more { "+" } else { "" })?;
    }
    if family == Family::V6 {
        if ip.flow_label != 0 {
            write!(f, " flow={:#x}", ip.flow_label)?;
        }
        for extension in &ip.extensions {
            write!(f, " ext={}:", extension.protocol)?;
            hex(f, &extension.body)?;
        }
        return Ok(());
    }
    f.write_str(if ip.df { " df" } else { "" })?;
    f.write_str(if ip.reserved { " reserved" } else { "" })?;
    if !ip.options.is_empty() {
        f.write_str(" ipopt=")?;
        hex(f, &ip.options)?;
    }
    if let Some(sum) = ip.header_sum {
        write!(f, " ipsum={sum:#06x}")?;
    }
    Ok(())
}

fn offload_words(f: &mut impl Write, spec: &PacketSpec) -> fmt::Result {
    if let Some(gso) = spec.gso {
        write!(f, " gso={}{}", gso.size, if gso.ecn { " ecn" } else { "" })?;
    }
    match spec.checksum {
        // What a super-packet has unless said otherwise.
        ChecksumSpec::Partial if spec.gso.is_some() => {}
        ChecksumSpec::Complete if spec.gso.is_none() => {}
        checksum => write!(f, " csum={}", checksum.name())?,
    }
    match spec.sum {
        Some(sum) => write!(f, " sum={sum:#06x}"),
        None => Ok(()),
    }
}

impl ChecksumSpec {
    /// Every state, in the order of declaration.
    pub const ALL: [Self; 5] =
        [Self::Complete, Self::Partial, Self::Verified, Self::Bad, Self::None];

    /// The word behind `csum=`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Verified => "verified",
            Self::Bad => "bad",
            Self::None => "none",
        }
    }
}

fn hex(f: &mut impl Write, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}
