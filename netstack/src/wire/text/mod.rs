//! The packet line: one grammar in which every packet is written, printed and read back.
//!
//! ```text
//! proto src > dst [flags] [key=value…]
//!
//! tcp 10.1.0.5:40000 > 10.99.0.1:80 S seq=1000 mss=1460 ttl=64
//! udp [fd99::1]:5000 > [fd99::2]:53 len=20
//! icmp 10.1.0.5 > 10.99.0.1 echo id=7 seq=1
//! icmp 10.0.0.9 > 10.99.0.250 unreachable code=port about=(udp 10.99.0.250:5000 > 10.2.0.11:53)
//! ip 10.1.0.5 > 10.99.0.1 proto=47 len=64
//! ```
//!
//! # Words
//!
//! | protocol | words, with their defaults |
//! |---|---|
//! | `tcp` | flags as tcpdump prints them (`S`, `S.`, `P.`, `.`, `none`), required; `seq=0`, `ack=0`, `win=65535`, `urg=0`, `tcpres=0` (the reserved bits); options in the order of writing: `mss=1460`, `ws=7`, `sackok`, `sack=1-9,20-30`, `ts=VAL/ECR`, `nop`, `opt=HEX` (raw); padded with zeros |
//! | `udp` | `udplen=N`: a length field other than the true one |
//! | `icmp` | both families. `echo` or `reply` with `id=0`, `seq=0`; `unreachable code=port`, `too-big mtu=N`, `ttl-exceeded code=transit`, `parameter-problem pointer=N`, `source-quench`, `redirect gateway=ADDR`; any other by `type=N code=N rest=0xN`. An error quotes `about=(LINE)`, whole up to the limit of RFC 1812 or RFC 4443, or its first `cut=N` bytes |
//! | `ip` | `proto=N` |
//! | any | payload: `len=N` bytes of `abc…zabc…`, `data="text"` (escapes `\n \r \t \" \\ \xHH`) or `data=HEX`; with both, `len` is the whole length |
//! | any | `ttl=64` (hop limit), `tos=0` (traffic class), `ipid=0`, `df`, `frag=OFFSET[+]` in bytes, `+` if more follow; IPv4: `reserved` (the third flag), `ipopt=HEX`, `ipsum=N` (the header checksum as given); IPv6: `flow=0`, `ext=PROTO:HEX` (an extension header without its first two bytes) |
//! | any | `csum=complete`, `partial`, `verified`, `bad` or `none`; `sum=N` (the transport checksum as given) |
//! | tcp, udp | `gso=SIZE`: a super-packet, with a partial checksum; `ecn` with it |
//!
//! `tcp`, `udp` and `icmp` without ports or kind are fragments that do not show a transport header:
//! `udp 10.1.0.5 > 10.99.0.1 frag=1480 ipid=7 len=20`. A first fragment's checksum and length are
//! those of the fragment alone unless `sum=` and `udplen=` say otherwise.
//!
//! What [`Headers::parse`](super::Headers::parse) refuses is written in bytes, with the reason:
//! `malformed ip-total-length len=40 data=45…`; `raw` in place of the reason is a packet with
//! details that no word exists for.
//!
//! Which packets are meant, a [`filter::Filter`] says in the same words.
//!
//! # Two levels of detail
//!
//! [`Line::of`] is for people: the payload is a length, a wrong checksum is `csum=bad`, and what is
//! read back has the same headers. [`Line::exact`] is for machines: what is read back has the same
//! bytes and the same offload state (but for [`Gso::header_len`](crate::packet::Gso), a hint).

use std::error::Error;
use std::fmt;
use std::ops::Range;

use crate::packet::Packet;
use crate::wire::{Address, Malformed, TcpFlags};

mod build;
mod dissect;
pub mod filter;
mod icmp;
mod lex;
mod parse;
mod print;
mod raw;
#[cfg(test)]
mod tests;

/// The longest line that is read, in bytes: enough for the longest packet in hexadecimal.
pub const MAX_LINE: usize = 256 * 1024;

/// Bytes of a malformed packet that [`Line::of`] shows.
pub const MAX_SHOWN: usize = 48;

