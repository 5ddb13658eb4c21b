//! The servers that nodes may run without a program of their own.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use l7::tls::server::{PemPair, server_config};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::{JoinSet, LocalSet};
use tokio_rustls::TlsAcceptor;

use super::{dns, web};
use crate::config::model::{Builtin, Site};

/// Connections of an echo server at a time.
const MAX_CONNECTIONS: usize = 1_024;

/// Serves until the process ends; calls `ready` when it listens.
///
/// # Errors
/// It cannot listen, or a certificate cannot be read.
pub(super) fn serve(
    name: &str,
    addresses: &[IpAddr],
    builtin: &Builtin,
    ready: impl FnOnce(),
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        match builtin {
            Builtin::Http(Site { port, tls: None }) => {
                let listener = listen(*port).await?;
                ready();
                web::serve(listener, name.into()).await
            }
            Builtin::Http(Site { port, tls: Some((cert, key)) }) => {
                let acceptor = acceptor(cert, key)?;
                let listener = listen(*port).await?;
                ready();
                serve_tls(listener, acceptor, name.into()).await
            }
            Builtin::Echo(port) => {
                let listener = listen(*port).await?;
                let mut tasks = JoinSet::new();
                for socket in sockets(addresses, *port).await? {
                    tasks.spawn_local(answer(socket, |datagram| Some(datagram.to_vec())));
                }
                ready();
                echo(listener).await
            }
            Builtin::Dns(port) => {
                let mut tasks = JoinSet::new();
                for socket in sockets(addresses, *port).await? {
                    let zone = dns::Zone::new(name, addresses);
                    tasks.spawn_local(answer(socket, move |query| zone.answer(query)));
                }
                ready();
                tasks.join_next().await.unwrap_or(Ok(Ok(())))?
            }
        }
    })
}

async fn listen(port: u16) -> io::Result<TcpListener> {
    let at = |e: io::Error| io::Error::new(e.kind(), format!("cannot listen on port {port}: {e}"));
    TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await.map_err(at)
}

/// A socket for each address: an answer must come from the address that was asked.
async fn sockets(addresses: &[IpAddr], port: u16) -> io::Result<Vec<UdpSocket>> {
    let mut sockets = Vec::new();
    for address in addresses {
        let address = SocketAddr::new(*address, port);
        let at =
            |e: io::Error| io::Error::new(e.kind(), format!("cannot listen on {address}: {e}"));
        sockets.push(UdpSocket::bind(address).await.map_err(at)?);
    }
    Ok(sockets)
}

async fn answer(socket: UdpSocket, answer: impl Fn(&[u8]) -> Option<Vec<u8>>) -> io::Result<()> {
    let mut datagram = vec![0; 65_535];
    loop {
        // An ICMP error about an earlier answer is reported here, and is the asker's affair.
        let Ok((len, from)) = socket.recv_from(&mut datagram).await else { continue };
        if let Some(answer) = answer(&datagram[..len]) {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

async fn echo(listener: TcpListener) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        if connections.len() < MAX_CONNECTIONS {
            connections.spawn_local(echo_one(stream));
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn echo_one(mut stream: TcpStream) {
    let mut bytes = vec![0; 16 << 10];
    while let Ok(len @ 1..) = stream.read(&mut bytes).await {
        if stream.write_all(&bytes[..len]).await.is_err() {
            return;
        }
    }
}

fn acceptor(cert: &str, key: &str) -> io::Result<TlsAcceptor> {
    let read = |path: &str| {
        std::fs::read(path)
            .map_err(|e| io::Error::new(e.kind(), format!("cannot read `{path}`: {e}")))
    };
    let (chain, key) = (read(cert)?, read(key)?);
    let pair = PemPair { chain: &chain, key: &key };
    let config = server_config(&[pair], &["http/1.1"]).map_err(io::Error::other)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve_tls(listener: TcpListener, acceptor: TlsAcceptor, name: Rc<str>) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        let (acceptor, name) = (acceptor.clone(), Rc::clone(&name));
        connections.spawn_local(async move {
            // A handshake that fails is the client's affair.
            if let Ok(stream) = acceptor.accept(stream).await {
                web::serve_connection(stream, name).await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
}
