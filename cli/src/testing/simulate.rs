//! Simulated clients and backends around the balancer of a configuration.
//!
//! Each host has a link and a leg of its own, so that links can misbehave one by one; which legs the
//! configuration has says how long packets may be on the way to a host, and nothing else.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nat::rng::derive;
use nat::{BackendState, LegConfig, Prefix};
use netstack::wire::Address;

use super::error::BenchError;
use super::setup::{Setup, leg_toward, plan};
use crate::config::model::{Config, Kill, LinkFaults, Simulation};
use crate::config::target;
use crate::lab::client::{self, Reuse, Tally};
use crate::plan::Plan;
use crate::sim::{self, Host, Impairment, Link, Network};

/// A pause that no simulation reaches: a client with it makes one request.
const ONCE: Duration = Duration::from_secs(1_000_000);
/// What the last requests are given to be answered: more than a client's patience.
const PATIENCE: Duration = Duration::from_secs(6);
/// What backends are given to pass their first probes.
const WARM_UP: Duration = Duration::from_mins(2);

/// What simulated clients saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Observed {
    /// Answers by the backend that gave them, as `POOL/NAME`.
    answers: BTreeMap<String, u64>,
    /// Requests that failed: when, and why.
    errors: Vec<(Duration, String)>,
}

impl fmt::Display for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (backend, count) in &self.answers {
            write!(f, "{backend} {count}, ")?;
        }
        write!(f, "errors {}", self.errors.len())
    }
}

impl Observed {
    /// What is not as it should be: what was expected, and what was seen.
    pub(super) fn differences(&self, sim: &Simulation) -> Vec<(&'static str, String)> {
        let mut facts = Vec::new();
        let mut differs = |expected: String, got: u64| {
            facts.extend([("expect", expected), ("got", got.to_string())]);
        };
        let errors = self.errors.len() as u64;
        if errors > sim.errors {
            differs(format!("errors: at most {}", sim.errors), errors);
        }
        let count = |name: &str| self.answers.get(name).copied().unwrap_or_default();
        for (name, least) in sim.at_least.iter().filter(|(name, n)| count(&name.value) < *n) {
            differs(format!("answers of {}: at least {least}", name.value), count(&name.value));
        }
        for (name, most) in sim.at_most.iter().filter(|(name, n)| count(&name.value) > *n) {
            differs(format!("answers of {}: at most {most}", name.value), count(&name.value));
        }
        facts
    }

    /// The first request that failed.
    pub(super) fn first_error(&self) -> Option<String> {
        self.errors.first().map(|(at, why)| format!("{:.3} s: {why}", at.as_secs_f64()))
    }
}

/// Runs a simulation, the same for the same seed.
///
/// # Errors
/// The configuration cannot be used.
pub(super) fn run(
    config: &Config,
    folder: &Path,
    setup: Setup,
    sim: &Simulation,
) -> Result<Observed, BenchError> {
    let plan = plan(config, folder, setup)?;
    let service = config.services.iter().find(|s| s.name.value == sim.service.value);
    let to = service.and_then(|service| target(service, sim.client.value));
    let pool = service.and_then(|service| service.pool.as_ref()).map(|pool| pool.value.clone());
    let (Some(to), Some(pool)) = (to, pool) else {
        return Err(BenchError::Config(format!("service {} cannot be asked", sim.service.value)));
    };
    sim::run(live(plan, sim, to, &pool))
        .map_err(|e| BenchError::Config(format!("no runtime: {e}")))?
}

async fn live(
    mut plan: Plan,
    sim: &Simulation,
    to: SocketAddr,
    pool: &str,
) -> Result<Observed, BenchError> {
    let seed = plan.engine.seed;
    let clients = client_addresses(sim);
    let backends = backend_names(&plan, pool);
    place(&mut plan.engine, clients.iter().copied().chain(backends.iter().map(|(at, _)| *at)));
    let mut hosts: Vec<_> = (0_u64..)
        .zip(&clients)
        .map(|(n, address)| Host::client(*address, derive(seed, 10_000 + n)))
        .collect();
    for (n, (address, name)) in (0_u64..).zip(&backends) {
        hosts.push(Host::web(*address, name, derive(seed, 20_000 + n)));
    }
    let wire = impairment(&sim.link);
    let links = (0..hosts.len() as u64).map(|n| Link::new(wire, derive(seed, 30_000 + n)));
    let links = links.collect();
    let (balancer, _) = plan.assemble().map_err(|e| BenchError::Config(e.to_string()))?;
    let mut network = Network::new(balancer, hosts, links);
    network.check_invariants = true;
    warm_up(&mut network, pool).await;
    let tally = Arc::new(Mutex::new(Tally::default()));
    let start = tokio::time::Instant::now();
    spawn_clients(&mut network, sim, clients.len(), to, &tally);
    follow(&mut network, sim, clients.len(), &backends).await;
    let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Observed {
        answers: tally.by_backend.clone(),
        errors: tally.errors.iter().map(|(at, why)| (*at - start, why.clone())).collect(),
    })
}

