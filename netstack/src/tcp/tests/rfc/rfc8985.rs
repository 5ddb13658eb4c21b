//! Loss detection by time (RACK), and loss probes (TLP).

use super::*;

/// Section 6.2: three segments behind it and no reordering so far: lost at once (RFC 6675 section 5).
#[test]
fn three_segments_behind_a_hole_are_enough() {
    play(
        SACK,
        "send 10000
         > . seq=1 len=10000
         +20ms < . seq=1 ack=1 sack=1001-2001
         < . seq=1 ack=1 sack=1001-3001
         is state=disorder
         < . seq=1 ack=1 sack=1001-4001
         > . seq=1 len=1000
         is state=recovery",
    );
}

/// A quarter of the smallest round trip.
#[test]
fn fewer_are_waited_for_a_quarter_of_a_round_trip() {
    play(
        SACK,
        "send 10000
         > . seq=1 len=10000
         +20ms < . seq=1 ack=1 sack=1001-2001
         is state=disorder
         +5ms > . seq=1 len=1000",
    );
}

#[test]
fn what_is_only_late_is_not_sent_again() {
    play(
        SACK,
        "send 10000
         > . seq=1 len=10000
         +20ms < . seq=1 ack=1 sack=1001-3001
         +4ms < . seq=1 ack=3001
         is state=open reordering=true again=0
         +1ms < . seq=1 ack=3001 sack=4001-9001   # more than three, but reordering is known
         is state=disorder
         +2ms < . seq=1 ack=10001
         is state=open again=0",
    );
}

/// Section 3.2: a retransmission is lost if what was sent later arrives.
#[test]
fn a_lost_retransmission_is_noticed_without_a_timeout() {
    play(
        SACK,
        "send 20000
         > . seq=1 len=10000
         +20ms < . seq=1 ack=1 sack=1001-10001
         > . seq=1 len=1000
         ~15ms
         +10ms < . seq=1 ack=1 sack=1001-15001
         > . seq=1 len=1000
         is timeouts=0
         ~10ms
         < . seq=1 ack=15001
         ~20ms",
    );
}

/// Section 7: a lost tail costs two round trips and not a timeout.
#[test]
fn a_loss_probe_finds_a_lost_tail() {
    play(
        SACK,
        "send 10000
         > . seq=1 len=10000
         +20ms < . seq=1 ack=8001
         +42ms > . seq=9001 len=1000         # the last segment
         +20ms < . seq=1 ack=8001 sack=9001-10001
         > . seq=8001 len=1000
         +20ms < . seq=1 ack=10001
         is state=open timeouts=0",
    );
}

/// Section 7.3: new data is the better probe.
#[test]
fn a_loss_probe_sends_new_data_if_there_is_some() {
    play(
        SACK,
        "send 11000
         > . seq=1 len=10000
         +42ms > . seq=10001 len=1000
         +20ms < . seq=1 ack=11001
         is state=open again=0 timeouts=0",
    );
}

/// Section 7.4.2: nothing but a probe that was needed tells of the loss.
#[test]
fn a_probe_that_repaired_a_loss_is_one_and_one_that_did_not_is_none() {
    let start = "send 10000
         > . seq=1 len=10000
         +20ms < . seq=1 ack=9001
         +220ms > . seq=9001 len=1000
         is window=19000";
    // Both copies arrived: the second is reported as a duplicate.
    play(
        SACK,
        &format!(
            "{start}
             +20ms < . seq=1 ack=10001
             < . seq=1 ack=10001 sack=9001-10001
             is threshold={}",
            u64::MAX
        ),
    );
}
