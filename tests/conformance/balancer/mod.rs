//! What else a balancer owes the network, beyond the NAT documents.

mod blind_packets;
mod checksum;
mod fragments;
mod icmp;
mod identification;
mod path_mtu;
#[cfg(feature = "system")]
mod proxy_protocol;
mod refusal;
mod source_ports;
mod stability;
mod tcp_windows;

use tests::conformance::Case;

/// The requirements that its sections show.
pub(crate) const CASES: &[&[Case]] = &[
    blind_packets::CASES,
    checksum::CASES,
    fragments::CASES,
    icmp::CASES,
    identification::CASES,
    path_mtu::CASES,
    #[cfg(feature = "system")]
    proxy_protocol::CASES,
    refusal::CASES,
    source_ports::CASES,
    stability::CASES,
    tcp_windows::CASES,
];