/// The clients' addresses: the given one and those behind it.
fn client_addresses(sim: &Simulation) -> Vec<IpAddr> {
    let next = |n: u32| match sim.client.value {
        IpAddr::V4(first) => IpAddr::from(first.to_bits().wrapping_add(n).to_be_bytes()),
        IpAddr::V6(first) => IpAddr::from(first.to_bits().wrapping_add(n.into()).to_be_bytes()),
    };
    (0..sim.clients).map(next).collect()
}

/// Where backends live, each address once, with the name of the first that lives there; those of
/// `pool` are before all others.
fn backend_names(plan: &Plan, pool: &str) -> Vec<(IpAddr, String)> {
    let mut found: Vec<(IpAddr, String)> = Vec::new();
    let (asked, others): (Vec<_>, Vec<_>) = plan.engine.pools.iter().partition(|p| p.name == pool);
    for pool in asked.into_iter().chain(others) {
        for backend in &pool.backends {
            let address = backend.address.ip();
            if !found.iter().any(|(known, _)| *known == address) {
                found.push((address, format!("{}/{}", pool.name, backend.name)));
            }
        }
    }
    found
}

/// Gives each host a leg of its own, with the MTU of the one that led to it.
fn place(engine: &mut nat::Config, hosts: impl Iterator<Item = IpAddr>) {
    let legs = std::mem::take(&mut engine.legs);
    for host in hosts.map(Address::from) {
        let old = leg_toward(legs.iter().map(|leg| leg.prefixes.as_slice()), host);
        let old = old.and_then(|n| legs.get(n)).or(legs.first());
        let (mtu, icmp_errors) = old.map_or((1_500, true), |leg| (leg.mtu, leg.icmp_errors));
        let prefixes = vec![Prefix::host(host)];
        engine.legs.push(LegConfig { icmp_errors, ..LegConfig::new(prefixes, mtu) });
    }
}

fn impairment(link: &LinkFaults) -> Impairment {
    #[expect(clippy::cast_sign_loss, reason = "a probability is from 0 to 1")]
    let part = |probability: f64| (probability * 1_000_000.0) as u32;
    Impairment {
        delay: link.delay,
        jitter: link.jitter,
        loss: part(link.loss),
        duplicate: part(link.duplicate),
        reorder: part(link.reorder),
        corrupt: part(link.corrupt),
        mtu: 1_500,
        ..Impairment::default()
    }
}

/// Waits until each backend of the pool has been judged.
async fn warm_up(network: &mut Network<l7::divert::Proxy>, pool: &str) {
    let end = network.now() + WARM_UP;
    let waits = |network: &Network<l7::divert::Proxy>| {
        let mut pools = network.balancer.engine.pools().iter().filter(|p| p.name() == pool);
        pools.any(|p| p.backends().iter().any(|b| b.state == BackendState::Starting))
    };
    while waits(network) && network.now() < end {
        network.run_until(tokio::time::sleep(Duration::from_millis(100))).await;
    }
}

/// Spreads the requests over time and clients.
fn spawn_clients(
    network: &mut Network<l7::divert::Proxy>,
    sim: &Simulation,
    clients: usize,
    to: SocketAddr,
    tally: &Arc<Mutex<Tally>>,
) {
    let length = Duration::from_secs(sim.seconds.into());
    for n in 0..sim.flows {
        let Some(host) = network.host_mut(n as usize % clients.max(1)) else { continue };
        let (dial, tally) = (host.dial(), Arc::clone(tally));
        let begin = length * n / sim.flows;
        host.spawn(async move {
            tokio::time::sleep(begin).await;
            client::run(dial, client::Plan { to, reuse: Reuse::Never, pace: ONCE }, tally).await;
        });
    }
}

/// Lets the simulation run to its end, with the backend's death and return.
async fn follow(
    network: &mut Network<l7::divert::Proxy>,
    sim: &Simulation,
    clients: usize,
    backends: &[(IpAddr, String)],
) {
    let end = Duration::from_secs(sim.seconds.into()) + PATIENCE;
    let mut events = Vec::new();
    if let Some(Kill { backend, at, back }) = &sim.kill {
        let victim = backends.iter().position(|(_, name)| *name == backend.value);
        let Some(victim) = victim.map(|n| clients + n) else { return };
        events.push((*at, victim, true));
        events.extend(back.map(|back| (back, victim, false)));
    }
    events.sort_by_key(|(at, ..)| *at);
    let mut now = Duration::ZERO;
    for (at, victim, dies) in events.into_iter().filter(|(at, ..)| *at < end) {
        network.run_until(tokio::time::sleep(at.saturating_sub(now))).await;
        now = at;
        if let Some(host) = network.host_mut(victim) {
            if dies { host.kill() } else { host.revive() }
        }
    }
    network.run_until(tokio::time::sleep(end.saturating_sub(now))).await;
}
