//! SYN cookies: SYN-ACKs of which nothing is remembered.
//!
//! # Theory of operation
//!
//! When the limit of half-open connections is reached, a SYN is answered by a SYN-ACK whose sequence
//! number proves itself. The acknowledgment that comes back carries it, less one, and with the peer's
//! own number is all that is needed to make the connection (RFC 4987 section 3.6). A spoofed SYN then
//! costs us one packet and no memory.
//!
//! ```text
//! bit  31                      8 7     5 4   2   1     0
//!     ┌─────────────────────────┬───────┬─────┬──────┬─────┐
//!     │ keyed hash, 24 bits     │ MSS   │ WS  │ SACK │ odd │   the low byte XORed with the top one
//!     └─────────────────────────┴───────┴─────┴──────┴─────┘
//! ```
//!
//! The hash covers both addresses and ports, the peer's initial sequence number, the number of the
//! period of [`PERIOD`] and the low byte. A cookie is good in the period in which it was made and in the
//! next, which its lowest bit tells apart: for one to two periods. Who guesses hits one in 2^24.
//!
//! **What is kept of the options.** MSS and window scale become the next smaller value of a small table: a
//! little less is only slower. A peer whose MSS is below the table gets no cookie. If the peer sends
//! timestamps, its exact window scale and SACK-permitted go into the [`KEPT_BITS`] low bits of our `TSval`, which the
//! acknowledgment echoes.
//!
//! **The gate.** Without a recent overflow no acknowledgment is even looked at, so that guessing is in vain
//! in peace, and segments for no connection cost no hash. Linux does the same.

use std::time::Duration;

use super::options::SynOptions;
use crate::tcp::isn::Secret;
use crate::tcp::timestamps::{Clock, Stamp, ticks};
use crate::time::Instant;
use crate::wire::Tuple;

/// How long the secret of cookies stays the same.
const PERIOD: Duration = Duration::from_secs(64);

/// How long after the last cookie acknowledgments are looked at: no cookie is good for longer.
const GATE: Duration = Duration::from_secs(2 * 64);

/// What can be said of an MSS: what paths and tunnels have, the assumed values of both families among
/// them, and one for jumbo frames.
const MSS: [u16; 8] = [216, 536, 1_220, 1_360, 1_400, 1_440, 1_460, 8_940];

/// What can be said of a window scale: the usual ones.
const WINDOW_SCALE: [Option<u8>; 8] =
    [None, Some(0), Some(2), Some(4), Some(6), Some(7), Some(8), Some(10)];

/// Low bits of `TSval` that keep options: four of window scale, one of SACK-permitted.
const KEPT_BITS: u32 = 5;
/// A window scale that is none.
const NO_WINDOW_SCALE: u32 = 15;
const KEPT_SACK: u32 = 1 << 4;

/// The handshake that a cookie belongs to.
#[derive(Clone, Copy, Debug)]
pub(in crate::tcp) struct Handshake {
    /// The tuple as incoming packets name it.
    pub(in crate::tcp) tuple: Tuple,
    /// The peer's initial sequence number.
    pub(in crate::tcp) irs: u32,
    /// Our clock for the tuple, if connections use timestamps.
    pub(in crate::tcp) clock: Option<Clock>,
}

/// A SYN-ACK to send, of which nothing is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tcp) struct Offer {
    pub(in crate::tcp) isn: u32,
    pub(in crate::tcp) options: SynOptions,
}

/// Makes cookies and knows them again.
#[derive(Debug)]
pub(in crate::tcp) struct Cookies {
    secret: Secret,
    last_made: Option<Instant>,
}

impl Cookies {
    pub(in crate::tcp) const fn new(secret: Secret) -> Self {
        Self { secret, last_made: None }
    }

