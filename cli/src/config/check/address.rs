//! Addresses: who may use which, and who can reach whom.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use nat::Listen;
use netstack::wire::Protocol;

use super::super::codes::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::{
    Backend, Config, Leg, LegKind, Mode, Nat, Pool, Prefix, Service, Spanned,
};

pub(super) fn check(config: &Config, found: &mut Vec<Diagnostic>) {
    same_listen(config, found);
    for service in &config.services {
        listen_fits_mode(service, found);
        vip_is_leg(config, service, found);
        vip_is_bypassed(config, service, found);
        allowed_and_denied(service, found);
        for name in service.pools() {
            let Some(pool) = config.pool(name) else { continue };
            port_is_known(service, pool, found);
            if !family_mismatch(service, pool, found) {
                no_source(config, service, (name, pool), found);
            }
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
    // On an Ethernet interface the leg's addresses are ours.
    let by_kernel = |leg: &&Leg| *leg.kind != LegKind::Veth;
    config.legs.iter().filter(by_kernel).find_map(|leg| {
        let same = leg.addresses.iter().find(|prefix| prefix.address == ip)?;
        Some((leg, same))
    })
}

fn same_listen(config: &Config, found: &mut Vec<Diagnostic>) {
    let all: Vec<_> = config
        .services
        .iter()
        .flat_map(|service| service.listens.iter().map(move |listen| (service, listen)))
        .collect();
    let owned: Vec<_> =
        all.iter().map(|(service, listen)| (service.span.start, listen.value)).collect();
    for (earlier, later) in nat::listen::conflicts(&owned) {
        let ((first, had), (second, wanted)) = (all[earlier], all[later]);
        let same = had.value == wanted.value;
        let (title, help) = if same {
            let title = format!("`{}` is listened on twice", wanted.value);
            (title, "give one of the two services another address or port")
        } else {
            let title = format!("`{}` and `{}` overlap", had.value, wanted.value);
            (title, "make one of the two ranges smaller than the other, or keep them apart")
        };
        found.push(
            Diagnostic::new(
                Code::SameListen,
                title,
                wanted.span.clone(),
                format!("service `{}` cannot have it too", second.name.value),
                help,
            )
            .with(had.span.clone(), format!("service `{}` has it", first.name.value)),
        );
    }
}

fn listen_fits_mode(service: &Service, found: &mut Vec<Diagnostic>) {
    let misfit = |listen: &&Spanned<Listen>| listen.protocol != Some(Protocol::Tcp);
    let Some(listen) = service.listens.iter().find(misfit) else { return };
    if service.mode.value == Mode::Nat {
        return;
    }
    let mode = service.mode.name();
    let protocol = listen.protocol.map_or("any", Protocol::name);
    found.push(
        Diagnostic::new(
            Code::ListenMode,
            format!("mode `{mode}` cannot listen on {protocol}"),
            listen.span.clone(),
            "only TCP connections can be ended here",
            format!("write `mode = \"nat\"`, or listen on tcp instead of {protocol}"),
        )
        .with(service.mode.span.clone(), "the mode is set here"),
    );
}

/// What the service listens on that is a single address.
fn vips(service: &Service) -> impl Iterator<Item = (IpAddr, &Spanned<Listen>)> {
    service.listens.iter().filter_map(|listen| Some((listen.host()?.into(), listen)))
}

fn vip_is_leg(config: &Config, service: &Service, found: &mut Vec<Diagnostic>) {
    let belongs = |(vip, listen)| Some((vip, listen, kernel_address(config, vip)?));
    let Some((vip, listen, (leg, address))) = vips(service).find_map(belongs) else { return };
    found.push(
        Diagnostic::new(
            Code::VipIsLeg,
            format!("`{vip}` belongs to the kernel"),
            listen.span.clone(),
            "the kernel would answer instead of balun",
            format!("listen on another address of `{}`", address.network()),
        )
        .with(address.span.clone(), format!("the kernel's end of leg `{}`", leg.name.value)),
    );
}

fn vip_is_bypassed(config: &Config, service: &Service, found: &mut Vec<Diagnostic>) {
    let bypassed = |(vip, listen): (IpAddr, _)| {
        let around = config.bypass.iter().find(|prefix| prefix.contains(vip.into()))?;
        Some((vip, listen, around))
    };
    let Some((vip, listen, around)) = vips(service).find_map(bypassed) else { return };
    found.push(
        Diagnostic::new(
            Code::Bypassed,
            format!("service `{}` would never be reached", service.name.value),
            listen.span.clone(),
            format!("what is sent to `{vip}` is not translated"),
            "take this address out of `bypass`, or listen on another",
        )
        .with(around.span.clone(), "this rule holds for it"),
    );
}

fn allowed_and_denied(service: &Service, found: &mut Vec<Diagnostic>) {
    for (prefix, denied, allowed) in service.access.contradictions() {
        found.push(
            Diagnostic::new(
                Code::AllowedAndDenied,
                format!("service `{}` allows and denies `{prefix}`", service.name.value),
                denied,
                "denied here",
                "remove it from one of the two lists",
            )
            .with(allowed, "allowed here"),
        );
    }
}

/// A connection of our own is made to a port: there is none that a client asked for.
fn port_is_known(service: &Service, pool: &Pool, found: &mut Vec<Diagnostic>) {
    let Some(backend) = pool.backends.iter().find(|backend| backend.address.port() == 0) else {
        return;
    };
    if service.mode.value == Mode::Nat {
        return;
    }
    let (mode, ip) = (service.mode.name(), backend.address.ip());
    found.push(
        Diagnostic::new(
            Code::EveryPort,
            format!("mode `{mode}` cannot use backend `{}`", backend.name.value),
            backend.address.span.clone(),
            "stands for the port that the client asked for",
            format!("write a port, such as `{}`", SocketAddr::new(ip, 8080)),
        )
        .with(service.mode.span.clone(), "opens connections of its own"),
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
    let mut vips: HashMap<IpAddr, _> = HashMap::new();
    for service in &config.services {
        for (vip, listen) in self::vips(service) {
            vips.entry(vip).or_insert((service, listen));
        }
    }
    for backend in config.pools.iter().flat_map(|pool| &pool.backends) {
        let Some((service, listen)) = vips.get(&backend.address.ip()) else { continue };
        found.push(
            Diagnostic::new(
                Code::BackendIsVip,
                format!("backend `{}` is balun itself", backend.name.value),
                backend.address.span.clone(),
                "what is sent here would come back",
                "write the address of the server itself",
            )
            .with(
                listen.span.clone(),
                format!("service `{}` listens on this address", service.name.value),
            ),
        );
    }
}

/// Reports that packets would have to change their IP version; true if so.
fn family_mismatch(service: &Service, pool: &Pool, found: &mut Vec<Diagnostic>) -> bool {
    let (Mode::Nat, Some(name)) = (service.mode.value, &service.pool) else { return false };
    if service.is_tunnel() {
        return false;
    }
    let is_v4 = |listen: &Listen| listen.prefix.first().is_v4();
    let crosses = service.listens.iter().find_map(|listen| {
        let other = |b: &&Backend| b.address.is_ipv4() != is_v4(listen);
        Some((listen, pool.backends.iter().find(other)?))
    });
    let Some((listen, backend)) = crosses else { return false };
    let vip = IpAddr::from(listen.prefix.first());
    let (ours, theirs) = (family(vip), family(backend.address.ip()));
    found.push(
        Diagnostic::new(
            Code::FamilyMismatch,
            format!("service `{}` cannot reach backend `{}`", *service.name, *backend.name),
            name.span.clone(),
            format!("mode `nat` does not translate {ours} to {theirs}"),
            format!("use a pool of {ours} backends, or `mode = \"tcp\"`"),
        )
        .with(listen.span.clone(), format!("listens on {ours}"))
        .with(backend.address.span.clone(), format!("is {theirs}")),
    );
    true
}

/// Reports that there is no address to reach a backend from.
fn no_source(
    config: &Config,
    service: &Service,
    (name, pool): (&Spanned<String>, &Pool),
    found: &mut Vec<Diagnostic>,
) {
    let keeps_client = service.mode.value == Mode::Nat && service.nat == Nat::Dnat;
    if keeps_client || service.is_by_kernel() {
        return;
    }
    let snat = config.snat.as_ref().filter(|snat| !snat.addresses.is_empty());
    let has_source = |ip: IpAddr| match snat {
        Some(snat) => snat.addresses.iter().any(|source| source.is_ipv4() == ip.is_ipv4()),
        // Backends have the service's address themselves, and take nothing that comes from it.
        None if service.is_tunnel() => false,
        // A service on a network has no address that is its own alone.
        None => {
            vips(service).count() == service.listens.len()
                && vips(service).any(|(vip, _)| vip.is_ipv4() == ip.is_ipv4())
        }
    };
    let lacking = pool.backends.iter().find(|backend| !has_source(backend.address.ip()));
    // What was left out may have been the address.
    let Some(backend) = lacking.filter(|_| config.complete) else { return };
    let theirs = family(backend.address.ip());
    let example = if backend.address.is_ipv4() { "10.99.0.250" } else { "fd99::250" };
    let title = format!("service `{}` has no {theirs} source address", service.name.value);
    let primary = name.span.clone();
    let label = format!("backends of this pool are reached over {theirs}");
    let help = format!("add an {theirs} address to `[snat]`, such as `\"{example}\"`");
    let mut diagnostic = Diagnostic::new(Code::NoSource, title, primary, label, help)
        .with(backend.address.span.clone(), format!("is {theirs}"));
    if let Some(last) = snat.and_then(|snat| snat.addresses.last()) {
        diagnostic = diagnostic.with(last.span.clone(), format!("no {theirs} among these"));
    }
    found.push(diagnostic);
}

/// With several legs a packet to a backend behind none of them is dropped.
fn unreachable(config: &Config, found: &mut Vec<Diagnostic>) {
    if config.legs.len() < 2 || !config.complete {
        return;
    }
    let behind =
        |leg: &Leg, ip| leg.addresses.iter().chain(&leg.routes).any(|prefix| prefix.contains(ip));
    let by_legs = |pool: &&Pool| !config.is_reached_by_kernel(pool);
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
