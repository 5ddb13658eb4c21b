//! The end of diverted flows: a user-space TCP endpoint with the proxy's tasks on top.
//!
//! # Theory of operation
//!
//! [`Proxy`] is the [`Divert`] of services in modes `http` and `tcp`. Packets go into the
//! [`Stack`]; when a connection is established, a task is spawned for it on a [`LocalSet`] that this
//! module polls by itself, so that it knows when every task waits for something. [`Divert::poll`]
//! runs the tasks until none can go on, and only then are segments taken out of the stack: an answer
//! carries the acknowledgment of what it answers.
//!
//! A task that is woken from elsewhere, by a timer or a kernel socket, wakes whoever called
//! [`Proxy::poll_wake`].

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use nat::health::{Change, Failure, Order, Outcome, Ticket};
use nat::verdict::DivertTo;
use nat::{Divert, PanicChange, Pool};
use netstack::tcp::{Stack, TcpStream};
use netstack::wire::Headers;
use netstack::{Instant, Packet};
use tokio::task::LocalSet;

use crate::cache::Caches;
use crate::health::Checks;
use crate::transaction::Watch;

/// Who takes an established connection of a service: spawns what serves it.
pub type Acceptor = Rc<dyn Fn(TcpStream, SocketAddr, SocketAddr)>;

/// Rounds of tasks in one poll, after which the rest waits for the next: tasks that keep waking each
/// other must not keep packets waiting.
const MAX_ROUNDS: usize = 64;

/// The end of diverted flows (see the module's theory of operation).
pub struct Proxy {
    stack: Stack,
    tasks: LocalSet,
    wake: Arc<TaskWake>,
    checks: Checks,
    watch: Option<Rc<Watch>>,
    caches: Option<Rc<Caches>>,
    /// Probes that are done and not yet fetched: no more than are under way.
    probed: Rc<RefCell<VecDeque<(Ticket, Outcome)>>>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").finish_non_exhaustive()
    }
}

impl Proxy {
    /// A proxy over `stack`. `acceptors` are indexed by service number; a connection of a service that
    /// has none is reset.
    pub fn new(stack: Stack, acceptors: Vec<Option<Acceptor>>) -> Self {
        let tasks = LocalSet::new();
        tasks.spawn_local(accept(stack.clone(), acceptors));
        let (checks, probed) = (Checks::default(), Rc::default());
        Self { stack, tasks, wake: Arc::default(), checks, watch: None, caches: None, probed }
    }

    /// Lets it take part in the checks of backends.
    #[must_use]
    pub fn with_checks(mut self, checks: Checks) -> Self {
        self.checks = checks;
        self
    }

    /// Lets its services tell of their requests.
    #[must_use]
    pub fn with_watch(mut self, watch: Rc<Watch>) -> Self {
        self.watch = Some(watch);
        self
    }

    /// The same, whose services keep answers in `caches`.
    #[must_use]
    pub fn with_caches(mut self, caches: Rc<Caches>) -> Self {
        self.caches = Some(caches);
        self
    }

    /// Where its services keep answers.
    pub const fn caches(&self) -> Option<&Rc<Caches>> {
        self.caches.as_ref()
    }

    /// What its services tell of their requests.
    pub const fn watch(&self) -> Option<&Rc<Watch>> {
        self.watch.as_ref()
    }

    /// The TCP stack under it.
    pub const fn stack(&self) -> &Stack {
        &self.stack
    }

    /// Runs `future` beside the proxy's own tasks.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.tasks.spawn_local(future);
    }

    /// Ready if a task waits to be run; otherwise the context's waker is woken when one does.
    pub fn poll_wake(&self, cx: &Context<'_>) -> Poll<()> {
        self.wake.register(cx.waker());
        if self.wake.woken.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}

async fn accept(stack: Stack, acceptors: Vec<Option<Acceptor>>) {
    loop {
        let (stream, tag) = stack.accept().await;
        let acceptor = usize::try_from(tag).ok().and_then(|tag| acceptors.get(tag)?.as_ref());
        match acceptor {
            Some(acceptor) => {
                let (peer, local) = (stream.peer_addr(), stream.local_addr());
                acceptor(stream, peer, local);
            }
            None => stream.abort(),
        }
    }
}

impl Divert for Proxy {
    fn handle_packet(&mut self, now: Instant, to: DivertTo, packet: &Packet, headers: &Headers) {
        let tag = match to {
            DivertTo::Service(service) => u32::from(service.0),
            // Nobody listens for what backends open; the engine lets only answers through.
            DivertTo::Upstream => u32::MAX,
        };
        // The endpoint counts what it drops.
        let _ = self.stack.with(|endpoint| endpoint.handle_packet(now, packet, headers, tag));
    }

    fn poll(&mut self, now: Instant) {
        self.stack.with(|endpoint| endpoint.handle_timeout(now));
        let waker = Waker::from(self.wake.clone());
        let mut cx = Context::from_waker(&waker);
        for _ in 0..MAX_ROUNDS {
            self.wake.woken.store(false, Ordering::Release);
            let _ = Pin::new(&mut self.tasks).poll(&mut cx);
            if !self.wake.woken.load(Ordering::Acquire) {
                break;
            }
        }
    }

    fn poll_transmit(&mut self, now: Instant, packet: &mut Packet) -> bool {
        self.stack.with(|endpoint| endpoint.poll_transmit(now, packet))
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.stack.with(|endpoint| endpoint.poll_timeout())
    }

    fn probe(&mut self, order: Order) {
        let Order { ticket, address, timeout } = order;
        let prober = self.checks.probers.get(usize::from(ticket.pool.0));
        let Some(Some(prober)) = prober else { return };
        let (asked, probed) = (prober(address), Rc::clone(&self.probed));
        self.tasks.spawn_local(async move {
            let outcome = tokio::time::timeout(timeout, asked).await;
            let outcome = outcome.unwrap_or(Outcome::Failed(Failure::TimedOut));
            probed.borrow_mut().push_back((ticket, outcome));
        });
    }

    fn poll_probe(&mut self) -> Option<(Ticket, Outcome)> {
        self.probed.borrow_mut().pop_front()
    }

    fn backend_changed(&mut self, change: &Change, pool: &Pool) {
        for (_, balance) in self.checks.balances.iter().filter(|(id, _)| *id == change.pool) {
            balance.set_state(change.backend, change.to);
        }
        if let Some(observer) = &self.checks.observer {
            observer(change, pool);
        }
    }

    fn pool_panics(&mut self, change: &PanicChange, pool: &Pool) {
        if let Some(observer) = &self.checks.panic_observer {
            observer(change, pool);
        }
    }
}

/// Says whether a task was woken, and passes the news on.
#[derive(Debug)]
struct TaskWake {
    woken: AtomicBool,
    outer: Mutex<Option<Waker>>,
}

impl Default for TaskWake {
    /// Woken: tasks that were just spawned wait for their first run.
    fn default() -> Self {
        Self { woken: AtomicBool::new(true), outer: Mutex::new(None) }
    }
}

impl TaskWake {
    fn register(&self, waker: &Waker) {
        if let Ok(mut outer) = self.outer.lock() {
            match outer.as_mut() {
                Some(outer) => outer.clone_from(waker),
                None => *outer = Some(waker.clone()),
            }
        }
    }
}

impl Wake for TaskWake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.woken.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Ok(outer) = self.outer.lock()
            && let Some(waker) = outer.as_ref()
        {
            waker.wake_by_ref();
        }
    }
}
