//! Pools, as the services that use them reach them.

use std::rc::Rc;
use std::sync::Arc;

use l7::balance::PoolBalance;
use l7::tls::client::Secured;
use l7::tls::keys::Keys;
use l7::upstream::Connect;
use nat::rng::derive;
use nat::{Pool, PoolId};
use netstack::tcp::Stack;

use super::Plan;

/// Makes what one service needs of its pools.
pub(super) struct Targets<'a> {
    pub(super) plan: &'a Plan,
    pub(super) stack: &'a Stack,
    /// The service's own.
    pub(super) seed: u64,
    /// Where the secrets of connections to backends go.
    pub(super) keys: Arc<Keys>,
    /// Those who are told what becomes of backends.
    pub(super) balances: &'a mut Vec<(PoolId, Rc<PoolBalance>)>,
}

impl Targets<'_> {
    /// How the backends of a pool are reached by `connect`, and who chooses among them. Each call makes a
    /// choice of its own.
    pub(super) fn of<C: Connect + Clone>(
        &mut self,
        id: PoolId,
        connect: &C,
    ) -> Option<(Secured<C>, Rc<PoolBalance>)> {
        let pool = self.plan.engine.pools.get(usize::from(id.0))?;
        let seed = self.seed;
        self.seed = derive(seed, 1);
        let balance = PoolBalance::new(Pool::new(pool.clone(), seed), self.stack.clone());
        let balance = Rc::new(balance);
        self.balances.push((id, Rc::clone(&balance)));
        let tls = self.plan.backend_tls.get(usize::from(id.0)).into_iter().flatten();
        let tls = tls.map(|(address, tls)| (*address, tls.clone().with_key_log(self.keys.clone())));
        Some((Secured::new(connect.clone(), tls), balance))
    }
}
