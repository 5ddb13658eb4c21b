//! Hairpinning: a backend is a client of the service that it serves.

use nat::Verdict;
use tests::talk::{Kind, Talk};

tests::conforms! {
    /// Errors about a connection between two hosts of one side pass.
    I17 Always "RFC 5508 REQ-7"
    fn errors_about_a_hairpinned_flow_pass() {
        for mut talk in Talk::hairpins() {
            for what in ["unreachable", "ttl-exceeded"] {
                talk.passes(1, &talk.error_from_backend(what), 1, &talk.error_at_client(what));
                talk.passes(1, &talk.error_from_client(what), 1, &talk.error_at_backend(what));
            }
        }
    }

    /// So do queries between them.
    I17 Always "RFC 5508 REQ-7"
    fn hairpinned_queries_pass() {
        for mut talk in Talk::hairpins().filter(|talk| talk.kind == Kind::Echo) {
            let (there, back) = (talk.request_at_backend(), talk.answer_at_client());
            talk.passes(1, &talk.request(), 1, &format!("{there} ttl=63"));
            talk.passes(1, &talk.answer(), 1, &format!("{back} ttl=63"));
        }
    }

    /// Each goes to whom the quoted packet, put back, came from: to the one host or to the other.
    I18 Always "RFC 5508 REQ-7a"
    fn a_hairpinned_error_goes_to_the_quoted_packets_sender() {
        for mut talk in Talk::hairpins() {
            for (error, to) in [
                (talk.error_from_backend("unreachable"), talk.client),
                (talk.error_from_client("unreachable"), talk.backend),
            ] {
                let seen = talk.bed.send(1, &error);
                assert_eq!((seen.verdict, seen.leg), (Verdict::Forward, 1));
                assert!(seen.line.contains(&format!(" > {to} unreachable")), "{}", seen.line);
            }
        }
    }
}
