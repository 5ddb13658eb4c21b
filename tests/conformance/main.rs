//! What RFCs and good practice ask of a NAT and balancer, one test a requirement.
//!
//! `docs/compliance.md` is made from these tests: `BALUN_BLESS=1 cargo test --test conformance` writes
//! it anew.

#![forbid(unsafe_code)]

mod balancer;
#[cfg(feature = "system")]
mod published;
mod rfc4787;
mod rfc5382;
mod rfc5508;
mod rfc6888;
mod rfc7857;

use tests::conformance::{Applies, Case};

/// Every requirement that binds us, by letter: how many there are, and which are left to us.
const LINES: [(&str, u16, &[u16]); 6] = [
    ("U", 23, &[5, 7, 11]),
    ("T", 14, &[]),
    ("I", 23, &[20, 22, 23]),
    ("V", 16, &[6, 12, 15]),
    ("C", 8, &[]),
    ("L", 17, &[15]),
];

fn cases() -> Vec<Case> {
    let modules = [
        rfc4787::CASES,
        rfc5382::CASES,
        rfc5508::CASES,
        rfc7857::CASES,
        rfc6888::CASES,
        balancer::CASES,
    ];
    modules.concat().concat()
}

#[test]
fn what_is_left_to_us_is_marked_so() {
    for case in cases() {
        let (letter, number) = case.line.split_at(1);
        let (_, _, optional) = LINES.iter().find(|(l, ..)| *l == letter).unwrap();
        let optional = optional.contains(&number.parse().unwrap());
        assert_eq!(case.applies == Applies::Optional, optional, "{}", case.line);
    }
}
