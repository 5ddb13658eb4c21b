//! Whether the numbers of a segment are ones that the peer could have used: the checks that keep blind
//! attackers out (RFC 9293 section 3.10.7.4, RFC 5961 sections 3 and 5).
//!
//! Who does not see a connection can guess its tuple, but has to hit 32-bit numbers: the exact next
//! sequence number for a RST, a place in the window *and* a recent acknowledgment for data.

use super::sequence::before;

/// Where a sequence number lies with regard to the receive window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is the next one.
    Next,
    /// Further on in the window.
    InWindow,
    /// Anywhere else.
    Outside,
}

/// Where the sequence number of a RST lies. RFC 5961 section 3.2: only the next one resets, one in the
/// window is challenged, others are dropped.
pub(super) const fn place(seq: u32, rcv_nxt: u32, window: u32) -> Place {
    match seq.wrapping_sub(rcv_nxt) {
        0 => Place::Next,
        ahead if ahead < window => Place::InWindow,
        _ => Place::Outside,
    }
}

/// The acceptance test of RFC 9293 section 3.10.7.4, its table of four cases: true if a segment of
/// `len` units of sequence space, SYN and FIN included, touches the window. Unlike the table it also
/// takes a segment that begins before the window and ends beyond it: what it has for the window is as good.
pub(super) const fn touches_window(seq: u32, len: u32, rcv_nxt: u32, window: u32) -> bool {
    let begins_in_it = seq.wrapping_sub(rcv_nxt) < window;
    let reaches_it = rcv_nxt.wrapping_sub(seq) < len;
    match (len, window) {
        (0, 0) => seq == rcv_nxt,
        (0, _) => begins_in_it,
        (_, 0) => false,
        (_, _) => begins_in_it || reaches_it,
    }
}

/// What an acknowledgment number is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AckPlace {
    /// It acknowledges something new: after SND.UNA, up to SND.NXT.
    New,
    /// SND.UNA itself.
    Same,
    /// Older, but no older than what a segment on its way could carry: its data counts, its
    /// acknowledgment does not.
    Old,
    /// Nothing that the peer could have said of late, or ever: drop the segment, data included, and
    /// challenge (RFC 5961 section 5.2).
    Impossible,
}

/// The bounds of acceptable acknowledgments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AckBounds {
    /// SND.UNA.
    pub(super) una: u32,
    /// SND.NXT, the furthest ever.
    pub(super) nxt: u32,
    /// MAX.SND.WND: the largest window that the peer ever offered, in bytes. At most what the peer has
    /// acknowledged so far, SYN included, for it cannot have said a number from before the connection.
    pub(super) max_window: u32,
}

impl AckBounds {
    /// RFC 5961 section 5.2: acceptable is `SND.UNA - MAX.SND.WND <= SEG.ACK <= SND.NXT`.
    pub(super) const fn place(self, ack: u32) -> AckPlace {
        if before(self.nxt, ack) {
            return AckPlace::Impossible;
        }
        if ack == self.una {
            return AckPlace::Same;
        }
        if before(self.una, ack) {
            return AckPlace::New;
        }
        if self.una.wrapping_sub(ack) <= self.max_window {
            AckPlace::Old
        } else {
            AckPlace::Impossible
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_must_hit_the_next_number_and_is_challenged_in_the_window() {
        let rcv_nxt = u32::MAX - 4;
        for (off, expected) in [
            (0, Place::Next),
            (1, Place::InWindow),
            (99, Place::InWindow),
            (100, Place::Outside),
            (-1, Place::Outside),
            (i32::MIN, Place::Outside),
        ] {
            assert_eq!(place(rcv_nxt.wrapping_add_signed(off), rcv_nxt, 100), expected, "{off}");
        }
        assert_eq!(place(rcv_nxt, rcv_nxt, 0), Place::Next, "a closed window takes resets");
        assert_eq!(place(rcv_nxt.wrapping_add(1), rcv_nxt, 0), Place::Outside);
    }

    #[test]
    fn the_four_cases_of_the_acceptance_test() {
        let rcv_nxt = u32::MAX - 1;
        let touches = |off: i32, len, window| {
            touches_window(rcv_nxt.wrapping_add_signed(off), len, rcv_nxt, window)
        };
        // No length, no window: only the next number.
        assert!(touches(0, 0, 0) && !touches(1, 0, 0) && !touches(-1, 0, 0));
        // No length: in the window.
        assert!(
            touches(0, 0, 10) && touches(9, 0, 10) && !touches(10, 0, 10) && !touches(-1, 0, 10)
        );
        // Length, no window: never.
        assert!(!touches(0, 1, 0) && !touches(-5, 9, 0));
        // Both: any unit.
        assert!(touches(0, 1, 10) && touches(9, 99, 10) && touches(-5, 6, 10));
        assert!(touches(-5, 99, 10));
        assert!(!touches(-5, 5, 10) && !touches(10, 1, 10));
    }

    fn ack(off: i32) -> AckPlace {
        // 20 bytes in flight across the wrap; the peer has offered 1,000.
        let bounds = AckBounds { una: u32::MAX - 9, nxt: 10, max_window: 1_000 };
        bounds.place(bounds.una.wrapping_add_signed(off))
    }

    #[test]
    fn acknowledgments_of_what_is_in_flight_and_of_the_past_window_are_acceptable() {
        assert_eq!((ack(1), ack(20)), (AckPlace::New, AckPlace::New));
        assert_eq!(ack(0), AckPlace::Same);
        assert_eq!((ack(-1), ack(-1_000)), (AckPlace::Old, AckPlace::Old));
    }

    #[test]
    fn blind_data_needs_an_acknowledgment_from_a_range_that_is_small() {
        for off in [-1_001, 21, 1 << 30, -(1 << 30), i32::MAX, i32::MIN] {
            assert_eq!(ack(off), AckPlace::Impossible, "{off}");
        }
    }

    #[test]
    fn an_acknowledgment_from_before_the_connection_is_impossible() {
        // Only our SYN has been acknowledged: one below is our ISN, two below was never ours.
        let bounds = AckBounds { una: 101, nxt: 101, max_window: 1 };
        assert_eq!(bounds.place(100), AckPlace::Old);
        assert_eq!(bounds.place(99), AckPlace::Impossible);
    }
}
