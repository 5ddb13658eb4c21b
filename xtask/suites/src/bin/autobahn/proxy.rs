//! The proxy, between sockets of loopback.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use l7::upstream::{Balance, Connect};
use l7::{Config, Service};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

/// Forwards what comes to `listener` to `backend`, as long as the process lives.
pub fn serve(listener: std::net::TcpListener, backend: SocketAddr) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    LocalSet::new().block_on(&runtime, async move {
        listener.set_nonblocking(true).expect("a socket that need not block");
        let listener = TcpListener::from_std(listener).expect("a runtime with sockets");
        let address = listener.local_addr().expect("a bound socket");
        let config = Config { smuggling_proof: true, ..Config::default() };
        let service = Rc::new(Service::new(Sockets, Rc::new(One(backend)), config));
        loop {
            let Ok((stream, peer)) = listener.accept().await else { continue };
            let _ = stream.set_nodelay(true);
            spawn_local(l7::serve(stream, peer, address, false, Rc::clone(&service)));
        }
    });
}

struct One(SocketAddr);

impl Balance for One {
    fn choose(&self, _: SocketAddr, skip: &[usize]) -> Option<(usize, SocketAddr)> {
        skip.is_empty().then_some((0, self.0))
    }

    fn failed(&self, _: usize) {}

    fn succeeded(&self, _: usize) {}
}

struct Sockets;

impl Connect for Sockets {
    type Stream = TcpStream;

    async fn connect(&self, backend: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(backend).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
