//! TCP (BCP 142).

mod section_4_1;
mod section_4_2;
mod section_4_3;
mod section_5;
mod section_6;
mod section_7;
mod section_7_1;

use tests::conformance::Case;

/// The requirements that its sections show.
pub(crate) const CASES: &[&[Case]] = &[
    section_4_1::CASES,
    section_4_2::CASES,
    section_4_3::CASES,
    section_5::CASES,
    section_6::CASES,
    section_7::CASES,
    section_7_1::CASES,
];
