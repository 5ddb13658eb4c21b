//! What is taken down of the requests of one client connection, for the log and for captures.

use std::net::SocketAddr;
use std::rc::Rc;

use http::{StatusCode, Version};
use netstack::tcp::{ConnectionId, Position};
use tokio::time::Instant;

use super::{AccessLog, End, Entry};
use crate::cache::Outcome;
use crate::exchange::BODY_CUT_OFF;
use crate::http1::head::RequestHead;
use crate::http1::reject::Reject;
use crate::identity::{Identity, Naming};
use crate::ids::Ids;
use crate::proxy::HEAD_CUT_OFF;
use crate::proxy_protocol::Ends;
use crate::splice::Moved;
use crate::stats;
use crate::transaction::Watched;

/// The requests of one client connection, one after the other.
///
/// Calls come in the order `begin`, `describe` or `refused`, any number of `tries` and `reached` with
/// `exchanged` behind it, `answered`, `ended`, `finish`. Each costs a branch if nobody wants to know.
#[derive(Debug)]
pub(crate) struct Record {
    watched: Watched,
    log: Option<Logged>,
    /// What made the request end; nothing means that all went well.
    end: Option<End>,
}

/// What the log adds.
#[derive(Debug)]
struct Logged {
    log: Rc<AccessLog>,
    client: SocketAddr,
    /// As packets have it.
    wire: Ends,
    scheme: &'static str,
    /// Other requests share the client's stream.
    is_multiplexed: bool,
    /// The client's connection; looked up with its first request.
    connection: Option<ConnectionId>,
    /// What the client's stream had carried when the request began.
    before: Option<Position>,
    /// The first byte of the request.
    began: Instant,
    /// When the step that is under way began.
    since: Instant,
    /// A request is under way.
    running: bool,
    entry: Option<Box<Entry>>,
}

/// What an exchange with a backend came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Exchanged {
    /// Of the head that was delivered.
    pub(crate) status: Option<StatusCode>,
    /// When the backend's head was here.
    pub(crate) heard: Option<Instant>,
    /// Bytes of the bodies.
    pub(crate) up: u64,
    pub(crate) down: u64,
}

impl Record {
    /// Of a connection of `client`, which is `wire` as packets have it, and speaks `scheme`.
    pub(crate) fn new(
        watched: Watched,
        log: Option<&Rc<AccessLog>>,
        (client, wire): (SocketAddr, Ends),
        scheme: &'static str,
    ) -> Self {
        let log = log.map(|log| {
            let now = Instant::now();
            Logged {
                log: Rc::clone(log),
                client,
                wire,
                scheme,
                is_multiplexed: false,
                connection: None,
                before: None,
                began: now,
                since: now,
                running: false,
                entry: None,
            }
        });
        Self { watched, log, end: None }
    }

    /// Of requests that nobody made, and nobody asks about.
    pub(crate) const fn of_nobody(peer: SocketAddr) -> Self {
        Self { watched: Watched::new(None, peer, peer, false), log: None, end: None }
    }

    /// Whether times are wanted.
    pub(crate) const fn is_timed(&self) -> bool {
        self.log.is_some()
    }

    /// A head is here, at the front of `buffered` bytes that were read, the first of them at `since`.
    /// No count where requests share the client's stream, as in HTTP/2: then nobody knows which of its
    /// bytes are whose.
    pub(crate) fn begin(&mut self, buffered: Option<usize>, since: Instant) {
        self.watched.begin(buffered.unwrap_or(0));
        self.end = None;
        if let Some(log) = &mut self.log {
            log.begin(buffered, since);
        }
    }

    /// The head has been read. Gives the request its name.
    pub(crate) fn describe(
        &mut self,
        head: &RequestHead<'_, '_>,
        naming: Naming,
        ids: &Ids,
    ) -> Identity {
        let wanted = self.log.is_some() || self.watched.is_watching();
        if !wanted && naming == Naming::default() {
            return Identity::NONE;
        }
        let identity = naming.name(&head.fields, wanted, ids);
        self.watched.describe(head, identity.id.as_ref());
        if let Some(log) = &mut self.log
            && let Some(entry) = &mut log.entry
        {
            entry.describe(head, log.log.headers());
            entry.identity = identity;
            if log.is_multiplexed {
                // Its head is judged as the text of HTTP/1.1.
                entry.version = Some(Version::HTTP_2);
            }
        }
        identity
    }

    /// The head broke a rule; so it began.
    pub(crate) fn refused(&mut self, head: &[u8]) {
        if let Some((_, entry)) = self.entry() {
            entry.refuse(head);
        }
    }

    /// A backend was chosen, and is to be reached.
    pub(crate) fn tries(&mut self, backend: SocketAddr) {
        if let Some(log) = &mut self.log
            && let Some(entry) = &mut log.entry
        {
            entry.backend = Some(backend);
            entry.attempts += 1;
            entry.backend_vitals = None;
            let now = Instant::now();
            entry.wait.get_or_insert_with(|| now.saturating_duration_since(log.since));
            log.since = now;
        }
    }

    /// It is reached by a connection whose end here is `local`, used before or new.
    pub(crate) fn reached(&mut self, local: Option<SocketAddr>, peer: SocketAddr, reused: bool) {
        self.watched.reached(local, peer);
        if let Some(log) = &mut self.log
            && let Some(entry) = &mut log.entry
        {
            let now = Instant::now();
            entry.reused = Some(reused);
            entry.connect = (!reused).then(|| now - log.since);
            log.since = now;
        }
    }

