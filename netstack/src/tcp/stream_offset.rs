//! Sequence numbers of 32 bits as offsets in a stream, which do not wrap.
//!
//! Offset 0 is the first payload byte, which follows the SYN. The offset of a FIN is the length of the
//! stream.

/// The offset of the sequence number `seq` in a stream whose SYN had `isn`: of all that it could be,
/// the one nearest to `near` (RFC 9293 section 3.4). `None` if that lies before the first byte, as the
/// SYN itself does.
pub(super) const fn unwrap(seq: u32, isn: u32, near: u64) -> Option<u64> {
    let ahead = seq.wrapping_sub(wrap(near, isn)).cast_signed();
    near.checked_add_signed(ahead as i64)
}

/// The sequence number of `offset` in a stream whose SYN had `isn`.
pub(super) const fn wrap(offset: u64, isn: u32) -> u32 {
    isn.wrapping_add(1).wrapping_add(offset as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_byte_follows_the_syn() {
        assert_eq!(wrap(0, 1_000), 1_001);
        assert_eq!(unwrap(1_001, 1_000, 0), Some(0));
        assert_eq!(unwrap(1_000, 1_000, 0), None);
    }

    #[test]
    fn offsets_go_on_where_sequence_numbers_wrap() {
        let isn = u32::MAX - 10;
        assert_eq!(wrap(9, isn), u32::MAX);
        assert_eq!(wrap(10, isn), 0);
        assert_eq!(unwrap(0, isn, 5), Some(10));
        assert_eq!(unwrap(u32::MAX, isn, 12), Some(9));
        // The SYN itself may be the last number before the wrap.
        assert_eq!(unwrap(0, u32::MAX, 0), Some(0));
        assert_eq!(unwrap(u32::MAX, u32::MAX, 0), None);
    }

    #[test]
    fn a_stream_may_be_longer_than_the_sequence_space() {
        let near = 5 * (1 << 32) + 3;
        assert_eq!(unwrap(wrap(near - 4, 7), 7, near), Some(near - 4));
        assert_eq!(unwrap(wrap(near + 4, 7), 7, near), Some(near + 4));
    }

    #[test]
    fn half_the_sequence_space_lies_on_each_side() {
        let near = 1 << 40;
        let half = 1_u64 << 31;
        assert_eq!(unwrap(wrap(near + half - 1, 0), 0, near), Some(near + half - 1));
        assert_eq!(unwrap(wrap(near + half, 0), 0, near), Some(near - half));
        assert_eq!(unwrap(wrap(5, 0) + (1 << 31), 0, 5), None);
        assert_eq!(unwrap(0, 0, u64::MAX), Some(u64::MAX));
    }

    proptest! {
        #[test]
        fn what_is_near_comes_back(
            near in 0_u64..1 << 62,
            distance: i32,
            isn: u32,
        ) {
            let offset = near.checked_add_signed(i64::from(distance));
            let seq = wrap(near, isn).wrapping_add_signed(distance);
            prop_assert_eq!(unwrap(seq, isn, near), offset);
        }
    }
}
