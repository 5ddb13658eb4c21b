//! Congestion control, and delayed acknowledgments.

use super::*;

fn reno(options: &str) -> Script {
    Script::open(options, EndpointConfig { congestion: Algorithm::NewReno, ..config() })
}

/// Section 3.1: a window more for each window that is acknowledged.
#[test]
fn slow_start_doubles_the_window_each_round_trip() {
    let mut script = reno(SACK);
    script.run(
        "send 60000
         > . seq=1 len=10000
         is window=10000
         +20ms < . seq=1 ack=10001
         is window=20000
         drop all
         ~20ms
         < . seq=1 ack=30001
         is window=40000
         drop all
         ~50ms",
    );
}

/// Section 3.1 (3): half of what was in flight, and never less than two segments.
#[test]
fn a_loss_halves_the_window_and_a_timeout_leaves_one_segment() {
    let mut script = reno(SACK);
    script.run(
        "send 10000
         > . seq=1 len=10000
         +20ms < . seq=1 ack=1 sack=1001-10001
         > . seq=1 len=1000
         is state=recovery threshold=5000
         +20ms < . seq=1 ack=10001
         is state=open window=5000",
    );
    let mut script = reno("mss=1000 ws=7");
    script.run(
        "send 10000
         > . seq=1 len=10000
         +220ms > . seq=1 len=1000
         is state=loss window=1000 threshold=5000 timeouts=1",
    );
}

/// Section 4.1: after idleness for a retransmission timeout, no more than the initial window.
#[test]
fn a_window_is_not_kept_through_idleness() {
    let mut script = reno(SACK);
    script.run(
        "send 10000
         > . seq=1 len=10000
         +20ms < . seq=1 ack=10001
         is window=20000
         ~10s
         send 30000
         > . seq=10001 len=10000
         is window=10000",
    );
}

/// Section 4.2: at least every second full-sized segment, within 500 ms (Linux: 40), and at once for
/// what is out of order or fills a hole.
#[test]
fn acknowledgments_are_delayed_for_one_segment_in_turn_only() {
    let mut script = Script::open(SACK, config());
    // A young connection acknowledges everything at once.
    for segment in 0..16 {
        let seq = 1 + 1_000 * segment;
        script.run(&format!(
            "< . seq={seq} ack=1 len=1000
             > . ack={}
             recv 1000",
            seq + 1_000
        ));
    }
    script.run(
        "< . seq=16001 ack=1 len=1000
         +40ms > . ack=17001
         < . seq=17001 ack=1 len=1000
         < . seq=18001 ack=1 len=1000
         > . ack=19001
         < . seq=20001 ack=1 len=1000
         > . ack=19001 sack=20001-21001
         < . seq=19001 ack=1 len=1000
         > . ack=21001",
    );
}
