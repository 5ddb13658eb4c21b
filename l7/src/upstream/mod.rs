//! Connections to backends: who is chosen, how one is reached, which are kept.
//!
//! # Theory of operation
//! A request takes a turn: a backend chosen by [`Balance`], with the promise that the balancer
//! is told when the request is over. Then it takes the idle connection to that backend which was
//! used last, or makes one through [`Connect`]. A backend that cannot be reached is reported and
//! skipped, and the next is chosen, at most [`BACKEND_ATTEMPTS`] times.

mod pool;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

pub(crate) use pool::Pool;
pub use pool::PoolLimits;

use crate::limits::BACKEND_ATTEMPTS;
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

    /// `backend` could not be reached, or did not answer as it should.
    fn failed(&self, backend: usize);

    /// `backend` answered.
    fn succeeded(&self, backend: usize);

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
    pub(crate) fn failed(&self) {
        self.balance.failed(self.backend);
    }

    pub(crate) fn succeeded(&self) {
        self.balance.succeeded(self.backend);
    }

    /// What the backend was asked for first has come.
    pub(crate) fn answered(&self) {
        if let Some(since) = self.since {
            self.balance.answered(self.backend, since.elapsed());
        }
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
    /// All that were tried failed, the last by refusing.
    Refused,
    /// All that were tried failed, the last by not agreeing on TLS, or not being who it should be.
    Untrusted,
    /// All that were tried failed, the last by not answering in time.
    TimedOut,
}

/// The backends that one request has tried.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    backends: Vec<usize>,
    timed_out: bool,
    untrusted: bool,
}

impl Tried {
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
    if tried.backends.len() >= BACKEND_ATTEMPTS {
        return Err(tried.verdict());
    }
    let (backend, address) =
        balance.choose(client, &tried.backends).ok_or_else(|| tried.verdict())?;
    let since = balance.measures().then(Instant::now);
    let outages = balance.outages(backend);
    Ok(Turn { backend, address, outages, since, balance: Rc::clone(balance) })
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
        let error = match self.attempt(turn.address).await {
            Ok(stream) => return Some(stream),
            Err(error) => error,
        };
        tried.timed_out = error.kind() == io::ErrorKind::TimedOut;
        tried.untrusted = HandshakeError::is(&error);
        tracing::debug!(backend = %turn.address, %error, "connect failed");
        turn.failed();
        tried.backends.push(turn.backend);
        None
    }

    async fn attempt(&self, backend: SocketAddr) -> io::Result<C::Stream> {
        let Self { connector, timeouts, header, secure } = self;
        let mut stream = timeout(timeouts.connect, connector.connect(backend)).await??;
        timeout(timeouts.handshake, async {
            if !header.is_empty() {
                stream.write_all(header).await?;
            }
            if *secure { connector.secure(backend, stream).await } else { Ok(stream) }
        })
        .await?
    }
}
