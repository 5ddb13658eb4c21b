//! Connections to backends: who is chosen, how one is reached, which are kept.
//!
//! # Theory of operation
//! A request takes a turn: a backend chosen by [`Balance`], with the promise that the balancer
//! is told when the request is over. Then it takes the idle connection to that backend which was
//! used last, or makes one through [`Connect`]. A backend that cannot be reached is reported and
//! skipped, and the next is chosen, at most [`BACKEND_ATTEMPTS`] times. If all that may serve are at their
//! limits, the request waits in the pool's [`Queue`], if it has one.
//!
//! | module | idea |
//! |---|---|
//! | `pool` | idle connections |
//! | `warm` | idle connections made ahead of requests |
//! | `queue` | requests that wait for a place at a backend |
//! | `retry` | whether a request is sent again, and the budget for that |
//! | `hedge` | two backends asked for the same |

pub(crate) mod hedge;
mod pool;
mod queue;
mod retry;
mod warm;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

pub(crate) use pool::History;
pub use pool::{Pool, PoolLimits};
pub use queue::{Queue, QueueLimits};
pub(crate) use retry::{Budget, Tries};
pub use retry::{BudgetLimits, Retry};
pub use warm::keep_warm;

use crate::buffer::Buffer;
use crate::limits::BACKEND_ATTEMPTS;
use crate::log::End;
use crate::persistence::Belongs;
use crate::side::{Client, Presence};
use crate::timeouts::Timeouts;
use crate::tls::client::HandshakeError;

/// Makes connections to backends: through user-space TCP, or a test's pipes.
pub trait Connect: 'static {
    /// A connected byte stream. Dropped without `shutdown`, it should reset the connection, as
    /// [`Orderly`](crate::orderly::Orderly) does.
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;

    /// Connects to `backend`. The caller sets the time limit, by dropping the future.
    ///
    /// # Errors
    /// When the backend refuses or cannot be reached.
    fn connect(&self, backend: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>>;

    /// Agrees on TLS over `stream`, a new connection to `backend` on which nothing but a PROXY header was
    /// sent; the stream itself if none is wanted. The caller sets the time limit, by dropping the future.
    ///
    /// # Errors
    /// When the backend cannot be trusted, or does not agree.
    fn secure(
        &self,
        backend: SocketAddr,
        stream: Self::Stream,
    ) -> impl Future<Output = io::Result<Self::Stream>> {
        let _ = backend;
        std::future::ready(Ok(stream))
    }

    /// Whether `stream` is inside TLS.
    fn is_secure(stream: &Self::Stream) -> bool {
        let _ = stream;
        false
    }

    /// Our end of `stream`, if it is a connection of this process's own TCP: as that names it, before
    /// the engine gives it its source.
    fn local_addr(stream: &Self::Stream) -> Option<SocketAddr> {
        let _ = stream;
        None
    }
}

/// Chooses backends.
pub trait Balance {
    /// A backend for a request of `client`, by its index in the pool and its address; none of
    /// `skip`. None if no backend is left that may serve.
    fn choose(&self, client: SocketAddr, skip: &[usize]) -> Option<(usize, SocketAddr)>;

    /// The address of `backend`, for a request that belongs there; none if it can take none. What is said
    /// of [`choose`](Self::choose) holds for it too.
    fn prefer(&self, backend: usize) -> Option<(usize, SocketAddr)> {
        let _ = backend;
        None
    }

    /// `backend` could not be reached, or did not answer as it should.
    fn failed(&self, backend: usize);

    /// `backend` answered.
    fn succeeded(&self, backend: usize);

    /// `backend` answered that it has failed: with a status of 500 or more.
    fn erred(&self, backend: usize) {
        self.succeeded(backend);
    }

    /// True if [`Self::answered`] is of use: then every choice costs a look at the clock.
    fn measures(&self) -> bool {
        false
    }

    /// `backend` took so long to accept a connection, or from being chosen for a request without a body
    /// to the head of the response.
    fn answered(&self, backend: usize, latency: Duration) {
        let _ = (backend, latency);
    }

    /// How often `backend` was found to be out, so that connections to it from before are not to be used
    /// again: by health checks, by an operator, or by failures that ejected it.
    fn outages(&self, backend: usize) -> u32 {
        let _ = backend;
        0
    }

    /// True if a backend, none of `skip`, could serve but for its limit.
    fn is_full(&self, skip: &[usize]) -> bool {
        let _ = skip;
        false
    }

    /// Where requests wait while that is so; none if they do not.
    fn queue(&self) -> Option<&Queue> {
        None
    }

    /// One connection more, or one fewer, is on its way to `backend`.
    fn connecting(&self, backend: usize, begins: bool) {
        let _ = (backend, begins);
    }

    /// True if a backend, none of `skip`, could serve but for the connections that are on their way to it.
    fn is_swamped(&self, skip: &[usize]) -> bool {
        let _ = skip;
        false
    }

