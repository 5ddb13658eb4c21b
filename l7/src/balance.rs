//! Backends from the engine's pools, reached by connections that leave through the engine.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use nat::divert::{LOCAL_V4, LOCAL_V6};
use nat::schedule::Client;
use nat::{BackendId, BackendState, Pool, Scheduler};
use netstack::tcp::{Stack, TcpStream};
use netstack::wire::Address;

use crate::orderly::Orderly;
use crate::socket_options::SocketOptions;
use crate::upstream::{Balance, Connect, Queue, QueueLimits};

/// Connects by user-space TCP; the engine gives the connection its source.
#[derive(Clone, Debug)]
pub struct Userspace {
    stack: Stack,
    options: SocketOptions,
}

impl Userspace {
    /// Connects from `stack`, by the endpoint's defaults.
    pub fn new(stack: Stack) -> Self {
        Self { stack, options: SocketOptions::default() }
    }

    /// The same, with `options` set of each connection.
    #[must_use]
    pub fn with_options(self, options: SocketOptions) -> Self {
        Self { options, ..self }
    }
}

impl Connect for Userspace {
    type Stream = Orderly<TcpStream>;

    async fn connect(&self, backend: SocketAddr) -> io::Result<Self::Stream> {
        let stand_in = match backend {
            SocketAddr::V4(_) => Address::from_v4(LOCAL_V4),
            SocketAddr::V6(_) => Address::from_v6(LOCAL_V6),
        };
        let local = SocketAddr::new(IpAddr::from(stand_in), 0);
        let stream = self.stack.connect(local, backend).await?;
        self.options.set(&stream);
        Ok(Orderly::new(stream))
    }

    fn local_addr(stream: &Self::Stream) -> Option<SocketAddr> {
        stream.get_ref().map(TcpStream::local_addr)
    }
}

/// A pool whose scheduler chooses for each request. What counts as a backend's load is what this service
/// has in progress there: requests in mode `http`, connections in mode `tcp`.
#[derive(Clone, Debug)]
pub struct PoolBalance {
    pool: Rc<RefCell<Pool>>,
    /// How often each backend went out.
    outages: Rc<RefCell<Vec<u32>>>,
    queue: Option<Rc<Queue>>,
    /// Connections on their way to each backend, and how many of them may be, if that is limited.
    connecting: Rc<RefCell<Vec<u32>>>,
    max_connecting: Option<u32>,
    measures: bool,
    stack: Stack,
}

impl PoolBalance {
    /// A balance over `pool`, with the time of `stack`.
    pub fn new(pool: Pool, stack: Stack) -> Self {
        let measures = pool.scheduler() == Scheduler::Ewma;
        let outages = Rc::new(RefCell::new(vec![0; pool.backends().len()]));
        let connecting = Rc::default();
        let pool = Rc::new(RefCell::new(pool));
        Self { pool, outages, queue: None, connecting, max_connecting: None, measures, stack }
    }

    /// The same, with no more than so many connections on their way to a backend at once.
    #[must_use]
    pub const fn with_max_connecting(mut self, most: Option<u32>) -> Self {
        self.max_connecting = most;
        self
    }

    /// The same, with requests waiting while every backend is at its limit.
    #[must_use]
    pub fn with_queue(mut self, limits: Option<QueueLimits>) -> Self {
        self.queue = limits.map(|limits| Rc::new(Queue::new(limits)));
        self
    }

    /// Sets what an operator or a health check says of a backend.
    pub fn set_state(&self, backend: BackendId, state: BackendState) {
        self.pool.borrow_mut().set_state(self.now(), backend, state);
        // One that drains finishes what it has, and is asked for nothing more over kept connections.
        if matches!(state, BackendState::Down | BackendState::Maint | BackendState::Drain) {
            self.note_outage(backend);
        }
        self.serve_queue(usize::MAX);
    }

    /// Those of `skip`, and those to which as many connections are on their way as may be.
    fn swamped(&self, most: u32, skip: &[usize]) -> Vec<BackendId> {
        let connecting = self.connecting.borrow();
        let swamped = (0..).zip(connecting.iter()).filter(|(_, count)| **count >= most);
        let mut swamped: Vec<_> = swamped.map(|(backend, _)| BackendId(backend)).collect();
        swamped.extend(ids(skip));
        swamped
    }

    /// Gives free places to requests that wait.
    fn serve_queue(&self, places: usize) {
        if let Some(queue) = self.queue.as_ref().filter(|queue| !queue.is_empty()) {
            queue.serve(places, |client, skip| self.choose(client, skip));
        }
    }

