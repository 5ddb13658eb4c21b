//! What all connections of an HTTP service share.

use std::cell::RefCell;
use std::fmt;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::watch;

use crate::admission::Admission;
use crate::buffering::{Buffering, Hoard};
use crate::destination::{Destination, Private};
use crate::exchange::Buffers;
use crate::h2::Seat;
use crate::http1::edits::Changes;
use crate::http1::encode::{Forwarded, Spelling};
use crate::http1::head::Strictness;
use crate::http1::withheld::{CLIENT_CLAIMS, SERVER_CLAIMS, Withheld};
use crate::identity::Naming;
use crate::ids::Ids;
use crate::limits::{HOARD, SPARE_BUFFERS};
use crate::log::AccessLog;
use crate::mirror::Mirrored;
use crate::proxy_protocol::{Ends, ProxyFrom, Version};
use crate::request::Request;
use crate::route::{Route, Routes};
use crate::stats::Stats;
use crate::timeouts::Timeouts;
use crate::transaction::ServiceWatch;
use crate::upstream::{Balance, Connect, Pool, PoolLimits, Retry};

/// How an HTTP service behaves. The default suits a public site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What backends are told about clients.
    pub forwarded: Forwarded,
    /// In which fields.
    pub spelling: Spelling,
    /// Proxies that are believed about their clients: networks of peers. What others say of clients is
    /// dropped. Empty believes all, the default.
    pub trusted: Vec<nat::Prefix>,
    /// How requests are judged.
    pub strictness: Strictness,
    /// Read every head and chunk that goes to a backend once more, with another reader, and send
    /// nothing that says anything but what was meant: [`proof`](crate::http1::proof). Default false.
    pub smuggling_proof: bool,
    /// Greatest request body on the wire, chunk framing included; beyond is 413. None is no limit,
    /// the default.
    pub max_body: Option<u64>,
    /// Waiting times.
    pub timeouts: Timeouts,
    /// When a request is sent again.
    pub retry: Retry,
    /// Time without a byte of an answer after which a request that may be sent twice and has no body is
    /// sent to a second backend too, and whoever answers first has it. None is never, the default.
    pub hedge_after: Option<Duration>,
    /// Idle connections to backends.
    pub pool: PoolLimits,
    /// Let websockets through. If not, the request to upgrade is forwarded as a plain one. Default
    /// true.
    pub websocket: bool,
    /// Tell backends of clients by a PROXY header. Then no connection to a backend serves two clients.
    /// Default none.
    pub proxy_protocol: Option<Version>,
    /// Who tells us of clients by a PROXY header. Default nobody.
    pub proxy_from: ProxyFrom,
    /// How clients may speak HTTP/2.
    pub http2: Http2,
    /// Backends are spoken to in HTTP/2: in clear text by prior knowledge, within TLS by ALPN if the
    /// connector offers that. Default false.
    pub http2_backends: bool,
    /// Our name in `Via`: a token. Default `balun`.
    pub name: String,
    /// Whether slow clients hold backends. Default: they do.
    pub buffering: Buffering,
    /// What requests are called. Default: nothing is said of that.
    pub naming: Naming,
    /// What errors look like that are ours, by the first that fits. Default: a line of text.
    pub pages: Vec<ErrorPage>,
}

/// What some errors look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPage {
    /// Of these statuses.
    pub statuses: RangeInclusive<u16>,
    /// The type of the body.
    pub kind: String,
    /// The body.
    pub body: Bytes,
}

/// How clients may speak HTTP/2. Within TLS they may if ALPN offers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2 {
    /// In clear text too, by the preface with which such a connection begins ("prior knowledge").
    /// Default false.
    pub prior_knowledge: bool,
    /// Requests in progress on one connection; more are refused. Default 128.
    pub streams: u32,
}

impl Config {
    /// What an error of that status looks like, if that is said.
    pub(crate) fn page(&self, status: StatusCode) -> Option<&ErrorPage> {
        self.pages.iter().find(|page| page.statuses.contains(&status.as_u16()))
    }

    /// There are attempts that a budget is for.
    const fn spends(&self) -> bool {
        self.retry.times > 0 || self.hedge_after.is_some()
    }
}

impl Default for Http2 {
    fn default() -> Self {
        Self { prior_knowledge: false, streams: 128 }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            forwarded: Forwarded::default(),
            spelling: Spelling::default(),
            trusted: Vec::new(),
            strictness: Strictness::default(),
            smuggling_proof: false,
            max_body: None,
            timeouts: Timeouts::default(),
            retry: Retry::default(),
            hedge_after: None,
            pool: PoolLimits::default(),
            websocket: true,
            proxy_protocol: None,
            proxy_from: ProxyFrom::default(),
            http2: Http2::default(),
            http2_backends: false,
            name: "balun".to_owned(),
            buffering: Buffering::default(),
            naming: Naming::default(),
            pages: Vec::new(),
        }
    }
}

