use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::buffer::{BLOCK, Block};
use super::*;

const MSS: u16 = 1_000;
const INITIAL: u32 = 65_536;

fn config() -> ReceiverConfig {
    ReceiverConfig { initial: INITIAL, max: 1 << 22, mss: MSS, shift: 7 }
}

/// The byte that the stream has at an offset.
fn byte(offset: u64) -> u8 {
    (offset % 251) as u8
}

fn data(range: Range<u64>) -> Vec<u8> {
    range.map(byte).collect()
}

/// A receiver with its pool and clock.
struct Bed {
    now: Instant,
    pool: Pool,
    receiver: Receiver,
}

impl Bed {
    fn new(config: ReceiverConfig) -> Self {
        Self {
            now: Instant::from_secs(100),
            pool: Pool::new(1 << 26),
            receiver: Receiver::new(config),
        }
    }

    /// One whose first acknowledgments have been sent: the next may wait.
    fn settled() -> Self {
        let mut bed = Self::new(config());
        for turn in 0..20 {
            bed.segment(turn * 1_000..(turn + 1) * 1_000);
            bed.acknowledge();
        }
        bed.read_all();
        bed.acknowledge();
        bed
    }

    fn segment(&mut self, range: Range<u64>) -> Received {
        self.receiver.on_segment(self.now, &mut self.pool, range.start, &data(range), false)
    }

    fn fin(&mut self, range: Range<u64>) -> Received {
        self.receiver.on_segment(self.now, &mut self.pool, range.start, &data(range), true)
    }

    fn read_all(&mut self) -> Vec<u8> {
        let mut to = vec![0; self.receiver.available()];
        let start = self.receiver.bytes_read();
        assert_eq!(self.receiver.read(&mut self.pool, &mut to), to.len());
        assert_eq!(to, data(start..start + to.len() as u64));
        to
    }

    fn acknowledge(&mut self) {
        self.receiver.on_ack_sent(self.now, false);
    }

