//! A pool, as one service sends requests to it.

use std::cell::OnceCell;
use std::fmt;
use std::rc::Rc;

use crate::h2::upstream::Links;
use crate::http1::edits::Edits;
use crate::persistence::{Belongs, Persistence};
use crate::proxy_protocol::Ends;
use crate::service::Config;
use crate::stats::PerBackend;
use crate::upstream::{Balance, Budget, Connect, Pool, PoolLimits};

/// What a service needs of a pool: who is chosen there, how one is reached, which connections are kept.
///
/// Who is chosen and which connections are kept may be shared with other services; what was sent there
/// is counted for each.
pub struct Destination<C: Connect> {
    pub(crate) connector: C,
    pub(crate) balance: Rc<dyn Balance>,
    pub(crate) limits: PoolLimits,
    pub(crate) pool: Rc<Pool<C::Stream>>,
    /// Connections to backends that speak HTTP/2.
    pub(crate) links: Links,
    /// Its backends are spoken to in HTTP/2.
    pub(crate) http2: bool,
    /// Present if there are attempts that it is for.
    pub(crate) budget: Option<Budget>,
    pub(crate) sent: PerBackend,
    /// How clients stay with their backends, if by what their requests say.
    pub(crate) persistence: Option<Persistence>,
    /// Its place among those of its service.
    pub(crate) index: u16,
}

impl<C: Connect> Destination<C> {
    /// A pool to which nothing was sent yet, and to which no connection is kept.
    pub fn new(connector: C, balance: Rc<dyn Balance>, limits: PoolLimits) -> Self {
        let pool = Pool::new(limits, Rc::clone(&balance));
        let (links, sent) = (Links::default(), PerBackend::default());
        Self {
            connector,
            balance,
            limits,
            pool,
            links,
            http2: false,
            budget: None,
            sent,
            persistence: None,
            index: 0,
        }
    }

    /// The same with idle connections that it shares with others, whose connectors must do the same as
    /// its own.
    #[must_use]
    pub fn with_pool(mut self, pool: Rc<Pool<C::Stream>>) -> Self {
        self.pool = pool;
        self
    }

    /// The same, whose backends are spoken to in HTTP/2, or not: in clear text by prior knowledge, within
    /// TLS by ALPN if the connector offers that.
    #[must_use]
    pub const fn with_http2(mut self, http2: bool) -> Self {
        self.http2 = http2;
        self
    }

    /// The same, with clients that stay with their backends.
    #[must_use]
    pub fn with_persistence(mut self, persistence: Option<Persistence>) -> Self {
        self.persistence = persistence;
        self
    }

    /// Requests sent to each of its backends; retries count again.
    pub fn requests_by_backend(&self) -> Vec<u64> {
        self.sent.counts()
    }

    /// Its idle connections.
    pub const fn pool(&self) -> &Rc<Pool<C::Stream>> {
        &self.pool
    }

    /// What the answer of a backend says to a client that `belongs` somewhere.
    pub(crate) fn tell(&self, backend: usize, belongs: Belongs) -> Option<Box<Edits>> {
        self.persistence.as_ref()?.tell(backend, belongs)
    }

    /// Makes it one of a service's.
    pub(crate) fn belong(&mut self, index: u16, config: &Config, spends: bool) {
        self.index = index;
        self.budget = spends.then(|| Budget::new(config.retry.budget));
    }
}

impl<C: Connect> fmt::Debug for Destination<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination").field("index", &self.index).finish_non_exhaustive()
    }
}

/// Connections to backends that serve one client alone, since they begin with its PROXY header.
pub(crate) struct Private<T> {
    header: Vec<u8>,
    /// By the index of the destination.
    kept: Vec<OnceCell<Kept<T>>>,
}

/// Those to the backends of one destination.
pub(crate) struct Kept<T> {
    pub(crate) pool: Rc<Pool<T>>,
    pub(crate) links: Links,
}

impl<T> Private<T> {
    /// None so far of a client at `ends`, which backends are told of by `config`; nothing if they are not
    /// told.
    pub(crate) fn of(ends: Ends, config: &Config, destinations: usize) -> Option<Self> {
        let header = config.proxy_protocol?.header(ends.client, ends.service);
        let kept = (0..destinations).map(|_| OnceCell::new()).collect();
        Some(Self { header, kept })
    }

    /// What a connection begins with.
    pub(crate) fn header(&self) -> &[u8] {
        &self.header
    }

    /// Those to the backends of `to`.
    pub(crate) fn kept<C: Connect<Stream = T>>(&self, to: &Destination<C>) -> Option<&Kept<T>>
    where
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
    {
        let kept = self.kept.get(usize::from(to.index))?;
        Some(kept.get_or_init(|| {
            let pool = Pool::new(to.limits, Rc::clone(&to.balance));
            Kept { pool, links: Links::default() }
        }))
    }
}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static> Private<T> {
    /// Ends all of them that are idle.
    pub(crate) fn clear(&self) {
        for kept in self.kept.iter().filter_map(OnceCell::get) {
            kept.pool.clear();
        }
    }
}
