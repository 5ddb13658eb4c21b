//! Recovery without selective acknowledgments.

use super::*;

const PLAIN: &str = "mss=1000 ws=7";

#[test]
fn the_third_duplicate_sends_the_first_segment_again_and_partial_ones_the_next() {
    play(
        PLAIN,
        "send 10000
         > . seq=1 len=10000
         +20ms < . seq=1 ack=1
         < . seq=1 ack=1
         < . seq=1 ack=1
         > . seq=1 len=1000
         is state=recovery
         < . seq=1 ack=1
         +20ms < . seq=1 ack=4001           # partial
         > . seq=4001 len=1000
         is state=recovery
         +20ms < . seq=1 ack=10001
         is state=open again=2000 timeouts=0",
    );
}

/// Two duplicates are reordering; each lets a new segment leave (RFC 3042), and slow start one more.
#[test]
fn two_duplicates_let_new_segments_leave_and_no_old_one() {
    play(
        PLAIN,
        "send 20000
         > . seq=1 len=10000
         +20ms < . seq=1 ack=1
         > . seq=10001 len=2000
         < . seq=1 ack=1
         +1ms > . seq=12001 len=2000
         is state=disorder
         +1ms < . seq=1 ack=14001
         drop all
         is state=open again=0
         ~30ms",
    );
}

/// Section 2 of RFC 5681: with data, or another window, it is no duplicate.
#[test]
fn what_carries_data_or_a_new_window_is_no_duplicate() {
    let mut script = Script::new(config());
    script.run(
        "< S seq=0 mss=1000 ws=7
         > S. seq=0 ack=1
         +20ms < . seq=1 ack=1 win=1000",
    );
    script.id = script.endpoint.accept().map(|accepted| accepted.id);
    script.run(
        "send 10000
         > . seq=1 len=10000
         +20ms < . seq=1 ack=1 win=1001
         < . seq=1 ack=1 win=1002
         < . seq=1 ack=1 win=1003
         < . seq=1 ack=1 win=1003 len=1
         > . ack=2
         < . seq=2 ack=1 win=1003 len=1
         > . ack=3
         < . seq=3 ack=1 win=1003 len=1
         > . ack=4
         is state=open again=0
         recv 3",
    );
}
