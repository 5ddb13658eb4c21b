//! Connections as `AsyncRead` and `AsyncWrite`, for tasks of one thread.
//!
//! # Theory of operation
//!
//! A [`Stack`] is a handle of an [`Endpoint`] that a driver and any number of tasks share. The driver
//! feeds packets and time through [`Stack::with`], lets the tasks run, and drains what is to leave.
//! Tasks touch connections through [`TcpStream`]s; each operation borrows the endpoint for its own
//! length and never across an await. Wakers lie in the sockets: one for reading and one for writing,
//! the latest counts, which is what a stream that is split in two halves needs.
//!
//! When a task leaves something to be sent while the driver sleeps, the driver is woken through
//! [`Stack::poll_wants_transmit`].
//!
//! A stream that is dropped is closed as a kernel closes: what was written is sent, with a FIN behind
//! it, unless received bytes were not read, which sends a RST.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use smoltcp::socket::tcp::State;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::application::{Accepted, ConnectError, StreamError};
use super::congestion::Algorithm;
use super::connection::ConnectionId;
use super::endpoint::Endpoint;
use super::info::{Info, Vitals};
use super::keepalive::KeepaliveConfig;
use super::listening::ListenerId;

/// A shared handle of an endpoint.
#[derive(Clone, Debug)]
pub struct Stack(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    endpoint: RefCell<Endpoint>,
    acceptors: RefCell<Vec<Waker>>,
    driver: RefCell<Option<Waker>>,
    /// Streams that were dropped while the endpoint was borrowed.
    dropped: RefCell<Vec<ConnectionId>>,
    /// The same of listeners.
    dropped_listeners: RefCell<Vec<ListenerId>>,
}

impl Stack {
    /// A stack over `endpoint`.
    pub fn new(endpoint: Endpoint) -> Self {
        Self(Rc::new(Shared {
            endpoint: RefCell::new(endpoint),
            acceptors: RefCell::default(),
            driver: RefCell::default(),
            dropped: RefCell::default(),
            dropped_listeners: RefCell::default(),
        }))
    }

    /// For the driver: does something with the endpoint, then wakes who waits for connections.
    ///
    /// # Panics
    /// If called from inside `work` again.
    pub fn with<R>(&self, work: impl FnOnce(&mut Endpoint) -> R) -> R {
        let mut endpoint = self.0.endpoint.borrow_mut();
        for id in self.0.dropped.take() {
            endpoint.close(id);
        }
        for id in self.0.dropped_listeners.take() {
            endpoint.stop_listening(id);
        }
        let result = work(&mut endpoint);
        let acceptable = !endpoint.accepted.is_empty() || endpoint.listening.has_accepted();
        drop(endpoint);
        if acceptable {
            self.0.acceptors.take().into_iter().for_each(Waker::wake);
        }
        result
    }

