//! The last packets of connections that end here, and requests on their way to a file.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use l7::limits::PROXY_HEADER_BYTES;
use l7::proxy_protocol::{self, read::Parsed};
use l7::tls::keys::{ClientRandom, Keys};
use l7::transaction::{Part, Transaction};
use nat::account::View;
use nat::{Engine, Verdict};
use netstack::dev::pcapng::Direction;
use netstack::packet::Offload;
use netstack::wire::{Headers, TcpFlags, Transport, Tuple};
use netstack::{Instant, Packet};

use super::super::batch::{Batch, Record};
use super::super::output::Target;
use super::super::taps::Ending;
use super::super::{Origin, Report};
use super::segment::{Belongs, Segment, Streams, Way};
use super::writer::{self, Job, Place};
use super::{AFTER, TransactionOptions};

/// Connections that are followed at a time; packets of further ones are not kept.
pub const MAX_CONNECTIONS: usize = 1 << 16;

/// Requests that wait for their last packets; further ones are not captured.
pub const MAX_WAITING: usize = 1024;

/// Requests that wait for the thread that writes.
const MAX_JOBS: usize = 16;

/// Where the random bytes are in the first record of a TLS connection (RFC 8446 section 4.1.2): behind
/// the headers of record and handshake, and the version.
const RANDOM_AT: usize = 5 + 4 + 2;

/// Captures requests: see [`Taps`](super::super::Taps), which shows packets and requests to it.
#[derive(Debug)]
pub struct Recorder {
    options: TransactionOptions,
    epoch: Duration,
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<Report>>,
    is_file: bool,
    arrived: Arrived,
    connections: Connections,
    /// The last packets, the oldest first.
    kept: VecDeque<Kept>,
    bytes: usize,
    /// Requests that are to be written when their last packets have come.
    waiting: VecDeque<Waiting>,
    /// Requests that were wanted so far.
    wanted: u64,
    /// How many may still be taken.
    left: u32,
    missed: u64,
}

/// A request whose last packets may still come.
#[derive(Debug)]
struct Waiting {
    due: Instant,
    transaction: Transaction,
    /// Its connections, as far as they are known.
    parts: Vec<(u64, Belongs)>,
}

/// A packet of the ring.
#[derive(Debug)]
struct Kept {
    connection: u64,
    segment: Segment,
    record: Record,
    data: Vec<u8>,
    comments: String,
}

impl Kept {
    const fn size(&self) -> usize {
        size_of::<Self>() + self.data.len() + self.comments.len()
    }
}

/// A packet that the engine decides on, as it came.
#[derive(Debug, Default)]
struct Arrived {
    data: Vec<u8>,
    headers: Option<Headers>,
    id: u64,
    leg: u32,
    offload: Offload,
}

/// A connection that ends here.
#[derive(Debug, Default)]
struct Connection {
    /// As the proxy names it: our end, and the other.
    ends: Option<(SocketAddr, SocketAddr)>,
    /// As incoming packets name it.
    wire: Option<Tuple>,
    streams: Streams,
    /// Packets of the ring.
    kept: usize,
    ended: bool,
    /// How far packets of both streams have left the ring.
    gone: [u64; 2],
    random: Option<ClientRandom>,
}

#[derive(Debug, Default)]
struct Connections {
    all: HashMap<u64, Connection>,
    by_wire: HashMap<Tuple, u64>,
    by_ends: HashMap<(SocketAddr, SocketAddr), u64>,
    made: u64,
}

impl Connections {
    fn begin(&mut self, wire: Tuple, ends: (SocketAddr, SocketAddr)) -> Option<u64> {
        if self.all.len() >= MAX_CONNECTIONS {
            return None;
        }
        self.made += 1;
        let (ends_kept, wire_kept) = (Some(ends), Some(wire));
        let new = Connection { ends: ends_kept, wire: wire_kept, ..Connection::default() };
        self.all.insert(self.made, new);
        self.by_wire.insert(wire, self.made);
        self.by_ends.insert(ends, self.made);
        Some(self.made)
    }

