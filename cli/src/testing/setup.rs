//! From a configuration to what stands on a bench.

use std::path::Path;

use nat::{BackendState, Prefix};
use netstack::wire::Address;

use super::error::BenchError;
use crate::config::model;
use crate::plan::{Plan, Upstream};

/// How a bench differs from the balancer that would run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// Stands in for the configured seed.
    pub seed: Option<u64>,
    /// Backends are asked whether they are well, as configured. Otherwise all are ready until
    /// [`Bench::set_backend`](super::Bench::set_backend) says something else.
    pub health: bool,
}

/// The plan of a configuration, for a bench or a simulation.
pub(super) fn plan(
    config: &model::Config,
    folder: &Path,
    setup: Setup,
) -> Result<Plan, BenchError> {
    let mut plan = Plan::from_config(config, folder, setup.seed.unwrap_or_default())
        .map_err(|e| BenchError::Config(e.to_string()))?;
    if let Some(seed) = setup.seed {
        plan.engine.seed = seed;
    }
    for application in plan.applications.iter_mut().flatten() {
        application.upstream = Upstream::Userspace;
    }
    for probe in plan.probes.iter_mut().flatten() {
        probe.upstream = Upstream::Userspace;
    }
    if !setup.health {
        for pool in &mut plan.engine.pools {
            pool.health = None;
            pool.initial = BackendState::Ready;
        }
    }
    Ok(plan)
}

/// The leg whose longest prefix holds `address`; the only leg, if there is but one.
pub(super) fn leg_toward<'a>(
    legs: impl ExactSizeIterator<Item = &'a [Prefix]>,
    address: Address,
) -> Option<usize> {
    if legs.len() == 1 {
        return Some(0);
    }
    let holding = legs.enumerate().flat_map(|(n, prefixes)| {
        prefixes.iter().filter(|p| p.contains(address)).map(move |p| (p.len(), n))
    });
    holding.max_by_key(|&(length, n)| (length, usize::MAX - n)).map(|(_, n)| n)
}

/// The word for a backend's state.
pub const fn state_name(state: BackendState) -> &'static str {
    match state {
        BackendState::Ready => "ready",
        BackendState::Drain => "drain",
        BackendState::Maint => "maint",
        BackendState::Down => "down",
        BackendState::Starting => "starting",
    }
}
