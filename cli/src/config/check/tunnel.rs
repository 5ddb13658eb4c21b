//! What a tunnel needs: keys that belong together, and the same port at both ends.

use super::super::codes::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::{Config, Mode, Service, Tunnel};

pub(super) fn check(config: &Config, found: &mut Vec<Diagnostic>) {
    // In another mode the keys themselves are reported.
    for service in config.services.iter().filter(|service| service.mode.value == Mode::Nat) {
        if service.is_tunnel() {
            other_port(config, service, found);
        }
        keys(service, found);
    }
}

/// Keys of which the one that they belong to is missing.
fn keys(service: &Service, found: &mut Vec<Diagnostic>) {
    let name = &service.name.value;
    if let Some(tunnel) = service.tunnel.as_ref().filter(|_| !service.is_tunnel()) {
        found.push(Diagnostic::new(
            Code::TunnelFit,
            format!("service `{name}` has no tunnel"),
            tunnel.span.clone(),
            "says how packets are wrapped",
            "write `nat = \"tunnel\"`, or remove `tunnel`",
        ));
    }
    let is_gue = service.tunnel.as_ref().is_some_and(|tunnel| tunnel.value == Tunnel::Gue);
    if let Some(port) = service.tunnel_port.as_ref().filter(|_| !is_gue) {
        let mut diagnostic = Diagnostic::new(
            Code::TunnelFit,
            format!("the tunnel of service `{name}` has no port"),
            port.span.clone(),
            "is for UDP",
            "write `tunnel = \"gue\"`, or remove `tunnel-port`",
        );
        if let Some(tunnel) = &service.tunnel {
            diagnostic = diagnostic.with(tunnel.span.clone(), "IP in IP is without UDP");
        }
        found.push(diagnostic);
    }
}

/// A backend gets packets as their client sent them.
fn other_port(config: &Config, service: &Service, found: &mut Vec<Diagnostic>) {
    let pool = service.pool.as_ref().and_then(|name| config.pool(name));
    let Some(pool) = pool else { return };
    let conflict = pool.backends.iter().find_map(|backend| {
        let port = backend.address.port();
        let listen = service.listens.iter().find(|listen| port != 0 && !listen.is_only(port))?;
        Some((backend, listen))
    });
    let Some((backend, listen)) = conflict else { return };
    found.push(
        Diagnostic::new(
            Code::TunnelFit,
            format!("service `{}` cannot reach backend `{}`", *service.name, *backend.name),
            backend.address.span.clone(),
            "a tunnel leaves the port as it is",
            "write the port that the service listens on, or `*`",
        )
        .with(listen.span.clone(), "what clients ask for"),
    );
}
