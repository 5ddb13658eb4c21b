//! Counters.

/// What an endpoint has done since it was made, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections begun by a peer's SYN.
    pub opened: u64,
    /// Connections that a peer began and that became established.
    pub accepted: u64,
    /// Connections begun by [`connect`](super::Endpoint::connect).
    pub connects: u64,
    /// Of these, established.
    pub connected: u64,
    /// Of these, answered by a RST.
    pub refused: u64,
    /// Established or half-open connections that a peer reset.
    pub reset: u64,
    /// Connections given up by a timer.
    pub timed_out: u64,
    /// RST segments sent.
    pub resets_sent: u64,
    /// Challenge ACKs sent.
    pub challenge_acks: u64,
    /// Packets dropped for a wrong TCP checksum.
    pub checksum_errors: u64,
    /// SYNs dropped at a limit: of connections, or of half-open ones where a cookie would not do.
    pub syns_dropped: u64,
    /// SYN-ACKs with a SYN cookie, because of the limit of half-open connections.
    pub cookies_sent: u64,
    /// Connections made of an acknowledgment with a cookie of ours.
    pub cookies_accepted: u64,
    /// Acknowledgments for no connection that had no good cookie while some were about.
    pub cookies_refused: u64,
    /// Replies not sent because too many were waiting.
    pub replies_dropped: u64,
    /// Connections that ended without TIME-WAIT because too many were in it.
    pub time_wait_overflows: u64,
    /// Now: passive connections in SYN-RECEIVED.
    pub half_open: usize,
    /// Now: connections in any state but TIME-WAIT, dead ones that the application still holds
    /// included.
    pub connections: usize,
    /// Now: bytes of memory that the buffers of all connections hold.
    pub buffer_memory: usize,
    /// Now: records of TIME-WAIT.
    pub time_wait: usize,
}
