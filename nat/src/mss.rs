//! The MSS option of SYNs that pass, lowered to what both legs carry.
//!
//! A sender may send segments as long as its peer's SYN says (RFC 9293 section 3.7.1), which knows the
//! peer's own link and not ours. Where the path through us is narrower, path MTU discovery would find
//! out by losing packets; lowering the option spares it that, and serves hosts that hear no ICMP.

use netstack::Packet;
use netstack::packet::Checksum;
use netstack::wire::checksum::Delta;
use netstack::wire::fields::tcp_field;
use netstack::wire::{Family, Headers, Tcp};

const KIND_MSS: u8 = 2;

/// The MSS that fits an MTU: less the IP and TCP headers without options, which the sender subtracts
/// itself (RFC 6691 section 2).
pub const fn of_mtu(mtu: usize, family: Family) -> u16 {
    let headers = match family {
        Family::V4 => 40,
        Family::V6 => 60,
    };
    let mss = mtu.saturating_sub(headers);
    if mss < u16::MAX as usize { mss as u16 } else { u16::MAX }
}

/// Lowers every MSS option of a SYN that is above `mss`; the checksum follows (RFC 1624).
///
/// The caller has made sure that this is a SYN: an MSS option elsewhere means nothing. Where there is
/// none, none is added: the peer then assumes 536 or 1,220 bytes (RFC 9293 section 3.7.1). An option
/// whose length is wrong stays as it is, and so does what follows one that cannot be stepped over.
pub fn clamp(packet: &mut Packet, headers: &Headers, mss: u16) {
    // The sum of a pseudo-header does not know the options.
    let partial = matches!(packet.offload.checksum, Checksum::Partial { .. });
    let segment = &mut packet.data_mut()[headers.l4()..headers.total_len()];
    let mut done = 0;
    while let Some((at, old)) = next_above(segment, mss, done) {
        segment[at..at + 2].copy_from_slice(&mss.to_be_bytes());
        done = at;
        if !partial {
            let field = tcp_field::CHECKSUM;
            let sum = u16::from_be_bytes([segment[field.start], segment[field.start + 1]]);
            segment[field].copy_from_slice(&delta(at, old, mss).apply(sum).to_be_bytes());
        }
    }
}

/// The first MSS option beyond `done` whose value is above `mss`: where the value is, and the value.
fn next_above(segment: &[u8], mss: u16, done: usize) -> Option<(usize, u16)> {
    let tcp = Tcp::new_checked(segment)?;
    tcp.options().find_map(|option| match (option.kind, option.data) {
        (KIND_MSS, &[high, low]) => {
            let value = u16::from_be_bytes([high, low]);
            (option.data_offset > done && value > mss).then_some((option.data_offset, value))
        }
        _ => None,
    })
}

/// The change of the sum when the 16 bits at offset `at` change. At an odd offset they lie across two
/// words of the sum, which then takes them with their bytes swapped (RFC 1071 section 2 B).
fn delta(at: usize, old: u16, new: u16) -> Delta {
    let delta = Delta::default();
    if at.is_multiple_of(2) {
        delta.replace_u16(old, new)
    } else {
        delta.replace_u16(old.swap_bytes(), new.swap_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netstack::wire::{checksum, text};

    fn clamped(options: &str, mss: u16) -> Packet {
        let line = format!("tcp 10.1.0.5:4000 > 10.99.0.1:80 S seq=7 {options}");
        let mut packet = text::packet(&line).unwrap_or_else(|e| panic!("{}", e.underline(&line)));
        let headers = Headers::parse(&packet).unwrap();
        clamp(&mut packet, &headers, mss);
        assert!(checksum::verify_transport(&packet, &headers), "{options}");
        packet
    }

    fn options(packet: &Packet) -> &[u8] {
        &packet.data()[40..]
    }

    #[test]
    fn only_lowered_and_at_the_exact_byte() {
        for (said, then) in [(1361, 1360), (1360, 1360), (1359, 1359), (0, 0), (65_535, 1360)] {
            let packet = clamped(&format!("mss={said}"), 1360);
            assert_eq!(options(&packet), [[2, 4], u16::to_be_bytes(then)].concat(), "{said}");
        }
    }

    #[test]
    fn an_option_at_an_odd_offset_keeps_the_sum_right() {
        let packet = clamped("nop mss=1460 ws=7", 1360);
        assert_eq!(options(&packet), [1, 2, 4, 0x05, 0x50, 3, 3, 7]);
    }

    #[test]
    fn every_occurrence_counts_and_a_lie_ends_it() {
        let packet = clamped("opt=020405b4020405b40202020405b4", 1360);
        let expected = [2, 4, 5, 0x50, 2, 4, 5, 0x50, 2, 2, 2, 4, 5, 0x50, 0, 0];
        assert_eq!(options(&packet), expected);
        for lie in ["020305b4", "020005b4", "020605b4", "00020405b4000000", "1c00020405b40000"] {
            let line = format!("opt={lie}");
            assert_eq!(options(&clamped(&line, 1)), options(&clamped(&line, u16::MAX)), "{lie}");
        }
    }

    #[test]
    fn an_mtu_below_the_headers_leaves_nothing_and_none_leaves_all() {
        assert_eq!((of_mtu(1500, Family::V4), of_mtu(1500, Family::V6)), (1460, 1440));
        assert_eq!((of_mtu(39, Family::V4), of_mtu(usize::MAX, Family::V6)), (0, u16::MAX));
    }
}