    /// The answer to a SYN with the options `peer` by one who could use everything in `ours`, and from
    /// now on acknowledgments are looked at; nothing if the peer's MSS is too small to be kept. A
    /// peer that says none is to be given the one that is assumed of it.
    pub(in crate::tcp) fn offer(
        &mut self,
        now: Instant,
        handshake: &Handshake,
        peer: &SynOptions,
        ours: &SynOptions,
    ) -> Option<Offer> {
        let period = period(now);
        let mss = index(&MSS, |&mss| Some(mss) <= peer.mss)?;
        let scale = index(&WINDOW_SCALE, |&shift| shift <= peer.window_scale)?;
        let sack = u8::from(peer.sack_permitted);
        let contents = mss << 5 | scale << 2 | sack << 1 | (period & 1) as u8;
        self.last_made = Some(now);
        let value = handshake.clock.map(|clock| tsval(clock, now, peer));
        let stamp = value.map(|value| Stamp { value, echo: 0 });
        let options = peer.answer(&SynOptions { stamp, ..*ours });
        Some(Offer { isn: self.seal(handshake, period, contents), options })
    }

    /// True if cookies have been made of late, so that an acknowledgment for no connection may be of
    /// one.
    pub(in crate::tcp) fn are_about(&self, now: Instant) -> bool {
        self.last_made.is_some_and(|last| now - last < GATE)
    }

    /// The options of the SYN that `isn` was the answer to, as far as they were kept, if it was one of
    /// ours and not too old. `stamp` is that of the acknowledgment.
    pub(in crate::tcp) fn redeem(
        &self,
        now: Instant,
        handshake: &Handshake,
        isn: u32,
        stamp: Option<Stamp>,
    ) -> Option<SynOptions> {
        if !self.are_about(now) {
            return None;
        }
        let contents = (isn ^ isn >> 24) as u8;
        let current = period(now);
        let is_current = current & 1 == u64::from(contents & 1);
        let made = if is_current { current } else { current.checked_sub(1)? };
        if self.seal(handshake, made, contents) != isn {
            return None;
        }
        let kept = SynOptions {
            mss: Some(MSS[usize::from(contents >> 5)]),
            window_scale: WINDOW_SCALE[usize::from(contents >> 2 & 7)],
            sack_permitted: contents & 2 != 0,
            stamp: None,
        };
        // The SYN-ACK had a timestamp if, and only if, its acknowledgment has.
        Some(match handshake.clock.zip(stamp) {
            Some((clock, stamp)) => with_echoed(clock, stamp, kept),
            None => kept,
        })
    }

    fn seal(&self, handshake: &Handshake, period: u64, contents: u8) -> u32 {
        let Handshake { tuple, irs, .. } = handshake;
        let hash = self.secret.cookie(tuple, *irs, period, contents) as u32 & !0xff;
        hash | u32::from(contents) ^ hash >> 24
    }
}

/// The `TSval` of a SYN-ACK with a cookie: our clock's, set back by less than two steps of [`KEPT_BITS`]
/// so that its low bits, before the offset, hold what the peer offered.
fn tsval(clock: Clock, now: Instant, peer: &SynOptions) -> u32 {
    let scale = peer.window_scale.map_or(NO_WINDOW_SCALE, u32::from);
    let kept = scale | if peer.sack_permitted { KEPT_SACK } else { 0 };
    let (low, now) = ((1 << KEPT_BITS) - 1, ticks(now));
    let mut value = now & !low | kept;
    if now & low < kept {
        // Never ahead of the clock: `TSval` must not go back later.
        value = value.wrapping_sub(1 << KEPT_BITS);
    }
    value.wrapping_add(clock.offset())
}

/// The options with what the echo of a [`tsval`] has kept in place of what the cookie has. The peer could
/// lie, to its own harm only.
fn with_echoed(clock: Clock, stamp: Stamp, cookie: SynOptions) -> SynOptions {
    let kept = stamp.echo.wrapping_sub(clock.offset());
    let scale = kept & 0xf;
    SynOptions {
        window_scale: (scale != NO_WINDOW_SCALE).then_some(scale as u8),
        sack_permitted: kept & KEPT_SACK != 0,
        stamp: Some(Stamp { value: stamp.value, echo: 0 }),
        ..cookie
    }
}

