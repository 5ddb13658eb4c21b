//! Idle connections to backends.
//!
//! # Theory of operation
//! A stack for each backend: the connection used last is taken first, so that the others age and go.
//! Nothing may arrive on an idle connection. When one is taken it is read once: an end or a byte
//! means that it is thrown away, never used, and never taken for the response to a request that it
//! has not seen (R16). Between uses nobody waits on the connections, which would cost every request
//! a wake-up; a sweep looks at all of them once a second, as long as there are any.
//!
//! A backend that falls silent ends nothing: a request on a connection to it would wait for an answer as
//! long as for one that takes its time. So when it is found to be out, all connections that are older
//! than that go: idle ones with the next sweep or use, and those in use when they come back. While a
//! backend drains, none is kept either.
//!
//! Each connection carries its [`History`]: one that is old enough, or has served often enough, is
//! closed rather than kept, so that backends that are added or moved get their share.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::Balance;
use crate::limits::SWEEP_INTERVAL;

/// Which connections are kept, how many, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Idle connections to each backend; one more drops the oldest. Zero keeps none. Default 256.
    pub idle_per_backend: usize,
    /// How long one may be idle. Shorter than the backends' own limit, or requests meet closing
    /// connections. Default 30 s.
    pub idle_lifetime: Duration,
    /// Age at which one serves no further request; none is any age, the default.
    pub lifetime: Option<Duration>,
    /// Requests that one serves; none is any number, the default.
    pub requests: Option<u32>,
    /// Idle connections that are kept open to each backend which may serve, made ahead of requests; at
    /// most `idle_per_backend`. Default 0.
    pub warm: usize,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            idle_per_backend: 256,
            idle_lifetime: Duration::from_secs(30),
            lifetime: None,
            requests: None,
            warm: 0,
        }
    }
}

/// What a connection to a backend has been used for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct History {
    /// When it was made.
    born: Instant,
    /// Requests that it was taken for.
    uses: u32,
    /// It has been idle, so that the backend may have closed it meanwhile.
    pub(crate) kept: bool,
    /// The first byte that the backend sent while nobody had asked, if that is allowed.
    pub(crate) early: Option<u8>,
}

impl History {
    /// Of a connection that was just made, for a request.
    pub(crate) fn new() -> Self {
        Self { born: Instant::now(), uses: 1, kept: false, early: None }
    }

    /// Of a connection that was just made, ahead of requests.
    pub(crate) fn unused() -> Self {
        Self { uses: 0, ..Self::new() }
    }
}

struct Idle<T> {
    stream: T,
    since: Instant,
    history: History,
}

struct Stack<T> {
    /// The address that the connections lead to: after a reload an index may mean another backend.
    address: SocketAddr,
    /// How often the backend had been out when they were made.
    outages: u32,
    idle: std::collections::VecDeque<Idle<T>>,
}

impl<T: AsyncWrite + Unpin> Stack<T> {
    /// Drops all if the backend has been out since.
    fn outlive(&mut self, outages: u32) {
        if self.outages != outages {
            self.outages = outages;
            self.idle.drain(..).for_each(|idle| super::close(idle.stream));
        }
    }
}

/// The idle connections to the backends of one pool, for all services of a worker that reach them in the
/// same way.
pub struct Pool<T> {
    /// By the backend's index.
    stacks: RefCell<Vec<Option<Stack<T>>>>,
    limits: PoolLimits,
    balance: Rc<dyn Balance>,
    sweeping: Cell<bool>,
    /// Backends may speak first: what they say is for the next client.
    greets: bool,
}

