//! What the application does with connections.

use std::fmt;
use std::net::SocketAddr;
use std::task::Waker;

use slab::Slab;
use smoltcp::socket::tcp::State;

use super::connection::{Connection, ConnectionId, Outcome, Owner, Position};
use super::endpoint::{Endpoint, Entry};
use super::info::tuple;
use super::ingress::is_possible;
use super::streams::Streams;
use crate::time::Instant;
use crate::wire::Tuple;

/// A connection that a peer began and that is established.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The connection; to be [closed](Endpoint::close) in the end.
    pub id: ConnectionId,
    /// The tag of the packet that opened it.
    pub tag: u32,
    /// Our end: where the peer's packets are addressed to.
    pub local: SocketAddr,
    /// The peer.
    pub remote: SocketAddr,
}

/// Why a connection cannot be begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// An address that is not unicast, two families, no remote port, or both ends alike.
    Address,
    /// The tuple belongs to a connection, maybe one in TIME-WAIT.
    InUse,
    /// No ephemeral port is left towards that destination.
    NoPort,
    /// [`EndpointConfig::max_connections`](super::EndpointConfig::max_connections) are open.
    ConnectionLimit,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "the addresses cannot be those of a connection",
            Self::InUse => "the addresses and ports are in use",
            Self::NoPort => "no ephemeral port is left",
            Self::ConnectionLimit => "too many connections",
        })
    }
}

impl std::error::Error for ConnectError {}

/// Why a connection cannot be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamError {
    /// Not now: there is nothing to read, no room to write, or no connection yet.
    WouldBlock,
    /// The peer reset the connection.
    Reset,
    /// The peer refused the connection.
    Refused,
    /// The peer did not answer.
    TimedOut,
    /// Our side has sent its FIN, or the connection is over: nothing more can be written.
    WriteClosed,
    /// The application has closed the connection, or never had it.
    Unknown,
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WouldBlock => "not ready",
            Self::Reset => "the peer reset the connection",
            Self::Refused => "the peer refused the connection",
            Self::TimedOut => "the peer did not answer",
            Self::WriteClosed => "the connection is closed for writing",
            Self::Unknown => "no such connection",
        })
    }
}

impl std::error::Error for StreamError {}

impl Outcome {
    /// What reading gives once everything received has been read.
    const fn of_reading(self) -> Result<usize, StreamError> {
        match self {
            Self::Finished => Ok(0),
            _ => self.of_writing(),
        }
    }

    const fn of_writing(self) -> Result<usize, StreamError> {
        Err(match self {
            Self::Finished => StreamError::WriteClosed,
            Self::Reset => StreamError::Reset,
            Self::Refused => StreamError::Refused,
            Self::TimedOut => StreamError::TimedOut,
        })
    }
}

