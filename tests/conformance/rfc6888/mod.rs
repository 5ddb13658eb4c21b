//! Pool hygiene, as far as it fits a balancer.

use tests::conformance::Case;

/// The requirements that its sections show.
pub(crate) const CASES: &[&[Case]] = &[];
