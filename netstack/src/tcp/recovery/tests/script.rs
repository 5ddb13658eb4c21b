//! What a sender does, step by step: each test is a point of an RFC.

use std::ops::Range;
use std::time::Duration;

use super::link::byte_at;
use crate::tcp::buffer::Pool;
use crate::tcp::congestion::Algorithm;
use crate::tcp::recovery::{Ack, Acked, RTO_MIN, Sender, SenderConfig, Transmit};
use crate::time::Instant;

const MSS: u64 = 1_000;
const RTT: Duration = Duration::from_millis(100);

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A sender, what it sent, and its clock.
struct Script {
    now: Instant,
    sender: Sender,
    pool: Pool,
    window: u32,
    sequence: u64,
    echo_age: Option<Duration>,
}

impl Script {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut SenderConfig)) -> Self {
        let now = Instant::from_secs(10);
        let mut config = SenderConfig {
            mss: MSS as u32,
            window: 1 << 20,
            sack: true,
            handshake_rtt: Some(RTT),
            max_buffer: 1 << 20,
            rto_min: RTO_MIN,
            user_timeout: Duration::from_secs(100),
            nagle: false,
            congestion: Algorithm::NewReno.start(now, MSS as u32, 1),
        };
        change(&mut config);
        let window = config.window;
        let sender = Sender::new(config, now);
        Self { now, sender, pool: Pool::new(1 << 24), window, sequence: 0, echo_age: None }
    }

    fn write(&mut self, len: u64) -> usize {
        let from = self.sender.written();
        let bytes: Vec<_> = (from..from + len).map(byte_at).collect();
        self.sender.write(self.now, &mut self.pool, &bytes)
    }

    fn transmit(&mut self) -> Option<Transmit> {
        let transmit = self.sender.poll_transmit(self.now, 1_000);
        self.sender.board.check();
        transmit
    }

    /// Offsets of the segments that leave now.
    fn sent(&mut self) -> Vec<u64> {
        std::iter::from_fn(|| self.transmit()).map(|transmit| transmit.offset).collect()
    }

    fn ack(&mut self, offset: u64) -> Acked {
        self.sack(offset, &[])
    }

    fn sack(&mut self, offset: u64, sack: &[Range<u64>]) -> Acked {
        let ack = Ack {
            offset,
            window: self.window,
            sequence: self.sequence,
            sack,
            echo_age: self.echo_age,
            carries_data: false,
        };
        let acked = self.sender.on_ack(self.now, &mut self.pool, &ack);
        self.sender.board.check();
        acked
    }

    fn sack_one(&mut self, offset: u64, block: Range<u64>) -> Acked {
        self.sack(offset, &[block])
    }

    /// Goes to the next deadline and tells how long that took.
    fn wait(&mut self) -> Duration {
        let at = self.sender.poll_timeout().expect("a timer runs");
        let waited = at - self.now;
        self.now = self.now.max(at);
        self.sender.on_timeout(self.now);
        self.sender.board.check();
        waited
    }

    fn state(&self) -> &'static str {
        self.sender.info().state
    }

    /// Sends `n` segments at once and lets a round trip pass.
    fn flight(n: u64) -> Self {
        Self::new().fly(n)
    }

    fn fly(mut self, n: u64) -> Self {
        self.write(n * MSS);
        assert_eq!(self.sent().len() as u64, n);
        self.now += RTT;
        self
    }
}

#[test]
fn an_initial_window_leaves_at_once_and_the_last_segment_pushes() {
    let mut script = Script::new();
    script.write(20 * MSS);
    let sent: Vec<_> = std::iter::from_fn(|| script.transmit()).collect();
    assert_eq!(sent.len(), 10);
    assert!(sent.iter().all(|transmit| !transmit.push && !transmit.fin));
    let mut payload = [0; MSS as usize];
    assert_eq!(script.sender.copy_payload(3_000, &mut payload), 1_000);
    assert!((3_000..).zip(payload).all(|(at, byte)| byte == byte_at(at)));
    let mut script = Script::new();
    script.write(2_500);
    assert_eq!(script.transmit().map(|t| t.push), Some(false));
    assert_eq!(script.transmit().map(|t| t.push), Some(false));
    assert_eq!(script.transmit().map(|t| (t.len, t.push)), Some((500, true)));
}

