//! What flows tell of their backends, and backends of their flows.

use netstack::Instant;

use super::Engine;
use crate::flow::{FlowId, State};
use crate::{BackendId, BackendState, PanicChange, Pool, PoolId};

impl Engine {
    /// Sets the state of a backend.
    ///
    /// Flows that it has stay in drain. If it goes down or into maintenance, its UDP and ICMP flows are
    /// made anew, to another backend, by the next packet of their client: no datagram is wasted on a
    /// backend that nobody reads from. Its TCP flows are left to their ends, which alone know whether
    /// they still talk; a SYN that it has not answered goes to another when the client repeats it.
    pub fn set_backend_state(
        &mut self,
        now: Instant,
        pool: PoolId,
        backend: BackendId,
        state: BackendState,
    ) {
        if let Some(pool) = self.pools.get_mut(usize::from(pool.0)) {
            pool.set_state(now, backend, state);
        }
        self.backends_out = self
            .pools
            .iter()
            .flat_map(Pool::backends)
            .any(|b| matches!(b.state, BackendState::Down | BackendState::Maint));
    }

    /// The next pool that begins or ceases to panic, by what its backends' states and the connects of the
    /// engine's own flows say.
    pub fn poll_panic(&mut self) -> Option<(PoolId, PanicChange)> {
        let Self { panicking, pools, .. } = self;
        panicking.iter().find_map(|&id| Some((id, pools.get_mut(usize::from(id.0))?.poll_panic()?)))
    }

    /// True if this flow of datagrams has lost its backend.
    pub(super) fn has_lost_its_backend(&self, id: FlowId) -> bool {
        let assigned = self.flows.get(id).and_then(|flow| flow.assignment.backend);
        assigned
            .is_some_and(|(pool, backend)| self.pools[usize::from(pool.0)].lost_its_flows(backend))
    }

    /// Takes note that the state of a flow is no longer `before`.
    pub(super) fn state_changed(&mut self, now: Instant, id: FlowId, before: State) {
        let Some(flow) = self.flows.get(id) else { return };
        let Some((pool, backend)) = flow.assignment.backend else { return };
        let pool = &mut self.pools[usize::from(pool.0)];
        match (before.is_closing(), flow.state.is_closing()) {
            (false, true) => pool.flow_closed(backend),
            (true, false) => pool.flow_revived(backend),
            _ => {}
        }
        let answered = before == State::Datagram(false);
        // Which of several requests an answer belongs to cannot be told.
        if answered && flow.forward.packets == 1 {
            pool.observe(now, backend, now - flow.created);
        }
    }
}

/// The pools that may panic.
pub(super) fn may_panic(pools: &[Pool]) -> Vec<PoolId> {
    let ids = (0..).map(PoolId).zip(pools);
    ids.filter(|(_, pool)| pool.panic_threshold() > 0).map(|(id, _)| id).collect()
}