fn period(now: Instant) -> u64 {
    now.as_micros() / PERIOD.as_micros() as u64
}

/// The index of the last of a few ascending values that fits.
fn index<T>(values: &[T; 8], fits: impl Fn(&T) -> bool) -> Option<u8> {
    values.iter().rposition(fits).map(|index| index as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Address, Protocol};

    const IRS: u32 = u32::MAX;
    const OURS: SynOptions =
        SynOptions { mss: Some(1_440), window_scale: Some(3), sack_permitted: true, stamp: None };

    fn handshake(src_port: u16) -> Handshake {
        let (src, dst) = (Address::from_v4([10, 0, 0, 2]), Address::from_v4([10, 0, 0, 1]));
        let tuple = Tuple { protocol: Protocol::Tcp, src, dst, src_port, dst_port: 80 };
        Handshake { tuple, irs: IRS, clock: None }
    }

    fn syn(mss: u16, window_scale: Option<u8>, sack_permitted: bool) -> SynOptions {
        SynOptions { mss: Some(mss), window_scale, sack_permitted, stamp: None }
    }

    const fn at(secs: u64) -> Instant {
        Instant::from_secs(secs)
    }

    fn cookies() -> Cookies {
        Cookies::new(Secret::new([1, 2]))
    }

    fn make(cookies: &mut Cookies, secs: u64, handshake: &Handshake, peer: &SynOptions) -> u32 {
        cookies.offer(at(secs), handshake, peer, &OURS).unwrap().isn
    }

    #[test]
    fn a_cookie_brings_back_what_the_syn_said_or_a_little_less() {
        let mut cookies = cookies();
        for (said, kept) in [
            (216, 216),
            (535, 216),
            (536, 536),
            (1_380, 1_360),
            (1_452, 1_440),
            (1_460, 1_460),
            (8_960, 8_940),
            (65_495, 8_940),
        ] {
            for (scale, kept_scale) in [
                (None, None),
                (Some(0), Some(0)),
                (Some(5), Some(4)),
                (Some(7), Some(7)),
                (Some(14), Some(10)),
            ] {
                for sack in [false, true] {
                    let peer = syn(said, scale, sack);
                    let offer = cookies.offer(at(100), &handshake(5), &peer, &OURS).unwrap();
                    assert_eq!(offer.options, peer.answer(&OURS));
                    let redeemed = cookies.redeem(at(100), &handshake(5), offer.isn, None);
                    assert_eq!(redeemed, Some(syn(kept, kept_scale, sack)));
                }
            }
        }
    }

    #[test]
    fn a_peer_with_a_tiny_mss_gets_no_cookie() {
        let mut cookies = cookies();
        let offer = cookies.offer(at(1), &handshake(5), &syn(215, None, true), &OURS);
        assert_eq!(offer, None);
        assert!(!cookies.are_about(at(1)));
    }

    #[test]
    fn a_cookie_is_of_one_tuple_one_peers_number_and_one_secret() {
        let mut cookies = cookies();
        let peer = syn(1_460, None, true);
        let isn = make(&mut cookies, 1, &handshake(5), &peer);
        let good = |handshake: &Handshake| cookies.redeem(at(1), handshake, isn, None).is_some();
        assert!(good(&handshake(5)));
        assert!(!good(&handshake(6)));
        assert!(!good(&Handshake { irs: IRS.wrapping_add(1), ..handshake(5) }));
        let Tuple { src, dst, .. } = handshake(5).tuple;
        let swapped = Tuple { src: dst, dst: src, ..handshake(5).tuple };
        assert!(!good(&Handshake { tuple: swapped, ..handshake(5) }));
        let mut other = Cookies::new(Secret::new([1, 3]));
        make(&mut other, 1, &handshake(9), &peer);
        assert_eq!(other.redeem(at(1), &handshake(5), isn, None), None);
    }

    #[test]
    fn no_bit_of_a_cookie_can_be_changed_and_guessing_takes_millions() {
        let mut cookies = cookies();
        let isn = make(&mut cookies, 200, &handshake(5), &syn(536, None, false));
        let good = |isn| cookies.redeem(at(200), &handshake(5), isn, None).is_some();
        for bit in 0..32 {
            assert!(!good(isn ^ 1 << bit), "bit {bit}");
        }
        let hits = (0..2_000_000_u32).filter(|guess| good(guess.wrapping_mul(2_147))).count();
        assert!(hits <= 3, "{hits}");
    }

    #[test]
    fn a_cookie_is_good_in_its_period_and_the_next() {
        let peer = syn(1_460, None, true);
        for made in [0, 63, 64, 100, 128] {
            let mut cookies = cookies();
            let isn = make(&mut cookies, made, &handshake(5), &peer);
            let end = (made / 64 + 2) * 64;
            // Others are made all the time, so that the gate is open.
            let mut good = |secs| {
                make(&mut cookies, secs, &handshake(9), &peer);
                cookies.redeem(at(secs), &handshake(5), isn, None).is_some()
            };
            assert!(good(made) && good(end - 1), "made at {made}");
            for late in [end, end + 63, end + 64, end + 128] {
                assert!(!good(late), "made at {made}, comes at {late}");
            }
        }
    }

    #[test]
    fn without_a_recent_cookie_none_is_believed() {
        let peer = syn(1_460, None, true);
        let mut maker = cookies();
        let isn = make(&mut maker, 64, &handshake(5), &peer);
        let idle = cookies();
        assert_eq!(idle.redeem(at(64), &handshake(5), isn, None), None, "another, at peace");
        assert!(maker.are_about(at(64)) && maker.are_about(at(191)));
        assert!(!maker.are_about(at(192)));
    }

    #[test]
    fn the_timestamp_keeps_the_exact_scale_and_is_never_ahead_of_the_clock() {
        let clock = Clock::new(0xffff_fff0);
        let with_clock = Handshake { clock: Some(clock), ..handshake(5) };
        let mut cookies = cookies();
        for millis in (0..100).chain([u64::from(u32::MAX), 1 << 32, (1 << 32) + 7]) {
            let now = Instant::from_millis(millis);
            for scale in (0..=14).map(Some).chain([None]) {
                for sack in [false, true] {
                    let stamp = Some(Stamp { value: 77, echo: 0 });
                    let peer = SynOptions { stamp, ..syn(1_460, scale, sack) };
                    let offer = cookies.offer(now, &with_clock, &peer, &OURS).unwrap();
                    let Stamp { value, echo } = offer.options.stamp.unwrap();
                    assert_eq!(echo, 77);
                    let behind = clock.at(now).wrapping_sub(value);
                    assert!(behind < 64, "{behind} at {millis} ms");
                    let acknowledgment = Some(Stamp { value: 78, echo: value });
                    let redeemed = cookies.redeem(now, &with_clock, offer.isn, acknowledgment);
                    let stamp = Some(Stamp { value: 78, echo: 0 });
                    assert_eq!(redeemed, Some(SynOptions { stamp, ..syn(1_460, scale, sack) }));
                }
            }
        }
    }

    #[test]
    fn timestamps_that_either_side_does_not_use_are_not_offered() {
        let mut cookies = cookies();
        let stamped = SynOptions { stamp: Some(Stamp::default()), ..syn(1_460, Some(9), true) };
        let offer = cookies.offer(at(1), &handshake(5), &stamped, &OURS).unwrap();
        assert_eq!(offer.options.stamp, None);
        let clock = Some(Clock::new(5));
        let with_clock = Handshake { clock, ..handshake(5) };
        let plain = syn(1_460, Some(9), true);
        let offer = cookies.offer(at(1), &with_clock, &plain, &OURS).unwrap();
        assert_eq!(offer.options.stamp, None);
        let redeemed = cookies.redeem(at(1), &with_clock, offer.isn, None);
        assert_eq!(redeemed, Some(syn(1_460, Some(8), true)));
    }
}