    fn note_answer(&self, backend: BackendId, good: bool) {
        let mut pool = self.pool.borrow_mut();
        let now = self.now();
        pool.connect_succeeded(now, backend);
        pool.answered(now, backend, good);
    }

    fn note_outage(&self, backend: BackendId) {
        if let Some(outages) = self.outages.borrow_mut().get_mut(usize::from(backend.0)) {
            *outages = outages.wrapping_add(1);
        }
    }

    fn now(&self) -> netstack::Instant {
        self.stack.with(|endpoint| endpoint.now())
    }
}

impl Balance for PoolBalance {
    fn choose(&self, client: SocketAddr, skip: &[usize]) -> Option<(usize, SocketAddr)> {
        let asking = Client { address: client.ip().into(), port: client.port() };
        let mut pool = self.pool.borrow_mut();
        let id = match self.max_connecting {
            None => pool.choose(self.now(), asking, &ids(skip)),
            Some(most) => pool.choose(self.now(), asking, &self.swamped(most, skip)),
        };
        let id = id.ok()?;
        let address = pool.backend(id)?.config.address;
        pool.flow_opened(id);
        Some((usize::from(id.0), address))
    }

    fn prefer(&self, backend: usize) -> Option<(usize, SocketAddr)> {
        let (now, id) = (self.now(), BackendId(u16::try_from(backend).ok()?));
        let mut pool = self.pool.borrow_mut();
        let address = pool.backend(id)?.config.address;
        if !pool.prefer(now, id) {
            return None;
        }
        pool.flow_opened(id);
        Some((backend, address))
    }

    fn failed(&self, backend: usize) {
        let (now, id) = (self.now(), id(backend));
        let mut pool = self.pool.borrow_mut();
        let is_ejected = |pool: &Pool| pool.backend(id).is_some_and(|b| b.is_ejected(now));
        let was_ejected = is_ejected(&pool);
        pool.connect_failed(now, id);
        if is_ejected(&pool) && !was_ejected {
            self.note_outage(id);
        }
    }

    fn succeeded(&self, backend: usize) {
        self.note_answer(id(backend), true);
    }

    fn erred(&self, backend: usize) {
        self.note_answer(id(backend), false);
    }

    fn measures(&self) -> bool {
        self.measures
    }

    fn outages(&self, backend: usize) -> u32 {
        self.outages.borrow().get(backend).copied().unwrap_or_default()
    }

    fn answered(&self, backend: usize, latency: Duration) {
        self.pool.borrow_mut().observe(self.now(), id(backend), latency);
    }

    fn is_full(&self, skip: &[usize]) -> bool {
        self.pool.borrow().has_full(&ids(skip))
    }

    fn queue(&self) -> Option<&Queue> {
        self.queue.as_deref()
    }

    fn connecting(&self, backend: usize, begins: bool) {
        if self.max_connecting.is_none() {
            return;
        }
        let mut connecting = self.connecting.borrow_mut();
        if connecting.len() <= backend {
            connecting.resize(backend + 1, 0);
        }
        if let Some(count) = connecting.get_mut(backend) {
            *count = if begins { count.saturating_add(1) } else { count.saturating_sub(1) };
        }
        drop(connecting);
        if !begins {
            self.serve_queue(1);
        }
    }

    fn is_swamped(&self, skip: &[usize]) -> bool {
        let connecting = self.connecting.borrow();
        let mut swamped = (0..).zip(connecting.iter()).filter(|(n, count)| {
            self.max_connecting.is_some_and(|most| **count >= most) && !skip.contains(n)
        });
        swamped.any(|(n, _)| self.pool.borrow().is_eligible(id(n)))
    }

    fn keeps(&self, backend: usize) -> bool {
        let pool = self.pool.borrow();
        pool.backend(id(backend)).is_some_and(|backend| backend.state != BackendState::Drain)
    }

    fn serving(&self) -> Vec<(usize, SocketAddr)> {
        let pool = self.pool.borrow();
        let backends = (0..).zip(pool.backends());
        let serving = backends.filter(|(n, _)| pool.is_eligible(id(*n)));
        serving.map(|(n, backend)| (n, backend.config.address)).collect()
    }

    fn released(&self, backend: usize) {
        self.pool.borrow_mut().flow_closed(id(backend));
        self.serve_queue(1);
    }
}

const fn id(backend: usize) -> BackendId {
    BackendId(backend as u16)
}

