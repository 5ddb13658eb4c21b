//! The retransmission timer.

use super::*;

/// Without selective acknowledgments there is no loss probe in front of it.
const PLAIN: &str = "mss=1000 ws=7";

/// Section 5.5. The margin above the round trip is at least 200 ms.
#[test]
fn each_timeout_doubles_the_next() {
    play(
        PLAIN,
        "send 500
         > . seq=1 len=500
         +220ms > . seq=1 len=500
         +440ms > . seq=1 len=500
         +880ms > . seq=1 len=500
         +1760ms > . seq=1 len=500
         is timeouts=4
         < . seq=1 ack=501
         is queued=0",
    );
}

/// Section 5.3: the timer starts again when something is acknowledged.
#[test]
fn progress_starts_the_timer_again() {
    play(
        PLAIN,
        "send 2000
         > . seq=1 len=2000
         +100ms < . seq=1 ack=1001
         +230ms > . seq=1001 len=1000",
    );
}

/// Section 3, Karn's algorithm: the acknowledgment may be of either.
#[test]
fn what_was_sent_twice_is_no_measure() {
    play(
        PLAIN,
        "send 1000
         > . seq=1 len=1000
         +220ms > . seq=1 len=1000
         +30ms < . seq=1 ack=1001
         is srtt=20ms rto=440ms
         send 1000
         > . seq=1001 len=1000
         +20ms < . seq=1 ack=2001
         is srtt=20ms rto=220ms",
    );
}

/// With time stamps the echo says which of the two it was (RFC 7323 section 4.1).
#[test]
fn an_echo_measures_also_what_was_sent_twice() {
    play(
        "mss=1012 ts=100/0",
        "send 1000
         > . seq=1 len=1000 ts=20/100
         +220ms > . seq=1 len=1000 ts=240/100
         +30ms < . seq=1 ack=1001 ts=370/240
         is queued=0 undone=0",
    );
}

/// Section 5.7: a SYN that had to be sent again makes the first timeout three seconds.
#[test]
fn after_a_lost_syn_the_first_timeout_is_long() {
    let mut script = Script::new(config());
    script.run(
        "< S seq=0 mss=1000
         > S. seq=0 ack=1
         ~1500ms
         < . seq=1 ack=1",
    );
    script.id = script.endpoint.accept().map(|accepted| accepted.id);
    script.run(
        "is rto=3000ms
         send 1000
         > . seq=1 len=1000
         +3s > . seq=1 len=1000",
    );
}

/// A FIN is sent again like data, and counts one.
#[test]
fn a_fin_is_sent_again_until_it_is_acknowledged() {
    play(
        PLAIN,
        "send 500
         > . seq=1 len=500
         shutdown
         > F. seq=501
         +20ms < . seq=1 ack=501
         +220ms > F. seq=501
         < . seq=1 ack=502
         is queued=0
         < F. seq=1 ack=502
         > . ack=2 seq=502",
    );
}
