//! Where HTTP/2 has no place: keys that say twice, or in vain, who speaks it.

use super::super::codes::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::{Config, Mode, Pool};

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
    for pool in config.pools.iter().filter(|pool| pool.is_http2()) {
        backends(config, pool, found);
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
