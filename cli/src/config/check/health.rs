//! Checks of backends: what cannot be asked, and what is asked too slowly.

use super::super::codes::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::{Config, Health, Pool, Probe, Service};

pub(super) fn check(config: &Config, found: &mut Vec<Diagnostic>) {
    for pool in &config.pools {
        let Some(health) = &pool.health else { continue };
        by_kernel(config, pool, health, found);
        port_is_known(pool, health, found);
        slow(health, found);
    }
}

/// Echo requests and datagrams are packets of the engine's, which leave by legs alone.
fn by_kernel(config: &Config, pool: &Pool, health: &Health, found: &mut Vec<Diagnostic>) {
    let needs_leg = matches!(*health.probe, Probe::Icmp | Probe::Udp(_));
    if !needs_leg || !config.is_reached_by_kernel(pool) || !config.complete {
        return;
    }
    let (name, key) = (&pool.name.value, health.probe.key());
    let mut diagnostic = Diagnostic::new(
        Code::ProbeByKernel,
        format!("pool `{name}` cannot be asked by `{key}`"),
        health.probe.span.clone(),
        "this probe leaves by a leg, and the pool's services do not",
        "use the probe `tcp` or `http`",
    );
    let mut uses = config.services.iter().flat_map(Service::pools);
    if let Some(user) = uses.find(|pool| pool.value == *name) {
        diagnostic = diagnostic.with(user.span.clone(), "used with `upstream = \"kernel\"` alone");
    }
    found.push(diagnostic);
}

/// All probes but one are sent to a port.
fn port_is_known(pool: &Pool, health: &Health, found: &mut Vec<Diagnostic>) {
    let Some(backend) = pool.backends.iter().find(|backend| backend.address.port() == 0) else {
        return;
    };
    if *health.probe == Probe::Icmp {
        return;
    }
    let key = health.probe.key();
    found.push(
        Diagnostic::new(
            Code::EveryPort,
            format!("the probe `{key}` cannot ask backend `{}`", backend.name.value),
            backend.address.span.clone(),
            "stands for the port that the client asked for",
            "use the probe `icmp`",
        )
        .with(health.probe.span.clone(), "is sent to a port"),
    );
}

fn slow(health: &Health, found: &mut Vec<Diagnostic>) {
    if health.timeout.value <= health.every.value {
        return;
    }
    let written = if health.timeout.is_written() { &health.timeout } else { &health.every };
    let mut diagnostic = Diagnostic::new(
        Code::SlowProbe,
        "the timeout of a probe is longer than `every`",
        written.span.clone(),
        "the next probe waits for this one, and a failure is found later than `every` says",
        "write a timeout of at most `every`",
    );
    if health.timeout.is_written() && health.every.is_written() {
        diagnostic = diagnostic.with(health.every.span.clone(), "a probe begins this often");
    }
    found.push(diagnostic);
}
