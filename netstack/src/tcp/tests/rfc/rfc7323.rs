//! Time stamps, PAWS, window scale.

use super::*;

#[test]
fn every_segment_carries_our_clock_and_echoes_the_peers() {
    play(
        STAMPS,
        "send 10
         > . seq=1 len=10 ts=20/100
         +30ms < . seq=1 ack=11 ts=151/20 len=5
         > . ack=6 ts=50/151
         is srtt=21ms",
    );
}

/// Section 4.3: the earliest segment that is acknowledged, and none behind a hole.
#[test]
fn the_echo_is_of_the_earliest_segment_that_is_acknowledged() {
    play(
        STAMPS,
        "< . seq=1001 ack=1 ts=150/0 len=1000
         > . ack=1 ts=20/100                 # behind a hole: not echoed
         +5ms < . seq=1 ack=1 ts=160/0 len=1000
         > . ack=2001 ts=25/160",
    );
}

/// Section 5.3 R1.
#[test]
fn paws_refuses_what_is_older_and_acknowledges() {
    play(
        STAMPS,
        "< . seq=1 ack=1 ts=150/0 len=10
         > . ack=11 ts=20/150
         < . seq=11 ack=1 ts=149/0 len=10
         > . ack=11 ts=20/150
         < . seq=11 ack=1 ts=150/0 len=10
         > . ack=21
         recv 20",
    );
}

#[test]
fn the_peers_clock_wraps() {
    play(
        "mss=1012 sackok ts=4294967290/0",
        "< . seq=1 ack=1 ts=4294967295/0 len=10
         > . ack=11 ts=20/4294967295
         < . seq=11 ack=1 ts=3/0 len=10
         > . ack=21 ts=20/3
         < . seq=21 ack=1 ts=4294967295/0 len=10
         > . ack=21 ts=20/3",
    );
}

/// Section 5.5: a clock of a millisecond may have gone half its way round.
#[test]
fn after_24_days_paws_lets_everything_in() {
    play(
        STAMPS,
        "+2073500s < . seq=1 ack=1 ts=50/0 len=10
         > . ack=1 ts=2073500020/100
         +101s < . seq=1 ack=1 ts=50/0 len=10
         > . ack=11 ts=2073601020/50",
    );
}

/// Section 5.2 exempts it.
#[test]
fn a_reset_needs_no_time_stamp() {
    let mut script = Script::open(STAMPS, config());
    script.run("< R seq=1 ts=1/0");
    assert_eq!(script.endpoint.error(script.id.unwrap()), Some(StreamError::Reset));
}

/// Section 3.2 would drop it; some middleboxes take the option away, and Linux lets it pass.
#[test]
fn a_segment_without_its_time_stamp_is_taken() {
    play(
        STAMPS,
        "< . seq=1 ack=1 len=10
         > . ack=11 ts=20/100
         recv 10",
    );
}

#[test]
fn who_does_not_offer_an_option_does_not_get_it() {
    let mut script = Script::new(config());
    script.run(
        "< S seq=0 mss=1000
         > S. seq=0 ack=1 no-ts no-ws no-sackok mss=1460
         +20ms < . seq=1 ack=1 win=3000",
    );
    script.id = script.endpoint.accept().map(|accepted| accepted.id);
    script.run(
        "send 10000
         > . seq=1 len=3000 no-ts
         +20ms < . seq=1 ack=3001 win=2000
         > . seq=3001 len=2000",
    );
}

/// Section 2.2: the window of a SYN is what it says, that of all others is shifted.
#[test]
fn windows_are_scaled_but_for_the_syns() {
    let mut script = Script::new(config());
    script.run(
        "< S seq=0 mss=1000 ws=2 win=500
         > S. seq=0 ack=1 ws=7
         +20ms < . seq=1 ack=1 win=1000",
    );
    script.id = script.endpoint.accept().map(|accepted| accepted.id);
    script.run(
        "send 10000
         > . seq=1 len=4000
         < . seq=1 ack=4001 win=1000
         > . seq=4001 len=4000",
    );
}

/// The buffer starts at 64 KiB and is twice what is read in a round trip.
#[test]
fn the_window_grows_with_what_the_application_reads() {
    let grown = |mtu: u16, mss: usize| {
        let options = format!("mss={mss} sackok ws=7");
        let mut script = Script::open(&options, EndpointConfig { mtu, ..config() });
        script.run("is buffer=65536");
        let (mut seq, mut rest) = (1, 0);
        for _ in 0..10 {
            // A window in each round trip.
            let info = script.endpoint.info(script.id.unwrap()).unwrap();
            let window = info.receiver.unwrap().window as usize;
            for _ in 0..window / mss {
                script.run(&format!("< . seq={seq} ack=1 len={mss}\ndrop all"));
                seq += mss;
                rest += mss;
            }
            script.run(&format!("recv {rest}\ndrop all"));
            rest = 0;
            script.run("~20ms");
        }
        script.endpoint.info(script.id.unwrap()).unwrap().receiver.unwrap().buffer
    };
    let most = EndpointConfig::new(SEED).receive_buffer as u32;
    for (mtu, mss) in [(1_500, 1_460), (9_000, 8_960)] {
        let buffer = grown(mtu, mss);
        assert!(buffer > 500_000 && buffer <= most, "MTU {mtu}: {buffer}");
    }
}
