//! Timestamps and PAWS (RFC 7323 sections 3 to 5).
//!
//! # Theory of operation
//!
//! A connection whose two SYNs carried the option puts it into every segment: `TSval`, the sender's clock,
//! and `TSecr`, the value that it last heard and has acknowledged. That gives a round-trip time for
//! every acknowledgment, tells an original from a retransmission (Eifel, RFC 3522), and lets a receiver
//! refuse segments that are older than what it has taken, when sequence numbers have wrapped (PAWS).
//!
//! [`Clock`] is our `TSval`: milliseconds with an offset that only who holds the secret can foretell
//! (RFC 7323 section 5.4), the same for equal tuples, so that a tuple's next incarnation goes on where
//! the last one was (RFC 6191). [`Timestamps`] is a connection's state. Call, for each segment:
//!
//! | when | what |
//! |---|---|
//! | it arrives, before its sequence number is looked at | [`Timestamps::check`] |
//! | its sequence number was in the window | [`Timestamps::on_segment`] |
//! | it acknowledged something new | [`Timestamps::rtt`] |
//! | a segment leaves | [`Timestamps::stamp`], [`Timestamps::on_sent`] |

use std::time::Duration;

use super::isn::Secret;
use super::sequence::before;
use crate::time::Instant;
use crate::wire::{Tcp, Tuple};

/// After so long without a newer one TS.Recent says nothing any more (RFC 7323 section 5.5): a clock of
/// 1 ms has gone half its way round.
pub(super) const RECENT_LASTS: Duration = Duration::from_hours(24 * 24);

/// The values of a timestamps option.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    /// `TSval`: the sender's clock.
    pub(super) value: u32,
    /// `TSecr`: what the sender last heard; meaningful in a segment with the ACK bit.
    pub(super) echo: u32,
}

impl Stamp {
    pub(super) const KIND: u8 = 8;
    /// Bytes that the option takes off every segment, padding included.
    pub(super) const PADDED_LEN: usize = 12;
    /// Bytes of the option.
    const LEN: usize = 10;

    /// Reads the option of a segment, if it has one; of two the last.
    pub(super) fn read(tcp: &Tcp<&[u8]>) -> Option<Self> {
        let options = tcp.options().filter(|option| option.kind == Self::KIND);
        options.filter_map(|option| Self::from_data(option.data)).last()
    }

    /// Reads what follows the option's kind and length.
    pub(super) fn from_data(data: &[u8]) -> Option<Self> {
        let &[v0, v1, v2, v3, e0, e1, e2, e3] = data else { return None };
        let value = u32::from_be_bytes([v0, v1, v2, v3]);
        Some(Self { value, echo: u32::from_be_bytes([e0, e1, e2, e3]) })
    }

    /// The option alone, as it stands in a SYN.
    pub(super) fn option(self) -> [u8; Self::LEN] {
        let ([v0, v1, v2, v3], [e0, e1, e2, e3]) =
            (self.value.to_be_bytes(), self.echo.to_be_bytes());
        [Self::KIND, Self::LEN as u8, v0, v1, v2, v3, e0, e1, e2, e3]
    }

    /// The option behind two bytes of padding, as RFC 7323 appendix A recommends for every segment.
    pub(super) fn padded(self) -> [u8; Self::PADDED_LEN] {
        let mut bytes = [1; Self::PADDED_LEN];
        bytes[2..].copy_from_slice(&self.option());
        bytes
    }
}

/// A clock of 1 ms that starts where its offset says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Clock {
    offset: u32,
}

impl Clock {
    pub(super) const fn new(offset: u32) -> Self {
        Self { offset }
    }

    /// The clock of a tuple, the same for each incarnation.
    pub(super) fn of(secret: Secret, tuple: &Tuple) -> Self {
        Self::new(secret.clock_offset(tuple))
    }

    /// `TSval` at an instant.
    pub(super) const fn at(self, now: Instant) -> u32 {
        self.offset.wrapping_add(ticks(now))
    }

    pub(super) const fn offset(self) -> u32 {
        self.offset
    }
}

/// Milliseconds since the epoch, modulo 2^32.
pub(super) const fn ticks(now: Instant) -> u32 {
    (now.as_micros() / 1_000) as u32
}

/// The peer's clock as last heard: TS.Recent of RFC 7323, with its age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Recent {
    pub(super) value: u32,
    pub(super) heard: Instant,
}