    /// A packet of the connection has left the ring.
    fn released(&mut self, kept: &Kept) {
        let Some(connection) = self.all.get_mut(&kept.connection) else { return };
        connection.kept -= 1;
        let gone = &mut connection.gone[usize::from(kept.segment.way == Way::Out)];
        *gone = (*gone).max(kept.segment.start + kept.segment.len);
        if connection.kept > 0 || !connection.ended {
            return;
        }
        let Some(over) = self.all.remove(&kept.connection) else { return };
        // Another may have the names by now.
        if let Some(wire) =
            over.wire.filter(|wire| self.by_wire.get(wire) == Some(&kept.connection))
        {
            self.by_wire.remove(&wire);
        }
        if let Some(ends) =
            over.ends.filter(|ends| self.by_ends.get(ends) == Some(&kept.connection))
        {
            self.by_ends.remove(&ends);
        }
    }
}

impl Recorder {
    /// Makes the folder and starts the thread that writes to it.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn start(options: TransactionOptions, origin: Origin) -> io::Result<Self> {
        let place = Place::Folder(options.folder.clone());
        Self::start_to(place, true, options, origin)
    }

    /// Starts a thread that writes the requests to `target`, one behind the other.
    ///
    /// # Errors
    /// No thread can be made.
    pub fn start_stream(
        target: Target,
        options: TransactionOptions,
        origin: Origin,
    ) -> io::Result<Self> {
        Self::start_to(Place::Stream(target), false, options, origin)
    }

    fn start_to(
        place: Place,
        is_file: bool,
        options: TransactionOptions,
        origin: Origin,
    ) -> io::Result<Self> {
        let (jobs, taken) = sync_channel(MAX_JOBS);
        let (epoch, left) = (origin.epoch, options.count);
        let thread = writer::start(place, origin, taken)?;
        Ok(Self {
            options,
            epoch,
            jobs: Some(jobs),
            thread: Some(thread),
            is_file,
            arrived: Arrived::default(),
            connections: Connections::default(),
            kept: VecDeque::new(),
            bytes: 0,
            waiting: VecDeque::new(),
            wanted: 0,
            left,
            missed: 0,
        })
    }

    /// True if secrets are to be kept for it.
    pub const fn wants_keys(&self) -> bool {
        self.options.keys
    }

    /// A packet has come by `packet.leg` and is about to be decided on.
    pub(in super::super) fn arrives(&mut self, packet: &Packet) {
        let headers = Headers::parse(packet).ok();
        let arrived = &mut self.arrived;
        arrived.headers = headers.filter(|headers| {
            let known = headers.tuple().is_some_and(|t| self.connections.by_wire.contains_key(&t));
            known || is_first_syn(headers)
        });
        if arrived.headers.is_some() {
            arrived.id = packet.id;
            arrived.leg = packet.leg.0.into();
            arrived.offload = packet.offload;
            arrived.data.clear();
            arrived.data.extend_from_slice(packet.data());
        }
    }

    /// `engine` has decided on the packet that arrived last.
    pub(in super::super) fn decided(&mut self, now: Instant, engine: &Engine) {
        let Some(headers) = self.arrived.headers.take() else { return };
        let (Some(tuple), Some(account)) = (headers.tuple(), engine.account()) else { return };
        let diverted = matches!(account.verdict, Some(Verdict::Divert(_)));
        let mut arrived = std::mem::take(&mut self.arrived);
        let ends = (tuple.destination(), tuple.source());
        if let Some(connection) =
            self.connection(Way::In, tuple, &headers, &arrived.data, diverted.then_some(ends))
        {
            let record = Record {
                packet_id: arrived.id,
                original_len: arrived.data.len() as u32,
                offload: arrived.offload,
                ..Record::new(self.time(now), arrived.leg, Direction::Inbound)
            };
            let comments = account.brief(engine);
            self.keep(connection, Way::In, record, &headers, &arrived.data, comments);
        }
        arrived.data.clear();
        self.arrived = arrived;
    }

    /// A packet is about to leave by `packet.leg` that this process made.
    pub(in super::super) fn leaves(&mut self, now: Instant, engine: &Engine, packet: &Packet) {
        let Ok(headers) = Headers::parse(packet) else { return };
        let Some(tuple) = headers.tuple().map(Tuple::reversed) else { return };
        // A connection to a backend has one name here, and another behind the engine.
        let account = engine.account().filter(|account| {
            account.verdict == Some(Verdict::Forward) && account.after == View::of(packet)
        });
        let ends = account.and_then(|account| {
            let before = account.before?;
            let (from, to) = before.ports?;
            let local = SocketAddr::new(before.src.into(), from);
            Some((local, SocketAddr::new(before.dst.into(), to)))
        });
        let ends = ends.filter(|_| is_first_syn(&headers));
        let Some(connection) = self.connection(Way::Out, tuple, &headers, packet.data(), ends)
        else {
            return;
        };
        let comments = account.map(|account| account.brief(engine)).unwrap_or_default();
        let record = Record {
            packet_id: packet.id,
            original_len: packet.len() as u32,
            offload: packet.offload,
            ..Record::new(self.time(now), packet.leg.0.into(), Direction::Outbound)
        };
        self.keep(connection, Way::Out, record, &headers, packet.data(), comments);
    }

    /// A request is over.
    pub(in super::super) fn finished(&mut self, now: Instant, transaction: &Transaction) {
        if self.left == 0 || !self.options.wanted.has(transaction) {
            return;
        }
        self.wanted += 1;
        if !(self.wanted - 1).is_multiple_of(u64::from(self.options.every.max(1))) {
            return;
        }
        if self.waiting.len() >= MAX_WAITING {
            self.missed += 1;
            return;
        }
        self.left -= 1;
        let parts = std::iter::once(&transaction.client).chain(&transaction.upstreams);
        // Now, for soon others may have the addresses.
        let parts = parts.filter_map(|part| self.part(part)).collect();
        let transaction = transaction.clone();
        self.waiting.push_back(Waiting { due: now + AFTER, transaction, parts });
    }

    /// Writes requests whose last packets have had time to come.
    pub(in super::super) fn write_due(&mut self, now: Instant, keys: &Keys) {
        while self.waiting.front().is_some_and(|waiting| waiting.due <= now) {
            if let Some(waiting) = self.waiting.pop_front() {
                self.write(&waiting, keys);
            }
        }
    }

    /// When [`write_due`](Self::write_due) has something to do.
    pub(in super::super) fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.front().map(|waiting| waiting.due)
    }

    /// False if it has all that it was to have, or nobody reads it any more.
    pub(in super::super) fn idle(&self) -> bool {
        let goes_on = self.thread.as_ref().is_some_and(|thread| !thread.is_finished());
        goes_on && (self.left > 0 || !self.waiting.is_empty())
    }

    /// Writes what waits, and says that nothing follows.
    pub(in super::super) fn end(mut self, keys: &Keys) -> Option<Ending> {
        for waiting in std::mem::take(&mut self.waiting) {
            self.write(&waiting, keys);
        }
        if self.missed > 0 {
            tracing::warn!("{} requests were not captured: more came than fit", self.missed);
        }
        self.jobs = None;
        Some(Ending { thread: self.thread.take()?, is_file: self.is_file })
    }

    fn time(&self, now: Instant) -> Duration {
        self.epoch + now.saturating_since(Instant::ZERO)
    }

    /// The connection of a packet; if it is a SYN that begins one between `ends`, that.
    fn connection(
        &mut self,
        way: Way,
        wire: Tuple,
        headers: &Headers,
        data: &[u8],
        ends: Option<(SocketAddr, SocketAddr)>,
    ) -> Option<u64> {
        let connections = &mut self.connections;
        let known = connections.by_wire.get(&wire).copied();
        if !is_first_syn(headers) {
            return known;
        }
        let repeats = known.filter(|id| {
            let known = connections.all.get(id);
            known.is_some_and(|known| !known.streams.is_other(way, headers, data))
        });
        repeats.or_else(|| {
            if let Some(id) = known
                && let Some(old) = connections.all.get_mut(&id)
            {
                old.ended = true;
                if old.kept == 0 {
                    connections.all.remove(&id);
                }
            }
            connections.begin(wire, ends?)
        })
    }

    fn keep(
        &mut self,
        id: u64,
        way: Way,
        record: Record,
        headers: &Headers,
        data: &[u8],
        comments: String,
    ) {
        let Some(connection) = self.connections.all.get_mut(&id) else { return };
        let Some(segment) = connection.streams.place(way, headers, data) else { return };
        // A PROXY header may come before the hello: ours to a backend, or one to us.
        let is_early = segment.start < PROXY_HEADER_BYTES as u64;
        if self.options.keys && is_early && connection.random.is_none() {
            connection.random = client_random(data, segment.len);
        }
        connection.ended |= segment.ends;
        connection.kept += 1;
        let kept = Kept { connection: id, segment, record, data: data.to_vec(), comments };
        self.bytes += kept.size();
        self.kept.push_back(kept);
        while self.bytes > self.options.memory
            && let Some(oldest) = self.kept.pop_front()
        {
            self.bytes -= oldest.size();
            self.connections.released(&oldest);
        }
    }

    fn write(&mut self, waiting: &Waiting, keys: &Keys) {
        let Waiting { transaction, parts: found, .. } = waiting;
        let mut said = summary(transaction);
        let wanted = 1 + transaction.upstreams.len();
        if found.len() < wanted || found.iter().any(|(id, part)| self.has_lost(*id, part)) {
            said.push_str("; incomplete: its first packets were before the capture, or gave way");
        }
        let mut batch = Batch::default();
        for kept in &self.kept {
            let is_part =
                |(id, part): &(u64, Belongs)| *id == kept.connection && part.has(&kept.segment);
            if found.iter().any(is_part) {
                // The first says what all of them are.
                let whole = if batch.is_empty() { format!("{said}\n") } else { String::new() };
                batch.push(kept.record, &kept.data, &(whole + &kept.comments));
            }
        }
        let secrets = found.iter().filter(|_| self.options.keys).filter_map(|(id, _)| {
            let random = self.connections.all.get(id)?.random?;
            keys.lines(&random)
        });
        let secrets: String = secrets.collect();
        let job = Job { id: transaction.id.clone(), said, secrets, batch };
        let Some(jobs) = &self.jobs else { return };
        // A thread that has ended has said why.
        if let Err(TrySendError::Full(_)) = jobs.try_send(job) {
            self.missed += 1;
        }
    }

    /// The connection of a part, if it is known.
    fn part(&self, part: &Part) -> Option<(u64, Belongs)> {
        let id = *self.connections.by_ends.get(&(part.local, part.peer))?;
        let (received, sent) = (part.received.clone(), part.sent.clone());
        Some((id, Belongs { received, sent }))
    }

    /// True if packets of a part have left the ring.
    fn has_lost(&self, id: u64, part: &Belongs) -> bool {
        self.connections.all.get(&id).is_none_or(|connection| {
            let [received, sent] = connection.gone;
            received > part.received.start || sent > part.sent.start
        })
    }
}

