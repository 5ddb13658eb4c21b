//! Blind resets, SYNs and data. Windows reach from 1 to some 57,000.

use super::*;

#[test]
fn only_the_exact_number_resets() {
    play(
        SACK,
        "< R seq=0
         < R seq=90000
         < R seq=-1000000000
         < R seq=2
         > . seq=1 ack=1                # in the window: challenged
         < R. seq=1000 ack=1
         > . seq=1 ack=1
         is state=open
         < R seq=1",
    );
    let mut script = Script::open(SACK, config());
    script.run("< R seq=1");
    assert_eq!(script.endpoint.error(script.id.unwrap()), Some(StreamError::Reset));
}

#[test]
fn any_syn_is_challenged() {
    play(
        SACK,
        "< S seq=1
         > . seq=1 ack=1
         < S seq=77777
         > . seq=1 ack=1
         < S. seq=0 ack=1
         > . seq=1 ack=1
         is state=open",
    );
}

/// Section 5.2.
#[test]
fn data_needs_an_acknowledgment_that_the_peer_can_have_sent() {
    play(
        SACK,
        "< . seq=1 ack=2 len=9              # what was never sent
         > . seq=1 ack=1
         < . seq=1 ack=-1 len=9             # from before our SYN
         > . seq=1 ack=1
         < . seq=1 ack=1000000000 len=9
         > . seq=1 ack=1
         < none seq=1 len=9                 # none at all
         < . seq=1 ack=1 len=9
         > . seq=1 ack=10
         recv 9",
    );
}

/// Answers to what carries no data have 500 ms between them; two peers that disagree would talk for ever.
#[test]
fn empty_segments_out_of_place_are_answered_now_and_then() {
    play(
        SACK,
        "< . seq=0 ack=1
         > . seq=1 ack=1
         < . seq=0 ack=1
         < . seq=0 ack=1
         +500ms < . seq=0 ack=1
         > . seq=1 ack=1",
    );
}
