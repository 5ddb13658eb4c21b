//! What a connection tells about itself, as `TCP_INFO` of Linux does.

use smoltcp::socket::tcp::State;

use super::connection::{Connection, ConnectionId};
use super::endpoint::Endpoint;
pub use super::recovery::SenderInfo;

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

impl Endpoint {
    /// What is known of a connection; nothing for one that has been closed.
    pub fn info(&self, id: ConnectionId) -> Option<Info> {
        self.get(id).map(Connection::info)
    }
}

impl Connection {
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