    fn wait(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    fn due(&self) -> bool {
        self.receiver.ack_now(self.now)
    }

    fn sack(&self) -> Vec<Range<u64>> {
        self.receiver.sack_blocks(4).to_vec()
    }

    fn edge(&self) -> u64 {
        self.receiver.rcv_nxt() + u64::from(self.receiver.window())
    }
}

fn in_order(bytes: u64) -> Received {
    Received { in_order: bytes, ..Received::default() }
}

fn dropped(why: Dropped) -> Received {
    Received { dropped: Some(why), ..Received::default() }
}

// Reassembly.

#[test]
fn a_stream_in_order_is_read_as_it_was_sent() {
    let mut bed = Bed::new(config());
    assert_eq!(bed.segment(0..1_000), in_order(1_000));
    assert_eq!(bed.segment(1_000..51_000), in_order(50_000));
    assert_eq!((bed.receiver.rcv_nxt(), bed.receiver.available()), (51_000, 51_000));
    assert_eq!(bed.read_all().len(), 51_000);
    assert_eq!(bed.pool.used(), 0);
}

#[test]
fn a_hole_is_filled_and_what_lies_behind_becomes_readable() {
    let mut bed = Bed::new(config());
    assert_eq!(bed.segment(1_000..2_000), in_order(0));
    assert_eq!(bed.segment(3_000..4_000), in_order(0));
    assert_eq!(bed.segment(0..1_000), in_order(2_000));
    assert_eq!(bed.segment(2_000..3_000), in_order(2_000));
    assert_eq!(bed.read_all().len(), 4_000);
}

#[test]
fn of_two_versions_of_a_byte_the_first_counts() {
    let mut bed = Bed::new(config());
    bed.segment(100..200);
    let received = bed.receiver.on_segment(bed.now, &mut bed.pool, 50, &[255; 200], false);
    assert_eq!(received.duplicate, Some(100..200));
    bed.segment(0..50);
    let mut to = [0; 250];
    assert_eq!(bed.receiver.read(&mut bed.pool, &mut to), 250);
    assert_eq!(to[..50], data(0..50));
    assert_eq!(to[50..100], [255; 50]);
    assert_eq!(to[100..200], data(100..200));
    assert_eq!(to[200..], [255; 50]);
}

#[test]
fn data_beyond_the_right_edge_is_dropped_and_what_is_before_it_taken() {
    let mut bed = Bed::new(config());
    let edge = bed.receiver.edge();
    assert_eq!(bed.segment(edge..edge + 10), dropped(Dropped::Window));
    assert!(bed.due());
    let received = bed.segment(0..edge + 10);
    assert_eq!(received, Received { dropped: Some(Dropped::Window), ..in_order(edge) });
    assert_eq!(bed.segment(u64::MAX - 3..u64::MAX), dropped(Dropped::Window));
}

// The end of the stream.

#[test]
fn the_end_is_reached_when_all_before_it_has_arrived() {
    let mut bed = Bed::new(config());
    assert_eq!(bed.fin(1_000..1_500), in_order(0));
    assert!(!bed.receiver.fin_reached());
    let received = bed.segment(0..1_000);
    assert_eq!(received, Received { fin_reached: true, ..in_order(1_500) });
    // The FIN counts as one.
    assert_eq!(bed.receiver.rcv_nxt(), 1_501);
    assert!(bed.receiver.fin_reached());
    assert_eq!(bed.read_all().len(), 1_500);
    assert!(!bed.receiver.window_update_due());
}

#[test]
fn a_fin_alone_is_taken_even_by_a_closed_window() {
    let mut bed = Bed::new(config());
    let edge = bed.receiver.edge();
    bed.segment(0..edge);
    assert_eq!(bed.fin(edge + 1..edge + 1), dropped(Dropped::Window));
    assert!(bed.fin(edge..edge).fin_reached);
}

#[test]
fn a_second_fin_is_a_duplicate_and_is_acknowledged_at_once() {
    let mut bed = Bed::settled();
    assert!(bed.fin(20_000..20_000).fin_reached);
    bed.acknowledge();
    assert_eq!(bed.fin(20_000..20_000), Received::default());
    assert!(bed.due());
}

#[test]
fn data_behind_the_end_is_dropped() {
    let mut bed = Bed::new(config());
    bed.fin(100..200);
    assert_eq!(bed.segment(200..210), dropped(Dropped::End));
    assert_eq!(bed.segment(150..210).dropped, Some(Dropped::End));
    assert_eq!(bed.segment(0..300).in_order, 200);
    assert_eq!(bed.segment(201..202), dropped(Dropped::End));
    assert_eq!(bed.receiver.rcv_nxt(), 201);
}

#[test]
fn a_fin_before_what_has_arrived_or_at_a_second_place_does_not_count() {
    let mut bed = Bed::new(config());
    bed.segment(0..100);
    bed.segment(200..300);
    assert_eq!(bed.fin(50..50), dropped(Dropped::End));
    assert_eq!(bed.fin(150..150), dropped(Dropped::End));
    assert_eq!(bed.fin(400..400), Received::default());
    assert_eq!(bed.fin(500..500), dropped(Dropped::End));
    assert!(!bed.receiver.fin_reached());
    assert!(bed.segment(100..400).fin_reached);
}

// SACK.

#[test]
fn the_first_block_is_what_arrived_last() {
    let mut bed = Bed::new(config());
    for at in [1_000, 3_000, 5_000, 7_000, 9_000] {
        bed.segment(at..at + 1_000);
    }
    assert_eq!(bed.sack(), [9_000..10_000, 7_000..8_000, 5_000..6_000, 3_000..4_000]);
    bed.segment(4_000..4_500);
    assert_eq!(bed.receiver.sack_blocks(3)[..], [3_000..4_500, 9_000..10_000, 7_000..8_000]);
}

#[test]
fn a_duplicate_is_reported_once_and_first() {
    let mut bed = Bed::new(config());
    bed.segment(0..1_000);
    bed.segment(2_000..3_000);
    bed.acknowledge();
    // RFC 2883 section 4.1: below the acknowledgment.
    assert_eq!(bed.segment(500..900).duplicate, Some(500..900));
    assert_eq!(bed.sack(), [500..900, 2_000..3_000]);
    bed.acknowledge();
    assert_eq!(bed.sack(), vec![2_000..3_000]);
    // Section 4.2: on an island; the island follows.
    bed.segment(2_200..2_300);
    assert_eq!(bed.sack(), [2_200..2_300, 2_000..3_000]);
}

#[test]
fn duplicates_that_came_at_once_are_reported_one_by_one() {
    let mut bed = Bed::new(config());
    bed.segment(0..3_000);
    bed.segment(5_000..6_000);
    bed.segment(8_000..9_000);
    bed.segment(6_000..6_100);
    bed.acknowledge();
    // In a row they are one, as RFC 2883 section 4 has it.
    for range in [0..500, 500..900, 2_000..2_100, 8_200..8_300] {
        bed.segment(range);
    }
    // The last island to come is behind all that is below the acknowledgment.
    bed.segment(6_100..6_200);
    for reported in
        [&[0..900, 5_000..6_200][..], &[2_000..2_100, 5_000..6_200], &[8_200..8_300, 8_000..9_000]]
    {
        assert!(bed.due());
        assert_eq!(bed.receiver.sack_blocks(2)[..], *reported);
        bed.acknowledge();
    }
    assert!(!bed.due());
}

#[test]
fn of_too_many_duplicates_the_oldest_are_not_reported() {
    let mut bed = Bed::new(config());
    bed.segment(0..10_000);
    bed.acknowledge();
    for at in 0..=MAX_DUPLICATES as u64 {
        bed.segment(2 * at..2 * at + 1);
    }
    for at in 1..=MAX_DUPLICATES as u64 {
        assert_eq!(bed.sack(), vec![2 * at..2 * at + 1]);
        bed.acknowledge();
    }
    assert!(bed.sack().is_empty());
}

#[test]
fn islands_beyond_the_limit_are_as_if_lost() {
    let mut bed = Bed::new(config());
    let mut taken = 0;
    for at in 1..28_000 {
        let received = bed.segment(2 * at..2 * at + 1);
        taken += u64::from(received.dropped.is_none());
    }
    assert_eq!((taken, bed.receiver.islands()), (MAX_ISLANDS as u64, MAX_ISLANDS));
    assert_eq!(bed.segment(5_000..5_001), dropped(Dropped::Islands));
    // The first hole can always be filled, and islands that are there can grow.
    assert_eq!(bed.segment(0..4).in_order, 5);
    assert_eq!(bed.segment(7..8).dropped, None);
    bed.segment(5..50_000);
    assert_eq!((bed.read_all().len(), bed.receiver.islands()), (50_000, 0));
}

// Memory.

#[test]
fn an_idle_receiver_is_small() {
    assert!(size_of::<Receiver>() < 300, "{}", size_of::<Receiver>());
    let mut bed = Bed::new(config());
    assert_eq!(bed.receiver.queue.memory(), 0);
    for round in 0..100 {
        let at = round * 20_000;
        for piece in (0..10).map(|piece| at + piece * 2_000) {
            bed.segment(piece + 1_000..piece + 2_000);
        }
        bed.segment(at..at + 20_000);
        bed.read_all();
        bed.acknowledge();
    }
    assert_eq!((bed.receiver.bytes_read(), bed.pool.used()), (2_000_000, 0));
    assert!(bed.receiver.queue.memory() <= 512);
}

#[test]
fn bytes_that_are_missing_come_before_bytes_that_are_ahead() {
    let mut bed = Bed::new(config());
    bed.pool = Pool::new(12 * BLOCK);
    let block = BLOCK as u64;
    bed.segment(block..3 * block);
    bed.segment(4 * block..6 * block);
    let others: Vec<_> = std::iter::from_fn(|| bed.pool.take_more()).collect();
    // The first block finds no room until the second island is given up.
    let received = bed.segment(0..block);
    let expected = Received { reneged: 4 * block, ..in_order(block) };
    assert_eq!((received, bed.receiver.islands()), (expected, 0));
    assert_eq!(bed.segment(block..5 * block).in_order, 3 * block);
    assert_eq!(bed.segment(4 * block..5 * block), dropped(Dropped::Pool));
    assert_eq!(bed.read_all().len() as u64, 4 * block);
    assert_eq!(bed.segment(4 * block..5 * block).in_order, block);
    for block in others {
        bed.pool.give(block);
    }
    bed.receiver.clear(&mut bed.pool);
    assert_eq!(bed.pool.used(), 0);
}

#[test]
fn while_memory_is_short_windows_open_little_and_nothing_far_ahead_is_taken() {
    let mut bed = Bed::settled();
    let squeezed = u64::from(window::SQUEEZED);
    bed.pool = Pool::new(64 * BLOCK);
    let mut others: Vec<_> = (0..49).filter_map(|_| bed.pool.take()).collect();
    assert!(bed.pool.pressure());
    let (next, edge) = (bed.receiver.rcv_nxt(), bed.edge());
    assert_eq!(bed.segment(next + squeezed..next + squeezed + 1), dropped(Dropped::Pool));
    assert_eq!(bed.segment(next + 1..next + squeezed).dropped, None);
    // What was promised stays promised; no more is.
    bed.segment(next..next + 20_000);
    assert!(bed.edge() - edge < 128);
    bed.acknowledge();
    bed.read_all();
    assert!(bed.edge() - edge < 256);
    bed.receiver.read(&mut bed.pool, &mut [0; 0]);
    while let Some(block) = others.pop() {
        bed.pool.give(block);
    }
    bed.receiver.read(&mut bed.pool, &mut [0; 0]);
    assert!(bed.edge() > edge + 10_000);
}

// The window.

#[test]
fn the_window_follows_the_reader_and_its_edge_stays_when_it_does_not_read() {
    let mut bed = Bed::new(config());
    let promised = bed.receiver.edge();
    assert_eq!(promised, u64::from(config().syn_window()));
    let mut edge = promised;
    for at in (0..).step_by(1_000).take_while(|at| at + 1_000 < promised) {
        bed.segment(at..at + 1_000);
        assert!(bed.edge() >= edge && bed.edge() <= u64::from(INITIAL));
        edge = bed.edge();
        bed.acknowledge();
    }
    assert!(bed.receiver.window() < 9_000);
    bed.read_all();
    assert!(bed.receiver.window() > 57_000);
    assert!(bed.receiver.window_update_due() && bed.due());
    bed.acknowledge();
    assert!(!bed.receiver.window_update_due() && !bed.due());
}

#[test]
fn the_edge_does_not_move_for_less_than_a_segment() {
    let mut bed = Bed::new(ReceiverConfig { shift: 0, ..config() });
    let edge = bed.receiver.edge();
    bed.segment(0..edge);
    bed.acknowledge();
    // 8,192 bytes were kept back in case that windows would be scaled: they are of use now.
    assert_eq!(bed.edge(), u64::from(INITIAL));
    bed.segment(edge..u64::from(INITIAL));
    bed.acknowledge();
    assert_eq!(bed.receiver.window(), 0);
    bed.receiver.read(&mut bed.pool, &mut [0; 999]);
    assert_eq!((bed.receiver.window(), bed.receiver.window_update_due()), (0, false));
    bed.receiver.read(&mut bed.pool, &mut [0; 1]);
    assert_eq!((bed.receiver.window(), bed.receiver.window_update_due()), (1_000, true));
}

#[test]
fn single_bytes_against_a_stalled_reader_do_not_enlarge_the_buffer() {
    let mut bed = Bed::new(config());
    let mut at = 0;
    while bed.segment(at..at + 1).in_order == 1 {
        bed.acknowledge();
        at += 1;
    }
    assert!(at <= u64::from(INITIAL), "{at}");
}

#[test]
fn an_unscaled_window_fits_its_field_however_large_the_buffer() {
    let config = ReceiverConfig { shift: 0, initial: 1 << 20, ..config() };
    assert_eq!(config.syn_window(), u16::MAX);
    let mut bed = Bed::new(config);
    assert_eq!(bed.receiver.window(), 65_535);
    bed.acknowledge();
    assert!(!bed.receiver.window_update_due());
}

#[test]
fn the_shift_is_the_least_that_can_tell_of_the_largest_buffer() {
    assert_eq!(ReceiverConfig::shift_for(65_535), 0);
    assert_eq!(ReceiverConfig::shift_for(65_536), 1);
    assert_eq!(ReceiverConfig::shift_for(6 << 20), 7);
    assert_eq!(ReceiverConfig::shift_for(u32::MAX), 14);
}

// The size of the buffer.

/// A peer in slow start: doubles what it sends each round trip, as far as windows allow.
fn slow_start(bed: &mut Bed, rounds: u32, read: bool) {
    let mut flight = 10_000;
    for _ in 0..rounds {
        let edge = bed.receiver.edge();
        let start = bed.receiver.rcv_nxt();
        let end = edge.min(start + flight);
        for at in (start..end).step_by(1_000) {
            bed.segment(at..end.min(at + 1_000));
            if read {
                bed.read_all();
            }
            bed.acknowledge();
        }
        flight *= 2;
        bed.wait(20);
    }
}

#[test]
fn a_buffer_grows_ahead_of_a_peer_in_slow_start() {
    let mut bed = Bed::new(config());
    bed.receiver.on_rtt(Duration::from_millis(20));
    slow_start(&mut bed, 7, true);
    // 10 KB · 2^7 − 10 KB: no round was held back.
    assert_eq!(bed.receiver.bytes_read(), 1_270_000);
    slow_start(&mut bed, 10, true);
    assert_eq!(bed.receiver.capacity(), 1 << 22);
}

#[test]
fn a_buffer_grows_without_knowing_the_round_trip_time() {
    let mut bed = Bed::new(config());
    slow_start(&mut bed, 12, true);
    assert_eq!(bed.receiver.capacity(), 1 << 22);
}

#[test]
fn a_buffer_that_is_not_read_does_not_grow() {
    let mut bed = Bed::new(config());
    bed.receiver.on_rtt(Duration::from_millis(20));
    slow_start(&mut bed, 12, false);
    assert_eq!(bed.receiver.capacity(), INITIAL);
    assert!(bed.pool.used() <= INITIAL as usize + BLOCK);
}

#[test]
fn after_idleness_a_buffer_is_as_at_first_but_keeps_its_promise() {
    let mut bed = Bed::new(config());
    slow_start(&mut bed, 12, true);
    let (next, edge) = (bed.receiver.rcv_nxt(), bed.receiver.edge());
    bed.wait(10_001);
    bed.segment(next..next + 1_000);
    assert_eq!(bed.receiver.capacity(), INITIAL);
    assert_eq!(bed.segment(edge - 1_000..edge).dropped, None);
    bed.acknowledge();
    bed.segment(next + 1_000..edge - 1_000);
    assert_eq!(bed.receiver.rcv_nxt(), edge);
}

#[test]
fn a_buffer_that_could_not_grow_for_want_of_memory_grows_later() {
    let mut bed = Bed::new(config());
    bed.pool = Pool::new(32 * BLOCK);
    let others: Vec<_> = (0..25).filter_map(|_| bed.pool.take()).collect();
    slow_start(&mut bed, 12, true);
    assert_eq!(bed.receiver.capacity(), INITIAL);
    for block in others {
        bed.pool.give(block);
    }
    slow_start(&mut bed, 12, true);
    assert!(bed.receiver.capacity() > 2 * INITIAL, "{}", bed.receiver.capacity());
}

// Acknowledgments.

#[test]
fn the_first_segments_are_acknowledged_at_once_then_every_second() {
    let mut bed = Bed::new(config());
    let mut immediate = 0;
    for at in (0..40_000).step_by(1_000) {
        bed.segment(at..at + 1_000);
        bed.read_all();
        if bed.due() {
            immediate += 1;
            bed.acknowledge();
        }
        bed.wait(1);
    }
    assert_eq!(immediate, 16 + 24 / 2);
}

#[test]
fn one_segment_waits_for_forty_milliseconds() {
    let mut bed = Bed::settled();
    assert_eq!(bed.receiver.ack_deadline(), None);
    bed.segment(20_000..21_000);
    assert!(!bed.due());
    assert_eq!(bed.receiver.ack_deadline(), Some(bed.now + Duration::from_millis(40)));
    bed.wait(39);
    assert!(!bed.due());
    bed.wait(1);
    assert!(bed.due());
    bed.acknowledge();
    assert_eq!((bed.due(), bed.receiver.ack_deadline()), (false, None));
}

#[test]
fn several_segments_in_one_are_acknowledged_at_once() {
    let mut bed = Bed::settled();
    bed.segment(20_000..21_001);
    assert!(bed.due());
}

#[test]
fn full_sized_is_what_the_peer_sends() {
    let mut bed = Bed::settled();
    // The path has become narrower: twice the same length is a full-sized segment.
    bed.segment(20_000..20_400);
    bed.segment(20_400..20_800);
    bed.acknowledge();
    bed.segment(20_800..21_200);
    assert!(!bed.due());
    bed.segment(21_200..21_600);
    assert!(bed.due());
}

#[test]
fn disorder_is_told_at_once() {
    let mut bed = Bed::settled();
    bed.segment(21_000..22_000);
    assert!(bed.due(), "out of turn");
    bed.acknowledge();
    bed.segment(20_000..20_500);
    assert!(bed.due(), "in a hole");
    bed.acknowledge();
    bed.segment(20_500..21_000);
    assert!(bed.due(), "the rest of the hole");
    bed.acknowledge();
    bed.segment(20_000..21_000);
    assert!(bed.due(), "a duplicate");
    bed.acknowledge();
    bed.fin(22_000..22_000);
    assert!(bed.due(), "the end");
}

#[test]
fn the_acknowledgments_of_a_conversation_wait_for_the_answers() {
    let mut bed = Bed::new(config());
    bed.segment(0..100);
    assert!(bed.due());
    bed.receiver.on_ack_sent(bed.now, true);
    bed.wait(5);
    bed.segment(100..200);
    assert!(!bed.due());
    bed.wait(5_000);
    bed.segment(200..300);
    bed.acknowledge();
    bed.segment(300..400);
    assert!(!bed.due(), "a pause does not end a conversation");
}

#[test]
fn what_lies_before_the_stream_is_answered_too() {
    let mut bed = Bed::settled();
    bed.wait(10);
    bed.receiver.on_unacceptable(bed.now);
    assert!(bed.due());
}

#[test]
fn a_probe_is_answered_but_not_in_a_loop() {
    let mut bed = Bed::settled();
    let probe = |bed: &mut Bed, offset| {
        bed.receiver.on_segment(bed.now, &mut bed.pool, offset, &[], false);
        bed.due()
    };
    bed.wait(10);
    assert!(!probe(&mut bed, 20_000), "a plain acknowledgment");
    assert!(!probe(&mut bed, 25_000), "one that overtook data");
    assert!(probe(&mut bed, 19_999), "a window probe");
    bed.acknowledge();
    assert!(!probe(&mut bed, 19_999), "too soon");
    assert_eq!(bed.receiver.ack_deadline(), Some(bed.now + Duration::from_millis(10)));
    bed.wait(10);
    assert!(bed.due());
    bed.acknowledge();
    bed.wait(10);
    assert!(probe(&mut bed, 1 << 40), "beyond the window");
}

// Against a model.

#[derive(Clone, Debug)]
enum Step {
    /// From the next byte on, by a distance that may be negative.
    Segment {
        distance: i64,
        len: usize,
        version: u8,
        fin: bool,
    },
    Read(usize),
    Acknowledge,
    Wait(u64),
    /// Others take or give blocks.
    Others(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let distance = prop_oneof![
        4 => Just(0_i64),
        3 => -3_000..9_000_i64,
        2 => -70_000..70_000_i64,
        1 => Just(1_i64 << 40),
    ];
    let len = prop_oneof![3 => 0..3_000_usize, 1 => Just(1), 1 => 3_000..70_000_usize];
    prop_oneof![
        10 => (distance, len, 0..4_u8, prop::bool::weighted(0.02))
            .prop_map(|(distance, len, version, fin)| Step::Segment { distance, len, version, fin }),
        3 => (0..80_000_usize).prop_map(Step::Read),
        3 => Just(Step::Acknowledge),
        1 => (0..60_u64).prop_map(Step::Wait),
        1 => (0..20_usize).prop_map(Step::Others),
    ]
}

/// What a receiver should know: every byte by its offset, the first version that was accepted.
#[derive(Default)]
struct Model {
    bytes: BTreeMap<u64, u8>,
    next: u64,
    fin: Option<u64>,
    /// What was reported and must not be given up.
    reported: Vec<Range<u64>>,
}

impl Model {
    fn segment(&mut self, offset: u64, payload: &[u8], fin: bool, edge: u64) {
        let end = offset + payload.len() as u64;
        let far = self.bytes.last_key_value().map_or(0, |(at, _)| at + 1).max(self.next);
        if fin && self.fin.is_none() && end >= far && end <= edge {
            self.fin = Some(end);
        }
        for (at, &value) in (offset..).zip(payload) {
            if at >= self.next && at < edge && self.fin.is_none_or(|fin| at < fin) {
                self.bytes.entry(at).or_insert(value);
            }
        }
        while self.bytes.contains_key(&self.next) {
            self.next += 1;
        }
    }
}

/// A receiver and its model; no model while memory is scarce, which it knows nothing of.
struct Run {
    bed: Bed,
    model: Option<Model>,
    others: Vec<Block>,
}

impl Run {
    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Segment { distance, len, version, fin } => {
                self.segment(distance, len, version, fin)?;
            }
            Step::Read(len) => self.read(len)?,
            Step::Acknowledge => self.acknowledge()?,
            Step::Wait(millis) => self.bed.wait(millis),
            Step::Others(blocks) => {
                self.others.drain(..).for_each(|block| self.bed.pool.give(block));
                if self.model.is_none() {
                    self.others.extend((0..blocks).map_while(|_| self.bed.pool.take()));
                }
            }
        }
        Ok(())
    }

