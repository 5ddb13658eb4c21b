//! Pool hygiene, as far as it fits a balancer.

mod section_3;
mod section_3_bypass;
mod section_4;
mod section_5;

use tests::conformance::Case;

/// The requirements that its sections show.
pub(crate) const CASES: &[&[Case]] =
    &[section_3::CASES, section_3_bypass::CASES, section_4::CASES, section_5::CASES];
