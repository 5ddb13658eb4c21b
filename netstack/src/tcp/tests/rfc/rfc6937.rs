//! Proportional rate reduction.

use super::*;

/// The target of `NewReno` is half of what was in flight: a segment leaves for every two that arrive.
#[test]
fn the_window_comes_down_in_proportion_to_what_arrives() {
    let reno = EndpointConfig { congestion: Algorithm::NewReno, ..config() };
    let mut script = Script::open(SACK, reno);
    script.run(
        "send 30000
         > . seq=1 len=10000
         +20ms < . seq=1 ack=1 sack=1001-4001
         > . seq=1 len=1000
         is state=recovery threshold=5000",
    );
    // Six more arrive, of seven in flight and the repeat.
    let mut left = 0;
    for edge in (5_001..=10_001).step_by(1_000) {
        script.run(&format!(
            "+1ms < . seq=1 ack=1 sack=1001-{edge}
             drop all"
        ));
        left = script.endpoint.info(script.id.unwrap()).unwrap().sender.unwrap().in_flight;
    }
    assert!((3_000..=5_000).contains(&left), "{left}");
    script.run(
        "~15ms
         < . seq=1 ack=10001
         drop all
         is window=5000
         ~30ms",
    );
}

/// Section 3 (slow start reduction bound): after heavy loss the pipe fills by what is delivered.
#[test]
fn after_heavy_loss_no_burst_leaves() {
    play(
        SACK,
        "send 30000
         > . seq=1 len=10000
         +20ms < . seq=1 ack=1 sack=9001-10001
         > . seq=10001 len=2000              # one by slow start
         +5ms > . seq=1 len=1000
         is state=recovery flight=3000 lost=8000
         +15ms < . seq=1 ack=1 sack=9001-11001
         > . seq=1001 len=1000
         is flight=3000
         ~5ms
         is flight=3000",
    );
}
