//! TCP RST.

use tests::bed::{addr, canonical};
use tests::conversation::Conversation;

tests::conforms! {
    /// A RST that belongs to a mapping must be translated.
    V4 Always "RFC 7857 section 2.2"
    fn a_reset_is_translated_both_ways_whatever_its_number() {
        for seq in [101_u32, 0, 101 + (1 << 31)] {
            let mut conversation = Conversation::full_nat();
            conversation.run("> S seq=100\n< S. seq=500 ack=101\n> . seq=101 ack=501");
            let flow = conversation.bed.flow();
            assert_eq!(flow.snat.address, addr("10.99.0.250"));
            let snat = format!("10.99.0.250:{}", flow.snat.port);
            let seen = conversation.send(&format!("> R seq={seq} win=0"));
            let line = format!("tcp {snat} > 10.2.0.11:8080 R seq={seq} win=0 ttl=63");
            assert_eq!(seen.line, canonical(&line));
            let seen = conversation.send(&format!("< R seq={seq} win=0"));
            let line = format!("tcp 10.99.0.1:80 > 10.1.0.5:4000 R seq={seq} win=0 ttl=63");
            assert_eq!(seen.line, canonical(&line));
        }
    }

    /// After a RST the flow waits for four minutes, and traffic in that time revives it.
    V5 Always "RFC 7857 section 2.2"
    fn traffic_after_a_reset_revives_the_connection() {
        for (reset, traffic) in [
            ("> R seq=101", "< . seq=501 ack=101"),
            ("> R seq=101", "> P. seq=101 ack=501 len=10"),
            ("< R. seq=501 ack=101", "> . seq=101 ack=501"),
        ] {
            let mut conversation = Conversation::established();
            conversation.run(&format!("{reset} => reset\nwait 3m59s\n{traffic} => established\nwait 2h"));
            assert!(conversation.lives(), "{reset}, {traffic}");
            conversation.run(&format!("{traffic} => established"));
        }
        let mut conversation = Conversation::established();
        conversation.run("> R seq=101 => reset\nwait 4m1s");
        assert!(!conversation.lives());
    }
}
