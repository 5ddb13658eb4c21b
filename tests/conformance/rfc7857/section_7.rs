//! What refreshes a mapping.

use std::time::Duration;

use tests::conversation::Conversation;
use tests::talk::{Kind, Talk};

tests::conforms! {
    /// An error that a backend sends about a packet it was sent refreshes nothing.
    V11 Always "RFC 7857 section 7.1"
    fn an_error_in_answer_refreshes_nothing() {
        for mut talk in Talk::all() {
            let before = talk.flow();
            for _ in 0..5 {
                talk.bed.now += Duration::from_secs(10);
                let error = talk.error_from_backend("unreachable").replacen(talk.backend_router, talk.backend, 1);
                talk.passes(1, &error, 0, &talk.error_at_client("unreachable"));
                assert_eq!(talk.flow(), before);
            }
        }
        for mut talk in Talk::all_of(Kind::Udp) {
            for _ in 0..3 {
                talk.bed.wait(Duration::from_secs(99));
                let _ = talk.bed.send(1, &talk.error_from_backend("unreachable"));
            }
            talk.bed.wait(Duration::from_secs(4));
            assert!(talk.bed.engine.flows().is_empty());
        }
    }

    /// Nor does a RST that a backend answers with.
    V11 Always "RFC 7857 section 7.1"
    fn a_reset_in_answer_refreshes_nothing() {
        let mut conversation = Conversation::established();
        conversation.run("< R seq=501 => reset");
        for _ in 0..3 {
            conversation.run("wait 70s\n< R seq=501 => reset");
        }
        conversation.bed.wait(Duration::from_secs(31));
        assert!(conversation.bed.engine.flows().is_empty());
    }
}