/// An HTTP service: its configuration, where its requests go, and its counters.
pub struct Service<C: Connect> {
    /// Where requests go that no route is for.
    first: Destination<C>,
    /// Others, by their index less one.
    others: Vec<Destination<C>>,
    pub(crate) config: Config,
    pub(crate) stats: Stats,
    pub(crate) mirrored: Mirrored,
    pub(crate) watch: Option<ServiceWatch>,
    /// Buffers that no connection of HTTP/1 needs now.
    #[expect(clippy::vec_box, reason = "they are lent as boxes, and not made anew")]
    spares: RefCell<Vec<Box<Buffers>>>,
    /// Buffers of requests over HTTP/2, for the next.
    pub(crate) seats: RefCell<Vec<Seat>>,
    draining: watch::Sender<bool>,
    pub(crate) ids: Rc<Ids>,
    pub(crate) hoard: Rc<Hoard>,
    pub(crate) log: Option<Rc<AccessLog>>,
    /// Which requests are treated apart.
    pub(crate) routes: Option<Box<Routes>>,
    /// Whom it lets in; everybody without one.
    pub(crate) admission: Option<Box<Admission>>,
    /// Fields of requests that do not pass, whatever route they take.
    pub(crate) withheld: Option<Box<Withheld>>,
    /// The same of answers.
    silenced: Option<Box<Withheld>>,
}

impl<C: Connect> Service<C> {
    /// A service that has done nothing yet.
    pub fn new(connector: C, balance: Rc<dyn Balance>, config: Config) -> Self {
        let first = Destination::new(connector, balance, config.pool);
        let first = first.with_http2(config.http2_backends);
        Self::over(first, config)
    }

