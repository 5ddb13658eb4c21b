//! Reading the header: who the client is, told to us.
//!
//! # Theory of operation
//! [`parse`] is a pure function of the first bytes of a connection, strict and bounded. It says how many
//! bytes are missing at least, and never more than the header has: so it can be read without a byte of
//! what follows, which belongs to TLS or HTTP. Text is recognised as a header only as
//! `proxy-protocol.txt` 2.1 writes it, and a binary one (2.2) must fit its length to the last TLV.
//!
//! A header whose command is LOCAL, or whose protocol is not known to its sender (UNKNOWN, UNSPEC), says
//! nothing of a client: the addresses of the connection itself hold. One that is about datagrams or Unix
//! sockets is refused: it cannot be of this connection.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use nat::Prefix;
use netstack::wire::Address;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::crc32c::crc32c;
use super::{PROXY, SIGNATURE, TCP4, TCP6};
use crate::limits::PROXY_HEADER_BYTES;
use crate::unserved::Unserved;

const TEXT: &[u8] = b"PROXY ";
/// The shortest line and the longest, ends included.
const SHORTEST_LINE: usize = b"PROXY UNKNOWN\r\n".len();
const LONGEST_LINE: usize = 107;
const FIXED: usize = 16;
/// Version 2, command LOCAL: on behalf of the sender itself.
const LOCAL: u8 = 0x20;
const UNSPEC: u8 = 0;
const CRC32C: u8 = 3;

/// Both ends of a connection, as a header names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The client.
    pub client: SocketAddr,
    /// What it connected to.
    pub service: SocketAddr,
}

/// How far a header is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// So many bytes are missing at least.
    Missing(usize),
    /// It is here.
    Header {
        /// Its length in bytes.
        len: usize,
        /// What it says; nothing if the connection is its sender's own, or of a kind unknown to it.
        ends: Option<Ends>,
    },
}

/// Why bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHeader {
    /// They do not begin as one.
    NotOne,
    /// They begin as one, and break a rule.
    Malformed(&'static str),
}

const OTHER_FORM: BadHeader = BadHeader::Malformed("a line of another form");

/// Reads the header that a connection begins with.
///
/// # Errors
/// [`BadHeader`] if the bytes are not the beginning of one, whatever follows.
pub fn parse(bytes: &[u8]) -> Result<Parsed, BadHeader> {
    let begins = |start: &[u8]| bytes.iter().zip(start).all(|(found, right)| found == right);
    if begins(TEXT) {
        match bytes.len() {
            // What both forms begin with is nothing.
            0 => Ok(Parsed::Missing(SHORTEST_LINE)),
            _ => line(bytes),
        }
    } else if begins(&SIGNATURE) {
        binary(bytes)
    } else {
        Err(BadHeader::NotOne)
    }
}

fn line(bytes: &[u8]) -> Result<Parsed, BadHeader> {
    let line = bytes.get(..LONGEST_LINE).unwrap_or(bytes);
    let Some(end) = line.iter().position(|&byte| byte == b'\r') else {
        return match line.len() {
            LONGEST_LINE => Err(BadHeader::Malformed("a line that is too long")),
            len => Ok(Parsed::Missing(SHORTEST_LINE.saturating_sub(len).max(2))),
        };
    };
    let text = str::from_utf8(&line[..end]).ok().and_then(|line| line.strip_prefix("PROXY "));
    match line.get(end + 1) {
        None if end + 1 < LONGEST_LINE => return Ok(Parsed::Missing(1)),
        Some(b'\n') => {}
        _ => return Err(BadHeader::Malformed("a line that does not end in CR LF")),
    }
    let text = text.ok_or(OTHER_FORM)?;
    let is_unknown = text == "UNKNOWN" || text.starts_with("UNKNOWN ");
    let ends = if is_unknown { None } else { Some(told(text).ok_or(OTHER_FORM)?) };
    Ok(Parsed::Header { len: end + 2, ends })
}

/// What a line says behind its first word.
fn told(line: &str) -> Option<Ends> {
    let mut words = line.split(' ');
    let family = words.next()?;
    let mut next = || words.next();
    let (from, to, from_port, to_port) = (next()?, next()?, next()?, next()?);
    let ports = (port(from_port)?, port(to_port)?);
    if next().is_some() {
        return None;
    }
    match family {
        "TCP4" => ends::<Ipv4Addr>(from, to, ports),
        "TCP6" => ends::<Ipv6Addr>(from, to, ports),
        _ => None,
    }
}

fn ends<A>(from: &str, to: &str, ports: (u16, u16)) -> Option<Ends>
where
    A: FromStr + Into<std::net::IpAddr>,
{
    let address = |text: &str| Some(text.parse::<A>().ok()?.into());
    Some(Ends::canonical((address(from)?, ports.0).into(), (address(to)?, ports.1).into()))
}

/// A decimal number without a sign or leading zeros.
fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = text == "0" || !text.starts_with('0');
    if digits && plain { text.parse().ok() } else { None }
}

