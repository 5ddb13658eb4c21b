//! `[[test]]`: what steps refer to.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use super::super::codes::Code;
use super::super::diagnostic::{Diagnostic, alternatives, quoted};
use super::super::model::{Act, Config, Mode, Service, Simulation, Span, Spanned, Test, Wait};
use super::super::suggest::nearest;
use super::duplicates;
use crate::testing::names;

/// Checks tests that are about `config`, be they its own or those of a script.
pub(in super::super) fn check(config: &Config, tests: &[Test], found: &mut Vec<Diagnostic>) {
    duplicates(tests.iter().map(|test| &test.name), "test", found);
    if !config.complete {
        return;
    }
    for test in tests {
        references(config, test, found);
        order(test, found);
    }
}

fn references(config: &Config, test: &Test, found: &mut Vec<Diagnostic>) {
    for step in &test.steps {
        match &step.act {
            Act::Send { leg: Some(leg), .. } | Act::Expect { leg: Some(leg), .. } => {
                let legs: Vec<_> = config.legs.iter().map(|leg| leg.name.value.clone()).collect();
                defined("leg", leg, &legs, found);
            }
            Act::Backend(step) => defined("backend", &step.name, &backends(config), found),
            Act::Sim(sim) => simulation(config, sim, found),
            _ => {}
        }
    }
}

/// Every backend as `POOL/NAME`.
fn backends(config: &Config) -> Vec<String> {
    let pools = config.pools.iter();
    pools.flat_map(|pool| of_pool(config, &pool.name.value)).collect()
}

fn of_pool(config: &Config, pool: &str) -> Vec<String> {
    let backends = config.pool(pool).map(|pool| pool.backends.as_slice()).unwrap_or_default();
    backends.iter().map(|backend| format!("{pool}/{}", backend.name.value)).collect()
}

fn defined(what: &str, name: &Spanned<String>, known: &[String], found: &mut Vec<Diagnostic>) {
    if known.contains(&name.value) {
        return;
    }
    let help = match nearest(&name.value, known.iter().map(String::as_str)) {
        Some(similar) => format!("did you mean `{similar}`?"),
        None if known.len() <= 8 => format!("use {}", alternatives(known)),
        None => format!("use the name of a {what} of the configuration"),
    };
    found.push(Diagnostic::new(
        Code::Undefined,
        format!("{what} {} is not defined", quoted(&name.value)),
        name.span.clone(),
        format!("no {what} has this name"),
        help,
    ));
}

fn simulation(config: &Config, sim: &Simulation, found: &mut Vec<Diagnostic>) {
    let services: Vec<_> = config.services.iter().map(|s| s.name.value.clone()).collect();
    defined("service", &sim.service, &services, found);
    let service = config.services.iter().find(|s| s.name.value == sim.service.value);
    let Some(service) = service else { return };
    let pool = service.pool.as_ref().map_or("", |pool| &pool.value);
    let backends = of_pool(config, pool);
    let named = sim.at_least.iter().chain(&sim.at_most).map(|(name, _)| name);
    for name in named.chain(sim.kill.as_ref().map(|kill| &kill.backend)) {
        defined("backend", name, &backends, found);
    }
    let mut unfit = |span: &Span, label: &str, help: &str| {
        found.push(Diagnostic::new(
            Code::SimFit,
            format!("service `{}` cannot be simulated like this", service.name.value),
            span.clone(),
            label,
            help,
        ));
    };
    let place = &sim.service.span;
    if service.mode.value == Mode::Http && service.tls.is_some() {
        unfit(place, "its clients need TLS", "simulate a service without TLS");
        return;
    }
    if service.tunnel.is_some() || service.nat == super::super::model::Nat::Tunnel {
        unfit(
            place,
            "backends of tunnels answer past balun",
            "simulate a service without a tunnel",
        );
        return;
    }
    if service.proxy_protocol.is_some() {
        let label = "its backends are sent a PROXY header";
        unfit(place, label, "simulate a service without `proxy-protocol`");
        return;
    }
    if service.pool.is_none() {
        unfit(place, "its clients need TLS", "give it a `pool` for clients without");
        return;
    }
    let of_pool = service.pool.as_ref().and_then(|name| config.pool(name));
    if of_pool.is_some_and(|pool| pool.backends.iter().any(|backend| backend.tls.is_some())) {
        unfit(place, "its backends speak TLS", "simulate a service whose backends do not");
        return;
    }
    if !service.proxy_protocol_from.is_empty() {
        let help = "simulate a service without `proxy-protocol-from`";
        unfit(place, "its clients send a PROXY header", help);
        return;
    }
    if target(service, sim.client.value).is_none() {
        let label = "it listens on no TCP port of one address of the client's IP version";
        unfit(place, label, "simulate a service that does, or give a client of its IP version");
    }
    if taken(config).contains(&sim.client.value) {
        let help = "give the client an address that nothing else has";
        unfit(&sim.client.span, "this address is not free", help);
    }
}

