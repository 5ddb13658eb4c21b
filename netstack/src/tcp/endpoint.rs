//! The endpoint: its tables, its timers, and what leaves.

use std::collections::VecDeque;
use std::fmt;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use slab::Slab;
use smoltcp::socket::tcp::State;

use super::buffer::Pool;
use super::connection::{Connection, ConnectionId, Outcome, Owner, Timeout};
use super::edge::Challenges;
use super::isn::Secret;
use super::limits::{EndpointConfig, MAX_REPLIES, TIME_WAIT, TIMERS_PER_CALL};
use super::listening::Listening;
use super::ports::Ports;
use super::reply::Reply;
use super::stats::Stats;
use super::streams::Streams;
use super::syn::cookies::Cookies;
use super::time_wait::{Record, TimeWaits};
use super::timers::TimerKey;
use crate::packet::Packet;
use crate::time::Instant;
use crate::wheel::{TICK, Wheel};
use crate::wire::Tuple;

/// What a tuple belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A place in the slab of connections.
    Connection(u32),
    /// A place in the records of TIME-WAIT.
    TimeWait(u32),
}

/// A user-space TCP endpoint (see the module's theory of operation).
pub struct Endpoint {
    pub(super) config: EndpointConfig,
    pub(super) secret: Secret,
    /// The latest time that any call has named.
    pub(super) now: Instant,
    pub(super) connections: Slab<Connection>,
    pub(super) table: HashMap<Tuple, Entry, FixedState>,
    pub(super) time_waits: TimeWaits,
    pub(super) ports: Ports,
    pub(super) challenges: Challenges,
    pub(super) cookies: Cookies,
    /// Connections to be polled for egress, each once.
    dirty: VecDeque<ConnectionId>,
    /// Connections whose writers wait for memory, each once.
    pub(super) starving: VecDeque<ConnectionId>,
    /// Established connections that wait for `accept`; some may have ended since.
    pub(super) accepted: VecDeque<ConnectionId>,
    /// Who listens on what.
    pub(super) listening: Listening,
    replies: VecDeque<Reply>,
    timers: Wheel<TimerKey>,
    fired: Vec<TimerKey>,
    generation: u32,
    /// Memory of all buffers.
    pub(super) pool: Pool,
    pub(super) stats: Stats,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("now", &self.now)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// An endpoint without connections. Values of `config` that are out of range are brought into it.
    pub fn new(config: EndpointConfig) -> Self {
        let config = config.clamped();
        let secret = Secret::new(config.seed);
        Self {
            secret,
            now: Instant::ZERO,
            connections: Slab::new(),
            table: HashMap::with_hasher(FixedState::with_seed(secret.number(0))),
            time_waits: TimeWaits::new(config.max_time_wait),
            ports: Ports::new(secret),
            challenges: Challenges::new(secret),
            cookies: Cookies::new(secret),
            dirty: VecDeque::new(),
            starving: VecDeque::new(),
            accepted: VecDeque::new(),
            listening: Listening::default(),
            replies: VecDeque::new(),
            timers: Wheel::new(),
            fired: Vec::new(),
            generation: 0,
            pool: Pool::new(config.buffer_memory),
            stats: Stats::default(),
            config,
        }
    }

    /// Counters and sizes.
    pub fn stats(&self) -> Stats {
        Stats {
            connections: self.connections.len(),
            buffer_memory: self.pool.used(),
            time_wait: self.time_waits.len(),
            ..self.stats
        }
    }

