//! What else a balancer owes the network, beyond the NAT documents.

use tests::conformance::Case;

/// The requirements that its sections show.
pub(crate) const CASES: &[&[Case]] = &[];
