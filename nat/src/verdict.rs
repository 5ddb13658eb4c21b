//! What became of a packet.

use std::fmt;

use netstack::packet::VnetError;
use netstack::wire::Malformed;

use crate::ServiceId;

/// What the caller does with the packet that it handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Send it: it was rewritten in place and `packet.leg` is where it leaves.
    Forward,
    /// Send it: it was turned into its own answer, and `packet.leg` is where it leaves: the leg that it
    /// came by, unless another leads to its sender's address.
    Reply,
    /// Hand it to the [`Divert`](crate::Divert): the flow ends in this process.
    Divert(DivertTo),
    /// Kept: it is a part of something, and comes out of
    /// [`Engine::poll_transmit`](crate::Engine::poll_transmit) when the rest allows.
    Hold,
    /// Forget it: it answered a question of the engine's own, a health probe.
    Consumed,
    /// Send it: the packet was refused and turned into the RST or ICMP error that says so, which leaves
    /// as a [`Reply`](Self::Reply) does.
    Reject(DropReason),
    /// Forget it; the reason has been counted.
    Drop(DropReason),
}

/// Which side of the proxy a diverted packet belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DivertTo {
    /// A client's connection to this service.
    Service(ServiceId),
    /// A connection that this process opened to a backend.
    Upstream,
}

macro_rules! drop_reasons {
    ($($variant:ident = $name:literal: $text:literal;)*) => {
        /// Why a packet went no further. One name serves counters, logs, captures and documentation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason {
            $(#[doc = $text] $variant,)*
        }

        impl DropReason {
            /// Every reason, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The kebab-case name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// One sentence on what it means.
            pub const fn description(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

drop_reasons! {
    IpVersion = "ip-version": "The first four bits are neither 4 nor 6.";
    Truncated = "truncated": "Fewer bytes came than the headers need.";
    IpHeaderLength = "ip-header-length": "IHL below 5, or a header longer than the packet.";
    IpTotalLength = "ip-total-length": "The length in the IP header is not that of the bytes that came.";
    IpChecksum = "ip-checksum": "The IPv4 header checksum is wrong.";
    ExtensionHeader = "extension-header": "An IPv6 extension header does not fit or stands where it may not.";
    MappedAddress = "mapped-address": "An IPv6 packet carries an IPv4-mapped address.";
    TcpHeader = "tcp-header": "A TCP header shorter than 20 bytes or longer than its segment.";
    UdpLength = "udp-length": "The UDP length is not that of the datagram.";
    IcmpLength = "icmp-length": "An ICMP message of fewer than eight bytes.";
    ChecksumOffload = "checksum-offload": "The offloaded checksum does not lie where the transport header has it.";
    GsoKind = "gso-kind": "The segmentation asked for does not fit the packet, or is one never enabled.";
    Martian = "martian": "A source or destination that cannot be on this wire: loopback, multicast source, or an address of our own.";
    Multicast = "multicast": "A multicast or broadcast destination; balun balances unicast.";
    FragmentBounds = "fragment-bounds": "A fragment without bytes, beyond the longest packet, cut where none may be, or behind the last.";
    FragmentTiny = "fragment-tiny": "A first fragment without its whole transport header, or a TCP fragment that would write over one.";
    FragmentOverlap = "fragment-overlap": "A fragment of a datagram of which two overlap.";
    FragmentDuplicate = "fragment-duplicate": "A fragment that came before.";
    FragmentLimit = "fragment-limit": "A fragment of a datagram that gave way at a limit, or exceeds one itself.";
    FragmentTimeout = "fragment-timeout": "A fragment that was held, and another of its datagram did not come in time.";
    TtlExceeded = "ttl-exceeded": "TTL or hop limit reached zero here.";
    PacketTooBig = "packet-too-big": "Longer than the MTU of the leg that it would leave by, and not to be cut.";
    NoService = "no-service": "To an address of ours on which no service listens for this port.";
    NoFlow = "no-flow": "A TCP segment in the middle of a connection that is not tracked.";
    NoRoute = "no-route": "No leg leads to the destination.";
    NoBackend = "no-backend": "The service's pool has no backend that can take it.";
    BackendsFull = "backends-full": "Every backend that could take it has as many connections as it may.";
    NoPort = "no-port": "Every port of the SNAT pool that the client may get toward this backend is taken.";
    ClientLimit = "client-limit": "The client has as many flows, or ports of the SNAT pool, as one may have.";
    UnsolicitedSyn = "unsolicited-syn": "A SYN to a port of the SNAT pool that is not mapped to its sender: held for six seconds, then refused.";
    FlowTableFull = "flow-table-full": "The limit of flows is reached and all are established.";
    Denied = "denied": "The service's lists do not allow this client.";
    ClientRate = "client-rate": "The client begins flows faster than the service allows one client.";
    ClientFlows = "client-flows": "The client has as many flows as the service allows one client.";
    ServiceRate = "service-rate": "Flows to the service begin faster than it allows.";
    ServiceFlows = "service-flows": "The service has as many flows as it allows.";
    ProtocolUnsupported = "protocol-unsupported": "To an address of ours, in a protocol that balun does not handle.";
    IcmpChecksum = "icmp-checksum": "An ICMP error whose checksum is wrong, or that of the IPv4 header that it quotes.";
    IcmpNoFlow = "icmp-no-flow": "An ICMP error about a packet of no flow.";
    IcmpMismatch = "icmp-mismatch": "An ICMP error that came to another than the sender of the packet that it quotes.";
    IcmpKind = "icmp-kind": "An ICMP error of a kind that is not passed on: a redirect or a source quench.";
    IcmpUnused = "icmp-unused": "An ICMP error about a connection that ends in this process, which can do nothing about it.";
    ProbeMismatch = "probe-mismatch": "It claims to answer a health probe, but does not fit what was asked.";
    RateLimited = "rate-limited": "It deserved an error, but too many were sent already this second.";
}

impl From<Malformed> for DropReason {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::IpVersion => Self::IpVersion,
            Malformed::Truncated => Self::Truncated,
            Malformed::IpHeaderLength => Self::IpHeaderLength,
            Malformed::IpTotalLength => Self::IpTotalLength,
            Malformed::IpChecksum => Self::IpChecksum,
            Malformed::ExtensionHeader => Self::ExtensionHeader,
            Malformed::MappedAddress => Self::MappedAddress,
            Malformed::TcpHeader => Self::TcpHeader,
            Malformed::UdpLength => Self::UdpLength,
            Malformed::IcmpLength => Self::IcmpLength,
            Malformed::ChecksumOffload => Self::ChecksumOffload,
            Malformed::GsoKind => Self::GsoKind,
        }
    }
}

impl From<VnetError> for DropReason {
    fn from(error: VnetError) -> Self {
        match error {
            VnetError::Truncated => Self::Truncated,
            VnetError::ChecksumBeyondEnd => Self::ChecksumOffload,
            VnetError::UnknownGso | VnetError::ZeroGsoSize => Self::GsoKind,
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kebab_case_and_unique() {
        let mut names: Vec<_> = DropReason::ALL.iter().map(|r| r.name()).collect();
        assert!(names.iter().all(|n| n.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DropReason::ALL.len());
    }
}