impl Recent {
    /// True if a segment with `value` is older than this one, so that PAWS refuses it (section 5.2).
    ///
    /// Zero is no time: some stacks send it in their SYN and a clock's value only later, as Linux knows.
    pub(super) fn forbids(self, now: Instant, value: u32) -> bool {
        before(value, self.value) && now - self.heard < RECENT_LASTS && self.value != 0
    }
}

/// What a segment's timestamp says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paws {
    /// Nothing against it.
    Accept,
    /// It has no timestamp, though every segment of the connection should. RFC 7323 section 3.2 would
    /// drop it silently; Linux takes it, since some middleboxes remove the option. A RST is never this.
    Missing,
    /// It is older than one that has been taken: to be dropped, and answered with an acknowledgment
    /// (section 5.3, R1).
    Old,
}

/// The timestamps of one connection, which both SYNs have agreed on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timestamps {
    clock: Clock,
    recent: Recent,
    /// The acknowledgment number that we last sent: Last.ACK.sent.
    last_ack_sent: u32,
    /// When our SYN left: no echo can be older.
    began: Instant,
}

impl Timestamps {
    /// `began` is when our SYN or SYN-ACK left, `peer` the `TSval` of the peer's, heard `now`, and
    /// `rcv_nxt` the number behind that.
    pub(super) const fn new(
        clock: Clock,
        began: Instant,
        now: Instant,
        peer: u32,
        rcv_nxt: u32,
    ) -> Self {
        let recent = Recent { value: peer, heard: now };
        Self { clock, recent, last_ack_sent: rcv_nxt, began }
    }

    /// The peer's clock as last heard, for the record of TIME-WAIT.
    pub(super) const fn recent(&self) -> Recent {
        self.recent
    }

    /// Our clock, for the same.
    pub(super) const fn clock(&self) -> Clock {
        self.clock
    }

    /// Judges an arriving segment of a synchronized connection before anything else does.
    pub(super) fn check(&self, now: Instant, stamp: Option<Stamp>, reset: bool) -> Paws {
        match stamp {
            // Section 5.2: a RST is taken by its sequence number alone, whatever its timestamp is.
            _ if reset => Paws::Accept,
            None => Paws::Missing,
            Some(stamp) if self.recent.forbids(now, stamp.value) => Paws::Old,
            Some(_) => Paws::Accept,
        }
    }

    /// Takes note of a segment that begins at `seq`, whose timestamp and sequence number were accepted.
    ///
    /// Section 4.3 (2): TS.Recent is taken from a segment that begins no later than what was last
    /// acknowledged. So the echo is that of the earliest segment which a delayed acknowledgment is
    /// for, and a segment behind a hole does not count until the hole is filled.
    pub(super) fn on_segment(&mut self, now: Instant, stamp: Option<Stamp>, seq: u32) {
        let Some(stamp) = stamp else { return };
        if !before(self.last_ack_sent, seq) && !self.recent.forbids(now, stamp.value) {
            self.recent = Recent { value: stamp.value, heard: now };
        }
    }

    /// What a segment that leaves now is to carry.
    pub(super) const fn stamp(&self, now: Instant) -> Stamp {
        Stamp { value: self.clock.at(now), echo: self.recent.value }
    }

    /// Takes note of the acknowledgment number of a segment that leaves.
    pub(super) fn on_sent(&mut self, ack: u32) {
        if before(self.last_ack_sent, ack) {
            self.last_ack_sent = ack;
        }
    }

    /// The round-trip time that an echo tells, at least 1 ms; to be asked of segments that acknowledge
    /// something new only (section 4.1). Nothing for an echo of what we have never sent: zero, a value
    /// from before our SYN, or one from the future.
    pub(super) fn rtt(&self, now: Instant, echo: u32) -> Option<Duration> {
        self.age(now, echo).map(|ticks| Duration::from_millis(ticks.max(1)))
    }

