//! What bounds the endpoint's memory, time and work.

use std::time::Duration;

use super::congestion::Algorithm;
use super::keepalive::KeepaliveConfig;
use super::receiver::ReceiverConfig;

/// The smallest MTU that is believed; a smaller one is raised to it.
pub const MIN_MTU: u16 = 256;

/// The smallest MSS that is believed of a peer (Linux: `TCP_MIN_SND_MSS`): with less, 64 KiB would
/// become thousands of packets.
pub const MIN_PEER_MSS: u16 = 48;

/// The smallest buffer, in bytes; a smaller one is raised to it.
pub const MIN_BUFFER: usize = 2_048;

/// The largest buffer, in bytes: what a scaled window can say (RFC 7323 section 2.3).
pub const MAX_BUFFER: usize = 1 << 30;

/// Bytes of a receive buffer at first; it grows with what the application reads.
pub const INITIAL_RECEIVE_BUFFER: u32 = 65_536;

/// How long a passive connection may stay in SYN-RECEIVED.
pub const HALF_OPEN_TIMEOUT: Duration = Duration::from_secs(75);

/// How long data or a FIN may stay unacknowledged by a silent peer (RFC 9293 section 3.8.3 wants at
/// least 100 s).
pub const USER_TIMEOUT: Duration = Duration::from_mins(2);

/// How long a closed connection waits for the peer's FIN.
pub const FIN_WAIT_2_TIMEOUT: Duration = Duration::from_mins(1);

/// How long TIME-WAIT lasts: 2 MSL for an MSL of 30 s, as Linux has it.
pub const TIME_WAIT: Duration = Duration::from_mins(1);

/// Segments that wait to be sent for no connection's socket: resets, challenge ACKs. Further ones are
/// not sent; their receivers will ask again.
pub const MAX_REPLIES: usize = 4_096;

/// Challenge ACKs a second, on average; the limit itself varies (see `edge`).
pub const CHALLENGE_ACKS_PER_SECOND: u32 = 1_000;

/// Bytes that an idle connection takes at most, with its entries in tables; its data is counted apart.
pub const CONNECTION_MEMORY: u64 = 4_096;

/// Bytes that a record of TIME-WAIT takes at most, with its entries in tables.
pub const TIME_WAIT_MEMORY: u64 = 320;

/// Timers that one [`handle_timeout`](super::Endpoint::handle_timeout) looks at.
pub const TIMERS_PER_CALL: usize = 1_024;

/// How an endpoint is made; the fields may be changed after [`EndpointConfig::new`].
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// MTU of the path in bytes, IP header included; decides the MSS that peers are told.
    /// At least [`MIN_MTU`].
    pub mtu: u16,
    /// Secret: keys sequence numbers, ports and hashes. Equal seeds give equal runs.
    pub seed: [u64; 2],
    /// The most bytes that a connection's receive buffer grows to, which is its largest window; between
    /// [`MIN_BUFFER`] and [`MAX_BUFFER`].
    pub receive_buffer: usize,
    /// The most bytes that a connection's send buffer grows to; between [`MIN_BUFFER`] and
    /// [`MAX_BUFFER`].
    pub send_buffer: usize,
    /// Bytes of all buffers together. When they are in use nothing more is received or taken to be
    /// sent until some are free.
    pub buffer_memory: usize,
    /// How much of each connection may be in flight.
    pub congestion: Algorithm,
    /// Whether timestamps are offered (RFC 7323).
    pub timestamps: bool,
    /// How idle connections are probed; not at all by default.
    pub keepalive: Option<KeepaliveConfig>,
    /// Connections in any state but TIME-WAIT.
    pub max_connections: usize,
    /// Passive connections in SYN-RECEIVED.
    pub max_half_open: usize,
    /// Records of TIME-WAIT, of some 150 bytes; beyond it connections end without one.
    pub max_time_wait: usize,
    /// How long [`connect`](super::Endpoint::connect) tries.
    pub connect_timeout: Duration,
}

impl EndpointConfig {
    /// The defaults: an Ethernet path, 64 KiB buffers, 10,000 connections.
    pub const fn new(seed: [u64; 2]) -> Self {
        Self {
            mtu: 1_500,
            seed,
            receive_buffer: 6 << 20,
            send_buffer: 4 << 20,
            buffer_memory: 1 << 30,
            congestion: Algorithm::Cubic,
            timestamps: true,
            keepalive: None,
            max_connections: 10_000,
            max_half_open: 1_024,
            max_time_wait: 65_536,
            connect_timeout: Duration::from_secs(10),
        }
    }

    /// The shift of our windows: the least with which the largest window can be said.
    pub(super) fn window_scale(&self) -> u8 {
        ReceiverConfig::shift_for(self.largest_receive_buffer())
    }

    /// The window of our SYNs.
    pub(super) fn syn_window(&self) -> u16 {
        self.receiver(0, 0).syn_window()
    }

    /// How a connection's receiver is made whose peer was told of `mss`.
    pub(super) fn receiver(&self, mss: u16, shift: u8) -> ReceiverConfig {
        let max = self.largest_receive_buffer();
        ReceiverConfig { initial: INITIAL_RECEIVE_BUFFER.min(max), max, mss, shift }
    }

    fn largest_receive_buffer(&self) -> u32 {
        u32::try_from(self.receive_buffer).unwrap_or(u32::MAX)
    }

    /// The configuration with every value brought into its range.
    pub(super) fn clamped(mut self) -> Self {
        self.mtu = self.mtu.max(MIN_MTU);
        self.receive_buffer = self.receive_buffer.clamp(MIN_BUFFER, MAX_BUFFER);
        self.send_buffer = self.send_buffer.clamp(MIN_BUFFER, MAX_BUFFER);
        self
    }
}
