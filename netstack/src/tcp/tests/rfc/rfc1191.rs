//! Path MTU discovery (with RFC 8201 and 5927), and paths that swallow what is too big without a word.

use super::*;

#[test]
fn what_was_too_big_is_sent_again_in_pieces_that_fit() {
    play(
        SACK,
        "send 3000
         > . seq=1 len=3000 gso=1000
         < too-big mtu=640 seq=1
         > . seq=1 len=3000 gso=600
         is mss=600 window=10000
         +20ms < . seq=1 ack=3001
         send 1200
         > . seq=3001 len=1200 gso=600",
    );
}

#[test]
fn ipv6_paths_carry_1280_bytes_whatever_a_router_says() {
    let mut script = Script::v6(config());
    script.handshake("mss=1440 sackok ws=7");
    script.run(
        "send 2880
         > . seq=1 len=2880 gso=1440
         < too-big mtu=1400 seq=1
         > . seq=1 len=2880 gso=1340
         is mss=1340
         < too-big mtu=600 seq=1
         > . seq=1 len=2880 gso=1220
         is mss=1220",
    );
}

/// RFC 5927 section 4.1: who does not see the connection cannot name a segment that is on its way.
#[test]
fn a_router_is_believed_that_quotes_what_is_in_flight() {
    play(
        SACK,
        "send 1000
         > . seq=1 len=1000
         < too-big mtu=640 seq=0
         < too-big mtu=640 seq=1001
         < too-big mtu=640 seq=-500000
         is mss=1000
         +20ms < . seq=1 ack=1001
         < too-big mtu=640 seq=1
         is mss=1000",
    );
}

/// RFC 8899 in small: full segments time out again and again, and nobody says why.
#[test]
fn a_black_hole_is_met_with_smaller_segments() {
    play(
        SACK,
        "send 3000
         > . seq=1 len=3000
         ~3s
         is mss=536",
    );
    // A lone small segment that is lost is no sign of it.
    play(
        SACK,
        "send 300
         > . seq=1 len=300
         ~10s
         is mss=1000",
    );
}
