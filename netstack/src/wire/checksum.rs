//! The Internet checksum (RFC 1071), whole and incremental (RFC 1624), in both offload states.

use smoltcp::wire::{IpAddress, IpProtocol, checksum};

use super::Address;
use crate::packet::{Checksum, Packet};
use crate::wire::fields::udp_field;
use crate::wire::{Headers, Transport};

/// The folded one's-complement sum of `data`, not complemented.
pub fn sum(data: &[u8]) -> u16 {
    checksum::data(data)
}

/// [`sum`] of an IPv4 header: a few 32-bit words, for which setting up a loop over more would cost most.
/// Bytes beyond the last whole word do not count.
pub fn header_sum(header: &[u8]) -> u16 {
    let words = header.as_chunks::<4>().0;
    // At most fifteen words: the sum has far to go before it overflows.
    let sum: u64 = words.iter().map(|&word| u64::from(u32::from_be_bytes(word))).sum();
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + (sum & 0xffff)) as u16
}

/// Adds two folded sums.
pub const fn add(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum + carry as u16
}

/// The folded sum of the pseudo-header (RFC 9293 section 3.1, RFC 8200 section 8.1).
///
/// `protocol` is the IP protocol number and `len` the length of transport header and payload.
pub fn pseudo_header(src: Address, dst: Address, protocol: u8, len: usize) -> u16 {
    let (src, dst): (IpAddress, IpAddress) =
        (std::net::IpAddr::from(src).into(), std::net::IpAddr::from(dst).into());
    checksum::pseudo_header(&src, &dst, IpProtocol::from(protocol), len as u32)
}

/// The change that replacing header fields makes to a checksum (RFC 1624).
///
/// A delta is computed once, when a flow is made, and applied to every packet of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delta(u16);

impl Delta {
    /// The change of replacing `old` by `new`: byte strings of one even length, at an even offset.
    #[must_use]
    pub fn replace(self, old: &[u8], new: &[u8]) -> Self {
        debug_assert!(old.len() == new.len() && old.len().is_multiple_of(2));
        Self(add(self.0, add(!sum(old), sum(new))))
    }

    /// The change of replacing a 16-bit field.
    pub const fn of_u16(old: u16, new: u16) -> Self {
        Self(add(!old, new))
    }

    /// The change of replacing one more 16-bit field.
    #[must_use]
    pub const fn replace_u16(self, old: u16, new: u16) -> Self {
        self.and(Self::of_u16(old, new))
    }

    /// Both changes.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(add(self.0, other.0))
    }

    /// The change that undoes this one.
    #[must_use]
    pub const fn inverse(self) -> Self {
        Self(!self.0)
    }

    /// The new value of a complete checksum field: `HC' = ~(~HC + ~m + m')`, RFC 1624 equation 3.
    ///
    /// Never 0xFFFF: both zeros of one's complement mean the same, and a sum over a header with a
    /// non-zero word in it comes out as 0, so 0xFFFF would differ from a fresh computation.
    pub const fn apply(self, field: u16) -> u16 {
        let sum = add(!field, self.0);
        if sum == 0 { 0 } else { !sum }
    }

    /// The new value of a field that holds the uncomplemented sum of the pseudo-header.
    /// The delta must be that of the addresses alone: ports are not in the pseudo-header.
    pub const fn apply_partial(self, field: u16) -> u16 {
        add(field, self.0)
    }
}

/// Completes a [`Checksum::Partial`], as a device without checksum offload must before sending.
///
/// Nothing is done to a packet whose checksum is complete.
pub fn complete(packet: &mut Packet) {
    let Checksum::Partial { start, offset } = packet.offload.checksum else { return };
    let (start, field) = (usize::from(start), usize::from(start) + usize::from(offset));
    let data = packet.data_mut();
    if field + 2 <= data.len() {
        // The field already holds the pseudo-header's sum, so the sum over all is the whole sum.
        let value = !sum(&data[start..]);
        // A UDP checksum computed as zero is sent as all ones (RFC 768). TCP's is sent as it is, which
        // is what an update in place of a complete one comes to as well.
        let is_udp = usize::from(offset) == udp_field::CHECKSUM.start;
        let value = if value == 0 && is_udp { 0xffff } else { value };
        data[field..field + 2].copy_from_slice(&value.to_be_bytes());
    }
    packet.offload.checksum = Checksum::Complete;
}

/// True if the transport checksum is right, or cannot be wrong: offloaded, verified by a device, or
/// absent (UDP over IPv4).
pub fn verify_transport(packet: &Packet, headers: &Headers) -> bool {
    if packet.offload.checksum != Checksum::Complete {
        return true;
    }
    let segment = &packet.data()[headers.l4()..headers.total_len()];
    let absent = matches!(headers.transport, Transport::Udp { .. })
        && segment[6..8] == [0, 0]
        && headers.src.is_v4();
    let pseudo = if headers.protocol == super::headers::ICMPV4 {
        0
    } else {
        pseudo_header(headers.src, headers.dst, headers.protocol, segment.len())
    };
    absent || add(pseudo, sum(segment)) == 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_change_of_a_word_agrees_with_a_fresh_sum() {
        // RFC 1624 section 3: its own counter-example, 0x5555 to 0x3285 over HC 0xDD2F.
        assert_eq!(Delta::default().replace_u16(0x5555, 0x3285).apply(0xdd2f), 0);
        let mut header = [0x45, 0, 0, 84, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 1, 0, 5, 10, 99, 0, 1];
        let fresh = |h: &[u8; 20]| !sum(h);
        let before = fresh(&header);
        let old = u16::from_be_bytes([header[4], header[5]]);
        for new in 0..=u16::MAX {
            header[4..6].copy_from_slice(&new.to_be_bytes());
            assert_eq!(Delta::default().replace_u16(old, new).apply(before), fresh(&header));
        }
    }

    #[test]
    fn a_headers_sum_is_that_of_its_bytes() {
        for fill in [0, 1, 0x7f, 0xff] {
            for words in 0..=15 {
                let mut header = vec![fill; words * 4];
                header.iter_mut().enumerate().for_each(|(i, byte)| *byte ^= (i * 37) as u8);
                for header in [header, vec![fill; words * 4]] {
                    assert_eq!(header_sum(&header), sum(&header), "{header:?}");
                }
            }
        }
    }

    #[test]
    fn no_change_keeps_both_zeros_usable() {
        let none = Delta::default().replace(&[1, 2], &[1, 2]);
        for field in [0, 1, 0x7fff, 0xfffe] {
            assert_eq!(none.apply(field), field);
        }
        assert_eq!(none.apply(0xffff), 0);
    }

    proptest! {
        #[test]
        fn a_delta_of_many_fields_agrees_with_a_fresh_sum(
            mut data in proptest::collection::vec(any::<u8>(), 40..=40),
            new in proptest::collection::vec(any::<u8>(), 12..=12),
        ) {
            data[0] = 0x45;
            let before = !sum(&data);
            let delta = Delta::default().replace(&data[12..24], &new);
            data[12..24].copy_from_slice(&new);
            prop_assert_eq!(delta.apply(before), !sum(&data));
        }
    }
}
