//! Echo requests to an address of ours that no service takes.

use netstack::Packet;
use netstack::packet::Checksum;
use netstack::wire::checksum::Delta;
use netstack::wire::fields::icmp_field;
use netstack::wire::headers::{V4_CHECKSUM, V4_TTL, V6_HOP_LIMIT};
use netstack::wire::{Family, Headers};

use super::TTL;
use crate::rewrite::mend_zero;

/// Turns an echo request into its reply (RFC 792, RFC 4443 section 4.2). Everything but addresses, type,
/// TTL and sums stays: identifier, sequence number and data, and the TOS (RFC 1812 section 4.3.2.5).
pub fn echo_reply(packet: &mut Packet, headers: &Headers) {
    let partial = matches!(packet.offload.checksum, Checksum::Partial { .. });
    let data = packet.data_mut();
    swap_addresses(data, headers.family);
    let kind = match headers.family {
        Family::V4 => 0,
        Family::V6 => 129,
    };
    match headers.family {
        Family::V4 => {
            let word = |ttl, data: &[u8]| u16::from_be_bytes([ttl, data[V4_TTL + 1]]);
            let delta = Delta::default().replace_u16(word(headers.ttl, data), word(TTL, data));
            data[V4_TTL] = TTL;
            apply(data, V4_CHECKSUM, delta);
        }
        Family::V6 => data[V6_HOP_LIMIT] = TTL,
    }
    let icmp = &mut data[headers.l4()..];
    let word = |kind, icmp: &[u8]| u16::from_be_bytes([kind, icmp[icmp_field::CODE]]);
    let delta = Delta::default().replace_u16(word(icmp[icmp_field::TYPE], icmp), word(kind, icmp));
    icmp[icmp_field::TYPE] = kind;
    if !partial {
        apply(icmp, icmp_field::CHECKSUM.start, delta);
        mend_zero(icmp);
    }
}

fn swap_addresses(data: &mut [u8], family: Family) {
    let (start, len) = match family {
        Family::V4 => (12, 4),
        Family::V6 => (8, 16),
    };
    let (src, dst) = data[start..start + 2 * len].split_at_mut(len);
    src.swap_with_slice(dst);
}

fn apply(data: &mut [u8], at: usize, delta: Delta) {
    let field = u16::from_be_bytes([data[at], data[at + 1]]);
    data[at..at + 2].copy_from_slice(&delta.apply(field).to_be_bytes());
}