#[test]
fn new_data_leaves_in_super_packets() {
    let mut script = Script::new();
    script.write(9_500);
    let transmit = script.sender.poll_transmit(script.now, 65_535).unwrap();
    assert_eq!((transmit.offset, transmit.len, transmit.mss), (0, 9_500, 1_000));
    let mut payload = vec![0; 9_500];
    assert_eq!(script.sender.copy_payload(0, &mut payload), 9_500);
    assert_eq!(payload, (0..9_500).map(byte_at).collect::<Vec<_>>());
}

#[test]
fn acknowledgments_free_the_buffer() {
    let mut script = Script::flight(10);
    assert_eq!(script.ack(4_000), Acked { bytes: 4_000, ..Acked::default() });
    assert_eq!((script.sender.una(), script.sender.queued()), (4_000, 6_000));
    assert_eq!(script.ack(4_000), Acked::default());
    assert_eq!(script.ack(3_000), Acked::default(), "an old one");
    assert!(script.ack(10_001).unsent);
    assert_eq!(script.sender.una(), 4_000);
}

#[test]
fn a_writer_without_room_is_told_when_there_is_some() {
    let mut script = Script::new();
    let taken = script.write(1 << 20) as u64;
    assert_eq!((taken, script.sender.room()), (65_536, 0));
    script.sent();
    script.now += RTT;
    assert!(!script.ack(1_000).freed_room);
    script.sent();
    script.now += RTT;
    let mut offset = 1_000;
    let mut told = false;
    while !told {
        script.sent();
        script.now += ms(10);
        offset = script.sender.next_offset().max(offset);
        told = script.ack(offset).freed_room;
        assert!(offset <= taken);
    }
    assert!(script.sender.room() > 65_536 / 3);
}

#[test]
fn the_fin_follows_the_data_and_is_sent_again_with_it() {
    let mut script = Script::new();
    script.write(1_500);
    script.sender.close(script.now);
    assert_eq!(script.write(10), 0);
    assert_eq!(script.transmit().map(|t| (t.offset, t.len, t.fin)), Some((0, 1_000, false)));
    assert_eq!(script.transmit().map(|t| (t.offset, t.len, t.fin)), Some((1_000, 500, true)));
    assert_eq!(script.transmit(), None);
    script.now += RTT;
    assert_eq!(script.ack(1_500).bytes, 1_500);
    script.wait();
    let again = script.transmit().unwrap();
    assert_eq!((again.offset, again.len, again.fin, again.retransmission), (1_500, 0, true, true));
    assert!(!script.sender.fin_acknowledged);
    let acked = script.ack(1_501);
    assert_eq!((acked.bytes, acked.fin, script.sender.fin_acknowledged), (0, true, true));
    assert_eq!((script.sender.poll_timeout(), script.pool.used()), (None, 0));
}

/// RFC 8985 section 6.2 step 5: three segments behind a hole leave no doubt.
#[test]
fn a_hole_with_three_segments_behind_it_is_filled_at_once() {
    let mut script = Script::flight(10);
    script.sack_one(0, 1_000..3_000);
    assert_eq!((script.state(), script.sent()), ("disorder", vec![]));
    script.sack_one(0, 1_000..4_000);
    assert_eq!((script.state(), script.sent()), ("recovery", vec![0]));
    assert_eq!(script.sender.info().window, script.sender.info().in_flight);
    script.now += RTT;
    script.ack(10_000);
    assert_eq!((script.state(), script.sender.info().window), ("open", 6_000));
}

/// RFC 8985 section 6.2 step 5: with fewer, after a quarter of the smallest round trip.
#[test]
fn a_hole_with_one_segment_behind_it_is_filled_after_a_while() {
    let mut script = Script::flight(2);
    script.sack_one(0, 1_000..2_000);
    assert_eq!(script.sent(), []);
    assert_eq!(script.wait(), RTT / 4);
    assert_eq!((script.state(), script.sent()), ("recovery", vec![0]));
}

/// RFC 3042, here by RFC 6675: what is selectively acknowledged makes room for new data.
#[test]
fn each_selective_acknowledgment_lets_a_new_segment_go() {
    let mut script = Script::flight(10);
    script.write(10 * MSS);
    script.sack_one(0, 1_000..2_000);
    assert_eq!(script.sent(), [10_000, 11_000], "one by slow start");
}

