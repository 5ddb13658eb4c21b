//! TLS with clients, and with backends.
//!
//! | module | idea |
//! |---|---|
//! | [`client`] | connections to backends inside TLS |
//! | [`hello`] | the server name in a client's hello, without ending its TLS |
//! | [`keys`] | the secrets of connections, for captures |
//! | [`names`] | tables of server names and wildcards |
//! | [`pem`] | certificates and keys out of PEM bytes |
//! | [`server`] | a `ServerConfig` out of PEM bytes |
//! | [`sni`] | which certificate a client gets |

pub mod client;
pub mod hello;
pub mod keys;
pub mod names;
pub mod pem;
pub mod server;
pub mod sni;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use crate::limits::LINGER_TIME;
use crate::proxy::serve;
use crate::service::Service;
use crate::upstream::Connect;

/// Ends TLS on one client connection and serves what is inside.
///
/// A handshake that fails, or takes longer than [`Timeouts::handshake`](crate::Timeouts), ends the
/// connection.
pub async fn serve_tls<S, C>(
    client: S,
    peer: SocketAddr,
    local: SocketAddr,
    config: Arc<ServerConfig>,
    service: Rc<Service<C>>,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    C: Connect,
{
    let limit = service.config().timeouts.handshake;
    let handshake = TlsAcceptor::from(config).accept(client).into_fallible();
    match tokio::time::timeout(limit, handshake).await {
        Ok(Ok(stream)) => serve(stream, peer, local, true, service).await,
        Ok(Err((error, mut client))) => {
            tracing::debug!(%peer, %error, "handshake failed");
            // In order, or the alert that says why is lost.
            let _ = tokio::time::timeout(LINGER_TIME, client.shutdown()).await;
        }
        Err(_) => tracing::debug!(%peer, "handshake timed out"),
    }
}