    /// True if connections to `backend` are kept for later requests: it does not drain.
    fn keeps(&self, backend: usize) -> bool {
        let _ = backend;
        true
    }

    /// The backends that may serve, by their indices, and their addresses.
    fn serving(&self) -> Vec<(usize, SocketAddr)> {
        Vec::new()
    }

    /// What was chosen by [`Self::choose`] is over, well or not: called once for each choice.
    fn released(&self, backend: usize) {
        let _ = backend;
    }
}

/// A choice that lasts as long as this value.
pub(crate) struct Turn {
    pub(crate) backend: usize,
    pub(crate) address: SocketAddr,
    /// How often the backend had been out before.
    pub(crate) outages: u32,
    /// When it began, if that is of use.
    since: Option<Instant>,
    balance: Rc<dyn Balance>,
}

impl Turn {
    fn new(balance: &Rc<dyn Balance>, backend: usize, address: SocketAddr) -> Self {
        let since = balance.measures().then(Instant::now);
        let outages = balance.outages(backend);
        Self { backend, address, outages, since, balance: Rc::clone(balance) }
    }

    /// Counts a connection that is on its way, as long as what is returned lives.
    fn connecting(&self) -> OnItsWay<'_> {
        self.balance.connecting(self.backend, true);
        OnItsWay(self)
    }

    pub(crate) fn failed(&self) {
        self.balance.failed(self.backend);
    }

    pub(crate) fn succeeded(&self) {
        self.balance.succeeded(self.backend);
    }

    /// The backend has answered a request with `status`.
    pub(crate) fn finished(&self, status: Option<StatusCode>) {
        if status.is_some_and(|status| status.is_server_error()) {
            self.balance.erred(self.backend);
        } else {
            self.succeeded();
        }
    }

    /// What the backend was asked for first has come.
    pub(crate) fn answered(&self) {
        if let Some(since) = self.since {
            self.balance.answered(self.backend, since.elapsed());
        }
    }
}

struct OnItsWay<'a>(&'a Turn);

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        self.0.balance.connecting(self.0.backend, false);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.balance.released(self.backend);
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Turn").field(&self.backend).field(&self.address).finish()
    }
}

/// Ends a connection in order, as far as that is possible at once.
pub(crate) fn close<T: AsyncWrite + Unpin>(mut stream: T) {
    let mut cx = Context::from_waker(Waker::noop());
    let _ = Pin::new(&mut stream).poll_shutdown(&mut cx);
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoUpstream {
    /// No backend may serve.
    NoBackend,
    /// Those that may are at their limits.
    Full,
    /// As many connections are on their way to those that may as a backend is thought to bear.
    Swamped,
    /// They are at their limits, and as many requests wait as may.
    QueueFull,
    /// They were for as long as a request waits.
    QueueTimeout,
    /// The client left while its request waited.
    ClientGone,
    /// All that were tried failed, the last by refusing.
    Refused,
    /// All that were tried failed, the last by not agreeing on TLS, or not being who it should be.
    Untrusted,
    /// All that were tried failed, the last by not answering in time.
    TimedOut,
}

impl NoUpstream {
    /// How it makes the request end.
    pub(crate) const fn end(self) -> End {
        match self {
            Self::NoBackend => End::NoBackend,
            Self::Full | Self::Swamped | Self::QueueFull => End::BackendsFull,
            Self::QueueTimeout => End::QueueTimeout,
            Self::ClientGone => End::ClientGone,
            Self::Refused => End::BackendRefused,
            Self::Untrusted => End::BackendUntrusted,
            Self::TimedOut => End::ConnectTimeout,
        }
    }
}

/// The backends that one request has tried.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    backends: Vec<usize>,
    timed_out: bool,
    untrusted: bool,
    /// How many of them were reached: only the others count as attempts to.
    reached: usize,
    /// When the request's whole time is over.
    end: Option<Instant>,
    /// Where the request belongs.
    pub(crate) belongs: Belongs,
}

impl Tried {
    /// The backend of `turn` could not be reached.
    pub(crate) fn note(&mut self, turn: &Turn, timed_out: bool) {
        self.timed_out = timed_out;
        self.backends.push(turn.backend);
    }

    /// None so far, by a request whose whole time is over at `end`.
    pub(crate) fn until(end: Option<Instant>) -> Self {
        Self { end, ..Self::default() }
    }

    /// Notes a try on which a backend was reached, and that was in vain.
    fn retried(&mut self, turn: &Turn) {
        self.backends.push(turn.backend);
        self.reached += 1;
    }

    fn is_late(&self) -> bool {
        self.end.is_some_and(|end| Instant::now() >= end)
    }

    fn verdict(&self) -> NoUpstream {
        match self {
            Self { backends, .. } if backends.is_empty() => NoUpstream::NoBackend,
            Self { timed_out: true, .. } => NoUpstream::TimedOut,
            Self { untrusted: true, .. } => NoUpstream::Untrusted,
            Self { .. } => NoUpstream::Refused,
        }
    }
}

