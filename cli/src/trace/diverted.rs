//! What ends the connections of diverted services.

use nat::verdict::DivertTo;

use super::narrator::{Narrator, Row, aside};
use crate::config::model::{Mode, ProxyProtocol, Service, Spanned, Upstream};

/// What would be done with a connection that ends in this process.
pub(super) fn rows(narrator: &Narrator<'_>, to: DivertTo) -> Vec<Row> {
    let DivertTo::Service(id) = to else { return Vec::new() };
    let Some(service) = narrator.places.service(id) else { return Vec::new() };
    let ends = Row {
        verb: "end",
        object: service.mode.value.name().to_owned(),
        detail: format!("the connection ends here: {}", protocol(service)),
        aside: aside(narrator.places.at(&service.mode.span)),
    };
    let each = match service.mode.value {
        Mode::Http => "for each request",
        Mode::Nat | Mode::Tcp => "for each connection",
    };
    let mut rows = vec![ends];
    for route in &service.sni {
        let to = pool(narrator, service, &format!("for {}", *route.name), &route.pool);
        rows.push(to);
    }
    for (at, route) in service.routes.iter().enumerate() {
        rows.push(Row {
            verb: "route",
            object: (at + 1).to_string(),
            detail: crate::route::action(route),
            aside: aside(narrator.places.at(&route.span)),
        });
    }
    match &service.pool {
        Some(name) => rows.push(pool(narrator, service, each, name)),
        None if service.mode.value == Mode::Http => {}
        None => rows.push(Row {
            verb: "pool",
            object: "none".to_owned(),
            detail: "for all other clients: they are told so, and closed".to_owned(),
            aside: aside(narrator.places.at(&service.name.span)),
        }),
    }
    rows
}

fn pool(narrator: &Narrator<'_>, service: &Service, each: &str, name: &Spanned<String>) -> Row {
    let pool = narrator.places.config().pool(name);
    let known = narrator.tracer.engine().pools().iter().find(|known| known.name() == name.value);
    let detail = format!(
        "{each}: {}, {}, over {}",
        known.map_or("", |pool| pool.scheduler().name()),
        pool.map_or_else(String::new, backends),
        upstream(service)
    );
    let aside = aside(pool.and_then(|pool| narrator.places.at(&pool.name.span)));
    Row { verb: "pool", object: name.value.clone(), detail, aside }
}

fn protocol(service: &Service) -> String {
    match service.mode.value {
        Mode::Http => match &service.tls {
            None if service.http2.as_ref().is_some_and(|http2| http2.value) => {
                "HTTP/1.1 or HTTP/2 in plain text".to_owned()
            }
            None => "HTTP/1.1 in plain text".to_owned(),
            Some(tls) => {
                let alpn: Vec<_> = tls.alpn.iter().map(|protocol| protocol.name()).collect();
                let alpn =
                    if alpn.is_empty() { String::new() } else { format!(" ({})", alpn.join(", ")) };
                let by_name = match tls.certificates.len() {
                    1 => "one certificate".to_owned(),
                    n => format!("{n} certificates, by the name asked for"),
                };
                format!("HTTP in TLS{alpn}, {by_name}")
            }
        },
        Mode::Nat | Mode::Tcp => {
            let header = match service.proxy_protocol {
                None => "",
                Some(ProxyProtocol::V1) => ", behind PROXY v1",
                Some(ProxyProtocol::V2) => ", behind PROXY v2",
            };
            let by_name =
                if service.sni.is_empty() { "" } else { ", by the server name asked for" };
            format!("bytes go on over another{header}{by_name}")
        }
    }
}

fn backends(pool: &crate::config::model::Pool) -> String {
    match pool.backends.len() {
        1 => "one backend".to_owned(),
        n => format!("one of {n} backends"),
    }
}

const fn upstream(service: &Service) -> &'static str {
    match service.upstream {
        Upstream::Userspace => "a connection of our own",
        Upstream::Kernel => "a socket of the host",
    }
}
