//! The end of a query mapping.

use std::time::Duration;

use nat::{DropReason, Nat, Verdict};
use tests::talk::{Kind, Talk};

tests::conforms! {
    /// An ICMP mapping may go with its last session; it does.
    V15 Optional "RFC 7857 section 11"
    fn a_query_mapping_goes_with_its_session() {
        for mut talk in Talk::all_of(Kind::Echo).filter(|talk| talk.nat == Nat::Full) {
            talk.bed.wait(Duration::from_secs(61));
            // `Bed` has checked that the pool has the identifier back.
            assert!(talk.bed.engine.flows().is_empty());
            let verdict = talk.bed.send(1, &talk.answer()).verdict;
            assert_eq!(verdict, Verdict::Drop(DropReason::NoFlow));
        }
    }
}
