//! The page that is made of all of them. It needs the tests of whole systems as well.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use tests::conformance::{Choice, table};

use crate::{LINES, cases};

const CHOICES: &[Choice] = &[Choice {
    line: "L15",
    source: "RFC 8158, RFC 7659",
    instead: "Events of the NAT are counted, and not exported over IPFIX.",
}];

const HEAD: &str = "\
# Compliance

What RFCs and good practice ask of a NAT that balances, and the test that shows each. This page is
made from the tests (`BALUN_BLESS=1 cargo test --test conformance`), which live in
`tests/conformance/`.

Backends are the *internal* side of the RFCs, clients the *external* one, and a service's address is
a static inbound mapping. With full NAT, clients are internal to the backends' side as well, and a
pool address and port is the mapping. *Our choice* marks what a document leaves open.

";

#[test]
fn the_published_table_is_that_of_the_tests() {
    let cases = cases();
    let failed: Vec<_> =
        cases.iter().filter(|case| std::panic::catch_unwind(case.run).is_err()).collect();
    let page = format!("{HEAD}{}", table(&cases, CHOICES));
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/compliance.md");
    if std::env::var_os("BALUN_BLESS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), page, "bless it: see above");
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn every_requirement_has_a_test() {
    let shown = cases().into_iter().map(|case| case.line.to_owned());
    let shown: BTreeSet<_> =
        shown.chain(CHOICES.iter().map(|choice| choice.line.to_owned())).collect();
    let missing: Vec<_> = LINES
        .iter()
        .flat_map(|(letter, count, _)| (1..=*count).map(move |n| format!("{letter}{n}")))
        .filter(|line| !shown.contains(line))
        .collect();
    assert_eq!(missing, OPEN, "still to be shown");
}

/// Those that no test shows yet.
const OPEN: &[&str] = &[];
