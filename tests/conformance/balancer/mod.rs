//! What else a balancer owes the network, beyond the NAT documents.

#[cfg(feature = "system")]
mod proxy_protocol;

use tests::conformance::Case;

/// The requirements that its sections show.
pub(crate) const CASES: &[&[Case]] = &[
    #[cfg(feature = "system")]
    proxy_protocol::CASES,
];