    fn segment(
        &mut self,
        distance: i64,
        len: usize,
        version: u8,
        fin: bool,
    ) -> Result<(), TestCaseError> {
        let bed = &mut self.bed;
        let offset = bed.receiver.next().saturating_add_signed(distance);
        // Without a model all versions are one.
        let version = if self.model.is_some() { version } else { 0 };
        let payload: Vec<u8> = (offset..offset + len as u64).map(|at| byte(at) ^ version).collect();
        let (edge, before) = (bed.receiver.edge(), bed.receiver.next());
        let received = bed.receiver.on_segment(bed.now, &mut bed.pool, offset, &payload, fin);
        prop_assert_eq!(received.in_order, bed.receiver.next() - before);
        prop_assert!(bed.receiver.next() <= edge);
        if let Some(model) = &mut self.model {
            model.segment(offset, &payload, fin, edge);
            prop_assert_eq!(bed.receiver.next(), model.next);
            prop_assert_eq!(bed.receiver.fin, model.fin);
        }
        Ok(())
    }

    fn read(&mut self, len: usize) -> Result<(), TestCaseError> {
        let mut to = vec![0; len];
        let len = self.bed.receiver.read(&mut self.bed.pool, &mut to);
        let end = self.bed.receiver.bytes_read();
        let range = end - len as u64..end;
        if let Some(model) = &mut self.model {
            let expected: Vec<u8> = model.bytes.range(range).map(|(_, &value)| value).collect();
            prop_assert_eq!(&to[..len], &expected[..]);
            model.bytes = model.bytes.split_off(&end);
        } else {
            prop_assert_eq!(&to[..len], &data(range)[..]);
        }
        Ok(())
    }

