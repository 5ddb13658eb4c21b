//! Every limit in one place. What happens at each is documented beside it and tested.

use std::time::Duration;

/// How many flows, and how many of them half-open. Configured by `[limits]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Tracked flows. At the limit a new flow takes the place of, in this order: the oldest closing
    /// TCP flow, the oldest half-open one, the oldest flow whose backend was never seen to answer (UDP,
    /// ICMP, and what is carried in tunnels). If all are established it is refused ([`DropReason::FlowTableFull`](crate::DropReason)).
    pub flows: usize,
    /// TCP flows whose handshake is not complete, at least one. At the limit a new one takes the oldest
    /// one's place, as does one of a connection that both ends have forgotten and open anew.
    pub half_open: usize,
    /// Flows of one client that are not closing; an IPv6 client is a /64. At the limit a new one is
    /// refused ([`DropReason::ClientLimit`](crate::DropReason)) and the others stay (RFC 6888 REQ-5).
    pub flows_per_client: u32,
    /// Datagrams of which some fragments have come and others have not. At the limit a new one takes
    /// the place of the one that began longest ago, whose held fragments are dropped
    /// ([`DropReason::FragmentLimit`](crate::DropReason)). With 0 every fragment is dropped that is not
    /// just passed on.
    pub fragments: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { flows: 1_048_576, half_open: 16_384, flows_per_client: 65_536, fragments: 1_024 }
    }
}

/// Flows that can be numbered: an index entry is 32 bits, one of which is the direction.
pub const MAX_FLOWS: usize = 1 << 30;
/// Bytes that a flow takes at most, with its keys, its timer and what is counted for its client.
pub const FLOW_MEMORY: u64 = 512;
/// Flows for which room is made at the start, at most. Beyond, the table grows as it fills, and moves
/// everything when it does: a pause of milliseconds.
pub const PRESIZED_FLOWS: usize = 1 << 20;
/// Services in one configuration.
pub const MAX_SERVICES: usize = 65_535;
/// Backends in one pool.
pub const MAX_BACKENDS: usize = 65_535;
/// Addresses in the SNAT pool: each new flow weighs them all.
pub const MAX_SNAT_ADDRESSES: usize = 256;
/// Unsolicited SYNs to the SNAT pool that are kept while they wait for their refusal. Beyond, one is
/// dropped at once, in silence.
pub const UNSOLICITED_SYNS: usize = 1_024;
/// Backends that one SYN is offered to before the client is told.
pub const SYN_ATTEMPTS: u8 = 4;
/// Silence of a backend after which a repeated SYN goes to another: somewhat less than the second
/// after which clients repeat it (RFC 6298 section 2), since the first may have been late.
pub const SYN_PATIENCE: Duration = Duration::from_millis(750);
/// SYNs kept for being offered to a second backend. Beyond, a refusal goes to the client.
pub const PENDING_SYNS: usize = 16_384;
/// Bytes of a SYN that are kept; a longer one (data in SYN) is not offered twice.
pub const PENDING_SYN_LEN: usize = 512;
/// Flows of which a SYN out of turn is remembered. Beyond, the one whose SYN came longest ago gives way:
/// if both ends have forgotten that connection and open it anew, it is still tracked as the old one: its
/// packets pass, its end is not noticed, and the flow goes by its idle time.
pub const REOPENINGS: usize = 4_096;
/// Failed connects in a row that take a backend out.
pub const FAILURES_TO_EJECT: u32 = 3;
/// Backends that are checked, over all pools. A configuration with more is refused.
pub const CHECKED_BACKENDS: usize = 16_384;
/// Bytes of the datagram that a health probe sends. A configuration with more is refused.
pub const PROBE_PAYLOAD: usize = 512;
/// Health probes that one call of `handle_timeout` makes or gives up at most; the rest wait for the
/// next call.
pub const PROBE_BATCH: usize = 64;
/// Time over which the first probes of a pool are spread, at most.
pub const FIRST_PROBES: Duration = Duration::from_secs(1);
/// Flows that one call of `handle_timeout` expires at most, so that no packet waits for more.
pub const EXPIRE_BATCH: usize = 256;
/// Pieces that one packet is cut into for a leg with a small MTU: those of 64 KiB over the smallest one,
/// 68 bytes. A packet that would make more is dropped ([`DropReason::PacketTooBig`](crate::DropReason)).
pub const MAX_PIECES: usize = 1_400;
/// Rows of buckets in which a service that limits its clients' rate counts each of them.
pub const CLIENT_ROWS: usize = 4;
/// Buckets in a row; a power of two. With more busy clients than this, some share all their buckets with
/// others and are refused early: see [`client_limit`](crate::client_limit).
pub const CLIENT_CELLS: usize = 8_192;
/// ICMP errors and RSTs that balun makes by itself in a second (Linux allows 1,000).
pub const ERRORS_PER_SECOND: u32 = 1_000;
/// Of these, how many at once.
pub const ERRORS_BURST: u32 = 50;
/// Clients whose backend a pool remembers. Beyond, the one that opened its last flow longest ago is
/// forgotten.
pub const AFFINITY_CLIENTS: usize = 262_144;
/// ICMP errors and RSTs that one peer gets in a second: an IPv4 address, or an IPv6 /64.
pub const ERRORS_PER_PEER_SECOND: u32 = 100;
/// Of these, how many at once.
pub const ERRORS_PER_PEER_BURST: u32 = 20;
/// Buckets that peers share by a hash; a flood takes those of its own.
pub const ERROR_PEERS: usize = 1_024;
/// Fragments held in all, until the first of their datagram comes. At the limit the datagram that began
/// longest ago gives way, and so on until there is room.
pub const HELD_FRAGMENTS: usize = 4_096;
/// Bytes of the packets so held (Linux holds 4 MiB too). At the limit as above.
pub const HELD_BYTES: usize = 4 << 20;
/// Fragments of one datagram: enough for the longest at an MTU of 576. One more kills the datagram.
pub const DATAGRAM_FRAGMENTS: usize = 128;
/// Bytes of one datagram's held packets: the longest datagram, and headers of its fragments without
/// long options. More kills the datagram.
pub const DATAGRAM_BYTES: usize = 80 << 10;
/// Counters of identifications. Sources and destinations that share one skip numbers of 16 bits.
pub const IDENTIFICATION_COUNTERS: usize = 4_096;
/// Backends of tunnels to which a path MTU below their leg's is remembered. At the limit the one told of
/// longest ago is forgotten, and found out anew.
pub const TUNNEL_PATHS: usize = 4_096;
/// How long such a path MTU is believed (RFC 1191 section 6.3).
pub const TUNNEL_PATH_TIME: Duration = Duration::from_mins(10);
/// The least path MTU of IPv4 that is believed (Linux believes 552): errors can be forged.
pub const TUNNEL_MIN_MTU_V4: u16 = 576;