    /// For the driver: ready when a task has left something to be sent. One waker; the latest counts.
    pub fn poll_wants_transmit(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.0.endpoint.borrow().wants_transmit() {
            return Poll::Ready(());
        }
        *self.0.driver.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The next connection that a peer began, with the tag of the packet that opened it.
    pub async fn accept(&self) -> (TcpStream, u32) {
        let accepted = poll_fn(|cx| self.poll_acceptor(cx, Endpoint::accept)).await;
        (self.stream(accepted), accepted.tag)
    }

    pub(super) fn stream(&self, accepted: Accepted) -> TcpStream {
        let Accepted { id, local, remote, .. } = accepted;
        TcpStream { stack: self.clone(), id, local, remote }
    }

    pub(super) fn poll_acceptor(
        &self,
        cx: &Context<'_>,
        accept: impl FnOnce(&mut Endpoint) -> Option<Accepted>,
    ) -> Poll<Accepted> {
        if let Some(accepted) = accept(&mut self.0.endpoint.borrow_mut()) {
            return Poll::Ready(accepted);
        }
        let mut acceptors = self.0.acceptors.borrow_mut();
        if !acceptors.iter().any(|waker| waker.will_wake(cx.waker())) {
            acceptors.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Connects `local` to `remote`; a local port of zero is chosen. Dropping the future gives up.
    ///
    /// # Errors
    /// `ConnectionRefused` for a RST, `TimedOut` without an answer, else what [`ConnectError`] says.
    pub async fn connect(&self, local: SocketAddr, remote: SocketAddr) -> io::Result<TcpStream> {
        let (id, local) = self.touch(|endpoint| {
            let id = endpoint.connect(endpoint.now(), local, remote)?;
            let local = endpoint.addresses(id).map_or(local, |(local, _)| local);
            Ok::<_, ConnectError>((id, local))
        })?;
        let stream = TcpStream { stack: self.clone(), id, local, remote };
        poll_fn(|cx| stream.poll_established(cx)).await?;
        Ok(stream)
    }

    pub(super) fn stop_listening(&self, listener: ListenerId) {
        if self.0.endpoint.try_borrow_mut().is_ok() {
            self.touch(|endpoint| endpoint.stop_listening(listener));
        } else {
            self.0.dropped_listeners.borrow_mut().push(listener);
        }
    }

    /// An operation of a task: wakes the driver if it leaves something to be sent.
    pub(super) fn touch<R>(&self, work: impl FnOnce(&mut Endpoint) -> R) -> R {
        let mut endpoint = self.0.endpoint.borrow_mut();
        let result = work(&mut endpoint);
        let wants_transmit = endpoint.wants_transmit();
        drop(endpoint);
        if wants_transmit && let Some(driver) = self.0.driver.take() {
            driver.wake();
        }
        result
    }
}

/// An established connection of a [`Stack`].
#[derive(Debug)]
pub struct TcpStream {
    stack: Stack,
    id: ConnectionId,
    local: SocketAddr,
    remote: SocketAddr,
}

impl TcpStream {
    /// Our end.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The peer.
    pub const fn peer_addr(&self) -> SocketAddr {
        self.remote
    }

    /// The connection, for what only [`Endpoint`] offers.
    pub const fn id(&self) -> ConnectionId {
        self.id
    }

    /// What is known of the connection, as `TCP_INFO` of Linux tells; nothing once it is over.
    pub fn info(&self) -> Option<Info> {
        self.stack.0.endpoint.borrow().info(self.id)
    }

    /// What the connection has been through on its wire.
    pub fn vitals(&self) -> Option<Vitals> {
        self.stack.0.endpoint.borrow().vitals(self.id)
    }

    /// Controls the congestion of the connection by `algorithm` from now on
    /// ([`Endpoint::set_congestion`]).
    ///
    /// # Errors
    /// `NotConnected` once the connection is no more.
    ///
    /// # Examples
    ///
    /// ```
    /// # use netstack::tcp::{Algorithm, KeepaliveConfig, TcpStream};
    /// # use std::time::Duration;
    /// fn for_a_long_path(stream: &TcpStream) -> std::io::Result<()> {
    ///     stream.set_congestion(Algorithm::Bbr)?;
    ///     let often = KeepaliveConfig { idle: Duration::from_secs(60), ..Default::default() };
    ///     stream.set_keepalive(Some(often))
    /// }
    /// ```
    pub fn set_congestion(&self, algorithm: Algorithm) -> io::Result<()> {
        Ok(self.stack.touch(|endpoint| endpoint.set_congestion(self.id, algorithm))?)
    }

    /// Probes the connection when it is idle, or not at all ([`Endpoint::set_keepalive`]).
    ///
    /// # Errors
    /// `NotConnected` once the connection is no more.
    pub fn set_keepalive(&self, keepalive: Option<KeepaliveConfig>) -> io::Result<()> {
        Ok(self.stack.touch(|endpoint| endpoint.set_keepalive(self.id, keepalive))?)
    }

    /// Gives the connection up with a RST.
    pub fn abort(self) {
        // What remains for the drop is a connection that is no more.
        self.stack.touch(|endpoint| endpoint.abort(self.id));
    }

    fn poll_established(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.stack.touch(|endpoint| {
            if let Some(error) = endpoint.error(self.id) {
                return Poll::Ready(Err(error.into()));
            }
            if matches!(endpoint.state(self.id), State::SynSent | State::SynReceived) {
                endpoint.wake_on_write(self.id, cx.waker());
                return Poll::Pending;
            }
            Poll::Ready(Ok(()))
        })
    }

    fn poll_send(
        &self,
        cx: &Context<'_>,
        send: impl FnOnce(&mut Endpoint) -> Result<usize, StreamError>,
    ) -> Poll<io::Result<usize>> {
        self.stack.touch(|endpoint| match send(endpoint) {
            Err(StreamError::WouldBlock) => {
                endpoint.wake_on_write(self.id, cx.waker());
                Poll::Pending
            }
            result => Poll::Ready(result.map_err(io::Error::from)),
        })
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        self.stack.touch(|endpoint| match endpoint.recv(self.id, buffer.initialize_unfilled()) {
            Ok(read) => {
                buffer.advance(read);
                Poll::Ready(Ok(()))
            }
            Err(StreamError::WouldBlock) => {
                endpoint.wake_on_read(self.id, cx.waker());
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error.into())),
        })
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, |endpoint| endpoint.send(self.id, data))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, |endpoint| {
            let mut total = 0;
            for slice in slices.iter().filter(|slice| !slice.is_empty()) {
                match endpoint.send(self.id, slice) {
                    Ok(sent) => total += sent,
                    Err(StreamError::WouldBlock) if total > 0 => break,
                    Err(error) => return Err(error),
                }
            }
            Ok(total)
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Everything written leaves by itself.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Sends a FIN; reading goes on. Does not wait for the acknowledgment.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(
            self.stack.touch(|endpoint| endpoint.shutdown(self.id)).map_err(io::Error::from),
        )
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        if self.stack.0.endpoint.try_borrow_mut().is_ok() {
            self.stack.touch(|endpoint| endpoint.close(self.id));
        } else {
            self.stack.0.dropped.borrow_mut().push(self.id);
        }
    }
}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> Self {
        let kind = match error {
            StreamError::WouldBlock => io::ErrorKind::WouldBlock,
            StreamError::Reset => io::ErrorKind::ConnectionReset,
            StreamError::Refused => io::ErrorKind::ConnectionRefused,
            StreamError::TimedOut => io::ErrorKind::TimedOut,
            StreamError::WriteClosed => io::ErrorKind::BrokenPipe,
            StreamError::Unknown => io::ErrorKind::NotConnected,
        };
        Self::new(kind, error)
    }
}

impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> Self {
        let kind = match error {
            ConnectError::Address => io::ErrorKind::InvalidInput,
            ConnectError::InUse => io::ErrorKind::AddrInUse,
            ConnectError::NoPort => io::ErrorKind::AddrNotAvailable,
            ConnectError::ConnectionLimit => io::ErrorKind::ResourceBusy,
        };
        Self::new(kind, error)
    }
}