    fn acknowledge(&mut self) -> Result<(), TestCaseError> {
        let receiver = &self.bed.receiver;
        let unit = receiver.config.unit();
        let (window, edge) = (receiver.window(), receiver.edge());
        prop_assert!(window <= receiver.config.largest_window());
        prop_assert_eq!(u64::from(window) % unit, 0);
        prop_assert!(self.bed.edge() + unit > edge, "the edge moved back");
        let most = receiver.bytes_read() + u64::from(receiver.config.max);
        prop_assert!(self.bed.edge() <= most.max(edge), "more was promised than the buffer holds");
        if let Some(model) = &mut self.model {
            model.reported.extend(receiver.sack_blocks(4).iter().cloned());
        }
        self.bed.acknowledge();
        prop_assert_eq!(self.bed.due(), !self.bed.receiver.duplicates.is_empty());
        Ok(())
    }
}

fn run(config: ReceiverConfig, memory: Option<usize>, steps: &[Step]) -> Result<(), TestCaseError> {
    let model = memory.is_none().then(Model::default);
    let mut run = Run { bed: Bed::new(config), model, others: Vec::new() };
    if let Some(memory) = memory {
        run.bed.pool = Pool::new(memory);
    }
    for step in steps {
        run.step(step)?;
        check(&run.bed, run.model.as_ref())?;
    }
    run.others.drain(..).for_each(|block| run.bed.pool.give(block));
    run.bed.receiver.clear(&mut run.bed.pool);
    prop_assert_eq!(run.bed.pool.used(), 0);
    Ok(())
}

