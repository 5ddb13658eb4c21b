//! The order of sequence numbers.

/// True if `a` comes before `b` in sequence space (RFC 9293 section 3.4).
pub(super) const fn before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() < 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_survives_the_wrap() {
        assert!(before(u32::MAX, 0) && before(5, 6) && !before(6, 6) && !before(0, u32::MAX));
    }
}
