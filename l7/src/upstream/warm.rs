//! Idle connections made ahead of requests.
//!
//! # Theory of operation
//! Ten times a second every backend that may serve is looked at; as many connections as it lacks are
//! begun, but no more than a tenth of those wanted, so that all are there after about a second and a
//! backend that returns is not met by a crowd. A failed attempt makes the next wait, for longer
//! each time; it is nobody's failure, since no request has asked for it. What becomes of a connection
//! once it is there is the pool's matter: those that age go and are replaced.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};

use tokio::time::{Instant, timeout};

use super::Connect;
use super::pool::{History, Pool};
use crate::limits::{WARM_INTERVAL, WARM_PATIENCE, WARM_STEPS};
use crate::timeouts::Timeouts;

/// Keeps as many connections to each backend idle as the pool's limits say, until the pool is gone.
/// Must run within a `LocalSet`. Of `timeouts` it uses `connect` and `handshake`.
pub async fn keep_warm<C: Connect>(connector: C, pool: Weak<Pool<C::Stream>>, timeouts: Timeouts) {
    let connector = Rc::new(connector);
    let states = Rc::new(RefCell::new(HashMap::<usize, State>::new()));
    loop {
        let Some(pool) = pool.upgrade() else { return };
        let now = Instant::now();
        let warm = pool.limits().warm.min(pool.limits().idle_per_backend);
        for (backend, address) in pool.balance().serving() {
            let count = {
                let mut states = states.borrow_mut();
                let state = states.entry(backend).or_default();
                let lacks = warm.saturating_sub(pool.idle(backend) + state.opening);
                if lacks == 0 || state.not_before.is_some_and(|at| now < at) {
                    continue;
                }
                let count = lacks.min(warm.div_ceil(WARM_STEPS));
                state.opening += count;
                count
            };
            for _ in 0..count {
                let (connector, pool) = (Rc::clone(&connector), Rc::downgrade(&pool));
                let attempt = Attempt { backend, states: Rc::clone(&states) };
                tokio::task::spawn_local(open(connector, pool, address, timeouts, attempt));
            }
        }
        drop(pool);
        tokio::time::sleep(WARM_INTERVAL).await;
    }
}

/// How far a backend is.
#[derive(Debug, Default)]
struct State {
    /// Connections on their way.
    opening: usize,
    /// Attempts that failed in a row.
    failures: u32,
    /// After a failure, when the next attempt may begin.
    not_before: Option<Instant>,
}

/// A connection on its way.
struct Attempt {
    backend: usize,
    states: Rc<RefCell<HashMap<usize, State>>>,
}

impl Attempt {
    fn note(&self, note: impl FnOnce(&mut State)) {
        if let Some(state) = self.states.borrow_mut().get_mut(&self.backend) {
            note(state);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.note(|state| state.opening -= 1);
    }
}

async fn open<C: Connect>(
    connector: Rc<C>,
    pool: Weak<Pool<C::Stream>>,
    address: SocketAddr,
    timeouts: Timeouts,
    attempt: Attempt,
) {
    let backend = attempt.backend;
    let Some((before, secure)) = pool.upgrade().map(|pool| {
        // In mode `tcp` nothing may be sent before it is known whose connection it becomes.
        (pool.balance().outages(backend), !pool.greets())
    }) else {
        return;
    };
    let made = make(&*connector, address, timeouts, secure).await;
    let Some(pool) = pool.upgrade() else { return };
    if let Ok(stream) = made {
        attempt.note(|state| (state.failures, state.not_before) = (0, None));
        pool.put(backend, address, before, (stream, History::unused()));
        return;
    }
    tracing::debug!(backend = %address, "cannot be kept warm");
    attempt.note(|state| {
        let now = Instant::now();
        // Those that began together fail together, and count as one.
        if state.not_before.is_none_or(|at| at <= now) {
            state.not_before = Some(now + WARM_PATIENCE * (1 << state.failures.min(5)));
            state.failures = state.failures.saturating_add(1);
        }
    });
}

async fn make<C: Connect>(
    connector: &C,
    address: SocketAddr,
    timeouts: Timeouts,
    secure: bool,
) -> io::Result<C::Stream> {
    let stream = timeout(timeouts.connect, connector.connect(address)).await??;
    if !secure {
        return Ok(stream);
    }
    timeout(timeouts.handshake, connector.secure(address, stream)).await?
}
