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
const OPEN: &[&str] = &[
    "U1", "U2", "U3", "U4", "U5", "U12", "U13", "U14", "U15", "U16", "U17", "U18", "U19", "U20",
    "U21", "U22", "U23", "T1", "T2", "T3", "T4", "T5", "T6", "T7", "T8", "T9", "T10", "T11", "T12",
    "T13", "T14", "I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I10", "I11", "I12", "I13",
    "I14", "I15", "I16", "I17", "I18", "I19", "I20", "I21", "I22", "I23", "V1", "V2", "V3", "V4",
    "V5", "V6", "V7", "V8", "V9", "V10", "V11", "V12", "V13", "V14", "V15", "V16", "C1", "C2",
    "C3", "C4", "C5", "C6", "C7", "C8", "L1", "L2", "L3", "L4", "L5", "L6", "L7", "L8", "L9",
    "L10", "L11", "L12", "L13", "L14", "L17",
];