    /// The same, whose requests go to `first`.
    pub fn over(mut first: Destination<C>, config: Config) -> Self {
        first.belong(0, &config, config.spends());
        let hides = config.forwarded == Forwarded::Hide;
        let replaces = hides || config.forwarded == Forwarded::Replace;
        let boxed = |names: &[&'static str]| Box::new(Withheld::new(names.iter().copied()));
        let withheld = replaces.then(|| boxed(&CLIENT_CLAIMS));
        let silenced = hides.then(|| boxed(&SERVER_CLAIMS));
        Self {
            first,
            others: Vec::new(),
            config,
            stats: Stats::default(),
            mirrored: Mirrored::default(),
            watch: None,
            spares: RefCell::default(),
            seats: RefCell::default(),
            draining: watch::Sender::new(false),
            ids: Rc::new(Ids::new(0)),
            hoard: Hoard::new(HOARD),
            log: None,
            routes: None,
            admission: None,
            withheld,
            silenced,
        }
    }

    /// The same with idle connections that it shares with other services, whose connectors must do the
    /// same as its own.
    #[must_use]
    pub fn with_pool(mut self, pool: Rc<Pool<C::Stream>>) -> Self {
        self.first = self.first.with_pool(pool);
        self
    }

    /// Adds a destination that routes name by what this returns; the first one is 0. None if there are as
    /// many as there may be.
    pub fn add(&mut self, mut destination: Destination<C>) -> Option<u16> {
        let index = u16::try_from(self.others.len() + 1).ok()?;
        destination.belong(index, &self.config, self.config.spends());
        self.others.push(destination);
        Some(index)
    }

    /// Has requests treated as `routes` say; the destinations that they name must have been added.
    #[must_use]
    pub fn with_routes(mut self, routes: Routes) -> Self {
        let spends = |route: &Route| route.config.as_ref().is_some_and(|config| config.spends());
        if routes.list().iter().any(spends) {
            for to in std::iter::once(&mut self.first).chain(&mut self.others) {
                to.belong(to.index, &self.config, true);
            }
        }
        self.routes = Some(Box::new(routes));
        self
    }

    /// Lets in only those whom `admission` does.
    #[must_use]
    pub fn with_admission(mut self, admission: Option<Admission>) -> Self {
        let ours = admission.as_ref().map(|admission| admission.withheld.clone());
        if let Some(ours) = ours.filter(|ours| !ours.is_empty()) {
            let before = self.withheld.take().map(|withheld| *withheld).unwrap_or_default();
            self.withheld = Some(Box::new(before.and(&ours)));
        }
        self.admission = admission.map(Box::new);
        self
    }

    /// Has its messages buffered in memory that it shares with others.
    #[must_use]
    pub fn with_hoard(mut self, hoard: Rc<Hoard>) -> Self {
        self.hoard = hoard;
        self
    }

    /// Has its requests written to `log`.
    #[must_use]
    pub fn with_log(mut self, log: Option<Rc<AccessLog>>) -> Self {
        self.log = log;
        self
    }

    /// Has its requests told to `watch`, while that is on, and takes their names from there.
    #[must_use]
    pub fn with_watch(mut self, watch: ServiceWatch) -> Self {
        self.ids = watch.ids();
        self.watch = Some(watch);
        self
    }

    /// What it did so far.
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// What became of copies of requests, which clients see nothing of.
    pub const fn mirrored(&self) -> &Stats {
        &self.mirrored.stats
    }

    /// How it behaves.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The idle connections of its first destination.
    pub const fn pool(&self) -> &Rc<Pool<C::Stream>> {
        self.first.pool()
    }

    /// The destination of that index; the first one for an index that none has.
    pub fn destination(&self, index: u16) -> &Destination<C> {
        let other = index.checked_sub(1).and_then(|at| self.others.get(usize::from(at)));
        other.unwrap_or(&self.first)
    }

    /// How many destinations there are.
    pub const fn destinations(&self) -> usize {
        self.others.len() + 1
    }

    /// Whether websockets have a way through to any destination.
    pub(crate) fn takes_websockets(&self) -> bool {
        // Nobody asked for one to backends of HTTP/2 yet, where the handshake of HTTP/1 means nothing.
        let all = std::iter::once(&self.first).chain(&self.others);
        self.config.websocket && all.into_iter().any(|to| !to.http2)
    }

    /// What a client at `ends` needs of its own, if anything.
    pub(crate) fn private(&self, ends: Ends) -> Option<Private<C::Stream>> {
        Private::of(ends, &self.config, self.destinations())
    }

    /// What `lease` holds: buffers that were used before, if it held none.
    pub(crate) fn lend<'a>(&self, lease: &'a mut Option<Box<Buffers>>) -> &'a mut Buffers {
        lease.get_or_insert_with(|| self.spares.borrow_mut().pop().unwrap_or_default())
    }

    /// Takes back what was lent, if nothing is in it: an idle connection should not hold it.
    pub(crate) fn take_back_if_empty(&self, lease: &mut Option<Box<Buffers>>) {
        if let Some(buffers) = lease.take_if(|buffers| buffers.are_empty()) {
            self.take_back(buffers);
        }
    }

    /// Takes back what was lent, whatever is in it.
    pub(crate) fn take_back(&self, mut buffers: Box<Buffers>) {
        let mut spares = self.spares.borrow_mut();
        if spares.len() < SPARE_BUFFERS {
            buffers.clear();
            spares.push(buffers);
        }
    }

    /// Lets all connections end after the requests that are in progress on them.
    pub fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// Whether there are fields in which backends are told what we know of clients.
    pub(crate) fn withholds_names(&self) -> bool {
        self.admission.as_ref().is_some_and(|admission| !admission.withheld.is_empty())
    }

    /// What is changed of the head of the answer to a request.
    pub(crate) fn changes<'a>(&'a self, request: &'a Request) -> Changes<'a> {
        Changes::new(self.answer_edits(request.way.route), request.edits())
            .without(self.silenced.as_deref())
    }

    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Ends when the service drains.
    pub(crate) async fn drained(&self) {
        // It fails only when the service is gone.
        let _ = self.draining.subscribe().wait_for(|&draining| draining).await;
    }

    /// Requests sent to each backend of the first destination; retries count again.
    pub fn requests_by_backend(&self) -> Vec<u64> {
        self.first.requests_by_backend()
    }

    /// Idle connections to `backend` of the first destination.
    pub fn idle_connections(&self, backend: usize) -> usize {
        self.first.pool().idle(backend)
    }

    /// Connections of HTTP/2 to `backend` of the first destination that take requests.
    pub fn multiplexed_connections(&self, backend: usize) -> usize {
        self.first.links.count(backend)
    }
}

impl<C: Connect> fmt::Debug for Service<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("config", &self.config)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::SocketAddr;

    use tokio::io::DuplexStream;

    use super::*;

    struct Nowhere;

    impl Connect for Nowhere {
        type Stream = DuplexStream;

        async fn connect(&self, _: SocketAddr) -> io::Result<DuplexStream> {
            Err(io::ErrorKind::ConnectionRefused.into())
        }
    }

    impl Balance for Nowhere {
        fn choose(&self, _: SocketAddr, _: &[usize]) -> Option<(usize, SocketAddr)> {
            None
        }

        fn failed(&self, _: usize) {}

        fn succeeded(&self, _: usize) {}
    }

    #[test]
    fn buffers_that_are_lent_come_back_empty_and_so_many_are_kept() {
        let service = Service::new(Nowhere, Rc::new(Nowhere), Config::default());
        let mut lease = None;
        service.lend(&mut lease).client_in.push(b"half a head");
        service.take_back_if_empty(&mut lease);
        let buffers = lease.expect("what holds something is not taken back");
        let lent: *const Buffers = &raw const *buffers;
        service.take_back(buffers);
        let mut next = None;
        let again = service.lend(&mut next);
        assert!(std::ptr::eq(again, lent), "the last to come back is the first to be lent");
        assert!(again.are_empty());
        for _ in 0..=SPARE_BUFFERS {
            service.take_back(Box::default());
        }
        assert_eq!(service.spares.borrow().len(), SPARE_BUFFERS);
    }
}