/// A packet in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketSpec {
    /// Source address.
    pub src: Address,
    /// Destination address, of the same family.
    pub dst: Address,
    /// The IP header.
    pub ip: IpSpec,
    /// The transport header.
    pub body: Body,
    /// What follows the transport header (and an ICMP error's quote).
    pub payload: Payload,
    /// The state of the transport checksum.
    pub checksum: ChecksumSpec,
    /// The transport checksum field, if it is not what `checksum` makes of it.
    pub sum: Option<u16>,
    /// Set on a super-packet.
    pub gso: Option<GsoSpec>,
}

/// The IP header's fields other than addresses, lengths and protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpSpec {
    /// TTL or hop limit.
    pub ttl: u8,
    /// TOS or traffic class.
    pub tos: u8,
    /// Identification: 16 bits in IPv4; 32 bits in IPv6, if there is a fragment header.
    pub id: u32,
    /// Do not fragment (IPv4).
    pub df: bool,
    /// The flag that must be zero (IPv4).
    pub reserved: bool,
    /// Place in a fragmented datagram; in IPv6 this adds a fragment header.
    pub frag: Option<Frag>,
    /// Flow label (IPv6), 20 bits.
    pub flow_label: u32,
    /// Options (IPv4), padded with zeros to a multiple of four; at most 40 bytes.
    pub options: Vec<u8>,
    /// The header checksum (IPv4), if it is not the right one.
    pub header_sum: Option<u16>,
    /// Extension headers (IPv6) in front of the fragment header.
    pub extensions: Vec<Extension>,
}

impl Default for IpSpec {
    fn default() -> Self {
        Self {
            ttl: 64,
            tos: 0,
            id: 0,
            df: false,
            reserved: false,
            frag: None,
            flow_label: 0,
            options: Vec::new(),
            header_sum: None,
            extensions: Vec::new(),
        }
    }
}

/// Place in a fragmented datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frag {
    /// Offset in bytes, a multiple of eight up to 65,528.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
}

/// An IPv6 extension header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// Its protocol number: 0 hop-by-hop, 43 routing, 60 destination options.
    pub protocol: u8,
    /// What follows its next-header and length fields: 6 bytes and a multiple of 8, at most 2,046.
    pub body: Vec<u8>,
}

/// A transport header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// TCP.
    Tcp(TcpSpec),
    /// UDP.
    Udp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
        /// The length field, if it is not the true one.
        length: Option<u16>,
    },
    /// ICMP of the addresses' family.
    Icmp(IcmpSpec),
    /// No transport header that is looked at.
    Raw {
        /// The IP protocol number.
        protocol: u8,
    },
}

/// A TCP header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpSpec {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Control bits.
    pub flags: TcpFlags,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// Window field, unscaled.
    pub window: u16,
    /// Urgent pointer.
    pub urgent: u16,
    /// The four bits behind the data offset.
    pub reserved: u8,
    /// Options, padded with zeros to a multiple of four; at most 40 bytes.
    pub options: Vec<u8>,
}

/// An ICMP header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IcmpSpec {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// The four bytes behind the checksum: identifier and sequence, MTU, pointer, …
    pub rest: u32,
    /// The packet that an error quotes.
    pub about: Option<Box<Quote>>,
}

/// The packet that an ICMP error quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The whole packet, as it was.
    pub packet: PacketSpec,
    /// How many bytes of it are quoted.
    pub len: usize,
}

/// Bytes, followed by the fixed pattern `abc…zabc…` up to a length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// The first bytes.
    pub bytes: Vec<u8>,
    /// The length of all; no less than that of `bytes`.
    pub len: usize,
}

impl Payload {
    /// `len` bytes of the pattern.
    pub const fn pattern(len: usize) -> Self {
        Self { bytes: Vec::new(), len }
    }

    /// The bytes of the pattern from offset `from` on.
    pub fn pattern_bytes(from: usize) -> impl Iterator<Item = u8> {
        (b'a'..=b'z').cycle().skip(from % 26)
    }
}

/// What the transport checksum is to be, and what the offload state says of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChecksumSpec {
    /// Complete and right.
    #[default]
    Complete,
    /// The sum of the pseudo-header, to be completed by who sends the packet on a wire.
    Partial,
    /// Complete and right, and vouched for by a device.
    Verified,
    /// Complete and wrong.
    Bad,
    /// Zero: absent, if this is UDP over IPv4.
    None,
}

