//! ICMP (BCP 148).

use tests::conformance::Case;

/// The requirements that its sections show.
pub(crate) const CASES: &[&[Case]] = &[];