/// Where clients like `client` ask a service over TCP.
pub(crate) fn target(service: &Service, client: IpAddr) -> Option<std::net::SocketAddr> {
    let listens = service.listens.iter().map(|listen| listen.value);
    let mut usable = listens.filter(|listen| {
        listen.protocol.is_none_or(|p| p == netstack::wire::Protocol::Tcp)
            && listen.prefix.first().is_v4() == client.is_ipv4()
            && listen.prefix.is_host()
    });
    let listen = usable.next()?;
    let port = if listen.ports.first == 0 { 80 } else { listen.ports.first };
    Some((IpAddr::from(listen.prefix.first()), port).into())
}

/// Addresses that a client cannot have.
fn taken(config: &Config) -> HashSet<IpAddr> {
    let legs = config.legs.iter().flat_map(|leg| &leg.addresses).map(|at| at.value.address);
    let backends = config.pools.iter().flat_map(|pool| &pool.backends);
    let backends = backends.map(|backend| backend.address.value.ip());
    let snat = config.snat.iter().flat_map(|snat| &snat.addresses).map(|at| at.value);
    let listens = config.services.iter().flat_map(|service| &service.listens);
    let vips = listens.map(|listen| IpAddr::from(listen.value.prefix.first()));
    legs.chain(backends).chain(snat).chain(vips).collect()
}

/// What must have come before.
fn order(test: &Test, found: &mut Vec<Diagnostic>) {
    let (mut sent, mut expected, mut now) = (false, false, Duration::ZERO);
    let mut captured = HashSet::new();
    let mut wrong = |span: &Span, title: String, label: &str, help: String| {
        found.push(Diagnostic::new(Code::StepOrder, title, span.clone(), label, help));
    };
    for step in &test.steps {
        match step.wait {
            Some(Wait::At(at)) if at < now => {
                let title = format!("the time {at:?} is over");
                let help = format!("write a time of {now:?} or more");
                wrong(&step.span, title, "time does not go back", help);
            }
            Some(Wait::At(at)) => now = at,
            Some(Wait::After(time)) => now = now.saturating_add(time),
            None => {}
        }
        let mut bound = |text: &Spanned<String>| {
            for name in names(&text.value).filter(|name| !captured.contains(*name)) {
                let title = format!("`${name}` has no value yet");
                let help = format!("capture it before: `expect` a packet with `${name}` in it");
                wrong(&text.span, title, "used here", help);
            }
        };
        match &step.act {
            Act::Send { line, .. } => {
                bound(line);
                sent = true;
            }
            Act::Expect { pattern, .. } => {
                let text = pattern.value.to_string();
                captured.extend(names(&text).map(str::to_owned));
                expected |= !pattern.value.is_nothing();
            }
            Act::Reply { words } => {
                bound(words);
                if !expected {
                    let title = "a reply answers no packet".to_owned();
                    let help = "`expect` a packet before".to_owned();
                    wrong(&step.span, title, "nothing was expected before this", help);
                }
                sent = true;
            }
            Act::Verdict { .. } if !sent => {
                let title = "there is no verdict yet".to_owned();
                let help = "`send` a packet before".to_owned();
                wrong(&step.span, title, "nothing was sent before this", help);
            }
            _ => {}
        }
    }
}
