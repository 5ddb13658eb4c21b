//! What else a balancer owes the network, beyond the NAT documents.

mod checksum;
mod icmp;
mod path_mtu;
#[cfg(feature = "system")]
mod proxy_protocol;
mod refusal;
mod source_ports;
mod stability;

use tests::conformance::Case;

/// The requirements that its sections show.
pub(crate) const CASES: &[&[Case]] = &[
    checksum::CASES,
    icmp::CASES,
    path_mtu::CASES,
    #[cfg(feature = "system")]
    proxy_protocol::CASES,
    refusal::CASES,
    source_ports::CASES,
    stability::CASES,
];
