//! Legs, and what is kept of the flows between them.

use std::net::IpAddr;
use std::time::Duration;

use super::{Prefix, Span, Spanned};
use crate::link::Settings;

/// A TUN device, or another way in and out.
#[derive(Clone, Debug)]
pub struct Leg {
    /// The `[[leg]]` header.
    pub span: Span,
    /// Device name, 1 to 15 bytes.
    pub name: Spanned<String>,
    /// Addresses of the kernel's end, or our own on an Ethernet interface; their networks lie behind the
    /// leg. At least one.
    pub addresses: Vec<Spanned<Prefix>>,
    /// Longest packet in bytes; default 1500.
    pub mtu: Spanned<u16>,
    /// Named network namespace, or a path to one; none is our own.
    pub netns: Option<Spanned<String>>,
    /// Networks that lie behind it besides its own.
    pub routes: Vec<Spanned<Prefix>>,
    /// Who takes what is not on the link, of an Ethernet interface: at most one of each IP version.
    pub gateways: Vec<Spanned<IpAddr>>,
    /// The default route of the leg's namespace points at the leg.
    pub default_route: Spanned<bool>,
    /// Packets that come by it may be answered with ICMP errors; default yes.
    pub icmp_errors: bool,
    /// What it is made of.
    pub kind: Spanned<LegKind>,
    /// How its link misbehaves.
    pub impair: Option<Settings>,
    /// The node of the lab that it leads to, by its place among them; none of a leg of the file.
    pub node: Option<usize>,
}

/// What a leg is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LegKind {
    /// A TUN device.
    #[default]
    Tun,
    /// An Ethernet interface that is there, such as one end of a veth pair.
    Veth,
    /// A capture file.
    Pcap,
}

/// Addresses and ports that backends see as the source of full NAT.
#[derive(Clone, Debug)]
pub struct Snat {
    /// The `[snat]` header.
    pub span: Span,
    /// For a family without an address, none at all included, the VIP itself is the source.
    pub addresses: Vec<Spanned<IpAddr>>,
    /// Default 1024 to 65535.
    pub ports: Spanned<PortRange>,
    /// Default endpoint-dependent.
    pub mapping: SnatMapping,
    /// Even UDP ports are mapped to even ones, odd to odd; default no.
    pub parity: bool,
    /// How long a port rests before another flow gets it; zero is not at all; default 2 min.
    pub quarantine: Duration,
    /// Ports that rest at a time; default 1,048,576.
    pub quarantine_ports: u32,
    /// Ports of one client; default no limit.
    pub ports_per_client: Option<Spanned<u32>>,
    /// What a client hears that no port is left for; default an error.
    pub exhausted: Refusal,
    /// What a SYN to an unmapped port hears; default an error.
    pub unsolicited: Refusal,
}

/// How a packet is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refusal {
    /// With a RST or an ICMP error.
    #[default]
    Reject,
    /// In silence.
    Drop,
}

/// Ports, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// At least 1.
    pub first: u16,
    /// At least `first`.
    pub last: u16,
}

impl Default for PortRange {
    /// Every port above the well-known ones (RFC 4787 REQ-3a).
    fn default() -> Self {
        Self { first: 1024, last: 65_535 }
    }
}

/// What a SNAT mapping depends on (RFC 4787 section 4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SnatMapping {
    /// A port may serve several flows to different backends.
    #[default]
    EndpointDependent,
    /// A client's port is mapped to the same port for every backend.
    EndpointIndependent,
}

/// Idle times after which a flow is forgotten.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// Established TCP; default 2 h 4 min (RFC 5382 REQ-5).
    pub tcp_established: Spanned<Duration>,
    /// Half-open and closing TCP; default 4 min (RFC 5382 REQ-5).
    pub tcp_transitory: Spanned<Duration>,
    /// TCP whose handshake is not complete; default as `tcp-transitory`.
    pub tcp_half_open: Spanned<Duration>,
    /// TCP that both sides have closed or one has reset; default as `tcp-transitory`.
    pub tcp_closing: Spanned<Duration>,
    /// UDP; default 5 min (RFC 4787 REQ-5).
    pub udp: Spanned<Duration>,
    /// ICMP echo; default 60 s (RFC 5508 REQ-2).
    pub icmp: Spanned<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            tcp_established: Spanned::default_of(Duration::from_mins(124)),
            tcp_transitory: Spanned::default_of(Duration::from_mins(4)),
            tcp_half_open: Spanned::default_of(Duration::from_mins(4)),
            tcp_closing: Spanned::default_of(Duration::from_mins(4)),
            udp: Spanned::default_of(Duration::from_mins(5)),
            icmp: Spanned::default_of(Duration::from_mins(1)),
        }
    }
}

/// How much is kept.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Tracked flows; default 1,048,576.
    pub flows: Spanned<u32>,
    /// Of these, flows of one client that are not closing; default 65,536.
    pub flows_per_client: Spanned<u32>,
    /// Of these, TCP flows whose handshake is not complete; default 16,384.
    pub half_open: Spanned<u32>,
    /// Datagrams of which some fragments have come and others have not; default 1,024.
    pub fragments: Spanned<u32>,
    /// Bytes of all that traffic can make balun keep (see [`Memory`](super::Memory)); default as much as
    /// the other limits come to, and 1 GiB for the data of connections that end here.
    pub memory: Option<Spanned<u64>>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            flows: Spanned::default_of(1_048_576),
            flows_per_client: Spanned::default_of(65_536),
            half_open: Spanned::default_of(16_384),
            fragments: Spanned::default_of(1_024),
            memory: None,
        }
    }
}