/// RFC 6675 and 8985: a retransmission that is lost is noticed by what was sent after it.
#[test]
fn a_retransmission_that_is_lost_is_sent_again() {
    let mut script = Script::flight(10);
    script.write(10 * MSS);
    script.sack_one(0, 1_000..4_000);
    assert_eq!(script.sent(), [0]);
    script.now += ms(1);
    script.sack_one(0, 1_000..10_000);
    assert_eq!(script.sent()[0], 10_000);
    script.now += RTT;
    script.sack_one(0, 1_000..11_000);
    assert_eq!(script.sent()[0], 0);
    assert_eq!(script.sender.info().retransmitted, 2_000);
}

/// RFC 8985 section 7.2: two round trips without an acknowledgment.
#[test]
fn a_tail_is_probed_with_its_last_segment() {
    let mut script = Script::flight(3);
    assert_eq!(RTT + script.wait(), 2 * RTT + ms(2));
    let probe = script.transmit().unwrap();
    assert_eq!((probe.offset, probe.len, probe.probe), (2_000, 1_000, true));
    assert_eq!(script.transmit(), None);
    assert_eq!(script.wait(), script.sender.rtt.timeout() / 2, "then the timeout");
    assert_eq!(script.sent(), [0]);
}

#[test]
fn new_data_is_a_better_probe() {
    let mut script = Script::flight(10);
    script.write(1_000);
    script.wait();
    assert_eq!(script.sent(), [10_000], "beyond the congestion window");
    assert_eq!(script.sender.info().retransmitted, 0);
}

/// RFC 8985 section 7.4: the probe repaired the only loss, which is a sign of congestion.
#[test]
fn a_loss_that_only_the_probe_shows_reduces_the_window() {
    for (arrived_twice, window) in [(false, 5_000), (true, 10_000)] {
        let mut script = Script::flight(3);
        script.wait();
        script.sent();
        script.now += RTT;
        script.ack(3_000);
        script.write(1_000);
        script.sent();
        script.now += RTT;
        if arrived_twice {
            script.sack_one(3_000, 2_000..3_000);
        }
        script.ack(4_000);
        assert_eq!(script.sender.info().window, window, "{arrived_twice}");
    }
}

/// RFC 6298 section 5: the timeout doubles, the first segment is sent again, one at a time.
#[test]
fn a_silent_peer_gets_the_first_segment_again_and_again() {
    let mut script = Script::with(|config| config.sack = false).fly(5);
    let mut waits = Vec::new();
    for _ in 0..4 {
        waits.push(script.wait().as_millis());
        assert_eq!(script.sent(), [0]);
    }
    assert_eq!(waits, [200, 600, 1_200, 2_400]);
    assert_eq!((script.state(), script.sender.info().window), ("loss", 1_000));
}

/// RFC 5682 section 3.1: data that was sent once arrives after the timeout.
#[test]
fn an_early_timeout_is_undone() {
    let mut script = Script::flight(10);
    script.wait();
    script.sent();
    script.wait();
    assert_eq!((script.sent(), script.state()), (vec![0], "loss"));
    script.now += RTT;
    script.ack(1_000);
    script.now += ms(1);
    script.ack(2_000);
    let info = script.sender.info();
    assert_eq!((info.state, info.window >= 10_000, info.undone), ("open", true, 1));
    assert_eq!(info.lost, 0);
}

/// RFC 5682 section 2.1: after the first segment was acknowledged, new data goes first.
#[test]
fn after_a_timeout_new_data_tells_whether_the_rest_is_lost() {
    let mut script = Script::flight(10);
    script.write(5_000);
    script.wait();
    assert_eq!(script.sent(), [10_000], "the loss probe");
    script.wait();
    assert_eq!(script.sent(), [0]);
    script.now += RTT;
    script.ack(1_000);
    assert_eq!(script.sent(), [11_000, 12_000]);
    script.now += RTT;
    script.sack_one(1_000, 11_000..12_000);
    assert_eq!(script.sent()[0], 1_000, "it is");
    assert_eq!(script.sender.info().undone, 0);
}

/// RFC 3708: all that was sent again is reported as a duplicate.
#[test]
fn a_recovery_that_was_not_needed_is_undone_by_a_dsack() {
    let mut script = Script::flight(10);
    script.sack_one(0, 1_000..4_000);
    assert_eq!(script.sent(), [0]);
    script.now += ms(95);
    script.ack(10_000);
    assert_eq!(script.sender.info().window, 5_000);
    script.now += ms(1);
    script.sack_one(10_000, 0..1_000);
    let info = script.sender.info();
    assert_eq!((info.window, info.undone, info.reordering_seen), (10_000, 1, true));
}

