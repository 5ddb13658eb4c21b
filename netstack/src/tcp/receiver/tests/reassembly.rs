//! Streams out of segments: order, ends, SACK, memory.

use super::*;

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
    let squeezed = u64::from(crate::tcp::receiver::window::SQUEEZED);
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
