//! What all connections of an HTTP service share.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::watch;

use crate::buffering::{Buffering, Hoard};
use crate::exchange::Buffers;
use crate::h2::Seat;
use crate::h2::upstream::Links;
use crate::http1::encode::Forwarded;
use crate::http1::head::Strictness;
use crate::identity::Naming;
use crate::ids::Ids;
use crate::limits::{HOARD, SPARE_BUFFERS};
use crate::log::AccessLog;
use crate::proxy_protocol::{Ends, ProxyFrom, Version};
use crate::stats::Stats;
use crate::timeouts::Timeouts;
use crate::transaction::ServiceWatch;
use crate::upstream::{Balance, Budget, Connect, Pool, PoolLimits, Retry};

/// How an HTTP service behaves. The default suits a public site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What backends are told about clients.
    pub forwarded: Forwarded,
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
    /// Whether websockets have a way through.
    pub(crate) const fn takes_websockets(&self) -> bool {
        // Nobody asked for one to backends of HTTP/2 yet, where the handshake of HTTP/1 means nothing.
        self.websocket && !self.http2_backends
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
        }
    }
}

/// An HTTP service: its configuration, its backends, its idle connections and its counters.
pub struct Service<C: Connect> {
    pub(crate) connector: C,
    pub(crate) balance: Rc<dyn Balance>,
    pub(crate) config: Config,
    pub(crate) pool: Rc<Pool<C::Stream>>,
    /// Present if there are attempts that it is for.
    pub(crate) budget: Option<Budget>,
    pub(crate) stats: Stats,
    pub(crate) watch: Option<ServiceWatch>,
    /// Buffers that no connection of HTTP/1 needs now.
    #[expect(clippy::vec_box, reason = "they are lent as boxes, and not made anew")]
    spares: RefCell<Vec<Box<Buffers>>>,
    /// Buffers of requests over HTTP/2, for the next.
    pub(crate) seats: RefCell<Vec<Seat>>,
    /// Connections to backends that speak HTTP/2.
    pub(crate) links: Links,
    draining: watch::Sender<bool>,
    pub(crate) ids: Rc<Ids>,
    pub(crate) hoard: Rc<Hoard>,
    pub(crate) log: Option<Rc<AccessLog>>,
}

impl<C: Connect> Service<C> {
    /// A service that has done nothing yet.
    pub fn new(connector: C, balance: Rc<dyn Balance>, config: Config) -> Self {
        let pool = Pool::new(config.pool, Rc::clone(&balance));
        let spends = config.retry.times > 0 || config.hedge_after.is_some();
        let budget = spends.then(|| Budget::new(config.retry.budget));
        Self {
            connector,
            balance,
            config,
            pool,
            budget,
            stats: Stats::default(),
            watch: None,
            spares: RefCell::default(),
            seats: RefCell::default(),
            links: Links::default(),
            draining: watch::Sender::new(false),
            ids: Rc::new(Ids::new(0)),
            hoard: Hoard::new(HOARD),
            log: None,
        }
    }

    /// The same with idle connections that it shares with other services, whose connectors must do the
    /// same as its own.
    #[must_use]
    pub fn with_pool(mut self, pool: Rc<Pool<C::Stream>>) -> Self {
        self.pool = pool;
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

    /// How it behaves.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Its idle connections.
    pub const fn pool(&self) -> &Rc<Pool<C::Stream>> {
        &self.pool
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

    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Ends when the service drains.
    pub(crate) async fn drained(&self) {
        // It fails only when the service is gone.
        let _ = self.draining.subscribe().wait_for(|&draining| draining).await;
    }

    /// Idle connections to `backend`.
    pub fn idle_connections(&self, backend: usize) -> usize {
        self.pool.idle(backend)
    }

    /// Connections of HTTP/2 to `backend` that take requests.
    pub fn multiplexed_connections(&self, backend: usize) -> usize {
        self.links.count(backend)
    }
}

/// Connections to backends that serve one client alone, since they begin with its PROXY header.
pub(crate) struct Private<T> {
    pub(crate) header: Vec<u8>,
    pub(crate) pool: Rc<Pool<T>>,
    pub(crate) links: Links,
}

impl<C: Connect> Service<C> {
    /// What a client at `ends` needs of its own, if anything.
    pub(crate) fn private(&self, ends: Ends) -> Option<Private<C::Stream>> {
        let header = self.config.proxy_protocol?.header(ends.client, ends.service);
        let pool = Pool::new(self.config.pool, Rc::clone(&self.balance));
        Some(Private { header, pool, links: Links::default() })
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
