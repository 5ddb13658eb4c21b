//! How backends are asked, and what is said of them.

use l7::health::Prober;
use l7::upstream::Connect;
use nat::health::Change;
use nat::{BackendState, Pool};

use super::ProbePlan;

pub(super) fn prober<C: Connect>(connect: C, plan: &ProbePlan) -> Prober {
    match &plan.http {
        Some(probe) => l7::health::http(connect, probe.clone()),
        None => l7::health::tcp(connect),
    }
}

/// Says what became of a backend. That those which are well come up at the start is no news.
pub(super) fn log(change: &Change, pool: &Pool) {
    let name = pool.backend(change.backend).map_or("", |backend| backend.config.name.as_str());
    let (pool, cause) = (pool.name(), &change.cause);
    match (change.from, change.to) {
        (BackendState::Starting, BackendState::Ready) => {
            tracing::info!("backend {pool}/{name} is up: {cause}");
        }
        (_, BackendState::Ready) => tracing::warn!("backend {pool}/{name} is up: {cause}"),
        (_, BackendState::Down) => tracing::warn!("backend {pool}/{name} is down: {cause}"),
        (_, BackendState::Starting) => {
            tracing::info!("backend {pool}/{name} is not checked yet: {cause}");
        }
        (_, BackendState::Drain) => tracing::info!("backend {pool}/{name} drains: {cause}"),
        (_, BackendState::Maint) => {
            tracing::info!("backend {pool}/{name} is in maintenance: {cause}");
        }
    }
}
