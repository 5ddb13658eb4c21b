//! Listeners for tasks of one thread.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use super::application::Accepted;
use super::listening::{ListenError, ListenerId};
use super::stream::{Stack, TcpStream};

/// Takes the connections to an address of a [`Stack`].
///
/// When it is dropped, connections that it has not accepted are reset, and new ones refused.
#[derive(Debug)]
pub struct TcpListener {
    stack: Stack,
    id: ListenerId,
    local: SocketAddr,
}

impl Stack {
    /// Listens on `local`, as [`Endpoint::listen`](super::Endpoint::listen) says: port 0 is every port,
    /// `0.0.0.0` every IPv4 address, `::` every address. From the first listener on, connections to
    /// what nobody listens on are refused; those to all others do not reach [`Stack::accept`] any more.
    ///
    /// # Errors
    /// `AddrInUse`, or what else [`ListenError`] says.
    ///
    /// # Examples
    ///
    /// A server that echoes. The driver feeds `stack` with packets and time.
    ///
    /// ```
    /// # use netstack::tcp::Stack;
    /// async fn echo(stack: Stack) -> std::io::Result<()> {
    ///     let listener = stack.listen(([10, 0, 0, 1], 7).into())?;
    ///     loop {
    ///         let (stream, _peer) = listener.accept().await;
    ///         tokio::task::spawn_local(async move {
    ///             let (mut read, mut write) = tokio::io::split(stream);
    ///             tokio::io::copy(&mut read, &mut write).await
    ///         });
    ///     }
    /// }
    /// ```
    pub fn listen(&self, local: SocketAddr) -> io::Result<TcpListener> {
        let id = self.touch(|endpoint| endpoint.listen(local))?;
        Ok(TcpListener { stack: self.clone(), id, local })
    }
}

impl TcpListener {
    /// The next connection, and the peer that began it. Several tasks may wait at once.
    pub async fn accept(&self) -> (TcpStream, SocketAddr) {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// Ready with the next connection, and the peer that began it.
    pub fn poll_accept(&self, cx: &Context<'_>) -> Poll<(TcpStream, SocketAddr)> {
        let accept = |accepted: Accepted| {
            let peer = accepted.remote;
            (self.stack.stream(accepted), peer)
        };
        self.stack.poll_acceptor(cx, |endpoint| endpoint.accept_from(self.id)).map(accept)
    }

    /// What it listens on, as it was given.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        self.stack.stop_listening(self.id);
    }
}

impl From<ListenError> for io::Error {
    fn from(error: ListenError) -> Self {
        let kind = match error {
            ListenError::InUse => io::ErrorKind::AddrInUse,
            ListenError::Address => io::ErrorKind::InvalidInput,
            ListenError::Limit => io::ErrorKind::ResourceBusy,
        };
        Self::new(kind, error)
    }
}
