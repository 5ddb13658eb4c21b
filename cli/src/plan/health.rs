//! How backends are asked, and what is said of them.

use l7::health::Prober;
use l7::upstream::Connect;
use nat::health::Change;
use nat::{BackendState, PanicChange, Pool};

use super::{Ask, ProbePlan};

pub(super) fn prober<C: Connect>(connect: C, plan: &ProbePlan) -> Prober {
    match &plan.ask {
        Ask::Http(probe) => l7::health::http(connect, probe.clone()),
        Ask::Grpc(probe) => l7::health::grpc(connect, probe.clone()),
        Ask::Connect => l7::health::tcp(connect),
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

/// Says that a pool begins or ceases to panic.
pub(super) fn log_panic(change: &PanicChange, pool: &Pool) {
    tracing::warn!("{}", panic_line(*change, pool));
}

fn panic_line(PanicChange { panics, healthy, .. }: PanicChange, pool: &Pool) -> String {
    let (name, threshold) = (pool.name(), pool.panic_threshold());
    let (less, then) = if panics {
        ("less than", "health is not believed, backends that are down are chosen too")
    } else {
        ("no longer less than", "health is believed again")
    };
    format!(
        "pool {name} is {healthy} % healthy, {less} its panic-threshold of {threshold} %: {then}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use nat::PoolConfig;
    use netstack::Instant;

    #[test]
    fn a_panic_is_one_line() {
        let config = PoolConfig { panic_threshold: 50, ..PoolConfig::new("web", Vec::new()) };
        let pool = Pool::new(config, 1);
        let line =
            |panics, healthy| panic_line(PanicChange { at: Instant::ZERO, panics, healthy }, &pool);
        assert_eq!(
            line(true, 33),
            "pool web is 33 % healthy, less than its panic-threshold of 50 %: health is not \
             believed, backends that are down are chosen too"
        );
        assert_eq!(
            line(false, 66),
            "pool web is 66 % healthy, no longer less than its panic-threshold of 50 %: health is \
             believed again"
        );
    }
}
