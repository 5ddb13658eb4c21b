//! Updates to the three.

mod section_10;
mod section_11;
mod section_12;
mod section_2;
mod section_2_1;
mod section_2_2;
mod section_3;
mod section_4;
mod section_5;
mod section_7;
mod section_8;

use tests::conformance::Case;

/// The requirements that its sections show.
pub(crate) const CASES: &[&[Case]] = &[
    section_10::CASES,
    section_11::CASES,
    section_12::CASES,
    section_2::CASES,
    section_2_1::CASES,
    section_2_2::CASES,
    section_3::CASES,
    section_4::CASES,
    section_5::CASES,
    section_7::CASES,
    section_8::CASES,
];