/// `request 7f3c: GET /slow 503 in 812.4ms`.
fn summary(transaction: &Transaction) -> String {
    let Transaction { id, method, target, status, duration, .. } = transaction;
    let mut text = format!("request {id}: {method} {target} ");
    // Writing to a string cannot fail.
    let _ = match status {
        Some(status) => write!(text, "{status} in {duration:?}"),
        None => write!(text, "unanswered after {duration:?}"),
    };
    text
}

fn is_first_syn(headers: &Headers) -> bool {
    let Transport::Tcp { flags, .. } = headers.transport else { return false };
    flags.contains(TcpFlags::SYN) && !flags.contains(TcpFlags::ACK)
}

/// The random bytes of a client's hello at the end of a packet, if it is one: of the service's client, or
/// ours to a backend.
fn client_random(data: &[u8], len: u64) -> Option<ClientRandom> {
    let hello = data.get(data.len().checked_sub(usize::try_from(len).ok()?)?..)?;
    let hello = match proxy_protocol::read::parse(hello) {
        Ok(Parsed::Header { len, .. }) => hello.get(len..)?,
        _ => hello,
    };
    let (record, handshake) = (*hello.first()?, *hello.get(5)?);
    if (record, handshake) != (22, 1) {
        return None;
    }
    hello.get(RANDOM_AT..RANDOM_AT + 32)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use l7::proxy_protocol::Version;

    use super::*;

    #[test]
    fn a_hello_is_found_behind_a_proxy_header_too() {
        let hello = [&[22, 3, 1, 0, 50, 1, 0, 0, 46, 3, 3][..], &[7; 32], &[0; 10]].concat();
        let (client, service) = (([10, 1, 0, 5], 4000).into(), ([10, 99, 0, 1], 443).into());
        for header in
            [Vec::new(), Version::V1.header(client, service), Version::V2.header(client, service)]
        {
            let data = [&header[..], &hello].concat();
            let packet = [&[0; 40][..], &data].concat();
            assert_eq!(client_random(&packet, data.len() as u64), Some([7; 32]));
            assert_eq!(client_random(&packet, data.len() as u64 - 1), None);
            assert_eq!(client_random(&packet[..60], 20), None);
        }
        assert_eq!(client_random(&[22, 3, 1, 0, 50, 2], 6), None, "a server's");
    }
}
