//! Which bytes of which connections a request was.
//!
//! # Theory of operation
//! A request is a range of bytes of its client's connection, one range each way, and two more of every
//! connection that it was sent on to a backend. The proxy knows where they begin and end, and nobody
//! below it does; who captures packets knows their sequence numbers, and nothing of requests. A
//! [`Watch`] brings both together: while it is on, each request that is over leaves a [`Transaction`]
//! in it, and whoever captures takes them out.
//!
//! Ranges count bytes of the TCP stream, from the first behind the SYN. Inside TLS they are ranges of
//! records: from where the request before ended up to what has been read when the answer was written.
//!
//! ```text
//!  client ── GET /a ── GET /b ──►      received 0..18, 18..36
//!         ◄── 200 ──── 200 ─────       sent     0..90, 90..180
//! ```
//!
//! While it is off, a request costs one look at a flag.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use netstack::tcp::{Position, Stack};
use tokio::time::Instant;

use crate::http1::head::RequestHead;
use crate::identity::Id;
use crate::ids::Ids;
use crate::limits::WATCHED;
use crate::tls::keys::Keys;

/// Bytes of a target that are kept.
pub const MAX_TARGET: usize = 1024;

/// Connections to backends that a request names: more than it is tried on.
const MAX_UPSTREAMS: usize = 8;

/// A request that is over, and where its bytes were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Its name: the one that its backend got, if the service [names](crate::identity) requests; else
    /// what the client calls it in `X-Request-Id`, if that is a word that can be a file's name; else one
    /// of ours.
    pub id: String,
    /// The number of its service.
    pub service: u16,
    /// The method; empty if there was no head that we accept.
    pub method: String,
    /// The target as the client wrote it, [`MAX_TARGET`] bytes at most.
    pub target: String,
    /// The status of the answer; nothing if there was none.
    pub status: Option<u16>,
    /// From its head to the end of the answer.
    pub duration: Duration,
    /// Its bytes in the client's connection.
    pub client: Part,
    /// Its bytes in connections to backends, in the order of attempts. Connections of the kernel are
    /// not here.
    pub upstreams: Vec<Part>,
}

/// A request's part of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Our end, as this process's TCP names it.
    pub local: SocketAddr,
    /// The other.
    pub peer: SocketAddr,
    /// What the peer sent. It ends at [`u64::MAX`] if the connection ended with it.
    pub received: Range<u64>,
    /// What we sent; likewise.
    pub sent: Range<u64>,
}

/// Takes transactions down while it is on.
#[derive(Debug)]
pub struct Watch {
    stack: Stack,
    ids: Rc<Ids>,
    on: Cell<bool>,
    finished: RefCell<VecDeque<Transaction>>,
    missed: Cell<u64>,
    keys: Arc<Keys>,
}

impl Watch {
    /// A watch over connections of `stack`, off. Names of requests are drawn from `seed`.
    pub fn new(stack: Stack, seed: u64) -> Rc<Self> {
        Rc::new(Self {
            stack,
            ids: Rc::new(Ids::new(seed)),
            on: Cell::new(false),
            finished: RefCell::default(),
            missed: Cell::new(0),
            keys: Arc::default(),
        })
    }

    /// Turns it on or off. Requests that have begun are not watched.
    pub fn set(&self, on: bool) {
        self.on.set(on);
        if !on {
            self.finished.take();
        }
    }

    /// The oldest request that is over and was not taken.
    pub fn take(&self) -> Option<Transaction> {
        self.finished.borrow_mut().pop_front()
    }

    /// Requests that were not taken in time, and are forgotten.
    pub const fn missed(&self) -> u64 {
        self.missed.get()
    }

    /// The secrets of TLS connections, if they are kept.
    pub const fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// What it draws names from.
    pub fn ids(&self) -> Rc<Ids> {
        Rc::clone(&self.ids)
    }

    /// What service number `service` tells its requests to.
    pub fn service(self: &Rc<Self>, service: u16) -> ServiceWatch {
        ServiceWatch { watch: Rc::clone(self), service }
    }

    fn position(&self, local: SocketAddr, peer: SocketAddr) -> Option<Position> {
        self.stack.with(|endpoint| endpoint.position(local, peer))
    }

    fn push(&self, transaction: Transaction) {
        let mut finished = self.finished.borrow_mut();
        if finished.len() >= WATCHED {
            finished.pop_front();
            self.missed.set(self.missed.get() + 1);
        }
        finished.push_back(transaction);
    }
}

/// A [`Watch`], as one service knows it.
#[derive(Clone, Debug)]
pub struct ServiceWatch {
    watch: Rc<Watch>,
    service: u16,
}

impl ServiceWatch {
    /// What names of requests are drawn from.
    pub fn ids(&self) -> Rc<Ids> {
        self.watch.ids()
    }

    /// Where the secrets of the service's TLS connections are kept, if they are.
    pub fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.watch.keys)
    }
}

