//! TIME-WAIT (with RFC 6191 and RFC 9293 section 3.6.1).

use super::*;

/// We close first; the peer's FIN is at 1.
fn waiting(options: &str, fin: &str) -> Script {
    let mut script = Script::open(options, config());
    script.run(&format!(
        "close
         > F. seq=1 ack=1
         +20ms < F. seq=1 ack=2 {fin}
         > . seq=2 ack=2"
    ));
    assert_eq!(script.endpoint.stats().time_wait, 1);
    script
}

/// Section 3, F1.
#[test]
fn a_reset_does_not_end_it() {
    let mut script = waiting(SACK, "");
    script.run(
        "< R seq=2
         < R. seq=2 ack=2
         +50s < F. seq=1 ack=2
         > . seq=2 ack=2",
    );
    assert_eq!(script.endpoint.stats().time_wait, 1);
}

/// The repeated FIN began the time anew; one with another number does not.
#[test]
fn it_lasts_a_minute_from_the_last_fin() {
    let mut script = waiting(SACK, "");
    script.run(
        "+50s < F. seq=1 ack=2
         > . seq=2 ack=2
         +30s < F. seq=500 ack=2
         > . seq=2 ack=2
         +29s",
    );
    assert_eq!(script.endpoint.stats().time_wait, 1);
    script.run("+2s");
    assert_eq!(script.endpoint.stats().time_wait, 0);
    script.run(
        "< F. seq=1 ack=2
         > R seq=2",
    );
}

#[test]
fn a_syn_with_a_later_time_stamp_opens_a_new_connection() {
    let mut script = waiting(STAMPS, "ts=140/20");
    script.run(
        "< S seq=-5000 ts=139/0
         > . seq=2 ack=2
         < S seq=-5000 ts=1000/0
         > S. ack=-4999",
    );
    assert_eq!(script.endpoint.stats().time_wait, 0);
}

#[test]
fn without_time_stamps_its_number_must_be_later() {
    let mut script = waiting(SACK, "");
    script.run(
        "< S seq=1
         > . seq=2 ack=2
         < S seq=3
         > S. ack=4",
    );
}