    /// How long before `now` our clock showed `echo`, in ticks, if that was since our SYN.
    fn age(&self, now: Instant, echo: u32) -> Option<u64> {
        let age = u64::from(self.clock.at(now).wrapping_sub(echo));
        let open = now.as_micros() / 1_000 - (self.began.min(now).as_micros() / 1_000);
        // An echo from the future looks older than half the clock's way round.
        (echo != 0 && age < 1 << 31 && age <= open).then_some(age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Address, Protocol};

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    const fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn with(value: u32) -> Option<Stamp> {
        Stamp { value, echo: 0 }.into()
    }

    const RCV_NXT: u32 = 5_000;

    /// A connection whose peer's clock showed `peer` in the SYN, at 100 ms.
    fn agreed(peer: u32) -> Timestamps {
        Timestamps::new(Clock::new(70), at(90), at(100), peer, RCV_NXT)
    }

    #[test]
    fn the_clock_ticks_in_milliseconds_from_its_offset_and_wraps() {
        let clock = Clock::new(u32::MAX - 1);
        assert_eq!(clock.at(Instant::from_micros(999)), u32::MAX - 1);
        assert_eq!(clock.at(at(1)), u32::MAX);
        assert_eq!(clock.at(at(2)), 0);
        assert_eq!(clock.at(at(1 << 32)), clock.at(at(0)));
    }

    #[test]
    fn equal_tuples_share_a_clock_and_others_do_not() {
        let clock = |seed, src_port| {
            let (src, dst) = (Address::from_v4([10, 0, 0, 2]), Address::from_v4([10, 0, 0, 1]));
            let protocol = Protocol::Tcp;
            Clock::of(Secret::new(seed), &Tuple { protocol, src, dst, src_port, dst_port: 80 })
        };
        assert_eq!(clock([1, 2], 5), clock([1, 2], 5));
        assert_ne!(clock([1, 2], 5), clock([1, 2], 6));
        assert_ne!(clock([1, 2], 5), clock([1, 3], 5));
    }

    #[test]
    fn the_option_is_written_behind_two_nops_and_read_back() {
        let stamp = Stamp { value: 0x0102_0304, echo: 0xfffe_fdfc };
        let option = stamp.padded();
        assert_eq!(option, [1, 1, 8, 10, 1, 2, 3, 4, 255, 254, 253, 252]);
        let mut segment = vec![0; 20];
        segment[12] = 8 << 4;
        segment.extend(option);
        let read = |segment: &[u8]| Stamp::read(&Tcp::new_checked(segment).unwrap());
        assert_eq!(read(&segment), Some(stamp));
        segment[23] = 9;
        assert_eq!(read(&segment), None, "a length of nine");
    }

    // Section 4.3: which timestamp to echo.

    #[test]
    fn the_syns_timestamp_is_echoed_first() {
        assert_eq!(agreed(7).stamp(at(100)), Stamp { value: 170, echo: 7 });
    }

    #[test]
    fn delayed_acknowledgments_echo_the_earliest_segment() {
        let mut stamps = agreed(1);
        stamps.on_segment(at(110), with(10), RCV_NXT);
        stamps.on_segment(at(120), with(20), RCV_NXT + 100);
        assert_eq!(stamps.stamp(at(120)).echo, 10, "the second begins behind Last.ACK.sent");
        stamps.on_sent(RCV_NXT + 200);
        stamps.on_segment(at(130), with(30), RCV_NXT + 200);
        assert_eq!(stamps.stamp(at(130)).echo, 30);
    }

    #[test]
    fn a_segment_behind_a_hole_is_not_echoed_but_the_one_that_fills_it_is() {
        let mut stamps = agreed(1);
        stamps.on_segment(at(110), with(10), RCV_NXT + 100);
        assert_eq!(stamps.stamp(at(110)).echo, 1);
        stamps.on_sent(RCV_NXT);
        stamps.on_segment(at(120), with(20), RCV_NXT);
        assert_eq!(stamps.stamp(at(120)).echo, 20);
    }

    #[test]
    fn an_older_timestamp_never_replaces_a_newer_one() {
        let mut stamps = agreed(50);
        stamps.on_segment(at(110), with(49), RCV_NXT);
        assert_eq!(stamps.recent(), Recent { value: 50, heard: at(100) });
        stamps.on_segment(at(110), with(50), RCV_NXT);
        assert_eq!(stamps.recent(), Recent { value: 50, heard: at(110) }, "an equal one is heard");
        stamps.on_segment(at(120), None, RCV_NXT);
        assert_eq!(stamps.recent().value, 50);
    }

    #[test]
    fn the_acknowledgment_sent_last_never_goes_back_and_wraps() {
        let mut stamps = Timestamps::new(Clock::new(0), at(0), at(0), 1, u32::MAX - 9);
        stamps.on_sent(5);
        stamps.on_sent(u32::MAX - 9);
        stamps.on_segment(at(1), with(2), 5);
        assert_eq!(stamps.recent().value, 2);
        stamps.on_segment(at(2), with(3), 6);
        assert_eq!(stamps.recent().value, 2);
    }

    // Section 5: PAWS.

    #[test]
    fn an_old_duplicate_is_refused_an_equal_or_newer_one_is_not() {
        let stamps = agreed(1_000);
        for (value, paws) in [
            (999, Paws::Old),
            (1_000, Paws::Accept),
            (1_001, Paws::Accept),
            (1_000 + i32::MAX.cast_unsigned(), Paws::Accept),
            (1_001 + (1 << 31), Paws::Old),
        ] {
            assert_eq!(stamps.check(at(200), with(value), false), paws, "{value}");
        }
    }

    #[test]
    fn order_survives_the_wrap_of_the_peers_clock() {
        let mut stamps = agreed(u32::MAX - 2);
        assert_eq!(stamps.check(at(200), with(3), false), Paws::Accept);
        stamps.on_segment(at(200), with(3), RCV_NXT);
        assert_eq!(stamps.check(at(200), with(u32::MAX - 2), false), Paws::Old);
        assert_eq!(stamps.recent().value, 3);
    }

    #[test]
    fn a_reset_is_exempt_and_needs_no_timestamp() {
        let stamps = agreed(1_000);
        assert_eq!(stamps.check(at(200), with(1), true), Paws::Accept);
        assert_eq!(stamps.check(at(200), None, true), Paws::Accept);
    }

    #[test]
    fn a_segment_without_a_timestamp_is_told_apart() {
        assert_eq!(agreed(1_000).check(at(200), None, false), Paws::Missing);
    }

    #[test]
    fn after_24_days_of_silence_any_timestamp_is_taken() {
        let mut stamps = agreed(1_000);
        let last = at(100) + RECENT_LASTS;
        assert_eq!(stamps.check(at(99) + RECENT_LASTS, with(5), false), Paws::Old);
        assert_eq!(stamps.check(last, with(5), false), Paws::Accept);
        stamps.on_segment(last, with(5), RCV_NXT);
        assert_eq!(stamps.recent(), Recent { value: 5, heard: last });
        assert_eq!(stamps.check(last, with(4), false), Paws::Old, "and counts from then on");
    }

    #[test]
    fn a_peer_that_says_zero_in_its_syn_is_given_the_benefit() {
        assert_eq!(agreed(0).check(at(200), with(1 << 31 | 5), false), Paws::Accept);
    }

    // Section 4.1: round-trip times.

    #[test]
    fn an_echo_tells_the_round_trip_time_at_least_a_millisecond() {
        let stamps = agreed(1);
        assert_eq!(stamps.rtt(at(250), stamps.stamp(at(230)).value), Some(ms(20)));
        assert_eq!(stamps.rtt(at(250), stamps.stamp(at(250)).value), Some(ms(1)));
    }

    #[test]
    fn echoes_of_what_was_never_sent_tell_nothing() {
        let stamps = agreed(1);
        assert_eq!(stamps.rtt(at(250), 0), None);
        assert_eq!(stamps.rtt(at(250), stamps.clock().at(at(89))), None, "before our SYN");
        assert_eq!(stamps.rtt(at(250), stamps.clock().at(at(90))), Some(ms(160)));
        assert_eq!(stamps.rtt(at(250), stamps.clock().at(at(251))), None, "from the future");
    }

    #[test]
    fn a_round_trip_across_the_wrap_of_our_clock() {
        let stamps = Timestamps::new(Clock::new(u32::MAX - 5), at(0), at(0), 1, RCV_NXT);
        assert_eq!(stamps.rtt(at(20), stamps.clock().at(at(3))), Some(ms(17)));
    }

    #[test]
    fn round_trip_times_are_told_however_long_the_connection_lasts() {
        let days = 60 * 24 * 60 * 60 * 1_000;
        let stamps = agreed(1);
        assert_eq!(stamps.rtt(at(days), stamps.clock().at(at(days - 30))), Some(ms(30)));
    }
}
