//! Legs on Ethernet interfaces: gateways, and what the kernel does there.

use std::net::IpAddr;

use netstack::dev::veth::{KernelView, kernel_view};

use super::super::codes::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::{Config, Leg, LegKind, Spanned};

pub(super) fn check(leg: &Leg, found: &mut Vec<Diagnostic>) {
    if *leg.kind == LegKind::Veth {
        default_route(leg, found);
        for gateway in &leg.gateways {
            on_link(leg, gateway, found);
        }
        second_gateway(leg, found);
        no_gateway(leg, found);
    } else if let Some(gateway) = leg.gateways.first() {
        found.push(Diagnostic::new(
            Code::KindFit,
            format!("leg `{}` needs no gateway", *leg.name),
            gateway.span.clone(),
            "behind a TUN is the kernel, which has routes of its own",
            "remove `gateway`, or write `kind = \"veth\"` for an Ethernet interface",
        ));
    }
}

fn default_route(leg: &Leg, found: &mut Vec<Diagnostic>) {
    if leg.default_route.value {
        found.push(
            Diagnostic::new(
                Code::KindFit,
                format!("leg `{}` cannot be the default route", *leg.name),
                leg.default_route.span.clone(),
                "the kernel has nothing to do with this interface",
                "remove `default-route`, and set routes on the hosts behind the interface",
            )
            .with(leg.kind.span.clone(), "an Ethernet interface"),
        );
    }
}

fn on_link(leg: &Leg, gateway: &Spanned<IpAddr>, found: &mut Vec<Diagnostic>) {
    let own = leg.addresses.iter().find(|prefix| prefix.address == gateway.value);
    let reached = leg.addresses.iter().any(|prefix| prefix.contains(gateway.value));
    let label = match own {
        Some(_) => "is the leg itself",
        None if !reached => "is in no network of the leg, and cannot be asked for",
        None => return,
    };
    let mut diagnostic = Diagnostic::new(
        Code::BadGateway,
        format!("`{}` cannot be the gateway of leg `{}`", gateway.value, *leg.name),
        gateway.span.clone(),
        label,
        "write the address of the router on the leg's own network",
    );
    if let Some(address) = own.or(leg.addresses.first()) {
        diagnostic = diagnostic.with(address.span.clone(), "the leg's own network");
    }
    found.push(diagnostic);
}

fn second_gateway(leg: &Leg, found: &mut Vec<Diagnostic>) {
    for (i, gateway) in leg.gateways.iter().enumerate() {
        let same = |earlier: &&Spanned<IpAddr>| earlier.is_ipv4() == gateway.is_ipv4();
        if let Some(earlier) = leg.gateways[..i].iter().find(same) {
            found.push(
                Diagnostic::new(
                    Code::BadGateway,
                    format!("leg `{}` has two gateways of one IP version", *leg.name),
                    gateway.span.clone(),
                    "would never be used",
                    "remove one of the two",
                )
                .with(earlier.span.clone(), "the first of them"),
            );
        }
    }
}

fn no_gateway(leg: &Leg, found: &mut Vec<Diagnostic>) {
    let lacking = |route: &&Spanned<_>| {
        let route: &super::super::model::Prefix = route;
        let on_link = leg
            .addresses
            .iter()
            .any(|link| link.contains(route.address) && link.length <= route.length);
        !on_link && !leg.gateways.iter().any(|g| g.is_ipv4() == route.address.is_ipv4())
    };
    let Some(route) = leg.routes.iter().find(lacking) else { return };
    let version = if route.address.is_ipv4() { "IPv4" } else { "IPv6" };
    let example = leg.addresses.iter().find(|p| p.address.is_ipv4() == route.address.is_ipv4());
    let example = example.map_or_else(String::new, |p| format!(" of `{}`", p.network()));
    found.push(Diagnostic::new(
        Code::NoGateway,
        format!("leg `{}` has no {version} gateway", *leg.name),
        route.span.clone(),
        "is not on the link, so that another host must take what goes there",
        format!("write `gateway` with the address of the router{example}"),
    ));
}

/// Warns of what the kernel would do beside us: answer for our addresses, or forward what is sent to us.
pub(super) fn check_kernel(config: &Config, found: &mut Vec<Diagnostic>) {
    for leg in config.legs.iter().filter(|leg| *leg.kind == LegKind::Veth) {
        if leg.name.value == "lo" {
            found.push(Diagnostic::new(
                Code::KernelTakesPart,
                "`lo` is the kernel's alone",
                leg.name.span.clone(),
                "what is sent here comes back to the kernel itself",
                "name an Ethernet interface, such as one end of a veth pair",
            ));
            continue;
        }
        // Where it cannot be looked at, opening the leg says why.
        let Ok(view) = kernel_view(leg.netns.as_deref().map(String::as_str), &leg.name) else {
            continue;
        };
        addresses(config, leg, &view, found);
        if view.forwards {
            let name = &leg.name;
            found.push(Diagnostic::new(
                Code::KernelTakesPart,
                format!("the kernel forwards what comes by `{}`", name.value),
                leg.name.span.clone(),
                "packets for balun would be forwarded, or refused, a second time",
                format!("switch it off: sysctl net.ipv4.conf.{0}.forwarding=0 net.ipv6.conf.{0}.forwarding=0", name.value),
            ));
        }
    }
}

fn addresses(config: &Config, leg: &Leg, view: &KernelView, found: &mut Vec<Diagnostic>) {
    let of_kernel = |ip: IpAddr| view.addresses.iter().find(|(_, address)| *address == ip);
    let listens = config.services.iter().flat_map(|service| &service.listens);
    let vips = listens.filter_map(|listen| Some((IpAddr::from(listen.host()?), &listen.span)));
    let snat = config.snat.iter().flat_map(|snat| &snat.addresses);
    let snat = snat.map(|address| (address.value, &address.span));
    let own = leg.addresses.iter().map(|prefix| (prefix.address, &prefix.span));
    for (ip, span) in own.chain(vips).chain(snat) {
        let Some((interface, _)) = of_kernel(ip) else { continue };
        found.push(Diagnostic::new(
            Code::KernelTakesPart,
            format!("`{ip}` is an address of the kernel"),
            span.clone(),
            format!("interface `{interface}` has it: the kernel would answer as well"),
            format!("take it away: ip address del {ip} dev {interface}"),
        ));
    }
}
