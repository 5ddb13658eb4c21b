//! Backends from the engine's pools, reached by connections that leave through the engine.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use nat::divert::{LOCAL_V4, LOCAL_V6};
use nat::schedule::Client;
use nat::{BackendId, BackendState, Pool};
use netstack::tcp::{Stack, TcpStream};
use netstack::wire::Address;

use crate::orderly::Orderly;
use crate::upstream::{Balance, Connect};

/// Connects by user-space TCP; the engine gives the connection its source.
#[derive(Clone, Debug)]
pub struct Userspace(pub Stack);

impl Connect for Userspace {
    type Stream = Orderly<TcpStream>;

    async fn connect(&self, backend: SocketAddr) -> io::Result<Self::Stream> {
        let stand_in = match backend {
            SocketAddr::V4(_) => Address::from_v4(LOCAL_V4),
            SocketAddr::V6(_) => Address::from_v6(LOCAL_V6),
        };
        let local = SocketAddr::new(IpAddr::from(stand_in), 0);
        self.0.connect(local, backend).await.map(Orderly::new)
    }
}

/// A pool whose scheduler chooses for each request.
#[derive(Clone, Debug)]
pub struct PoolBalance {
    pool: Rc<RefCell<Pool>>,
    stack: Stack,
}

impl PoolBalance {
    /// A balance over `pool`, with the time of `stack`.
    pub fn new(pool: Pool, stack: Stack) -> Self {
        Self { pool: Rc::new(RefCell::new(pool)), stack }
    }

    /// Sets what an operator or a health check says of a backend.
    pub fn set_state(&self, backend: BackendId, state: BackendState) {
        self.pool.borrow_mut().set_state(self.now(), backend, state);
    }

    fn now(&self) -> netstack::Instant {
        self.stack.with(|endpoint| endpoint.now())
    }
}

impl Balance for PoolBalance {
    fn choose(&self, client: SocketAddr, skip: &[usize]) -> Option<(usize, SocketAddr)> {
        let asking = Client { address: client.ip().into(), port: client.port() };
        let skip: Vec<_> = skip.iter().map(|&i| BackendId(i as u16)).collect();
        let mut pool = self.pool.borrow_mut();
        let id = pool.choose(self.now(), asking, &skip)?;
        Some((usize::from(id.0), pool.backend(id)?.config.address))
    }

    fn failed(&self, backend: usize) {
        self.pool.borrow_mut().connect_failed(self.now(), BackendId(backend as u16));
    }

    fn succeeded(&self, backend: usize) {
        self.pool.borrow_mut().connect_succeeded(self.now(), BackendId(backend as u16));
    }
}
