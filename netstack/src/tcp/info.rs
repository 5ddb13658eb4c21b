//! What a connection tells about itself, as `TCP_INFO` of Linux does.

use std::net::SocketAddr;
use std::time::Duration;

use smoltcp::socket::tcp::State;

use super::connection::{Connection, ConnectionId, Outcome};
use super::endpoint::{Endpoint, Entry};
pub use super::recovery::SenderInfo;
use super::streams::Streams;
use crate::wire::{Protocol, Tuple};

/// A connection at one moment. Amounts are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// CLOSED if it is over.
    pub state: State,
    /// Sending; none before the handshake is complete, and after the end.
    pub sender: Option<SenderInfo>,
    /// Receiving; the same.
    pub receiver: Option<ReceiverInfo>,
}

/// The receiving half of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiverInfo {
    /// What can be read.
    pub readable: usize,
    /// What the application has read.
    pub read: u64,
    /// What the peer may still send.
    pub window: u32,
    /// The size of the buffer as it is now; it grows with what is read.
    pub buffer: u32,
    /// Ranges that have arrived ahead of their turn.
    pub islands: usize,
}

/// What a connection has been through on its wire. Kept until the application closes it, however it
/// ended; who tells of a connection that was reset wants to know too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// From our SYN, or the SYN of ours that answered the peer's, to what acknowledged it. None if it
    /// was sent more than once, or was a cookie.
    pub handshake_rtt: Option<Duration>,
    /// Smoothed round trip; none before the first sample.
    pub smoothed_rtt: Option<Duration>,
    /// Segments that came for it, after a SYN that began it. A super-packet counts as its segments.
    pub segments_received: u32,
    /// Segments that left, repeated ones too.
    pub segments_sent: u32,
    /// Segments of data that left again.
    pub retransmitted_segments: u32,
    /// Retransmission timeouts.
    pub timeouts: u32,
    /// The peer ended it by a RST.
    pub was_reset: bool,
}

impl Endpoint {
    /// The connection between `local`, our end, and `remote`; nothing if there is none, or it is over.
    pub fn find(&self, local: SocketAddr, remote: SocketAddr) -> Option<ConnectionId> {
        let Entry::Connection(index) = *self.table.get(&tuple(local, remote))? else { return None };
        self.connections.get(index as usize).map(|connection| connection.id)
    }

    /// What a connection has been through; nothing for one that has been closed.
    pub fn vitals(&self, id: ConnectionId) -> Option<Vitals> {
        self.get(id).map(Connection::vitals)
    }

    /// What is known of a connection; nothing for one that has been closed.
    pub fn info(&self, id: ConnectionId) -> Option<Info> {
        self.get(id).map(Connection::info)
    }
}

impl Connection {
    fn vitals(&self) -> Vitals {
        let was_reset = matches!(self.outcome, Some(Outcome::Reset | Outcome::Refused));
        let vitals = Vitals { was_reset, ..self.vitals };
        self.streams.as_ref().map_or(vitals, |streams| vitals.with(streams))
    }

    fn info(&self) -> Info {
        let state = if self.outcome.is_some() { State::Closed } else { self.state() };
        let streams = self.streams.as_ref();
        Info {
            state,
            sender: streams.map(|streams| streams.sender.info()),
            receiver: streams.map(|streams| ReceiverInfo {
                readable: streams.readable(),
                read: streams.receiver.bytes_read(),
                window: streams.receive_window(),
                buffer: streams.receiver.capacity(),
                islands: streams.receiver.islands(),
            }),
        }
    }
}

impl Vitals {
    /// With what the streams know.
    pub(super) fn with(self, streams: &Streams) -> Self {
        let (smoothed_rtt, retransmitted_segments, timeouts) = streams.sender.vitals();
        Self { smoothed_rtt, retransmitted_segments, timeouts, ..self }
    }
}

/// As packets from `remote` name it.
pub(super) fn tuple(local: SocketAddr, remote: SocketAddr) -> Tuple {
    Tuple {
        protocol: Protocol::Tcp,
        src: remote.ip().into(),
        dst: local.ip().into(),
        src_port: remote.port(),
        dst_port: local.port(),
    }
}