/// Chooses the next backend for `client`.
pub(crate) fn choose(
    balance: &Rc<dyn Balance>,
    client: SocketAddr,
    tried: &Tried,
) -> Result<Turn, NoUpstream> {
    if tried.backends.len() >= BACKEND_ATTEMPTS + tried.reached {
        return Err(tried.verdict());
    }
    if tried.is_late() {
        return Err(NoUpstream::TimedOut);
    }
    let client = tried.belongs.stand_in().unwrap_or(client);
    let preferred = tried.belongs.backend();
    let preferred = preferred.filter(|backend| !tried.backends.contains(backend));
    let preferred = preferred.and_then(|backend| balance.prefer(backend));
    match preferred.or_else(|| balance.choose(client, &tried.backends)) {
        Some((backend, address)) => Ok(Turn::new(balance, backend, address)),
        None if balance.is_full(&tried.backends) => Err(NoUpstream::Full),
        None if balance.is_swamped(&tried.backends) => Err(NoUpstream::Swamped),
        None => Err(tried.verdict()),
    }
}

/// The same, and waits in the queue if there is one and it must; `watch` is ready once the client is
/// gone.
pub(crate) async fn take_turn(
    balance: &Rc<dyn Balance>,
    client: SocketAddr,
    tried: &Tried,
    watch: impl FnMut(&mut Context<'_>) -> Poll<()>,
) -> Result<Turn, NoUpstream> {
    match choose(balance, client, tried) {
        // Most never wait, and should not carry what waiting needs.
        Err(NoUpstream::Full) => {
            let client = tried.belongs.stand_in().unwrap_or(client);
            Box::pin(queue::wait(balance, client, tried, watch)).await
        }
        turn => turn,
    }
}

/// Ready once `client`, whose request waits, is gone. What it sends early is kept in `input`, up to a bound.
pub(crate) fn poll_gone(
    cx: &mut Context<'_>,
    client: &mut impl Client,
    input: &mut Buffer,
) -> Poll<()> {
    loop {
        let before = input.len();
        match client.poll_presence(cx, input) {
            Presence::Gone => return Poll::Ready(()),
            // There may be more, and nobody has asked to be woken for it yet.
            Presence::Here if input.len() > before => {}
            Presence::Here | Presence::Ended => return Poll::Pending,
        }
    }
}

/// How a connection to a backend is made.
pub(crate) struct Way<'a, C> {
    pub(crate) connector: &'a C,
    pub(crate) timeouts: &'a Timeouts,
    /// What the backend is sent before anything else.
    pub(crate) header: &'a [u8],
    /// Agree on TLS with backends that have it.
    pub(crate) secure: bool,
}

impl<C: Connect> Way<'_, C> {
    /// Connects to the backend of `turn`; a failure is reported to the balancer and noted in `tried`.
    pub(crate) async fn connect(&self, turn: &Turn, tried: &mut Tried) -> Option<C::Stream> {
        self.complete(self.attempt(turn.address), turn, tried).await
    }

    /// The same over a connection that was made already, and on which nothing was sent.
    pub(crate) async fn go_on(
        &self,
        stream: C::Stream,
        turn: &Turn,
        tried: &mut Tried,
    ) -> Option<C::Stream> {
        self.complete(self.begin(turn.address, stream), turn, tried).await
    }

    async fn complete(
        &self,
        attempt: impl Future<Output = io::Result<C::Stream>>,
        turn: &Turn,
        tried: &mut Tried,
    ) -> Option<C::Stream> {
        let on_its_way = turn.connecting();
        let made = match tried.end {
            None => Ok(attempt.await),
            Some(end) => timeout_at(end, attempt).await,
        };
        drop(on_its_way);
        let error = match made {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => error,
            // It had less than its time, which says nothing of it.
            Err(_) => return None,
        };
        tried.timed_out = error.kind() == io::ErrorKind::TimedOut;
        tried.untrusted = HandshakeError::is(&error);
        tracing::debug!(backend = %turn.address, %error, "connect failed");
        turn.failed();
        tried.backends.push(turn.backend);
        None
    }

    async fn attempt(&self, backend: SocketAddr) -> io::Result<C::Stream> {
        let connect = self.connector.connect(backend);
        let stream = timeout(self.timeouts.connect, connect).await??;
        self.begin(backend, stream).await
    }

    async fn begin(&self, backend: SocketAddr, mut stream: C::Stream) -> io::Result<C::Stream> {
        let Self { connector, timeouts, header, secure } = self;
        timeout(timeouts.handshake, async {
            if !header.is_empty() {
                stream.write_all(header).await?;
            }
            if *secure { connector.secure(backend, stream).await } else { Ok(stream) }
        })
        .await?
    }
}
