//! Timeouts and recoveries that were for nothing: F-RTO, Eifel (RFC 3522), DSACK (RFC 2883, 3708).

use super::*;

/// Section 2.1: the acknowledgments of what was sent before the timeout still come in.
#[test]
fn a_timeout_that_came_too_early_is_undone() {
    play(
        "mss=1000 ws=7",
        "send 10000
         > . seq=1 len=10000
         +220ms > . seq=1 len=1000
         is state=loss
         +10ms < . seq=1 ack=3001
         < . seq=1 ack=5001
         is state=open undone=1
         +10ms < . seq=1 ack=10001
         is again=1000",
    );
}

/// RFC 3522: the echo is older than what was sent again.
#[test]
fn an_old_echo_undoes_a_timeout() {
    play(
        STAMPS,
        "send 10000
         > . seq=1 len=10000 ts=20/100
         ~300ms                              # a loss probe, then the timer
         is timeouts=1
         +30ms < . seq=1 ack=10001 ts=430/20
         is state=open undone=1",
    );
}

#[test]
fn an_old_echo_undoes_a_recovery_and_restores_the_window() {
    play(
        STAMPS,
        "send 10000
         > . seq=1 len=10000 ts=20/100
         +20ms < . seq=1 ack=1 ts=140/20 sack=1001-4001
         > . seq=1 len=1000 ts=40/140
         is state=recovery
         +8ms < . seq=1 ack=4001 ts=148/20
         is state=open undone=1 reordering=true",
    );
}

/// RFC 3708: all that was sent again arrived twice.
#[test]
fn a_reported_duplicate_undoes_a_recovery() {
    play(
        SACK,
        "send 20000
         > . seq=1 len=10000
         +20ms < . seq=1 ack=1 sack=1001-4001
         > . seq=1 len=1000
         is state=recovery
         +19ms < . seq=1 ack=4001
         drop all
         +1ms < . seq=1 ack=4001 sack=1-1001
         drop all
         is state=open undone=1
         ~100ms",
    );
}

/// A real timeout is not.
#[test]
fn a_timeout_after_a_loss_stays() {
    play(
        "mss=1000 ws=7",
        "send 3000
         > . seq=1 len=3000
         +220ms > . seq=1 len=1000
         +20ms < . seq=1 ack=1001
         > . seq=1001 len=2000
         +20ms < . seq=1 ack=2001
         drop all
         is undone=0 timeouts=1
         ~100ms",
    );
}
