//! Pools, as the services that use them reach them.

use std::rc::Rc;
use std::sync::Arc;

use l7::balance::PoolBalance;
use l7::cache::Caches;
use l7::persistence::Persistence;
use l7::tls::client::Secured;
use l7::tls::keys::Keys;
use l7::upstream::{self, Connect};
use nat::PoolId;
use nat::rng::derive;

use super::upstreams::{Balances, Idle, PoolingPlan, Task};
use super::{ApplicationPlan, Plan};

/// Makes what one service needs of its pools.
pub(super) struct Targets<'a> {
    pub(super) plan: &'a Plan,
    pub(super) application: &'a ApplicationPlan,
    /// The service's own.
    pub(super) seed: u64,
    /// Where the secrets of connections to backends go.
    pub(super) keys: Arc<Keys>,
    /// Who chooses among the backends of pools, and is told what becomes of them.
    pub(super) balances: &'a mut Balances,
    /// What is to run beside the services.
    pub(super) tasks: &'a mut Vec<Task>,
    /// Where answers are kept.
    pub(super) caches: &'a mut Caches,
    /// Routes that use a cache so far.
    pub(super) cached: &'a mut u32,
}

impl Targets<'_> {
    /// How the backends of a pool are reached by `connect`, and who chooses among them.
    pub(super) fn of<C: Connect + Clone>(
        &mut self,
        id: PoolId,
        connect: &C,
    ) -> Option<(Secured<C>, Rc<PoolBalance>)> {
        let pool = self.plan.engine.pools.get(usize::from(id.0))?;
        let seed = self.seed;
        self.seed = derive(seed, 1);
        let balance = self.balances.of(id, pool, self.pooling(id), seed);
        let tls = self.plan.backend_tls.get(usize::from(id.0)).into_iter().flatten();
        let tls = tls.map(|(address, tls)| (*address, tls.clone().with_key_log(self.keys.clone())));
        Some((Secured::new(connect.clone(), tls), balance))
    }

    /// Idle connections of `connect` to the backends of a pool.
    pub(super) fn idle<C: Connect + Clone>(
        &mut self,
        id: PoolId,
        idle: &mut Idle<C>,
        connect: &C,
        balance: &Rc<PoolBalance>,
    ) -> Rc<upstream::Pool<C::Stream>> {
        let limits = self.pooling(id).limits;
        idle.of(connect.clone(), (id, limits), balance, self.application, self.tasks)
    }

    /// How clients of a pool stay with its backends.
    pub(super) fn persistence(&self, id: PoolId) -> Option<Persistence> {
        self.plan.persistence.get(usize::from(id.0)).cloned().flatten()
    }

    /// How connections to the backends of a pool are kept.
    pub(super) fn pooling(&self, id: PoolId) -> PoolingPlan {
        self.plan.pooling.get(usize::from(id.0)).copied().unwrap_or_default()
    }
}