fn ids(backends: &[usize]) -> Vec<BackendId> {
    backends.iter().copied().map(id).collect()
}

#[cfg(test)]
mod tests {
    use nat::{BackendConfig, EjectionConfig, PoolConfig};
    use netstack::tcp::{Endpoint, EndpointConfig};

    use super::*;

    fn balance(scheduler: Scheduler, most: Option<u32>) -> PoolBalance {
        let backends = (0..2).map(|n| {
            let name = format!("web{n}");
            let config = BackendConfig::new(name, ([10, 2, 0, n], 80).into());
            BackendConfig { max_connections: most, ..config }
        });
        let config = PoolConfig { scheduler, ..PoolConfig::new("web", backends.collect()) };
        let stack = Stack::new(Endpoint::new(EndpointConfig::new([1, 2])));
        PoolBalance::new(Pool::new(config, 1), stack)
    }

    fn choose(balance: &PoolBalance) -> Option<usize> {
        balance.choose(([10, 1, 0, 5], 4000).into(), &[]).map(|(backend, _)| backend)
    }

    #[test]
    fn what_is_in_progress_is_a_backends_load() {
        let balance = balance(Scheduler::LeastConnections, None);
        assert_eq!((choose(&balance), choose(&balance)), (Some(0), Some(1)));
        for backend in [1, 0, 0, 1] {
            balance.released(backend);
            assert_eq!(choose(&balance), Some(backend));
        }
    }

    #[test]
    fn at_their_limits_backends_take_nothing_until_something_ends() {
        let balance = balance(Scheduler::RoundRobin, Some(1));
        assert_eq!((choose(&balance), choose(&balance)), (Some(0), Some(1)));
        assert_eq!(choose(&balance), None);
        balance.released(1);
        assert_eq!(choose(&balance), Some(1));
    }

    #[test]
    fn a_backend_that_drains_keeps_no_connection() {
        let balance = balance(Scheduler::RoundRobin, None);
        assert!(balance.keeps(1) && balance.outages(1) == 0);
        balance.set_state(BackendId(1), BackendState::Drain);
        assert!(!balance.keeps(1) && balance.keeps(0));
        assert_eq!(balance.outages(1), 1, "those that it has go");
        balance.set_state(BackendId(1), BackendState::Ready);
        assert!(balance.keeps(1));
    }

    #[test]
    fn what_a_backend_answers_can_eject_it() {
        let backends =
            (0..2).map(|n| BackendConfig::new(format!("web{n}"), ([10, 2, 0, n], 80).into()));
        let ejection = EjectionConfig { errors: Some(2), ..EjectionConfig::default() };
        let config = PoolConfig { ejection, ..PoolConfig::new("web", backends.collect()) };
        let stack = Stack::new(Endpoint::new(EndpointConfig::new([1, 2])));
        let balance = PoolBalance::new(Pool::new(config, 1), stack);
        balance.erred(0);
        balance.succeeded(0);
        balance.erred(0);
        assert_eq!((choose(&balance), choose(&balance)), (Some(0), Some(1)));
        balance.erred(0);
        assert_eq!((choose(&balance), choose(&balance)), (Some(1), Some(1)));
        assert_eq!(balance.outages(0), 0, "its connections are good");
    }

    #[test]
    fn a_backend_that_goes_out_has_an_outage() {
        let balance = balance(Scheduler::RoundRobin, None);
        let id = BackendId(1);
        for (state, outages) in [
            (BackendState::Down, 1),
            (BackendState::Ready, 1),
            (BackendState::Maint, 2),
            (BackendState::Ready, 2),
        ] {
            balance.set_state(id, state);
            assert_eq!(balance.outages(1), outages, "{state:?}");
        }
        for (failures, outages) in [(1, 2), (2, 2), (3, 3), (4, 3)] {
            balance.failed(1);
            assert_eq!(balance.outages(1), outages, "{failures} failures in a row");
        }
        assert_eq!((balance.outages(0), balance.outages(9)), (0, 0));
    }

    #[test]
    fn latency_counts_for_the_scheduler_that_asks_for_it() {
        assert!(!balance(Scheduler::P2c, None).measures());
        let balance = balance(Scheduler::Ewma, None);
        assert!(balance.measures());
        balance.answered(0, Duration::from_millis(100));
        balance.answered(1, Duration::from_millis(1));
        for _ in 0..20 {
            assert_eq!(choose(&balance), Some(1));
            balance.released(1);
        }
    }
}