    /// Takes note of the time, for calls that do not name it. Time never goes back.
    pub fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// The latest time that any call has named.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, if ever; an instant that has
    /// passed if [`poll_transmit`](Self::poll_transmit) has something to give.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.wants_transmit() { Some(self.now) } else { self.timers.next_deadline() }
    }

    /// True if [`poll_transmit`](Self::poll_transmit) should be called.
    pub fn wants_transmit(&self) -> bool {
        !(self.dirty.is_empty() && self.replies.is_empty()) || self.can_feed()
    }

    /// Has the writer of a connection woken when there is memory.
    pub(super) fn push_starving(&mut self, id: ConnectionId) {
        if self.starving.len() > 2 * self.connections.len() {
            let connections = &self.connections;
            self.starving.retain(|id| is_alive(connections, *id));
        }
        self.starving.push_back(id);
    }

    /// Somebody waits for memory, and there is some.
    fn can_feed(&self) -> bool {
        !self.starving.is_empty() && self.pool.spare() > 0
    }

    /// Wakes as many writers who wait for memory as there are blocks for. Memory becomes free in many
    /// places, all of which come before a drain.
    fn feed(&mut self) {
        for _ in 0..self.pool.spare() {
            let Some(id) = self.starving.pop_front() else { return };
            if let Some(connection) = self.get_mut(id) {
                connection.starving = false;
                connection.wake_writer();
            }
        }
    }

    /// Lets time pass: retransmissions, acknowledgments and the end of waiting. Looks at no more than
    /// [`TIMERS_PER_CALL`] timers; if more are due, [`poll_timeout`](Self::poll_timeout) says so.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        let mut fired = std::mem::take(&mut self.fired);
        self.timers.expire(self.now, TIMERS_PER_CALL, &mut fired);
        for key in fired.drain(..) {
            match key {
                TimerKey::Connection(id) => self.connection_timeout(id),
                TimerKey::TimeWait(place) => self.time_wait_timeout(place),
            }
        }
        self.fired = fired;
    }

    /// Writes the next packet that is to leave into `packet`, whose buffer grows if it must; false if
    /// there is none.
    ///
    /// Checksums are partial, and a segment longer than the peer takes is a super-packet. The leg is
    /// the caller's to choose.
    pub fn poll_transmit(&mut self, now: Instant, packet: &mut Packet) -> bool {
        self.advance(now);
        if self.can_feed() {
            self.feed();
        }
        if let Some(reply) = self.replies.pop_front() {
            reply.write(packet);
            return true;
        }
        while let Some(&id) = self.dirty.front() {
            if let Some(connection) = self.get_mut(id) {
                if connection.transmit(now, packet) {
                    return true;
                }
                connection.dirty = false;
                connection.waiting_since.get_or_insert(now);
                self.arm(id.index as usize);
            }
            self.dirty.pop_front();
        }
        false
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(id.index as usize).filter(|connection| connection.id == id)
    }

    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connections.get_mut(id.index as usize).filter(|connection| connection.id == id)
    }

    /// Stores a connection and lets its tuple point to it.
    pub(super) fn insert(&mut self, mut connection: Connection) -> usize {
        let slot = self.connections.vacant_entry();
        let index = slot.key();
        self.generation = self.generation.wrapping_add(1);
        connection.id = ConnectionId { index: index as u32, generation: self.generation };
        self.table.insert(connection.tuple, Entry::Connection(index as u32));
        slot.insert(connection);
        index
    }

    /// Forgets a connection at once. List and wheel entries of it are found to be stale later.
    pub(super) fn remove(&mut self, index: usize) {
        self.unlink(index);
        self.connections.remove(index).clear(&mut self.pool);
    }

    /// Takes a connection out of the table, so that packets of its tuple do not find it any more.
    fn unlink(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if std::mem::take(&mut connection.half_open) {
            self.stats.half_open -= 1;
        }
        if self.table.get(&connection.tuple) == Some(&Entry::Connection(index as u32)) {
            self.table.remove(&connection.tuple);
        }
    }

    /// Ends a connection. The application's is kept until it is closed, others are forgotten.
    pub(super) fn finish(&mut self, index: usize, outcome: Outcome) {
        match outcome {
            Outcome::Finished => {}
            Outcome::Reset => self.stats.reset += 1,
            Outcome::Refused => self.stats.refused += 1,
            Outcome::TimedOut => self.stats.timed_out += 1,
        }
        self.unlink(index);
        if self.connections[index].owner == Owner::Application {
            self.connections[index].end(outcome, &mut self.pool);
        } else {
            self.connections.remove(index).clear(&mut self.pool);
        }
    }

    /// Replaces a socket in TIME-WAIT by a record, which acknowledges the peer's FIN at once.
    pub(super) fn enter_time_wait(&mut self, index: usize) {
        let connection = &self.connections[index];
        let tuple = connection.tuple;
        let (snd_nxt, rcv_nxt, window) = connection.numbers();
        let timestamps = connection.streams.as_ref().and_then(Streams::clocks);
        let expiry = self.now + TIME_WAIT;
        let record = Record { tuple, snd_nxt, rcv_nxt, window, timestamps, expiry };
        self.push_reply(Reply::acknowledgment(&tuple, record.numbers(), record.stamp(self.now)));
        self.finish(index, Outcome::Finished);
        let Some((place, needs_timer)) = self.time_waits.insert(record) else {
            self.stats.time_wait_overflows += 1;
            return;
        };
        self.table.insert(tuple, Entry::TimeWait(place));
        if needs_timer {
            self.timers.insert(expiry, TimerKey::TimeWait(place));
        }
    }

    /// Resets a connection and forgets it.
    pub(super) fn abort_index(&mut self, index: usize) {
        let connection = &self.connections[index];
        // RFC 9293 section 3.10.5: in SYN-SENT there is nobody to tell, and nothing is sent twice.
        let silent = matches!(connection.state(), State::SynSent | State::Closed | State::Listen);
        if !silent && connection.outcome.is_none() {
            self.reset(Reply::reset(&connection.tuple, connection.numbers()));
        }
        self.remove(index);
    }

    pub(super) fn reset(&mut self, reply: Reply) {
        self.stats.resets_sent += 1;
        self.push_reply(reply);
    }

    pub(super) fn push_reply(&mut self, reply: Reply) {
        if self.replies.len() < MAX_REPLIES {
            self.replies.push_back(reply);
        } else {
            self.stats.replies_dropped += 1;
        }
    }

    /// Lets a connection wait to be accepted.
    pub(super) fn push_accepted(&mut self, id: ConnectionId) {
        let Self { connections, listening, accepted, .. } = self;
        let Some(connection) = connections.get(id.index as usize).filter(|c| c.id == id) else {
            return;
        };
        let queue = listening.queue(connection.tuple.destination()).unwrap_or(accepted);
        if queue.len() > 2 * connections.len() {
            // Who connects and resets in a loop while nobody accepts must not fill the queue.
            queue.retain(|id| is_alive(connections, *id));
        }
        queue.push_back(id);
    }

    /// Has the connection polled for egress by the next drain.
    pub(super) fn mark_dirty(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push_back(connection.id);
        }
    }

    /// Makes sure that the wheel fires for the connection no later than its deadline.
    pub(super) fn arm(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        let deadline = connection.deadline(self.now, &self.config);
        // What is due now has just been found to have nothing to send.
        let deadline = deadline.max(self.now + TICK);
        if connection.armed.arm(deadline) {
            self.timers.insert(deadline, TimerKey::Connection(connection.id));
        }
    }

    fn connection_timeout(&mut self, id: ConnectionId) {
        let (now, index) = (self.now, id.index as usize);
        let Some(connection) = self.connections.get_mut(index).filter(|c| c.id == id) else {
            return;
        };
        connection.armed.fired(now);
        match connection.on_timeout(now, &self.config) {
            Timeout::Expired => self.finish(index, Outcome::TimedOut),
            Timeout::Egress => self.mark_dirty(index),
            Timeout::Nothing => self.arm(index),
        }
    }

    fn time_wait_timeout(&mut self, place: u32) {
        let Some(record) = self.time_waits.fired(place) else { return };
        if record.expiry > self.now {
            self.time_waits.arm(place);
            self.timers.insert(record.expiry, TimerKey::TimeWait(place));
            return;
        }
        self.time_waits.remove(place);
        self.table.remove(&record.tuple);
    }
}

/// False for the id of a connection that has been forgotten.
fn is_alive(connections: &Slab<Connection>, id: ConnectionId) -> bool {
    connections.get(id.index as usize).is_some_and(|connection| connection.id == id)
}
