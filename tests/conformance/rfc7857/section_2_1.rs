//! TCP transitory connection timeouts.

use std::time::Duration;

use tests::bed::config;
use tests::conversation::Conversation;

const OPENING: &str = "> S seq=100";
const CLOSING: &str = "> S seq=100
    < S. seq=500 ack=101
    > F. seq=101 ack=501
    < F. seq=501 ack=102 => closing";

/// How long a flow lives, in whole seconds, after `script` and with these idle times.
fn lifetime(script: &str, half_open: Duration, closing: Duration) -> Duration {
    let mut config = config();
    config.timeouts.tcp_half_open = half_open;
    config.timeouts.tcp_closing = closing;
    let mut conversation = Conversation::with(config, "10.99.0.1:81");
    conversation.run(script);
    let start = conversation.bed.now;
    while conversation.lives() {
        conversation.run("wait 1s");
    }
    conversation.bed.now - start
}

tests::conforms! {
    /// The times of connections that open and of those that close are configured apart.
    V2 Always "RFC 7857 section 2.1"
    fn opening_and_closing_have_times_of_their_own() {
        let (six, ten) = (Duration::from_mins(6), Duration::from_mins(10));
        for (script, time) in [(OPENING, six), (CLOSING, ten)] {
            let lived = lifetime(script, six, ten);
            assert!((time..time + Duration::from_secs(2)).contains(&lived), "{script}: {lived:?}");
        }
    }

    /// Both are four minutes unless configured, and may be set lower.
    V3 Always "RFC 7857 section 2.1"
    fn four_minutes_unless_configured_lower() {
        let default = nat::Timeouts::default();
        let four = Duration::from_mins(4);
        assert_eq!((default.tcp_half_open, default.tcp_closing), (four, four));
        let ten = Duration::from_secs(10);
        for script in [OPENING, CLOSING] {
            let lived = lifetime(script, ten, ten);
            assert!((ten..ten + Duration::from_secs(2)).contains(&lived), "{script}: {lived:?}");
        }
    }
}
