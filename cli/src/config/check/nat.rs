//! What translation needs: networks that can be told apart, ports enough, a way back.

use std::net::IpAddr;

use super::super::codes::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::{
    Backend, Config, Leg, Mode, Nat, Prefix, Service, Snat, SnatMapping, Spanned,
};

pub(super) fn check(config: &Config, found: &mut Vec<Diagnostic>) {
    for service in config.services.iter().filter(|service| service.mode.value == Mode::Nat) {
        if service.nat == Nat::Dnat {
            shared_network(config, service, found);
            no_return(config, service, found);
        }
    }
    if let Some(snat) = &config.snat {
        small_pool(config, snat, found);
    }
}

fn backends<'a>(config: &'a Config, service: &Service) -> &'a [Backend] {
    let pool = service.pool.as_ref().and_then(|name| config.pool(name));
    pool.map(|pool| &pool.backends[..]).unwrap_or_default()
}

/// The leg by which packets to `ip` leave: that of the longest prefix.
fn leg_to(config: &Config, ip: IpAddr) -> Option<&Leg> {
    let networks = |leg: &'_ Leg| {
        let networks = leg.addresses.iter().chain(&leg.routes);
        networks.filter(|prefix| prefix.contains(ip)).map(|prefix| prefix.length).max()
    };
    let legs = config.legs.iter().filter_map(|leg| Some((networks(leg)?, leg)));
    legs.max_by_key(|(length, _)| *length).map(|(_, leg)| leg)
}

/// A client on a link whose numbers are the backends' too: they would answer a neighbour instead. Full
/// NAT gives clients other numbers (RFC 4787 REQ-7).
fn shared_network(config: &Config, service: &Service, found: &mut Vec<Diagnostic>) {
    let conflict = backends(config, service).iter().find_map(|backend| {
        let ip = backend.address.ip();
        let leads = leg_to(config, ip)?;
        let others = config.legs.iter().filter(|leg| leg.name.value != leads.name.value);
        let mut links = others.flat_map(|leg| leg.addresses.iter().map(move |link| (leg, link)));
        let (leg, link) = links.find(|(_, link)| link.contains(ip))?;
        Some((backend, leg, link))
    });
    let Some((backend, leg, link)): Option<(_, _, &Spanned<Prefix>)> = conflict else { return };
    found.push(
        Diagnostic::new(
            Code::SharedNetwork,
            format!("clients of service `{}` may have the numbers of its backends", *service.name),
            backend.address.span.clone(),
            format!("backend `{}` would take such a client for its neighbour", *backend.name),
            "write `nat = \"full\"`, which gives clients other addresses",
        )
        .with(
            link.span.clone(),
            format!("the hosts of leg `{}` are in this network too", *leg.name),
        ),
    );
}

/// With several legs, backends know the clients' networks only if somebody tells them.
fn no_return(config: &Config, service: &Service, found: &mut Vec<Diagnostic>) {
    if config.legs.len() < 2 || !config.complete {
        return;
    }
    let legs = backends(config, service).iter().filter_map(|b| leg_to(config, b.address.ip()));
    let mut without = legs.filter(|leg| !leg.default_route.value);
    let (Some(leg), Some(pool)) = (without.next(), &service.pool) else { return };
    found.push(
        Diagnostic::new(
            Code::NoReturn,
            format!("answers to clients of service `{}` may not come back", *service.name),
            pool.span.clone(),
            "its backends see the clients' own addresses",
            "write `default-route = true` in that leg, or `nat = \"full\"` in the service",
        )
        .with(leg.name.span.clone(), "nothing sends answers to this leg"),
    );
}

/// A limit that the whole pool does not reach limits nobody.
fn small_pool(config: &Config, snat: &Snat, found: &mut Vec<Diagnostic>) {
    let Some(limit) = &snat.ports_per_client else { return };
    if !config.complete {
        return;
    }
    let v4 = snat.addresses.iter().filter(|address| address.is_ipv4()).count();
    let addresses = v4.max(snat.addresses.len() - v4).max(1);
    let ports = usize::from(snat.ports.last - snat.ports.first) + 1;
    let backends: usize = match snat.mapping {
        SnatMapping::EndpointIndependent => 1,
        SnatMapping::EndpointDependent => config.pools.iter().map(|pool| pool.backends.len()).sum(),
    };
    let most = addresses.saturating_mul(ports).saturating_mul(backends.max(1));
    if limit.value as usize <= most {
        return;
    }
    let mut diagnostic = Diagnostic::new(
        Code::SmallPool,
        format!("the SNAT pool has fewer than {} ports for a client", limit.value),
        limit.span.clone(),
        format!("a client could have {most} of each protocol"),
        format!("write at most `ports-per-client = {most}`, or add addresses or ports"),
    );
    if snat.ports.is_written() {
        diagnostic = diagnostic.with(snat.ports.span.clone(), "the ports of each address");
    }
    found.push(diagnostic);
}
