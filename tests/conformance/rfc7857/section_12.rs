//! Hairpinned queries.

use tests::talk::{Kind, Talk};

tests::conforms! {
    /// A backend that asks the service which it serves gets an answer, from the service's address.
    V16 Always "RFC 7857 section 12"
    fn a_backend_can_ping_its_own_service() {
        for mut talk in Talk::hairpins().filter(|talk| talk.kind == Kind::Echo) {
            let (there, back) = (talk.request_at_backend(), talk.answer_at_client());
            talk.passes(1, &talk.request(), 1, &format!("{there} ttl=63"));
            talk.passes(1, &talk.answer(), 1, &format!("{back} ttl=63"));
        }
    }
}
