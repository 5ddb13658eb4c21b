//! Addresses: who may use which, and who can reach whom.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::super::codes::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::{
    Config, Leg, Listen, Mode, Nat, Pool, Prefix, Service, Spanned, Upstream,
};

pub(super) fn check(config: &Config, found: &mut Vec<Diagnostic>) {
    same_listen(config, found);
    for service in &config.services {
        listen_fits_mode(service, found);
        vip_is_leg(config, service, found);
        let Some(pool) = service.pool.as_ref().and_then(|name| config.pool(name)) else { continue };
        if !family_mismatch(service, pool, found) {
            no_source(config, service, pool, found);
        }
    }
    backend_is_vip(config, found);
    snat_is_leg(config, found);
    unreachable(config, found);
}

const fn family(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// The kernel's address that equals `ip`, and its leg.
fn kernel_address(config: &Config, ip: IpAddr) -> Option<(&Leg, &Spanned<Prefix>)> {
    config.legs.iter().find_map(|leg| {
        let same = leg.addresses.iter().find(|prefix| prefix.address == ip)?;
        Some((leg, same))
    })
}

fn same_listen(config: &Config, found: &mut Vec<Diagnostic>) {
    let key = |listen: Listen| match listen {
        Listen::Tcp(address) => (0, address),
        Listen::Udp(address) => (1, address),
        Listen::Icmp(ip) => (2, SocketAddr::new(ip, 0)),
    };
    let mut first: HashMap<_, &Service> = HashMap::new();
    for service in &config.services {
        let Some(earlier) = first.get(&key(service.listen.value)) else {
            first.insert(key(service.listen.value), service);
            continue;
        };
        found.push(
            Diagnostic::new(
                Code::SameListen,
                format!("`{}` is listened on twice", service.listen.value),
                service.listen.span.clone(),
                format!("service `{}` cannot have it too", service.name.value),
                "give one of the two services another address or port",
            )
            .with(earlier.listen.span.clone(), format!("service `{}` has it", earlier.name.value)),
        );
    }
}

fn listen_fits_mode(service: &Service, found: &mut Vec<Diagnostic>) {
    let fits = matches!(service.listen.value, Listen::Tcp(_)) || service.mode.value == Mode::Nat;
    if fits {
        return;
    }
    let (mode, protocol) = (service.mode.name(), service.listen.protocol());
    found.push(
        Diagnostic::new(
            Code::ListenMode,
            format!("mode `{mode}` cannot listen on {protocol}"),
            service.listen.span.clone(),
            "only TCP connections can be ended here",
            format!("write `mode = \"nat\"`, or listen on tcp instead of {protocol}"),
        )
        .with(service.mode.span.clone(), "the mode is set here"),
    );
}

fn vip_is_leg(config: &Config, service: &Service, found: &mut Vec<Diagnostic>) {
    let vip = service.listen.ip();
    let Some((leg, address)) = kernel_address(config, vip) else { return };
    found.push(
        Diagnostic::new(
            Code::VipIsLeg,
            format!("`{vip}` belongs to the kernel"),
            service.listen.span.clone(),
            "the kernel would answer instead of balun",
            format!("listen on another address of `{}`", address.network()),
        )
        .with(address.span.clone(), format!("the kernel's end of leg `{}`", leg.name.value)),
    );
}

fn snat_is_leg(config: &Config, found: &mut Vec<Diagnostic>) {
    for snat in config.snat.iter().flat_map(|snat| &snat.addresses) {
        let Some((leg, address)) = kernel_address(config, snat.value) else { continue };
        found.push(
            Diagnostic::new(
                Code::SnatIsLeg,
                format!("`{}` belongs to the kernel", snat.value),
                snat.span.clone(),
                "the kernel would take the backends' answers for its own",
                format!("use another address of `{}`", address.network()),
            )
            .with(address.span.clone(), format!("the kernel's end of leg `{}`", leg.name.value)),
        );
    }
}

fn backend_is_vip(config: &Config, found: &mut Vec<Diagnostic>) {
    let mut vips: HashMap<IpAddr, &Service> = HashMap::new();
    for service in &config.services {
        vips.entry(service.listen.ip()).or_insert(service);
    }
    for backend in config.pools.iter().flat_map(|pool| &pool.backends) {
        let Some(service) = vips.get(&backend.address.ip()) else { continue };
        found.push(
            Diagnostic::new(
                Code::BackendIsVip,
                format!("backend `{}` is balun itself", backend.name.value),
                backend.address.span.clone(),
                "what is sent here would come back",
                "write the address of the server itself",
            )
            .with(
                service.listen.span.clone(),
                format!("service `{}` listens on this address", service.name.value),
            ),
        );
    }
}

/// Reports that packets would have to change their IP version; true if so.
fn family_mismatch(service: &Service, pool: &Pool, found: &mut Vec<Diagnostic>) -> bool {
    let (Mode::Nat, Some(name)) = (service.mode.value, &service.pool) else { return false };
    let vip = service.listen.ip();
    let other = pool.backends.iter().find(|b| b.address.ip().is_ipv4() != vip.is_ipv4());
    let Some(backend) = other else { return false };
    let (ours, theirs) = (family(vip), family(backend.address.ip()));
    found.push(
        Diagnostic::new(
            Code::FamilyMismatch,
            format!("service `{}` cannot reach backend `{}`", *service.name, *backend.name),
            name.span.clone(),
            format!("mode `nat` does not translate {ours} to {theirs}"),
            format!("use a pool of {ours} backends, or `mode = \"tcp\"`"),
        )
        .with(service.listen.span.clone(), format!("listens on {ours}"))
        .with(backend.address.span.clone(), format!("is {theirs}")),
    );
    true
}

/// Reports that there is no address to reach a backend from.
fn no_source(config: &Config, service: &Service, pool: &Pool, found: &mut Vec<Diagnostic>) {
    let keeps_client = service.mode.value == Mode::Nat && service.nat == Nat::Dnat;
    if keeps_client || is_by_kernel(service) {
        return;
    }
    let vip = service.listen.ip();
    let snat = config.snat.as_ref().filter(|snat| !snat.addresses.is_empty());
    let has_source = |ip: IpAddr| match snat {
        Some(snat) => snat.addresses.iter().any(|source| source.is_ipv4() == ip.is_ipv4()),
        None => vip.is_ipv4() == ip.is_ipv4(),
    };
    let lacking = pool.backends.iter().find(|backend| !has_source(backend.address.ip()));
    // What was left out may have been the address.
    let Some(backend) = lacking.filter(|_| config.complete) else { return };
    let theirs = family(backend.address.ip());
    let example = if backend.address.is_ipv4() { "10.99.0.250" } else { "fd99::250" };
    let title = format!("service `{}` has no {theirs} source address", service.name.value);
    let primary = service.pool.as_ref().map_or(&service.span, |name| &name.span).clone();
    let label = format!("backends of this pool are reached over {theirs}");
    let help = format!("add an {theirs} address to `[snat]`, such as `\"{example}\"`");
    let mut diagnostic = Diagnostic::new(Code::NoSource, title, primary, label, help)
        .with(backend.address.span.clone(), format!("is {theirs}"));
    if let Some(last) = snat.and_then(|snat| snat.addresses.last()) {
        diagnostic = diagnostic.with(last.span.clone(), format!("no {theirs} among these"));
    }
    found.push(diagnostic);
}

/// True if the host's own sockets reach the service's backends.
fn is_by_kernel(service: &Service) -> bool {
    service.mode.value != Mode::Nat && service.upstream == Upstream::Kernel
}

fn uses(service: &Service, pool: &Pool) -> bool {
    service.pool.as_ref().is_some_and(|name| name.value == pool.name.value)
}

/// With several legs a packet to a backend behind none of them is dropped.
fn unreachable(config: &Config, found: &mut Vec<Diagnostic>) {
    if config.legs.len() < 2 || !config.complete {
        return;
    }
    let behind =
        |leg: &Leg, ip| leg.addresses.iter().chain(&leg.routes).any(|prefix| prefix.contains(ip));
    let by_legs = |pool: &&Pool| {
        let mut users = config.services.iter().filter(|service| uses(service, pool)).peekable();
        users.peek().is_none() || !users.all(is_by_kernel)
    };
    for backend in config.pools.iter().filter(by_legs).flat_map(|pool| &pool.backends) {
        let ip = backend.address.ip();
        if config.legs.iter().any(|leg| behind(leg, ip)) {
            continue;
        }
        let host = if ip.is_ipv4() { 24 } else { 64 };
        let network = Prefix { address: ip, length: host }.network();
        found.push(Diagnostic::new(
            Code::Unreachable,
            format!("backend `{}` lies behind no leg", backend.name.value),
            backend.address.span.clone(),
            "no leg has a network with this address",
            format!("add `routes = [\"{network}\"]` to the leg that leads there"),
        ));
    }
}