fn binary(bytes: &[u8]) -> Result<Parsed, BadHeader> {
    let Some((fixed, rest)) = bytes.split_at_checked(FIXED) else {
        return Ok(Parsed::Missing(FIXED - bytes.len()));
    };
    let [command, family, length @ ..] = &fixed[SIGNATURE.len()..] else {
        return Err(BadHeader::Malformed("no command"));
    };
    if *command != PROXY && *command != LOCAL {
        return Err(BadHeader::Malformed("another version, or a command that is not known"));
    }
    let length = length.iter().fold(0, |length, &byte| (length << 8) | usize::from(byte));
    let len = FIXED + length;
    if len > PROXY_HEADER_BYTES {
        return Err(BadHeader::Malformed("a header that is too long"));
    }
    let Some(rest) = rest.get(..length) else {
        return Ok(Parsed::Missing(length - rest.len()));
    };
    let short = BadHeader::Malformed("a header that is too short for its addresses");
    let (ends, tlvs) = match (*command, *family) {
        // Nothing is known of what a LOCAL header holds.
        (LOCAL, _) | (_, UNSPEC) => return Ok(Parsed::Header { len, ends: None }),
        (_, TCP4) => addresses::<4>(rest).ok_or(short)?,
        (_, TCP6) => addresses::<16>(rest).ok_or(short)?,
        _ => return Err(BadHeader::Malformed("neither TCP over IPv4 nor over IPv6")),
    };
    check_tlvs(&bytes[..len], tlvs)?;
    Ok(Parsed::Header { len, ends: Some(ends) })
}

/// Two addresses of so many bytes and their ports, and what follows.
fn addresses<const N: usize>(block: &[u8]) -> Option<(Ends, &[u8])>
where
    std::net::IpAddr: From<[u8; N]>,
{
    let (from, block) = block.split_first_chunk::<N>()?;
    let (to, block) = block.split_first_chunk::<N>()?;
    let (from_port, block) = block.split_first_chunk()?;
    let (to_port, tlvs) = block.split_first_chunk()?;
    let end = |address: &[u8; N], port: &[u8; 2]| {
        SocketAddr::new((*address).into(), u16::from_be_bytes(*port))
    };
    Some((Ends::canonical(end(from, from_port), end(to, to_port)), tlvs))
}

/// Checks that the TLVs at the end of `header` fill it, and the checksum if there is one.
fn check_tlvs(header: &[u8], mut tlvs: &[u8]) -> Result<(), BadHeader> {
    let mut summed = None;
    while let [kind, rest @ ..] = tlvs {
        let cut = BadHeader::Malformed("a TLV that does not fit");
        let (length, rest) = rest.split_first_chunk().ok_or(cut)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (value, rest) = rest.split_at_checked(length).ok_or(cut)?;
        if *kind == CRC32C {
            let sum = value.try_into().map_err(|_| BadHeader::Malformed("a checksum's length"))?;
            let at = header.len() - rest.len() - value.len();
            if summed.replace((at, u32::from_be_bytes(sum))).is_some() {
                return Err(BadHeader::Malformed("two checksums"));
            }
        }
        tlvs = rest;
    }
    let Some((at, sum)) = summed else { return Ok(()) };
    // It is of the header with zeros in its own place.
    let (before, after) = (&header[..at], &header[at + 4..]);
    if crc32c([before, &[0; 4], after]) == sum {
        Ok(())
    } else {
        Err(BadHeader::Malformed("a checksum that is wrong"))
    }
}

impl Ends {
    /// Both ends, an IPv4 address that is written as an IPv6 one in its own form.
    fn canonical(client: SocketAddr, service: SocketAddr) -> Self {
        let plain = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
        Self { client: plain(client), service: plain(service) }
    }
}

/// The peers whose connections begin with a header.
///
/// From them one must come; from all others none is looked for, and one that comes is data as any. So
/// nobody else can say who they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyFrom {
    networks: Vec<Prefix>,
}

impl ProxyFrom {
    /// Peers in one of `networks`.
    pub const fn new(networks: Vec<Prefix>) -> Self {
        Self { networks }
    }

    /// True if a connection of `peer` begins with a header.
    pub fn has(&self, peer: SocketAddr) -> bool {
        let address = Address::from(peer.ip().to_canonical());
        self.networks.iter().any(|network| network.contains(address))
    }

    /// Reads the header of a connection of `peer`, which was made to `local`: nothing more. Both ends as
    /// they are from then on.
    pub(crate) async fn receive<S: AsyncRead + Unpin>(
        &self,
        stream: &mut S,
        peer: SocketAddr,
        local: SocketAddr,
        limit: Duration,
    ) -> Result<Ends, Unserved> {
        let own = Ends { client: peer, service: local };
        if self.networks.is_empty() || !self.has(peer) {
            return Ok(own);
        }
        // Boxed, or every connection would carry what few need.
        let received = Box::pin(tokio::time::timeout(limit, receive(stream))).await;
        Ok(received.unwrap_or(Err(Unserved::SlowProxyHeader))?.unwrap_or(own))
    }
}

async fn receive<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<Ends>, Unserved> {
    let mut header = Vec::new();
    loop {
        match parse(&header) {
            Ok(Parsed::Header { ends, .. }) => return Ok(ends),
            Ok(Parsed::Missing(count)) => {
                let have = header.len();
                header.resize(have + count, 0);
                let read = stream.read_exact(&mut header[have..]).await;
                read.map_err(|_| Unserved::ProxyHeaderEnded)?;
            }
            Err(BadHeader::NotOne) => return Err(Unserved::NoProxyHeader),
            Err(BadHeader::Malformed(why)) => {
                tracing::debug!(why, "PROXY header refused");
                return Err(Unserved::BadProxyHeader);
            }
        }
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
