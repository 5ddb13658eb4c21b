//! What an error does to the flow that it is about.

use std::time::Duration;

use tests::talk::{Kind, Talk};

tests::conforms! {
    /// An error about a query neither refreshes nor deletes its session.
    I16 Always "RFC 5508 REQ-6"
    fn an_error_about_a_query_changes_no_session() {
        for mut talk in Talk::all_of(Kind::Echo) {
            let before = talk.flow();
            talk.bed.now += Duration::from_secs(30);
            for what in ["unreachable", "ttl-exceeded", "parameter-problem"] {
                talk.passes(1, &talk.error_from_backend(what), 0, &talk.error_at_client(what));
                talk.passes(0, &talk.error_from_client(what), 1, &talk.error_at_backend(what));
                assert_eq!(talk.flow(), before);
            }
            talk.bed.wait(Duration::from_secs(31));
            assert!(talk.bed.engine.flows().is_empty(), "the session ends when it would have");
        }
    }
}
