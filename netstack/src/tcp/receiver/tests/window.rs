//! The window and the buffer behind it.

use super::*;

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
