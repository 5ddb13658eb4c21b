//! When acknowledgments leave.

use super::*;

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
