//! What the services of a worker share of the pools that they send to.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use l7::SocketOptions;
use l7::balance::PoolBalance;
use l7::upstream::{Connect, Pool, PoolLimits, QueueLimits, keep_warm};
use nat::{PoolConfig, PoolId};
use netstack::tcp::Stack;

use super::{ApplicationPlan, Protocol};

/// How connections to the backends of a pool are kept, and how requests wait for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolingPlan {
    /// Which connections are kept.
    pub limits: PoolLimits,
    /// How requests wait while every backend is at its limit; none is not at all.
    pub queue: Option<QueueLimits>,
    /// Connections that may be on their way to a backend at once; none is any number.
    pub max_connecting: Option<u32>,
}

/// One balancer for each pool, whichever services use it: a backend's limit is of all of them.
pub(super) struct Balances {
    stack: Stack,
    made: Vec<(PoolId, Rc<PoolBalance>)>,
}

impl Balances {
    pub(super) const fn new(stack: Stack) -> Self {
        Self { stack, made: Vec::new() }
    }

    /// The balancer of pool `id`, which is made with `seed` if there is none.
    pub(super) fn of(
        &mut self,
        id: PoolId,
        pool: &PoolConfig,
        pooling: PoolingPlan,
        seed: u64,
    ) -> Rc<PoolBalance> {
        if let Some((_, balance)) = self.made.iter().find(|(other, _)| *other == id) {
            return Rc::clone(balance);
        }
        let pool = nat::Pool::new(pool.clone(), seed);
        let balance = PoolBalance::new(pool, self.stack.clone()).with_queue(pooling.queue);
        let balance = Rc::new(balance.with_max_connecting(pooling.max_connecting));
        self.made.push((id, Rc::clone(&balance)));
        balance
    }

    pub(super) fn into_all(self) -> Vec<(PoolId, Rc<PoolBalance>)> {
        self.made
    }
}

/// Connections that can stand in for each other lead to the same pool, are of the same mode, and have
/// the same options set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    pool: PoolId,
    is_http: bool,
    is_private: bool,
    options: SocketOptions,
}

/// A future that is to run beside the services.
pub(super) type Task = Pin<Box<dyn Future<Output = ()>>>;

/// The idle connections of one way to connect, for all services that use it.
pub(super) struct Idle<C: Connect> {
    made: Vec<(Kind, Rc<Pool<C::Stream>>)>,
}

impl<C: Connect> Idle<C> {
    pub(super) const fn new() -> Self {
        Self { made: Vec::new() }
    }

    /// Those for a service over `pool`, which are made if there are none; what keeps them warm goes to
    /// `tasks`.
    pub(super) fn of(
        &mut self,
        connect: C,
        (pool, limits): (PoolId, PoolLimits),
        balance: &Rc<PoolBalance>,
        application: &ApplicationPlan,
        tasks: &mut Vec<Task>,
    ) -> Rc<Pool<C::Stream>> {
        let is_http = matches!(application.protocol, Protocol::Http(..));
        // Where each connection begins with its client's PROXY header, none can be made ahead.
        let is_private = match &application.protocol {
            Protocol::Http(config, _) => config.proxy_protocol.is_some(),
            Protocol::Tcp(_) => false,
        };
        let kind = Kind { pool, is_http, is_private, options: application.options };
        if let Some((_, idle)) = self.made.iter().find(|(other, _)| *other == kind) {
            return Rc::clone(idle);
        }
        let make = if is_http { Pool::new } else { Pool::greeting };
        let idle = make(limits, Rc::clone(balance) as _);
        if limits.warm > 0 && !is_private {
            let timeouts = application.timeouts;
            tasks.push(Box::pin(keep_warm(connect, Rc::downgrade(&idle), timeouts)));
        }
        self.made.push((kind, Rc::clone(&idle)));
        idle
    }
}
