//! Session refresh.

use std::time::Duration;

use tests::bed::config;
use tests::conversation::Conversation;

tests::conforms! {
    /// An established connection must not be forgotten before it was idle for two hours and four minutes.
    T7 Always "RFC 5382 REQ-5"
    fn an_idle_connection_lives_for_two_hours_and_four_minutes() {
        for half_close in ["", "> F. seq=101 ack=501", "< F. seq=501 ack=101"] {
            let mut conversation = Conversation::established();
            conversation.run(half_close);
            conversation.run("wait 2h3m59s");
            assert!(conversation.lives(), "{half_close}");
            conversation.run("wait 2s");
            assert!(!conversation.lives(), "{half_close}");
        }
    }

    /// A connection that opens or closes must not be forgotten before it was idle for four minutes.
    T8 Always "RFC 5382 REQ-5"
    fn what_opens_or_closes_lives_for_four_minutes() {
        for script in [
            "> S seq=100",
            "> S seq=100
             < S. seq=500 ack=101",
            "> S seq=100
             < S. seq=500 ack=101
             > F. seq=101 ack=501
             < F. seq=501 ack=102",
            "> S seq=100
             < S. seq=500 ack=101
             > R seq=101",
        ] {
            let mut conversation = Conversation::dnat();
            conversation.run(script);
            conversation.run("wait 3m59s");
            assert!(conversation.lives(), "{script}");
            conversation.run("wait 2s");
            assert!(!conversation.lives(), "{script}");
        }
    }

    /// Both times may be configured.
    T9 Always "RFC 5382 REQ-5a"
    fn the_times_are_configurable() {
        let mut config = config();
        config.timeouts.tcp_established = Duration::from_hours(5);
        config.timeouts.tcp_half_open = Duration::from_mins(6);
        let mut conversation = Conversation::with(config, "10.99.0.1:81");
        conversation.run(
            "> S seq=100
             < S. seq=500 ack=101
             wait 5m59s
             > . seq=101 ack=501 => established
             wait 4h59m59s",
        );
        assert!(conversation.lives());
        conversation.run("wait 2s");
        assert!(!conversation.lives());
    }
}