impl<T> fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + 'static> Pool<T> {
    /// No connections yet, to backends that `balance` knows.
    pub fn new(limits: PoolLimits, balance: Rc<dyn Balance>) -> Rc<Self> {
        Self::make(limits, balance, false)
    }

    /// The same for protocols in which a backend may speak first.
    pub fn greeting(limits: PoolLimits, balance: Rc<dyn Balance>) -> Rc<Self> {
        Self::make(limits, balance, true)
    }

    fn make(limits: PoolLimits, balance: Rc<dyn Balance>, greets: bool) -> Rc<Self> {
        let (stacks, sweeping) = (RefCell::default(), Cell::new(false));
        Rc::new(Self { stacks, limits, balance, sweeping, greets })
    }

    pub(crate) fn balance(&self) -> &Rc<dyn Balance> {
        &self.balance
    }

    /// True if backends may speak first.
    pub(crate) const fn greets(&self) -> bool {
        self.greets
    }

    pub(crate) const fn limits(&self) -> &PoolLimits {
        &self.limits
    }

    /// The connection to `backend` that was used last and is still good.
    pub(crate) fn take(&self, backend: usize, address: SocketAddr) -> Option<(T, History)> {
        let mut stacks = self.stacks.borrow_mut();
        let stack = stacks.get_mut(backend)?.as_mut().filter(|stack| stack.address == address)?;
        if stack.idle.is_empty() {
            return None;
        }
        stack.outlive(self.balance.outages(backend));
        let now = Instant::now();
        while let Some(mut idle) = stack.idle.pop_back() {
            if self.usable(&mut idle, now) {
                let uses = idle.history.uses.saturating_add(1);
                return Some((idle.stream, History { uses, kept: true, ..idle.history }));
            }
            super::close(idle.stream);
        }
        None
    }

    /// Keeps `stream` for later, unless it is worn out, or the backend drains or was out after it had
    /// been out `outages` times. Must be called within a `LocalSet`, which runs the sweep.
    pub(crate) fn put(
        self: &Rc<Self>,
        backend: usize,
        address: SocketAddr,
        outages: u32,
        (stream, history): (T, History),
    ) {
        let PoolLimits { idle_per_backend, requests, .. } = self.limits;
        if idle_per_backend == 0
            || requests.is_some_and(|most| history.uses >= most)
            || self.balance.outages(backend) != outages
            || !self.balance.keeps(backend)
        {
            return super::close(stream);
        }
        let mut stacks = self.stacks.borrow_mut();
        if stacks.len() <= backend {
            stacks.resize_with(backend + 1, || None);
        }
        let Some(slot) = stacks.get_mut(backend) else { return };
        let stack = match slot {
            Some(stack) if stack.address == address => stack,
            _ => slot.insert(Stack { address, outages, idle: std::collections::VecDeque::new() }),
        };
        stack.outlive(outages);
        if stack.idle.len() >= idle_per_backend {
            stack.idle.pop_front().into_iter().for_each(|oldest| super::close(oldest.stream));
        }
        stack.idle.push_back(Idle { stream, since: Instant::now(), history });
        if !self.sweeping.replace(true) {
            tokio::task::spawn_local(sweep_while_in_use(Rc::downgrade(self)));
        }
    }

    /// Ends all connections that are idle, in order.
    pub(crate) fn clear(&self) {
        for stack in self.stacks.borrow_mut().iter_mut().flatten() {
            stack.idle.drain(..).for_each(|idle| super::close(idle.stream));
        }
    }

    /// How many connections to `backend` are idle.
    pub(crate) fn idle(&self, backend: usize) -> usize {
        let stacks = self.stacks.borrow();
        stacks.get(backend).and_then(Option::as_ref).map_or(0, |stack| stack.idle.len())
    }

    /// Drops what has ended, spoken or aged, or whose backend was out. Whether any are left.
    fn sweep(&self) -> bool {
        let now = Instant::now();
        let mut left = false;
        for (backend, stack) in self.stacks.borrow_mut().iter_mut().enumerate() {
            let Some(stack) = stack else { continue };
            stack.outlive(self.balance.outages(backend));
            stack.idle.retain_mut(|idle| {
                let usable = self.usable(idle, now);
                if !usable {
                    super::close(&mut idle.stream);
                }
                usable
            });
            left |= !stack.idle.is_empty();
        }
        left
    }

    fn usable(&self, idle: &mut Idle<T>, now: Instant) -> bool {
        let is_old = |since, most| now.saturating_duration_since(since) >= most;
        if is_old(idle.since, self.limits.idle_lifetime)
            || self.limits.lifetime.is_some_and(|most| is_old(idle.history.born, most))
        {
            return false;
        }
        // Whoever has greeted is not read further: the rest is for whom it is meant.
        idle.history.early.is_some() || self.is_quiet(idle)
    }

    /// False if the connection has ended, or its backend has spoken though that is not allowed.
    fn is_quiet(&self, idle: &mut Idle<T>) -> bool {
        let mut byte = [0];
        let mut target = ReadBuf::new(&mut byte);
        let mut cx = Context::from_waker(Waker::noop());
        match Pin::new(&mut idle.stream).poll_read(&mut cx, &mut target) {
            Poll::Pending => true,
            Poll::Ready(Ok(())) if self.greets => {
                idle.history.early = target.filled().first().copied();
                idle.history.early.is_some()
            }
            Poll::Ready(_) => false,
        }
    }
}