/// RFC 3522: the acknowledgment echoes the original's time stamp.
#[test]
fn a_recovery_that_was_not_needed_is_undone_by_an_echo() {
    for (age, undone) in [(150, 1), (95, 0)] {
        let mut script = Script::flight(10);
        script.sack_one(0, 1_000..4_000);
        assert_eq!(script.sent(), [0]);
        script.now += ms(95);
        script.echo_age = Some(ms(age));
        script.ack(10_000);
        assert_eq!(script.sender.info().undone, undone);
    }
}

/// For peers without time stamps and DSACK: no answer to the retransmission can be here yet.
#[test]
fn a_recovery_that_was_not_needed_is_undone_by_an_early_acknowledgment() {
    let mut script = Script::flight(10);
    script.sack_one(0, 1_000..4_000);
    assert_eq!(script.sent(), [0]);
    script.now += ms(5);
    script.sack(4_000, &[]);
    assert_eq!((script.state(), script.sender.info().undone), ("open", 1));
}

/// RFC 8985 section 6.2 step 4: the reordering window grows with each round trip that had a DSACK.
#[test]
fn reordering_makes_patient() {
    let mut script = Script::flight(10);
    script.sack_one(0, 1_000..4_000);
    script.sent();
    script.now += ms(5);
    script.sack_one(10_000, 0..1_000);
    script.write(10_000);
    script.sent();
    script.now += RTT;
    // An original below what has arrived: reordering.
    script.sack_one(10_000, 12_000..13_000);
    script.sack_one(11_000, 12_000..13_000);
    script.sack_one(11_000, 12_000..16_000);
    assert!(script.sender.info().reordering_seen);
    assert_eq!((script.state(), script.sent()), ("disorder", vec![]));
    assert_eq!(script.wait(), RTT / 2, "two quarters");
    assert_eq!(script.sent(), [11_000]);
}

/// RFC 2018 section 8: at a timeout what the peer should have acknowledged is not believed any more.
#[test]
fn a_peer_that_gives_up_what_it_held_gets_it_again() {
    let mut script = Script::flight(5);
    script.sack_one(0, 1_000..5_000);
    assert_eq!(script.sent(), [0]);
    script.now += RTT;
    script.ack(1_000);
    assert_eq!(script.sent(), [], "the rest should be there");
    script.wait();
    assert_eq!(script.sent(), [1_000]);
    script.now += RTT;
    script.ack(2_000);
    assert_eq!(script.sent(), [2_000, 3_000]);
}

/// RFC 6582: without SACK.
#[test]
fn the_third_duplicate_acknowledgment_begins_recovery() {
    let mut script = Script::with(|config| config.sack = false).fly(10);
    script.ack(0);
    script.ack(0);
    assert_eq!(script.sent(), []);
    script.ack(0);
    assert_eq!((script.state(), script.sent()), ("recovery", vec![0]));
    script.now += RTT;
    script.ack(3_000);
    assert_eq!(script.sent(), [3_000], "a partial one uncovers the next hole");
    script.now += RTT;
    script.ack(10_000);
    assert_eq!((script.state(), script.sender.info().window), ("open", 6_000));
}

/// RFC 9293 section 3.8.6.1.
#[test]
fn a_closed_window_is_probed_until_it_opens() {
    let mut script = Script::flight(2);
    script.window = 0;
    script.ack(2_000);
    script.write(5_000);
    assert_eq!(script.sent(), []);
    let mut waits = Vec::new();
    for _ in 0..4 {
        waits.push(script.wait());
        let probe = script.transmit().unwrap();
        assert_eq!((probe.offset, probe.len, probe.probe), (1_999, 0, true));
        script.now += RTT;
        script.ack(2_000);
        assert_eq!(script.sent(), []);
    }
    assert!(waits.is_sorted() && waits[3] > 4 * waits[0], "{waits:?}");
    script.window = 100_000;
    script.ack(2_000);
    assert_eq!(script.sent().len(), 5);
}

/// Probes of a window closed from the beginning name the SYN.
#[test]
fn the_first_probe_may_be_for_the_syn() {
    let mut script = Script::with(|config| config.window = 0);
    script.write(1);
    assert_eq!(script.sent(), []);
    script.wait();
    assert_eq!(script.transmit().unwrap().offset, u64::MAX);
}

