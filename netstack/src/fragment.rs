//! Cutting an IPv4 packet into fragments (RFC 791 section 3.2).
//!
//! The rules are those of a router:
//!
//! - Every fragment but the last carries a multiple of eight bytes, as many as the MTU allows.
//! - The first keeps all options; the others keep those whose copied flag is set.
//! - A fragment may be cut again: offsets go on from its own, and its last piece says "more fragments"
//!   if it said so itself.
//! - Identification, TOS and TTL are those of the packet. An identification of zero on a whole packet
//!   means that the sender chose none (RFC 6864 lets it, in packets that need none), so the caller's is
//!   taken; on a fragment zero is a value like any other.
//!
//! IPv6 routers do not fragment (RFC 8200 section 4.5), nor does this module.

use crate::packet::{Checksum, Offload, Packet};
use crate::wire::checksum;
use crate::wire::headers::V4_CHECKSUM;

/// The most fragments that one packet may be cut into.
///
/// 64 KiB over the smallest MTU of IPv4, 68 bytes, are 1,365 when no option is repeated.
pub const MAX_FRAGMENTS: usize = 1_400;

/// The smallest MTU that IPv4 allows a link to have (RFC 791 section 3.2).
pub const MIN_MTU_V4: u16 = 68;
/// The smallest MTU that IPv6 allows a link to have (RFC 8200 section 5).
pub const MIN_MTU_V6: u16 = 1_280;

const FIXED_HEADER: usize = 20;
const TOTAL_LENGTH: usize = 2;
const IDENTIFICATION: usize = 4;
const FLAGS: usize = 6;
const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
/// Set in the type of an option that every fragment carries.
const OPTION_COPIED: u8 = 0x80;

/// Why a packet cannot be cut. Each is a counted drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FragmentError {
    /// Not IPv4, or a header that does not fit its packet.
    NotIpv4,
    /// The sender forbids it.
    DontFragment,
    /// A super-packet or an unfinished checksum: what a wire would carry is not there yet.
    Offloaded,
    /// The MTU leaves no room for eight bytes behind the header.
    NoRoom,
    /// More than [`MAX_FRAGMENTS`], or offsets beyond what their field holds.
    TooMany,
}

/// True for an IPv4 packet that does not forbid fragments: cutting is then the router's job.
pub fn is_allowed(packet: &Packet) -> bool {
    let data = packet.data();
    data.len() >= FIXED_HEADER && data[0] >> 4 == 4 && u16_at(data, FLAGS) & DONT_FRAGMENT == 0
}

/// Cuts `packet`, whose checksums are complete, into packets of at most `mtu` bytes.
///
/// A packet that fits comes out as it is. `identification` is for one that has none.
///
/// # Errors
/// [`FragmentError`]; nothing has been cut then.
pub fn fragment(
    packet: &Packet,
    mtu: usize,
    identification: u16,
) -> Result<Fragments<'_>, FragmentError> {
    let data = packet.data();
    let header_len = data.first().map_or(0, |byte| usize::from(byte & 0x0f) * 4);
    if data.first().is_none_or(|byte| byte >> 4 != 4)
        || !(FIXED_HEADER..=data.len()).contains(&header_len)
    {
        return Err(FragmentError::NotIpv4);
    }
    if packet.offload.gso.is_some() || matches!(packet.offload.checksum, Checksum::Partial { .. }) {
        return Err(FragmentError::Offloaded);
    }
    let flags = u16_at(data, FLAGS);
    let whole = flags & (OFFSET | MORE_FRAGMENTS) == 0;
    let kept = u16_at(data, IDENTIFICATION);
    let fragments = Fragments {
        packet,
        mtu,
        identification: if whole && kept == 0 { identification } else { kept },
        flags,
        header: data[..header_len].to_vec(),
        start: header_len,
        next: Some(header_len),
    };
    if data.len() <= mtu {
        return Ok(fragments);
    }
    if flags & DONT_FRAGMENT != 0 {
        return Err(FragmentError::DontFragment);
    }
    fragments.check()?;
    Ok(fragments)
}

