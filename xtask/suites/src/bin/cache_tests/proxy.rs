//! The proxy with a cache, between sockets of loopback.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use l7::cache::{Cache, Cached, Policy};
use l7::route::{Action, Route, Routes};
use l7::upstream::{Balance, Connect};
use l7::{Config, Service};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

/// As `docs/cache.md` has it for the suite.
fn policy() -> Policy {
    let mut policy = Policy::new(64 << 20);
    policy.cookies = true;
    policy.stale_if_error = Duration::from_secs(3600);
    policy
}

/// Forwards what comes to `listener` to `backend`, as long as the process lives.
pub fn serve(listener: std::net::TcpListener, backend: SocketAddr) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    LocalSet::new().block_on(&runtime, async move {
        listener.set_nonblocking(true).expect("a socket that need not block");
        let listener = TcpListener::from_std(listener).expect("a runtime with sockets");
        let address = listener.local_addr().expect("a bound socket");
        let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let cache = Cache::new(policy(), 1, Rc::new(clock));
        let cached = Some(Cached { cache, route: 0, authorised: false });
        let routes = Routes::new(vec![Route::new(Action::To(0))], None).with_caches(vec![cached]);
        let config = Config { smuggling_proof: true, ..Config::default() };
        let service = Service::new(Sockets, Rc::new(One(backend)), config);
        let service = Rc::new(service.with_routes(routes));
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