    /// The backend that was reached last is not the one that answers, but `backend` is, tried before.
    pub(crate) fn abandoned(&mut self, backend: SocketAddr) {
        self.watched.abandoned();
        if let Some((_, entry)) = self.entry() {
            entry.backend = Some(backend);
        }
    }

    /// The exchange with it is over, well or not; its connection, whose end here is `local`, is still
    /// there.
    pub(crate) fn exchanged(&mut self, local: Option<SocketAddr>, told: &Exchanged) {
        self.watched.answered(told.status);
        if let Some(log) = &mut self.log
            && let Some(entry) = &mut log.entry
        {
            entry.status = told.status.or(entry.status);
            entry.request_body += told.up;
            entry.response_body += told.down;
            entry.first_byte = told.heard.map(|heard| heard.saturating_duration_since(log.since));
            log.look_at_backend(local);
        }
    }

    /// What a tunnel moved, once it is over; its connection to the backend, whose end here is `local`,
    /// is still there.
    pub(crate) fn tunnelled(&mut self, local: Option<SocketAddr>, moved: &Moved) {
        self.ended(if moved.is_whole { End::Tunnel } else { End::TunnelCut });
        if let Some(log) = &mut self.log
            && let Some(entry) = &mut log.entry
        {
            entry.request_body += moved.up;
            entry.response_body += moved.down;
            log.look_at_backend(local);
        }
    }

    /// We have answered by ourselves.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.watched.answered(Some(status));
        if let Some((_, entry)) = self.entry() {
            entry.status = Some(status);
        }
    }

    /// The request broke a rule, and is answered so.
    pub(crate) fn rejected(&mut self, reject: &Reject) {
        self.answered(reject.status);
        self.ended(End::from(reject));
    }

    /// A cache made this of the request.
    pub(crate) fn cached(&mut self, outcome: Outcome) {
        if let Some((_, entry)) = self.entry() {
            entry.cache = Some(outcome.name());
        }
    }

    /// This makes the request end, unless something did before.
    pub(crate) fn ended(&mut self, end: End) {
        self.end.get_or_insert(end);
    }

    /// The request is over, and `buffered` bytes that were read are of the next.
    pub(crate) fn finish(&mut self, buffered: usize, ends: &stats::Ends) {
        self.watched.finish(buffered);
        let end = self.end.take().unwrap_or(End::Ok);
        ends.count(end);
        if let Some(log) = &mut self.log {
            log.finish(buffered, end);
            if let Some(entry) = &log.entry {
                log.log.write(entry);
            }
        }
    }

    fn entry(&mut self) -> Option<(&AccessLog, &mut Entry)> {
        let log = self.log.as_mut()?;
        Some((&log.log, log.entry.as_deref_mut()?))
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if let Some(log) = &mut self.log
            && log.running
        {
            log.finish(0, self.end.unwrap_or(End::Stopped));
            if let Some(entry) = &log.entry {
                log.log.put(entry);
            }
        }
    }
}

impl Logged {
    fn begin(&mut self, buffered: Option<usize>, since: Instant) {
        let now = Instant::now();
        (self.began, self.since, self.running) = (since, now, true);
        self.is_multiplexed = buffered.is_none();
        let (client, scheme) = (self.client, self.scheme);
        let entry = self.entry.get_or_insert_with(|| Box::new(Entry::new(client, scheme)));
        entry.clear();
        entry.head = Some(now.saturating_duration_since(since));
        // Of an encrypted stream nobody knows where in it what is buffered begins.
        let ahead = if scheme == "https" { 0 } else { buffered.unwrap_or(0) as u64 };
        let position = self.position().filter(|_| buffered.is_some());
        self.before = position.map(|at| Position { read: at.read.saturating_sub(ahead), ..at });
    }

    /// Takes down what the connection to the backend went through.
    fn look_at_backend(&mut self, local: Option<SocketAddr>) {
        let Some(entry) = &mut self.entry else { return };
        if let (Some(stack), Some(local), Some(peer)) = (self.log.stack(), local, entry.backend) {
            let vitals = stack.with(|end| end.find(local, peer).and_then(|id| end.vitals(id)));
            entry.backend_vitals = vitals.or(entry.backend_vitals);
        }
    }

    /// How far the client's streams are.
    fn position(&mut self) -> Option<Position> {
        let (Ends { client, service }, known) = (self.wire, self.connection);
        let (id, position) = self.log.stack()?.with(|end| {
            let id = known.or_else(|| end.find(service, client))?;
            Some((id, end.position_of(id)?))
        })?;
        self.connection = Some(id);
        Some(position)
    }

    fn finish(&mut self, buffered: usize, end: End) {
        self.running = false;
        let after = self.position();
        let Some(entry) = &mut self.entry else { return };
        entry.end = end;
        entry.total = self.began.elapsed();
        if let (Some(before), Some(after)) = (self.before, after) {
            let next = if self.scheme == "https" { 0 } else { buffered as u64 };
            entry.received = Some(after.read.saturating_sub(before.read + next));
            entry.sent = Some(after.written.saturating_sub(before.written));
        }
        let vitals = self.log.stack().zip(self.connection);
        entry.client_vitals = vitals.and_then(|(stack, id)| stack.with(|end| end.vitals(id)));
    }
}

impl From<&Reject> for End {
    /// A request that did not come in time, or not to its end, broke no other rule.
    fn from(reject: &Reject) -> Self {
        if [HEAD_CUT_OFF, BODY_CUT_OFF].contains(reject) {
            return Self::ClientGone;
        }
        match reject.status {
            StatusCode::REQUEST_TIMEOUT => Self::ClientTimeout,
            _ => Self::Rejected(reject.rule),
        }
    }
}