/// One client connection under watch.
#[derive(Debug)]
pub(crate) struct Watched {
    watch: Option<ServiceWatch>,
    peer: SocketAddr,
    local: SocketAddr,
    secure: bool,
    /// A request was here before.
    used: bool,
    /// Where the part of the last request in what was received ended.
    received: u64,
    current: Option<Box<Current>>,
}

/// A request in progress.
#[derive(Debug)]
struct Current {
    since: Instant,
    transaction: Transaction,
}

impl Watched {
    pub(crate) const fn new(
        watch: Option<ServiceWatch>,
        peer: SocketAddr,
        local: SocketAddr,
        secure: bool,
    ) -> Self {
        Self { watch, peer, local, secure, used: false, received: 0, current: None }
    }

    /// A head is here, at the front of `buffered` bytes that were read.
    pub(crate) fn begin(&mut self, buffered: usize) {
        let first = !std::mem::replace(&mut self.used, true);
        let Some(ServiceWatch { watch, service }) =
            self.watch.as_ref().filter(|w| w.watch.on.get())
        else {
            return;
        };
        let at = watch.position(self.local, self.peer).unwrap_or_default();
        // Of an encrypted stream nobody knows where in it what is buffered begins.
        let begun =
            if self.secure { self.received } else { at.read.saturating_sub(buffered as u64) };
        let (received, sent) = if first { (0, 0) } else { (begun, at.written) };
        let transaction = Transaction {
            id: String::new(),
            service: *service,
            method: String::new(),
            target: String::new(),
            status: None,
            duration: Duration::ZERO,
            client: Part {
                local: self.local,
                peer: self.peer,
                received: received..u64::MAX,
                sent: sent..u64::MAX,
            },
            upstreams: Vec::new(),
        };
        self.current = Some(Box::new(Current { since: Instant::now(), transaction }));
    }

    /// Whether a request is under watch.
    pub(crate) const fn is_watching(&self) -> bool {
        self.current.is_some()
    }

    /// The head has been read, and the request is called `id`.
    pub(crate) fn describe(&mut self, head: &RequestHead<'_, '_>, id: Option<&Id>) {
        let Some(current) = &mut self.current else { return };
        let transaction = &mut current.transaction;
        head.method.as_str().clone_into(&mut transaction.method);
        let target = head.target.forwarded();
        let target = target.get(..MAX_TARGET).unwrap_or(target);
        transaction.target = String::from_utf8_lossy(target).into_owned();
        id.map_or("", Id::as_str).clone_into(&mut transaction.id);
    }

    /// The request goes to `peer`, by a connection whose end here is `local`.
    pub(crate) fn reached(&mut self, local: Option<SocketAddr>, peer: SocketAddr) {
        let (Some(current), Some(local)) = (&mut self.current, local) else { return };
        let Some(ServiceWatch { watch, .. }) = &self.watch else { return };
        let Some(at) = watch.position(local, peer) else { return };
        if current.transaction.upstreams.len() < MAX_UPSTREAMS {
            let (received, sent) = (at.read..u64::MAX, at.written..u64::MAX);
            current.transaction.upstreams.push(Part { local, peer, received, sent });
        }
    }

    /// The backend that was reached last is not the one that answers.
    pub(crate) fn abandoned(&mut self) {
        if let Some(current) = &mut self.current {
            current.transaction.upstreams.pop();
        }
    }

    /// The exchange with that backend is over, or we have answered by ourselves.
    pub(crate) fn answered(&mut self, status: Option<StatusCode>) {
        let Some(current) = &mut self.current else { return };
        if let Some(status) = status {
            current.transaction.status = Some(status.as_u16());
        }
        if status == Some(StatusCode::SWITCHING_PROTOCOLS) {
            // The tunnel that follows is of the request too, up to the connection's end.
            return;
        }
        let Some(ServiceWatch { watch, .. }) = &self.watch else { return };
        if let Some(part) = current.transaction.upstreams.last_mut()
            && let Some(at) = watch.position(part.local, part.peer)
        {
            part.received.end = part.received.end.min(at.read);
            part.sent.end = part.sent.end.min(at.written);
        }
    }

    /// The request is over, and `buffered` bytes that were read are of the next.
    pub(crate) fn finish(&mut self, buffered: usize) {
        let Some(current) = self.current.take() else { return };
        let Some(ServiceWatch { watch, .. }) = &self.watch else { return };
        let Current { since, mut transaction } = *current;
        let client = &mut transaction.client;
        if let Some(at) = watch.position(self.local, self.peer) {
            let buffered = buffered as u64;
            client.received.end =
                if self.secure { at.read } else { at.read.saturating_sub(buffered) };
            client.sent.end = at.written;
            // A record that holds the next request too is of both.
            let shared = self.secure && buffered > 0;
            self.received = if shared { client.received.start } else { at.read };
        }
        transaction.duration = since.elapsed();
        if transaction.id.is_empty() {
            Id::create(&watch.ids).as_str().clone_into(&mut transaction.id);
        }
        watch.push(transaction);
    }
}