/// The fragments of one packet, in order (see [`fragment`]).
#[derive(Debug)]
pub struct Fragments<'a> {
    packet: &'a Packet,
    mtu: usize,
    identification: u16,
    /// The flags and the offset of the packet.
    flags: u16,
    /// The header of the next fragment.
    header: Vec<u8>,
    /// Where the packet's payload starts.
    start: usize,
    /// Where the next fragment's bytes start.
    next: Option<usize>,
}

impl Fragments<'_> {
    /// Makes sure that the fragments can be numbered, and are not too many.
    fn check(&self) -> Result<(), FragmentError> {
        let room = room(self.mtu, self.header.len());
        if room == 0 {
            return Err(FragmentError::NoRoom);
        }
        // Later headers are no longer than the first.
        let len = self.packet.len() - self.start;
        let last = usize::from(self.flags & OFFSET) + len / 8;
        if len.div_ceil(room) > MAX_FRAGMENTS || last > usize::from(OFFSET) {
            return Err(FragmentError::TooMany);
        }
        Ok(())
    }

    /// The fragment that carries the bytes from `at` to `end`.
    fn write(&self, at: usize, end: usize) -> Packet {
        let data = self.packet.data();
        let len = self.header.len() + end - at;
        let mut out = Packet::with_capacity(len);
        out.id = self.packet.id;
        out.leg = self.packet.leg;
        out.offload = Offload::default();
        out.set_len(len);
        let (header, payload) = out.data_mut().split_at_mut(self.header.len());
        payload.copy_from_slice(&data[at..end]);
        header.copy_from_slice(&self.header);
        let offset = (self.flags & OFFSET) + ((at - self.start) / 8) as u16;
        let more = if end < data.len() { MORE_FRAGMENTS } else { self.flags & MORE_FRAGMENTS };
        put_u16(header, TOTAL_LENGTH, len as u16);
        put_u16(header, IDENTIFICATION, self.identification);
        put_u16(header, FLAGS, self.flags & !(OFFSET | MORE_FRAGMENTS) | more | offset);
        put_u16(header, V4_CHECKSUM, 0);
        let sum = !checksum::sum(header);
        put_u16(header, V4_CHECKSUM, sum);
        out
    }
}

impl Iterator for Fragments<'_> {
    type Item = Packet;

    fn next(&mut self) -> Option<Packet> {
        let at = self.next.take()?;
        let len = self.packet.len();
        if len <= self.mtu {
            return Some(self.packet.clone());
        }
        let last = self.header.len() + len - at <= self.mtu;
        let end = if last { len } else { at + room(self.mtu, self.header.len()) };
        let fragment = self.write(at, end);
        self.next = (!last).then_some(end);
        self.header = later_header(&self.header);
        Some(fragment)
    }
}

/// Payload bytes of a fragment that is not the last.
const fn room(mtu: usize, header_len: usize) -> usize {
    mtu.saturating_sub(header_len) & !7
}

/// The header of fragments behind the first: with the options whose copied flag is set.
fn later_header(first: &[u8]) -> Vec<u8> {
    let (fixed, mut options) = first.split_at(FIXED_HEADER);
    let mut header = fixed.to_vec();
    while let [kind, rest @ ..] = options {
        options = match (*kind, rest) {
            (OPTION_END, _) => break,
            (OPTION_NOP, rest) => rest,
            (kind, &[len, ..]) if (2..=options.len()).contains(&usize::from(len)) => {
                let (option, rest) = options.split_at(len.into());
                if kind & OPTION_COPIED != 0 {
                    header.extend(option);
                }
                rest
            }
            // A length that lies: what follows cannot be told apart.
            _ => break,
        };
    }
    header.resize(header.len().next_multiple_of(4), OPTION_END);
    header[0] = 0x40 | (header.len() / 4) as u8;
    header
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
#[path = "fragment_tests.rs"]
mod tests;
