//! UDP (BCP 127).

mod section_10;
mod section_4_3;

use tests::conformance::Case;

/// The requirements that its sections show.
pub(crate) const CASES: &[&[Case]] = &[section_10::CASES, section_4_3::CASES];
