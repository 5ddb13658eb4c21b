//! A client's connection of mode `http`, before its first request: who the client is, and TLS.
//!
//! # Theory of operation
//! If the client is one that begins with a PROXY header, that is read first, and says who it is from then
//! on. If the service has TLS, that comes next. A connection that does not get so far is counted by the
//! [reason](Unserved) and closed.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::Either;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::limits::LINGER_TIME;
use crate::proxy::serve_accepted;
use crate::proxy_protocol::Ends;
use crate::service::Service;
use crate::tls::server::Server;
use crate::tls::session::Session;
use crate::unserved::Unserved;
use crate::upstream::Connect;

/// What is known of a client's connection.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The client and what it connected to, as its connection or a PROXY header has it.
    pub ends: Ends,
    /// The same as packets have it.
    pub wire: Ends,
    /// It is the inside of TLS.
    pub secure: bool,
    /// What was agreed on in the handshake; nothing without TLS, or if somebody else has ended it.
    pub session: Option<Rc<Session>>,
}

impl Accepted {
    /// A connection of `peer` to `local`, of which nothing else is known.
    pub const fn plain(peer: SocketAddr, local: SocketAddr) -> Self {
        let wire = Ends { client: peer, service: local };
        Self { ends: wire, wire, secure: false, session: None }
    }
}

/// Serves one client connection to its end: from `peer`, made to `local`; inside TLS, if there is `tls`.
/// Must run within a `LocalSet`.
pub fn accept<S, C>(
    client: S,
    peer: SocketAddr,
    local: SocketAddr,
    tls: Option<Arc<Server>>,
    service: Rc<Service<C>>,
) -> impl Future<Output = ()>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    C: Connect,
{
    if tls.is_none() && !service.config.proxy_from.has(peer) {
        return Either::Left(serve_accepted(client, Accepted::plain(peer, local), service));
    }
    // Boxed, for it takes more than what most of the connection's time is spent in.
    Either::Right(Box::pin(introduce(client, peer, local, tls, service)))
}

/// The same of a client that says more of itself before its first request.
async fn introduce<S, C>(
    mut client: S,
    peer: SocketAddr,
    local: SocketAddr,
    tls: Option<Arc<Server>>,
    service: Rc<Service<C>>,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    C: Connect,
{
    let mut accepted = Accepted::plain(peer, local);
    let limit = service.config.timeouts.handshake;
    match service.config.proxy_from.receive(&mut client, peer, local, limit).await {
        Ok(ends) => accepted.ends = ends,
        Err(reason) => return give_up(&service, peer, reason),
    }
    let Some(tls) = tls else { return serve_accepted(client, accepted, service).await };
    // A handshake takes much more than what follows; its memory goes with it.
    let handshake = Box::pin(timeout(limit, tls.accept(client, accepted.ends.client)));
    match handshake.await {
        Ok(Ok((stream, session))) => {
            accepted.secure = true;
            accepted.session = Some(Rc::new(session));
            serve_accepted(Box::new(stream), accepted, service).await;
        }
        Ok(Err((error, client))) => {
            tracing::debug!(%peer, %error, "handshake failed");
            give_up(&service, peer, Unserved::HandshakeFailed);
            if let Some(mut client) = client {
                // In order, or the alert that says why is lost.
                let _ = timeout(LINGER_TIME, client.shutdown()).await;
            }
        }
        Err(_) => give_up(&service, peer, Unserved::SlowHandshake),
    }
}

fn give_up<C: Connect>(service: &Service<C>, peer: SocketAddr, reason: Unserved) {
    tracing::debug!(%peer, reason = reason.name(), "client closed: {reason}");
    service.stats.connections.bump();
    service.stats.unserved.bump(reason);
}

#[cfg(test)]
mod tests {
    use netstack::tcp::TcpStream;

    use super::*;
    use crate::balance::Userspace;
    use crate::orderly::Orderly;
    use crate::tls::client::Secured;

    /// What the future that serves a connection may take: there is one for each client that is idle.
    const FUTURE_BYTES: usize = 2_688;

    type ServiceOf = Rc<Service<Secured<Userspace>>>;

    #[test]
    fn what_an_idle_client_costs_is_bounded() {
        fn size<F>(_: impl Fn(Orderly<TcpStream>, SocketAddr, ServiceOf) -> F) -> usize {
            size_of::<F>()
        }
        let taken = size(|client, peer, service| accept(client, peer, peer, None, service));
        assert!(taken <= FUTURE_BYTES, "{taken} bytes");
    }
}
