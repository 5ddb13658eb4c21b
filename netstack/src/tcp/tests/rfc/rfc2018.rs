//! Selective acknowledgments, and those of duplicates (RFC 2883).

use super::*;

#[test]
fn the_block_that_grew_last_comes_first_and_four_fit() {
    play(
        SACK,
        "< . seq=1001 ack=1 len=1000
         > . ack=1 sack=1001-2001
         < . seq=3001 ack=1 len=1000
         > . ack=1 sack=3001-4001,1001-2001
         < . seq=5001 ack=1 len=1000
         > . ack=1 sack=5001-6001,3001-4001,1001-2001
         < . seq=7001 ack=1 len=1000
         > . ack=1 sack=7001-8001,5001-6001,3001-4001,1001-2001
         < . seq=9001 ack=1 len=1000
         > . ack=1 sack=9001-10001,7001-8001,5001-6001,3001-4001
         < . seq=2001 ack=1 len=1000      # joins two
         > . ack=1 sack=1001-4001,9001-10001,7001-8001,5001-6001
         < . seq=1 ack=1 len=1000
         > . ack=4001 sack=9001-10001,7001-8001,5001-6001
         recv 4000",
    );
}

#[test]
fn beside_time_stamps_three_fit() {
    play(
        STAMPS,
        "< . seq=1001 ack=1 ts=120/0 len=500
         > . ack=1 sack=1001-1501
         < . seq=2001 ack=1 ts=120/0 len=500
         > . ack=1 sack=2001-2501,1001-1501
         < . seq=3001 ack=1 ts=120/0 len=500
         > . ack=1 sack=3001-3501,2001-2501,1001-1501
         < . seq=4001 ack=1 ts=120/0 len=500
         > . ack=1 sack=4001-4501,3001-3501,2001-2501",
    );
}

#[test]
fn without_permission_there_are_none() {
    play(
        "mss=1000",
        "< . seq=1001 ack=1 len=1000
         > . ack=1 no-sack",
    );
}

#[test]
fn a_fin_may_come_before_what_it_ends() {
    play(
        SACK,
        "< F. seq=2001 ack=1 len=500
         > . ack=1 sack=2001-2501
         < . seq=1 ack=1 len=1000
         > . ack=1001 sack=2001-2501
         < . seq=1001 ack=1 len=1000
         > . ack=2502 no-sack            # the FIN counts
         recv 2500
         recv 0",
    );
}

/// RFC 2883 section 4.1: a duplicate of what was acknowledged, of what lies behind a hole, and of a part.
#[test]
fn duplicates_are_reported_once_wherever_they_lie() {
    play(
        SACK,
        "< . seq=1 ack=1 len=1000
         > . ack=1001 no-sack
         < . seq=1 ack=1 len=1000          # all of it again
         > . ack=1001 sack=1-1001
         < . seq=2001 ack=1 len=1000
         > . ack=1001 sack=2001-3001
         < . seq=2001 ack=1 len=1000       # behind a hole: twice, inside its block
         > . ack=1001 sack=2001-3001,2001-3001
         < . seq=501 ack=1 len=1000        # half of it again
         > . ack=1501 sack=501-1001,2001-3001
         < . seq=1501 ack=1 len=500
         > . ack=3001 no-sack",
    );
}

/// What RACK sends again too early arrives late, with a time stamp older than that of its copy.
#[test]
fn a_late_original_that_paws_refuses_is_reported_too() {
    play(
        STAMPS,
        "< . seq=1 ack=1 ts=140/0 len=1000
         > . ack=1001 no-sack
         < . seq=1001 ack=1 ts=150/0 len=1000
         > . ack=2001 no-sack
         < . seq=1 ack=1 ts=120/0 len=1000
         > . ack=2001 sack=1-1001",
    );
}

#[test]
fn what_is_reported_is_not_sent_again() {
    play(
        SACK,
        "send 10000
         > . seq=1 len=10000
         +20ms < . seq=1 ack=1 sack=1001-4001,5001-10001
         > . seq=1 len=1000
         > . seq=4001 len=1000
         +20ms < . seq=1 ack=5001 sack=5001-10001
         +1ms < . seq=1 ack=10001
         is state=open queued=0 again=2000",
    );
}

/// RFC 2018 section 8: what was reported may be thrown away. A timeout believes no report.
#[test]
fn a_peer_that_gives_up_what_it_reported_gets_it_again() {
    play(
        SACK,
        "send 3000
         > . seq=1 len=3000
         +20ms < . seq=1 ack=1 sack=1001-3001
         +5ms > . seq=1 len=1000
         +20ms < . seq=1 ack=1001          # and no block
         is flight=0
         ~1s
         < . seq=1 ack=2001
         ~1s
         < . seq=1 ack=3001
         is queued=0",
    );
}

#[test]
fn absurd_blocks_say_nothing() {
    for blocks in [
        "2001-1001",
        "1001-1001",
        "90001-91001",
        "9001-10002",
        "4294962296-4294963296",
        "2294967296-2000000000",
        "1001-9999999",
    ] {
        let script = format!(
            "send 10000
             > . seq=1 len=10000
             +20ms < . seq=1 ack=1 sack={blocks}
             is state=open flight=10000 lost=0
             +20ms < . seq=1 ack=10001
             is queued=0"
        );
        println!("{script}");
        play(SACK, &script);
    }
}