/// Segmentation of a super-packet; its kind is that of the protocol and the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GsoSpec {
    /// Payload bytes of each segment, at least 1.
    pub size: u16,
    /// The first segment carries CWR.
    pub ecn: bool,
}

/// A packet given by its bytes.
#[derive(Clone, Debug)]
pub struct RawPacket {
    /// Why it has no other form; nothing if it is only unusual.
    pub reason: Option<Malformed>,
    /// Bytes and offload state.
    pub packet: Packet,
}

/// What a line says.
#[derive(Clone, Debug)]
pub enum Description {
    /// A packet in words.
    Packet(Box<PacketSpec>),
    /// A packet in bytes.
    Raw(RawPacket),
}

impl Description {
    /// The packet.
    ///
    /// # Errors
    /// [`BuildError`]; never for what [`parse`] returned.
    pub fn build(&self) -> Result<Packet, BuildError> {
        match self {
            Self::Packet(spec) => spec.build(),
            Self::Raw(raw) => Ok(raw.packet.clone()),
        }
    }
}

/// A specification that no packet can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// Longer than [`MAX_PACKET_LEN`](crate::packet::MAX_PACKET_LEN).
    TooLong,
    /// More than 40 bytes of IPv4 or TCP options.
    Options,
    /// An extension header whose body is not 6 bytes and a multiple of 8, up to 2,046.
    Extension,
    /// Source and destination of two families.
    Families,
    /// A super-packet of neither TCP nor UDP, or of segments of no size.
    Gso,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the packet would be longer than 65535 bytes",
            Self::Options => "more than 40 bytes of options",
            Self::Extension => {
                "an extension header has 6, 14, 22 … bytes behind its length, at most 2046"
            }
            Self::Families => "source and destination are of two families",
            Self::Gso => "only TCP and UDP have super-packets, of segments of 1 byte or more",
        })
    }
}

impl Error for BuildError {}

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The bytes of the line that are wrong.
    pub span: Range<usize>,
    /// What is wrong with them, and what would be right.
    pub message: String,
}

impl ParseError {
    fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into() }
    }

    /// The line with the wrong part underlined and the message below it.
    pub fn underline(&self, line: &str) -> String {
        let end = self.span.end.min(line.len());
        let start = self.span.start.min(end);
        let width = |range| line.get::<Range<usize>>(range).map_or(0, |text| text.chars().count());
        let carets = "^".repeat(width(start..end).max(1));
        format!("{line}\n{}{carets} {}", " ".repeat(width(0..start)), self.message)
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (bytes {} to {})", self.message, self.span.start, self.span.end)
    }
}

impl Error for ParseError {}

/// Reads a line.
///
/// # Errors
/// [`ParseError`] at the first word that is wrong.
pub fn parse(line: &str) -> Result<Description, ParseError> {
    parse::line(line)
}

/// Reads a line and builds its packet.
///
/// # Errors
/// [`ParseError`] at the first word that is wrong.
pub fn packet(line: &str) -> Result<Packet, ParseError> {
    parse(line)?.build().map_err(|e| ParseError::new(0..line.len(), e.to_string()))
}

/// A packet that prints as its line.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    packet: &'a Packet,
    exact: bool,
}

impl<'a> Line<'a> {
    /// The line for people: payload as a length.
    pub const fn of(packet: &'a Packet) -> Self {
        Self { packet, exact: false }
    }

    /// The line that reads back as the same bytes.
    pub const fn exact(packet: &'a Packet) -> Self {
        Self { packet, exact: true }
    }

    /// Puts the line behind what is in `text`, faster than formatting does.
    pub fn write_to(&self, text: &mut String) {
        // Writing to a string does not fail.
        let _ = self.write(text);
    }

    fn write(&self, f: &mut impl fmt::Write) -> fmt::Result {
        match self.describe() {
            Description::Packet(spec) => print::packet(f, &spec, false),
            Description::Raw(raw) => {
                print::raw(f, &raw, if self.exact { usize::MAX } else { MAX_SHOWN })
            }
        }
    }

    /// What the line says, before it is printed.
    pub fn describe(&self) -> Description {
        dissect::describe(self.packet, self.exact)
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
    }
}
