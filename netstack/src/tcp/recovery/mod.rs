//! Sending a stream of bytes so that it arrives: buffer, loss recovery, pacing.
//!
//! # Theory of operation
//!
//! A [`Sender`] is one direction of one connection. It knows nothing of packets and reads no clock:
//!
//! ```text
//!   write(pool, bytes), close() ─► ┌────────┐ ─► poll_transmit(now) ─► Transmit, copy_payload()
//!   on_ack(now, pool, Ack) ──────► │ Sender │ ─► poll_timeout()
//!   on_timeout(now) ─────────────► └────────┘ ─► Acked: what became free, whether the FIN arrived
//! ```
//!
//! **Offsets.** Bytes are counted from 0, the first after the SYN; the FIN is one more unit behind the
//! last byte. Who calls turns offsets into sequence numbers and back.
//!
//! **Parts.** [`scoreboard`](self) knows what is in flight, `rack` which of it is lost, `rtt` how long to
//! wait, `prr` and [`Congestion`] how much may be in flight, `pacing` when it may leave, `window` what the
//! peer takes, `undo` whether a recovery was for nothing. `sender` holds them; `ack`, `episode`,
//! `transmit` and `timers` are what it does.
//!
//! **States**, as in Linux and RFC 8985. Loss and what follows is an *episode*; it reduces the window
//! once.
//!
//! | in | when | to | and |
//! |---|---|---|---|
//! | open | a selective (or duplicate) acknowledgment | disorder | |
//! | disorder | no hole is left | open | |
//! | open, disorder | RACK (or the third duplicate) marks a segment lost | recovery | window reduced, PRR begins |
//! | recovery | all that was outstanding at its begin is acknowledged | open or disorder | |
//! | recovery | nothing that was sent again was needed | open | window restored |
//! | any | the retransmission timer fires | loss | window of one segment, F-RTO begins |
//! | loss | all that was outstanding at its begin is acknowledged | open or disorder | |
//! | loss | data that was sent once arrives, nothing sent again was needed | open | window restored |
//! | any | the path takes only smaller segments, a window reopens that dropped what was in flight | loss | window unchanged |
//!
//! **Timers.** One deadline, [`Sender::poll_timeout`], is the least of:
//!
//! | timer | set when | does |
//! |---|---|---|
//! | reordering | RACK waits for what may be only late | marks it lost |
//! | loss probe (TLP) | open, data in flight | sends a segment to get an acknowledgment |
//! | retransmission (RTO) | data in flight | begins loss; if the peer's window is closed, probes it |
//! | persist | data to send, none in flight, the peer's window in the way | probes the window, or sends what fits |
//! | pacing | something may leave but not yet | lets `poll_transmit` go on |
//! | user timeout | data queued | nothing: [`Sender::gone`] says that the peer is |
//!
//! **Order of sending.** A window probe, a loss probe, what is lost, new data.
//!
//! **Without selective acknowledgments** each duplicate acknowledgment counts as one segment that
//! arrived; RACK and loss probes are off (RFC 6582).
//!
//! **Limits.** The buffer holds [`SenderConfig::max_buffer`] bytes, and until the window has grown only
//! [`MIN_BUFFER`] or twice the window; the scoreboard is limited as `scoreboard` says.
//!
//! RFCs: 2018, 2883, 3042, 3522, 5681, 5682, 6298, 6582, 6675, 6937, 8985, 9293; 5482 (user timeout).

mod ack;
mod episode;
mod info;
mod pacing;
mod prr;
mod rack;
mod rtt;
mod scoreboard;
mod sender;
#[cfg(test)]
mod tests;
mod timers;
mod transmit;
mod undo;
mod window;

use std::ops::Range;
use std::time::Duration;

pub use self::info::SenderInfo;
pub(crate) use self::sender::Sender;
use super::congestion::Congestion;

/// The least that a send buffer may hold, in bytes.
pub(crate) const MIN_BUFFER: usize = 65_536;

/// The least retransmission timeout above the round trip. RFC 6298 asks for a second in all; every
/// kernel of today has this.
pub(crate) const RTO_MIN: Duration = Duration::from_millis(200);

/// How a [`Sender`] is made.
#[derive(Debug)]
pub(crate) struct SenderConfig {
    /// Data bytes of a full segment.
    pub(crate) mss: u32,
    /// The peer's window at the end of the handshake, scaled.
    pub(crate) window: u32,
    /// The peer sends selective acknowledgments.
    pub(crate) sack: bool,
    /// The round trip of the handshake; none if a SYN was sent twice.
    pub(crate) handshake_rtt: Option<Duration>,
    /// The most bytes that are buffered.
    pub(crate) max_buffer: usize,
    /// The least retransmission timeout above the round trip, usually [`RTO_MIN`].
    pub(crate) rto_min: Duration,
    /// How long data may wait for the peer to take it (RFC 5482); zero for ever.
    pub(crate) user_timeout: Duration,
    /// Small pieces wait while data is in flight (RFC 9293 section 3.7.4).
    pub(crate) nagle: bool,
    /// How much may be in flight.
    pub(crate) congestion: Box<dyn Congestion>,
}

/// What a segment from the peer says about what we sent. The caller has found the segment acceptable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ack<'a> {
    /// All before it is acknowledged.
    pub(crate) offset: u64,
    /// The window from there, scaled.
    pub(crate) window: u32,
    /// Where in the peer's stream the segment begins: tells which of two windows is newer.
    pub(crate) sequence: u64,
    /// Blocks of the SACK option in their order, a DSACK included.
    pub(crate) sack: &'a [Range<u64>],
    /// The age of the time stamp that the segment echoes.
    pub(crate) echo_age: Option<Duration>,
    /// The segment carries data, SYN or FIN: it says nothing by repeating an acknowledgment.
    pub(crate) carries_data: bool,
}

/// What an acknowledgment did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Acked {
    /// It acknowledges what was not sent: RFC 9293 section 3.10.7.4 wants an ACK for it.
    pub(crate) unsent: bool,
    /// Bytes newly acknowledged, the FIN not counted.
    pub(crate) bytes: u64,
    /// The FIN was newly acknowledged.
    pub(crate) fin: bool,
    /// A writer who found no room should try again.
    pub(crate) freed_room: bool,
}

/// A segment, or several in one piece, to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transmit {
    /// Offset of the first byte. Of a window probe: the one before the oldest outstanding byte, which
    /// wraps to [`u64::MAX`] for the SYN.
    pub(crate) offset: u64,
    /// Bytes of payload, for [`Sender::copy_payload`].
    pub(crate) len: u32,
    /// The FIN follows.
    pub(crate) fin: bool,
    /// The buffer is empty behind it.
    pub(crate) push: bool,
    /// Bytes of each segment but the last.
    pub(crate) mss: u32,
    /// It was sent before.
    pub(crate) retransmission: bool,
    /// It asks for an acknowledgment: a window probe (without payload) or a loss probe.
    pub(crate) probe: bool,
}