#[test]
fn a_window_that_closed_over_what_was_sent_costs_no_rate() {
    let mut script = Script::flight(5);
    script.window = 0;
    script.sequence = 1;
    script.ack(1_000);
    script.wait();
    script.sent();
    script.wait();
    let probe = script.transmit().unwrap();
    assert_eq!((probe.offset, probe.len), (999, 0));
    assert!(script.sender.info().window >= 10_000);
    script.window = 50_000;
    script.ack(1_000);
    assert_eq!(script.sent(), [1_000, 2_000, 3_000, 4_000], "all at once");
    assert!(script.sender.info().window >= 10_000);
}

/// RFC 9293 section 3.8.6.2.1.
#[test]
fn a_window_smaller_than_a_segment_waits_for_more() {
    let mut script = Script::flight(2);
    script.window = 100;
    script.ack(2_000);
    script.write(5_000);
    assert_eq!(script.sent(), []);
    script.wait();
    let runt = script.transmit().unwrap();
    assert_eq!((runt.offset, runt.len), (2_000, 100), "but not for ever");
}

#[test]
fn a_peer_that_never_has_room_for_a_segment_gets_smaller_ones() {
    let mut script = Script::with(|config| config.window = 600);
    script.write(5_000);
    assert_eq!(script.transmit().unwrap().len, 600);
    assert_eq!(script.transmit(), None);
}

/// RFC 9293 section 3.7.4.
#[test]
fn nagle_holds_a_small_piece_while_data_is_in_flight() {
    for (nagle, sent) in [(true, vec![0]), (false, vec![0, 10])] {
        let mut script = Script::with(|config| config.nagle = nagle);
        script.write(10);
        let mut seen = script.sent();
        script.write(10);
        seen.extend(script.sent());
        assert_eq!(seen, sent);
        script.now += RTT;
        script.ack(script.sender.next_offset());
        assert_eq!(script.sent().len(), usize::from(nagle));
    }
}

/// RFC 1191 section 6.4: it is sent again in smaller segments, and no sign of congestion.
#[test]
fn a_smaller_path_gets_smaller_segments_at_once() {
    let mut script = Script::flight(4);
    script.sender.set_mss(script.now, 600);
    let window = script.sender.info().window;
    let sent: Vec<_> = std::iter::from_fn(|| script.transmit()).collect();
    assert!(sent.iter().all(|t| t.mss == 600 && t.retransmission), "{sent:?}");
    assert_eq!(sent.iter().map(|t| t.len).sum::<u32>(), 4_000);
    script.now += RTT;
    script.ack(4_000);
    assert_eq!(script.state(), "open");
    assert!(script.sender.info().window >= window);
}

#[test]
fn timeouts_of_full_segments_only_look_like_a_black_hole() {
    for (len, suspected) in [(5_000, true), (500, false)] {
        let mut script = Script::new();
        script.write(len);
        script.sent();
        for _ in 0..4 {
            assert!(!script.sender.blackhole_suspected());
            script.wait();
            script.sent();
        }
        assert_eq!(script.sender.blackhole_suspected(), suspected);
        script.sender.set_mss(script.now, 512);
        assert!(!script.sender.blackhole_suspected());
    }
}

/// RFC 5482.
#[test]
fn a_peer_that_takes_nothing_is_given_up() {
    let mut script = Script::flight(2);
    let begin = script.now;
    while !script.sender.gone(script.now) {
        script.wait();
        script.sent();
    }
    assert_eq!(script.now + RTT, begin + Duration::from_secs(100), "since it was sent");
}

#[test]
fn a_peer_that_answers_probes_is_not_given_up() {
    let mut script = Script::flight(2);
    script.window = 0;
    script.ack(2_000);
    script.write(1_000);
    let end = script.now + Duration::from_secs(1_000);
    while script.now < end {
        script.sent();
        script.wait();
        assert!(!script.sender.gone(script.now));
        script.ack(2_000);
    }
}

/// RFC 5681 section 4.1.
#[test]
fn after_idleness_the_window_is_small_again() {
    let mut script = Script::flight(10);
    script.ack(10_000);
    script.write(20_000);
    script.sent();
    script.now += RTT;
    script.ack(script.sender.next_offset());
    script.now += Duration::from_mins(1);
    script.write(50_000);
    assert_eq!(script.sent().len(), 10);
}

/// Karn: what was sent twice measures nothing.
#[test]
fn an_acknowledgment_of_what_was_sent_again_is_no_sample() {
    let mut script = Script::flight(3);
    script.wait();
    script.sent();
    script.wait();
    script.sent();
    let before = script.sender.info().smoothed_rtt;
    script.now += ms(1);
    script.ack(1_000);
    assert_eq!(script.sender.info().smoothed_rtt, before);
}