fn check(bed: &Bed, model: Option<&Model>) -> Result<(), TestCaseError> {
    let receiver = &bed.receiver;
    let blocks = receiver.sack_blocks(4);
    let islands = blocks.iter().skip(usize::from(!receiver.duplicates.is_empty()));
    let mut ends: Vec<_> = islands.clone().flat_map(|block| [block.start, block.end]).collect();
    prop_assert!(
        islands.clone().all(|block| receiver.next() < block.start && block.start < block.end)
    );
    ends.sort_unstable();
    ends.dedup();
    prop_assert_eq!(ends.len(), 2 * islands.clone().count(), "blocks overlap: {:?}", &blocks[..]);
    for range in model.map_or(&[][..], |model| &model.reported) {
        for at in [range.start, range.end - 1] {
            prop_assert!(at < receiver.next() || receiver.islands.overlap(&(at..at + 1)).is_some());
        }
    }
    prop_assert!(receiver.queue.memory() <= bed.pool.used() + (2 << 10));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_receiver_is_a_map_of_bytes(
        steps in prop::collection::vec(step(), 1..80),
        shift in prop_oneof![Just(0_u8), Just(7), Just(11)],
        initial in prop_oneof![Just(2_048_u32), Just(65_536)],
    ) {
        run(ReceiverConfig { initial, max: 300_000, mss: MSS, shift }, None, &steps)?;
    }

    #[test]
    fn a_receiver_without_memory_loses_nothing_that_it_acknowledged(
        steps in prop::collection::vec(step(), 1..80),
        blocks in 1..20_usize,
    ) {
        run(ReceiverConfig { max: 300_000, ..config() }, Some(blocks * BLOCK), &steps)?;
    }
}