impl Endpoint {
    /// Begins a connection. It is established when [`state`](Self::state) says so; until then
    /// reading and writing would block.
    ///
    /// A `local` port of zero has the endpoint choose one that no connection to `remote` uses.
    ///
    /// # Errors
    /// [`ConnectError`]; nothing has been begun then.
    pub fn connect(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<ConnectionId, ConnectError> {
        self.advance(now);
        let mut tuple = tuple(local, remote);
        if self.connections.len() >= self.config.max_connections {
            return Err(ConnectError::ConnectionLimit);
        }
        if tuple.dst_port == 0 {
            let table = &self.table;
            let taken = |dst_port| table.contains_key(&Tuple { dst_port, ..tuple });
            tuple.dst_port = self.ports.choose(&tuple, taken).ok_or(ConnectError::NoPort)?;
        } else if self.table.contains_key(&tuple) {
            return Err(ConnectError::InUse);
        }
        if !is_possible(&tuple) || tuple.src.family() != tuple.dst.family() {
            return Err(ConnectError::Address);
        }
        let isn = self.secret.isn(self.now, &tuple);
        let mut connection = self.new_connection(tuple, isn);
        // The caller's time may be stale; count from when the SYN leaves.
        connection.waiting_since = None;
        connection.owner = Owner::Application;
        connection.passive = false;
        if !connection.control.connect() {
            return Err(ConnectError::Address);
        }
        let index = self.insert(connection);
        self.stats.connects += 1;
        self.mark_dirty(index);
        Ok(self.connections[index].id)
    }

    /// The next connection that a peer began and that is established, oldest first; not those that
    /// [somebody listens](Self::listen) for. The caller owns it from here on.
    pub fn accept(&mut self) -> Option<Accepted> {
        loop {
            let id = self.accepted.pop_front()?;
            // One that was reset while it waited is not worth mentioning.
            if let Some(accepted) = self.take_accepted(id) {
                return Some(accepted);
            }
        }
    }

    /// Gives a connection to the application; nothing if it is no more.
    pub(super) fn take_accepted(&mut self, id: ConnectionId) -> Option<Accepted> {
        let connection = self.get_mut(id)?;
        connection.owner = Owner::Application;
        let (local, remote) = (connection.tuple.destination(), connection.tuple.source());
        Some(Accepted { id, tag: connection.tag, local, remote })
    }

    /// The state of a connection; CLOSED if it is over or unknown.
    pub fn state(&self, id: ConnectionId) -> State {
        match self.get(id) {
            Some(connection) if connection.outcome.is_none() => connection.state(),
            _ => State::Closed,
        }
    }

    /// How a connection failed, if it did.
    pub fn error(&self, id: ConnectionId) -> Option<StreamError> {
        match self.get(id) {
            None => Some(StreamError::Unknown),
            Some(connection) => connection.outcome?.of_reading().err(),
        }
    }

    /// Our address and the peer's.
    pub fn addresses(&self, id: ConnectionId) -> Option<(SocketAddr, SocketAddr)> {
        self.get(id).map(|connection| (connection.tuple.destination(), connection.tuple.source()))
    }

    /// How far the application is in the streams of the connection between `local`, our end, and
    /// `remote`; nothing if there is none, or it is over.
    pub fn position(&self, local: SocketAddr, remote: SocketAddr) -> Option<Position> {
        let Entry::Connection(index) = *self.table.get(&tuple(local, remote))? else { return None };
        self.connections.get(index as usize).map(|connection| connection.position)
    }

    /// The same of a connection that is held, even if it is over.
    pub fn position_of(&self, id: ConnectionId) -> Option<Position> {
        self.get(id).map(|connection| connection.position)
    }

    /// Bytes that can be read now.
    pub fn recv_queue(&self, id: ConnectionId) -> usize {
        self.get(id).map_or(0, Connection::recv_queue)
    }

    /// Bytes written that the peer has not acknowledged.
    pub fn send_queue(&self, id: ConnectionId) -> usize {
        self.get(id).map_or(0, Connection::send_queue)
    }

    /// Reads received bytes into `buffer`. `Ok(0)` for a buffer that is not empty means that the peer
    /// has sent its FIN and everything before it has been read.
    ///
    /// # Errors
    /// [`StreamError`]; what arrived before a reset can be read first.
    pub fn recv(&mut self, id: ConnectionId, buffer: &mut [u8]) -> Result<usize, StreamError> {
        let Self { connections, pool, .. } = self;
        let connection = find(connections, id).ok_or(StreamError::Unknown)?;
        let streams = connection.streams.as_mut().filter(|streams| streams.readable() > 0);
        let Some(streams) = streams else { return Self::nothing_to_read(connection) };
        let read = streams.receiver.read(pool, buffer);
        connection.position.read += read as u64;
        connection.release(pool);
        let reopened = connection.streams.as_ref().is_some_and(Streams::window_update_due);
        if reopened && connection.outcome.is_none() {
            self.mark_dirty(id.index as usize);
        }
        Ok(read)
    }

    fn nothing_to_read(connection: &Connection) -> Result<usize, StreamError> {
        if let Some(outcome) = connection.outcome {
            return outcome.of_reading();
        }
        match connection.state() {
            State::CloseWait | State::LastAck | State::Closing | State::TimeWait => Ok(0),
            _ => Err(StreamError::WouldBlock),
        }
    }

    /// Copies as much of `data` as there is room for into the send buffer, and says how much.
    ///
    /// # Errors
    /// [`StreamError`]
    pub fn send(&mut self, id: ConnectionId, data: &[u8]) -> Result<usize, StreamError> {
        let Self { connections, pool, now, .. } = self;
        let connection = find(connections, id).ok_or(StreamError::Unknown)?;
        if let Some(outcome) = connection.outcome {
            return outcome.of_writing();
        }
        match connection.state() {
            State::Established | State::CloseWait => {}
            State::SynSent | State::SynReceived => return Err(StreamError::WouldBlock),
            _ => return Err(StreamError::WriteClosed),
        }
        let streams = connection.streams.as_mut().ok_or(StreamError::WriteClosed)?;
        let sent = streams.sender.write(*now, pool, data);
        if sent == 0 && !data.is_empty() {
            if streams.sender.starves() && !std::mem::replace(&mut connection.starving, true) {
                self.push_starving(id);
            }
            return Err(StreamError::WouldBlock);
        }
        connection.position.written += sent as u64;
        self.mark_dirty(id.index as usize);
        Ok(sent)
    }

    /// Sends a FIN behind what has been written; reading goes on.
    ///
    /// # Errors
    /// [`StreamError`] if there is no connection to close; not if the FIN has been sent before.
    pub fn shutdown(&mut self, id: ConnectionId) -> Result<(), StreamError> {
        let now = self.now;
        let connection = self.get_mut(id).ok_or(StreamError::Unknown)?;
        match (connection.outcome, connection.state()) {
            (Some(Outcome::Finished), _) => return Ok(()),
            (Some(outcome), _) => return outcome.of_writing().map(|_| ()),
            (None, State::SynSent | State::SynReceived) => return Err(StreamError::WouldBlock),
            (None, State::Established | State::CloseWait) => {}
            (None, _) => return Ok(()),
        }
        connection.waiting_since = None;
        connection.close_sending(now);
        self.mark_dirty(id.index as usize);
        Ok(())
    }

    /// Gives a connection up, as `close` does in a kernel: what has been written is still sent, with a
    /// FIN behind it. If received bytes have not been read, the peer gets a RST instead, for it must
    /// not believe that they were (RFC 2525 section 2.17). The id is of no use afterwards.
    pub fn close(&mut self, id: ConnectionId) {
        let now = self.now;
        let Some(connection) = self.get_mut(id) else { return };
        if connection.outcome.is_some() {
            return self.remove(id.index as usize);
        }
        if !connection.is_synchronized() || connection.recv_queue() > 0 {
            return self.abort_index(id.index as usize);
        }
        connection.owner = Owner::Nobody;
        connection.waiting_since = None;
        connection.close_sending(now);
        self.mark_dirty(id.index as usize);
    }

    /// Gives a connection up with a RST; nothing more is sent. The id is of no use afterwards.
    pub fn abort(&mut self, id: ConnectionId) {
        if self.get(id).is_some() {
            self.abort_index(id.index as usize);
        }
    }

    /// Gives every connection up with a RST, as the end of a process does.
    pub fn abort_all(&mut self) {
        let all: Vec<_> = self.connections.iter().map(|(index, _)| index).collect();
        for index in all {
            self.abort_index(index);
        }
    }

    /// Has `waker` woken when there may be something to read, or the connection's state changes. One
    /// waker a connection; the latest counts.
    pub fn wake_on_read(&mut self, id: ConnectionId, waker: &Waker) {
        match self.get_mut(id) {
            Some(connection) => connection.wake_on_read(waker),
            None => waker.wake_by_ref(),
        }
    }

    /// Has `waker` woken when there may be room to write, or the connection's state changes. One
    /// waker a connection; the latest counts.
    pub fn wake_on_write(&mut self, id: ConnectionId, waker: &Waker) {
        match self.get_mut(id) {
            Some(connection) => connection.wake_on_write(waker),
            None => waker.wake_by_ref(),
        }
    }
}

fn find(connections: &mut Slab<Connection>, id: ConnectionId) -> Option<&mut Connection> {
    connections.get_mut(id.index as usize).filter(|connection| connection.id == id)
}
