//! Errors about packets of our flows, put into the words of whom they concern.

use netstack::Packet;
use netstack::packet::Offload;
use netstack::wire::fields::icmp_field;
use netstack::wire::headers::{ICMPV4, ICMPV6, V4_CHECKSUM};
use netstack::wire::{Address, Family, Headers, Quote, checksum};

use super::set_checksum;
use crate::rewrite::{Rewrite, write_addresses};

/// Source and destination that an error gets.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// Who seems to say it.
    pub src: Address,
    /// Who is told: the sender of the quoted packet (RFC 5508 REQ-4c).
    pub dst: Address,
}

/// True for errors that nobody passes on: a redirect is for the link that it was sent on (RFC 792), and
/// a source quench is to be ignored (RFC 6633). The redirect of `ICMPv6` is no error by its type.
pub const fn is_of_a_link(family: Family, kind: u8) -> bool {
    matches!((family, kind), (Family::V4, 4 | 5))
}

/// Puts the quoted packet back to what its sender sent, and addresses the error to that sender. Type,
/// code, the rest of the header, padding and extension objects (RFC 4884) stay as they are.
///
/// The message's checksum, which was found right, is made anew: so it is right again.
pub fn translate(
    packet: &mut Packet,
    headers: &Headers,
    quote: &Quote,
    original: &Rewrite,
    ends: Ends,
) {
    packet.offload = Offload::default();
    let (l4, total) = (headers.l4(), headers.total_len());
    let (ip, message) = packet.data_mut()[..total].split_at_mut(l4);
    restore_quote(&mut message[icmp_field::LEN..], quote, original);
    let Ends { src, dst } = ends;
    let protocol = match headers.family {
        Family::V4 => {
            ip[12..16].copy_from_slice(src.octets());
            ip[16..20].copy_from_slice(dst.octets());
            ip[V4_CHECKSUM..V4_CHECKSUM + 2].fill(0);
            let sum = !checksum::sum(ip);
            ip[V4_CHECKSUM..V4_CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
            ICMPV4
        }
        Family::V6 => {
            ip[8..24].copy_from_slice(src.octets());
            ip[24..40].copy_from_slice(dst.octets());
            ICMPV6
        }
    };
    set_checksum(message, protocol, icmp_field::CHECKSUM.start, src, dst);
}

fn restore_quote(quoted: &mut [u8], quote: &Quote, original: &Rewrite) {
    write_addresses(quoted, quote.family, &original.to);
    if quote.family == Family::V4 {
        let field = u16::from_be_bytes([quoted[V4_CHECKSUM], quoted[V4_CHECKSUM + 1]]);
        let field = original.addresses.apply(field);
        quoted[V4_CHECKSUM..V4_CHECKSUM + 2].copy_from_slice(&field.to_be_bytes());
    }
    original.apply_transport(&mut quoted[quote.l4..quote.end], quote.protocol, false);
}