async fn sweep_while_in_use<T: AsyncRead + AsyncWrite + Unpin + 'static>(pool: Weak<Pool<T>>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        let Some(pool) = pool.upgrade() else { return };
        if !pool.sweep() {
            pool.sweeping.set(false);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
    use tokio::task::LocalSet;

    use super::*;

    fn address(port: u16) -> SocketAddr {
        ([10, 2, 0, 11], port).into()
    }

    /// Nobody, who was never out.
    struct Nobody;

    impl Balance for Nobody {
        fn choose(&self, _: SocketAddr, _: &[usize]) -> Option<(usize, SocketAddr)> {
            None
        }

        fn failed(&self, _: usize) {}

        fn succeeded(&self, _: usize) {}
    }

    fn pool(limits: PoolLimits) -> Rc<Pool<DuplexStream>> {
        Pool::new(limits, Rc::new(Nobody))
    }

    fn fresh(stream: DuplexStream) -> (DuplexStream, History) {
        (stream, History::new())
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_used_comes_first_and_the_oldest_is_dropped_at_the_limit() {
        LocalSet::new()
            .run_until(async {
                let pool = pool(PoolLimits { idle_per_backend: 2, ..PoolLimits::default() });
                let mut far = Vec::new();
                for _ in 0..3 {
                    let (near, other) = duplex(64);
                    far.push(other);
                    pool.put(0, address(1), 0, fresh(near));
                }
                assert_eq!(pool.idle(0), 2);
                assert!(far[0].write_all(b"x").await.is_err(), "the oldest is gone");
                let (mut last, _) = pool.take(0, address(1)).unwrap();
                last.write_all(b"last").await.unwrap();
                let mut seen = [0; 4];
                tokio::io::AsyncReadExt::read_exact(&mut far[2], &mut seen).await.unwrap();
                assert_eq!(&seen, b"last");
                assert!(pool.take(0, address(2)).is_none(), "another address");
                assert!(pool.take(1, address(1)).is_none(), "another backend");
                assert!(pool.take(0, address(1)).is_some());
                assert!(pool.take(0, address(1)).is_none());
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn r16_an_idle_connection_that_speaks_or_ends_is_never_used() {
        LocalSet::new()
            .run_until(async {
                let pool = pool(PoolLimits::default());
                let (near, mut speaks) = duplex(64);
                pool.put(0, address(1), 0, fresh(near));
                speaks.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
                let (near, ends) = duplex(64);
                pool.put(0, address(1), 0, fresh(near));
                drop(ends);
                assert!(pool.take(0, address(1)).is_none());
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_sweep_drops_the_ended_within_a_second_and_the_old_at_their_age() {
        LocalSet::new()
            .run_until(async {
                let pool = pool(PoolLimits::default());
                let (near, ends) = duplex(64);
                let (other, _stays) = duplex(64);
                pool.put(0, address(1), 0, fresh(near));
                pool.put(1, address(2), 0, fresh(other));
                drop(ends);
                tokio::time::sleep(SWEEP_INTERVAL + Duration::from_millis(1)).await;
                assert_eq!((pool.idle(0), pool.idle(1)), (0, 1));
                tokio::time::sleep(pool.limits.idle_lifetime).await;
                assert_eq!(pool.idle(1), 0);
                assert!(!pool.sweeping.get(), "nothing left to watch");
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn age_counts_even_between_sweeps() {
        LocalSet::new()
            .run_until(async {
                let limits = PoolLimits {
                    idle_lifetime: Duration::from_millis(10),
                    ..PoolLimits::default()
                };
                let pool = pool(limits);
                let (near, _far) = duplex(64);
                pool.put(0, address(1), 0, fresh(near));
                tokio::time::sleep(Duration::from_millis(10)).await;
                assert!(pool.take(0, address(1)).is_none());
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_old_or_has_served_enough_is_not_kept() {
        LocalSet::new()
            .run_until(async {
                let lifetime = Duration::from_secs(20);
                let limits = PoolLimits {
                    lifetime: Some(lifetime),
                    requests: Some(2),
                    ..PoolLimits::default()
                };
                let pool = pool(limits);
                let (near, _far) = duplex(64);
                pool.put(0, address(1), 0, fresh(near));
                let again = pool.take(0, address(1)).unwrap();
                pool.put(0, address(1), 0, again);
                assert_eq!(pool.idle(0), 0, "two requests are what one serves");
                let (near, _far) = duplex(64);
                pool.put(0, address(1), 0, fresh(near));
                tokio::time::sleep(lifetime + SWEEP_INTERVAL).await;
                assert_eq!(pool.idle(0), 0, "the sweep looks at the age");
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn where_backends_greet_the_greeting_goes_with_the_connection() {
        LocalSet::new()
            .run_until(async {
                let pool = Pool::greeting(PoolLimits::default(), Rc::new(Nobody));
                let (near, mut greets) = duplex(64);
                pool.put(0, address(1), 0, fresh(near));
                greets.write_all(b"220 ready\r\n").await.unwrap();
                tokio::time::sleep(3 * SWEEP_INTERVAL).await;
                let (mut stream, history) = pool.take(0, address(1)).unwrap();
                assert_eq!(history.early, Some(b'2'));
                let mut rest = [0; 10];
                tokio::io::AsyncReadExt::read_exact(&mut stream, &mut rest).await.unwrap();
                assert_eq!(&rest, b"20 ready\r\n");
            })
            .await;
    }
}
