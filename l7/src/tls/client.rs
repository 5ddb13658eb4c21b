//! TLS toward backends.
//!
//! # Theory of operation
//! [`Secured`] wraps whatever makes connections. Those to a backend that has settings here are inside
//! TLS: the backend must show a certificate for its name that one of the given authorities vouches for,
//! else nothing is sent to it. Sessions are resumed. All other connections are left as they are, at the
//! price of a branch.
//!
//! A backend that cannot be trusted stays so for every connection that is tried. So the first failure is
//! said aloud, and that it works again; those between only in the debug log.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, KeyLog, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::pem::{PemPair, TlsError, certified_key};
use crate::upstream::{self, Connect};

/// Sessions kept for one backend: tickets are used once, so a few for connections made at a time.
const SESSIONS: usize = 8;

/// How backends are spoken to over TLS, out of PEM bytes.
#[derive(Clone, Debug)]
pub struct ClientSettings<'a> {
    /// Those who may vouch for a backend.
    pub authorities: Arc<RootCertStore>,
    /// What we show to a backend that asks who we are.
    pub identity: Option<PemPair<'a>>,
    /// Protocols offered, by preference; empty offers none.
    pub alpn: &'a [&'a str],
}

/// How one backend is spoken to over TLS. Clones share its sessions.
#[derive(Clone, Debug)]
pub struct BackendTls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl BackendTls {
    /// A backend whose certificate is for `name`, which it is told too, unless that is an address.
    ///
    /// # Errors
    /// [`TlsError`] for settings that cannot be used.
    pub fn new(name: ServerName<'static>, settings: &ClientSettings<'_>) -> Result<Self, TlsError> {
        let provider = Arc::new(super::provider());
        let identity = settings.identity.map(|pair| certified_key(0, pair, &provider));
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Provider)?
            .with_root_certificates(Arc::clone(&settings.authorities));
        let mut config = match identity.transpose()? {
            Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = settings.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(Self { config: Arc::new(config), name })
    }

    /// The same, with the secrets of its connections offered to `keys`.
    #[must_use]
    pub fn with_key_log(self, keys: Arc<dyn KeyLog>) -> Self {
        let mut config = (*self.config).clone();
        config.key_log = keys;
        Self { config: Arc::new(config), ..self }
    }
}

/// Makes connections as another does, those to some backends inside TLS.
#[derive(Clone)]
pub struct Secured<C> {
    inner: C,
    backends: Rc<[Known]>,
}

struct Known {
    address: SocketAddr,
    tls: BackendTls,
    /// The last handshake failed.
    fails: Cell<bool>,
}

impl<C> Secured<C> {
    /// Connects by `inner`, and agrees on TLS with the backends at these addresses.
    pub fn new(inner: C, backends: impl IntoIterator<Item = (SocketAddr, BackendTls)>) -> Self {
        let known = |(address, tls)| Known { address, tls, fails: Cell::new(false) };
        Self { inner, backends: backends.into_iter().map(known).collect() }
    }
}

impl<C> fmt::Debug for Secured<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secured").field("backends", &self.backends.len()).finish_non_exhaustive()
    }
}

impl<C: Connect> Connect for Secured<C> {
    type Stream = Wire<C::Stream>;

    async fn connect(&self, backend: SocketAddr) -> io::Result<Self::Stream> {
        self.inner.connect(backend).await.map(Wire::Plain)
    }

    fn secure(
        &self,
        backend: SocketAddr,
        stream: Self::Stream,
    ) -> impl Future<Output = io::Result<Self::Stream>> {
        let known = self.backends.iter().find(|known| known.address == backend);
        async move {
            match (stream, known) {
                (Wire::Plain(stream), Some(known)) => known.shake_hands(stream).await,
                (stream, _) => Ok(stream),
            }
        }
    }

    fn is_secure(stream: &Self::Stream) -> bool {
        matches!(stream, Wire::Tls(_))
    }

    fn local_addr(stream: &Self::Stream) -> Option<SocketAddr> {
        match stream {
            Wire::Plain(stream) => C::local_addr(stream),
            Wire::Tls(stream) => C::local_addr(stream.get_ref().0),
        }
    }
}

impl Known {
    async fn shake_hands<S>(&self, stream: S) -> io::Result<Wire<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let connector = TlsConnector::from(Arc::clone(&self.tls.config));
        let handshake = connector.connect(self.tls.name.clone(), stream).into_fallible();
        let (backend, name) = (self.address, self.tls.name.to_str());
        match handshake.await {
            Ok(stream) => {
                if self.fails.replace(false) {
                    tracing::warn!("TLS with backend {backend} ({name}) works again");
                }
                Ok(Wire::Tls(Box::new(stream)))
            }
            Err((error, stream)) => {
                // In order, or the alert that says why is lost.
                upstream::close(stream);
                if self.fails.replace(true) {
                    tracing::debug!("TLS with backend {backend} ({name}) fails: {error}");
                } else {
                    tracing::warn!("TLS with backend {backend} ({name}) fails: {error}");
                }
                Err(io::Error::new(error.kind(), HandshakeError(error)))
            }
        }
    }
}

/// Why there is no TLS with a backend that was reached.
#[derive(Debug)]
pub struct HandshakeError(io::Error);

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TLS: {}", self.0)
    }
}

impl std::error::Error for HandshakeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

impl HandshakeError {
    /// True if `error` is one.
    pub fn is(error: &io::Error) -> bool {
        matches!(error.get_ref(), Some(inner) if inner.is::<Self>())
    }
}

/// A connection to a backend.
#[derive(Debug)]
pub enum Wire<S> {
    /// As it is.
    Plain(S),
    /// Inside TLS.
    Tls(Box<TlsStream<S>>),
}

impl<S> Wire<S> {
    /// The protocol that was agreed on (RFC 7301); nothing without TLS.
    pub fn alpn_protocol(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol(),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, data),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, data),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, data),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, data),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
