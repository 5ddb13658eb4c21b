//! Where HTTP/2 has no place: keys that say twice, or in vain, who speaks it.

use super::super::codes::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::{Affinity, Config, Mode, Pool, Scheduler, Service};

pub(super) fn check(config: &Config, found: &mut Vec<Diagnostic>) {
    for service in config.services.iter().filter(|service| service.tls.is_some()) {
        let Some(http2) = service.http2.as_ref() else { continue };
        found.push(Diagnostic::new(
            Code::ClearHttp2,
            format!("service `{}` is not in clear text", *service.name),
            http2.span.clone(),
            "is about connections without TLS",
            "remove `http2`, and write `alpn = [\"h2\", \"http/1.1\"]` in `tls`",
        ));
    }
    for pool in &config.pools {
        affinity(config, pool, found);
    }
    for pool in config.pools.iter().filter(|pool| pool.is_http2()) {
        backends(config, pool, found);
    }
}

/// Clients that are known by what only requests say.
fn affinity(config: &Config, pool: &Pool, found: &mut Vec<Diagnostic>) {
    let name = match &pool.affinity {
        Some(Affinity::Cookie(cookie)) => &cookie.name,
        Some(Affinity::Header { name }) => name,
        _ => return,
    };
    let hashes = matches!(pool.scheduler, Scheduler::Maglev | Scheduler::SourceHash);
    if matches!(pool.affinity, Some(Affinity::Header { .. })) && !hashes {
        found.push(Diagnostic::new(
            Code::AffinityFit,
            format!("the scheduler of pool `{}` does not hash", *pool.name),
            name.span.clone(),
            "nothing would follow from this field",
            "write `scheduler = \"maglev\"`",
        ));
    }
    let uses = |service: &&Service| service.pools().any(|used| used.value == pool.name.value);
    let others = config.services.iter().filter(uses);
    for service in others.filter(|service| service.mode.value != Mode::Http) {
        found.push(
            Diagnostic::new(
                Code::AffinityFit,
                format!("service `{}` sees no requests", *service.name),
                name.span.clone(),
                "clients of this pool are known by their requests",
                "write `affinity = { by = \"client-ip\", timeout = \"10m\" }`",
            )
            .with(service.mode.span.clone(), "passes on what clients say"),
        );
    }
}

/// A pool whose backends speak HTTP/2.
fn backends(config: &Config, pool: &Pool, found: &mut Vec<Diagnostic>) {
    let Some(protocol) = &pool.protocol else { return };
    let of_pool = config
        .services
        .iter()
        .filter(|service| service.pool.as_ref().is_some_and(|name| name.value == pool.name.value));
    for service in of_pool.filter(|service| service.mode.value != Mode::Http) {
        found.push(
            Diagnostic::new(
                Code::BackendProtocol,
                format!("service `{}` has no say in what its backends speak", *service.name),
                protocol.span.clone(),
                "is about requests",
                "write `mode = \"http\"`, or remove `protocol`",
            )
            .with(service.mode.span.clone(), "passes on what clients say"),
        );
    }
}
