//! `[[service]]`.

use super::super::codes::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::{Mode, Nat, ProxyProtocol, Service, SniRoute, Spanned, Tunnel, Upstream};
use super::super::reader::{Item, Reader, Table};
use super::super::value;

const MODES: [(&str, Mode); 3] = [("nat", Mode::Nat), ("tcp", Mode::Tcp), ("http", Mode::Http)];
const NATS: [(&str, Nat); 3] = [("full", Nat::Full), ("dnat", Nat::Dnat), ("tunnel", Nat::Tunnel)];
const TUNNELS: [(&str, Tunnel); 2] = [("ipip", Tunnel::Ipip), ("gue", Tunnel::Gue)];
const UPSTREAMS: [(&str, Upstream); 2] =
    [("userspace", Upstream::Userspace), ("kernel", Upstream::Kernel)];
const PROXY_PROTOCOLS: [(&str, ProxyProtocol); 2] =
    [("v1", ProxyProtocol::V1), ("v2", ProxyProtocol::V2)];
const LISTENS: &str = "listen = [\"tcp 10.99.0.1:80\"]";

/// Keys that only some modes have a use for.
const MODES_OF_KEY: [(&str, &[Mode]); 29] = [
    ("nat", &[Mode::Nat]),
    ("tunnel", &[Mode::Nat]),
    ("tunnel-port", &[Mode::Nat]),
    ("pickup", &[Mode::Nat]),
    ("upstream", &[Mode::Http, Mode::Tcp]),
    ("congestion", &[Mode::Http, Mode::Tcp]),
    ("keepalive", &[Mode::Http, Mode::Tcp]),
    ("timeouts", &[Mode::Http, Mode::Tcp]),
    ("retry", &[Mode::Http]),
    ("hedge-after", &[Mode::Http]),
    ("sni", &[Mode::Tcp]),
    ("proxy-protocol", &[Mode::Tcp, Mode::Http]),
    ("proxy-protocol-from", &[Mode::Tcp, Mode::Http]),
    ("tls", &[Mode::Http]),
    ("http2", &[Mode::Http]),
    ("forwarded", &[Mode::Http]),
    ("forwarded-header", &[Mode::Http]),
    ("trusted-proxies", &[Mode::Http]),
    ("smuggling-proof", &[Mode::Http]),
    ("access-log", &[Mode::Http, Mode::Tcp]),
    ("request-id", &[Mode::Http]),
    ("trace-context", &[Mode::Http]),
    ("buffer", &[Mode::Http]),
    ("buffer-limit", &[Mode::Http]),
    ("max-body", &[Mode::Http]),
    ("error-pages", &[Mode::Http]),
    ("maintenance", &[Mode::Http]),
    ("route", &[Mode::Http]),
    ("access", &[Mode::Http]),
];

pub(super) fn service(r: &mut Reader, item: &Item<'_>) -> Option<Service> {
    let mut table = item.table(r)?.named_by_its_name();
    let name = table.require(r, "name", "\"web\"").and_then(|item| item.parse(r, value::name));
    let listens = listens(r, &mut table);
    let mode = mode(r, &mut table);
    let nat = table.take(r, "nat").and_then(|item| item.choice(r, "a kind of NAT", &NATS));
    let tunnel = table.take(r, "tunnel");
    let tunnel = tunnel.and_then(|item| item.choice(r, "an encapsulation", &TUNNELS));
    let tunnel_port = table.take(r, "tunnel-port").and_then(|item| item.integer(r, 1..=u16::MAX));
    let pickup = table.take(r, "pickup").and_then(|item| item.boolean(r));
    let pool = table.take(r, "pool").and_then(|item| item.words(r));
    let sni = table.take(r, "sni").and_then(|item| sni(r, &item));
    let proxy_protocol = table.take(r, "proxy-protocol");
    let proxy_protocol =
        proxy_protocol.and_then(|item| item.choice(r, "a PROXY protocol", &PROXY_PROTOCOLS));
    let proxy_from =
        table.take(r, "proxy-protocol-from").map(|item| super::access::prefixes(r, &item));
    let tls = table.take(r, "tls").and_then(|item| super::tls::service(r, &item));
    let http2 = table.take(r, "http2").and_then(|item| item.boolean(r));
    let told = super::forwarded::told(r, &mut table);
    let smuggling_proof = table.take(r, "smuggling-proof").and_then(|item| item.boolean(r));
    let upstream = table.take(r, "upstream");
    let upstream = upstream.and_then(|item| item.choice(r, "a way to backends", &UPSTREAMS));
    let access_log =
        table.take(r, "access-log").and_then(|item| super::access_log::access_log(r, &item));
    let naming = super::access_log::naming(r, &mut table);
    let buffering = super::buffering::buffering(r, &mut table);
    let (pages, maintenance, max_body) = super::route::of_service(r, &mut table);
    let tcp = super::tcp::tcp(r, &mut table);
    let timeouts = super::waiting::timeouts(r, &mut table, mode.as_ref());
    let routes = super::route::routes(r, &mut table, timeouts);
    let (retry, hedge_after) = super::retry::retry(r, &mut table);
    let access = super::access::access(r, &mut table);
    let rules = table.take(r, "access");
    let rules = rules.map(|item| item.list(r, |r, item| super::rule::rule(r, &item)));
    let span = table.span.clone();
    table.finish(r);
    Some(Service {
        span,
        name: name?,
        listens: listens.filter(|listens| !listens.is_empty())?,
        mode: mode?,
        nat: nat.map(|nat| nat.value).unwrap_or_default(),
        tunnel,
        tunnel_port,
        pickup,
        pool,
        sni: sni.unwrap_or_default(),
        proxy_protocol: proxy_protocol.map(|version| version.value),
        proxy_protocol_from: proxy_from.unwrap_or_default(),
        tls,
        http2,
        forwarded: told.forwarded,
        spelling: told.spelling,
        trusted: told.trusted,
        smuggling_proof: smuggling_proof.is_some_and(|proof| proof.value),
        upstream: upstream.map(|upstream| upstream.value).unwrap_or_default(),
        access_log,
        naming,
        max_body,
        buffering,
        pages,
        maintenance,
        routes,
        tcp,
        timeouts,
        retry,
        hedge_after,
        access,
        rules: rules.unwrap_or_default(),
    })
}

fn listens(r: &mut Reader, table: &mut Table<'_>) -> Option<Vec<Spanned<nat::Listen>>> {
    let listen = table.require(r, "listen", "\"tcp 10.99.0.1:80\"")?;
    let why = "a service listens on something";
    Some(listen.one_or_more(r, why, LISTENS, |r, item| item.parse(r, value::listen)))
}

fn mode(r: &mut Reader, table: &mut Table<'_>) -> Option<Spanned<Mode>> {
    let mode = table.require(r, "mode", "\"nat\"");
    let mode = mode.and_then(|item| item.choice(r, "a mode", &MODES))?;
    keys_fit_mode(r, table, &mode);
    Some(mode)
}

/// Reports keys that mean nothing in this mode. Those that are not supported in any are not reported
/// twice.
fn keys_fit_mode(r: &mut Reader, table: &Table<'_>, mode: &Spanned<Mode>) {
    let here = mode.value.name();
    for (key, span) in table.supported_keys() {
        let fitting = MODES_OF_KEY.iter().find(|(name, _)| *name == key).map(|(_, modes)| *modes);
        let Some(fitting @ [first, ..]) = fitting else { continue };
        if !fitting.contains(&mode.value) {
            let there = first.name();
            r.report(
                Diagnostic::new(
                    Code::WrongMode,
                    format!("`{key}` has no meaning in mode `{here}`"),
                    span,
                    format!("belongs to mode `{there}`"),
                    format!("remove `{key}`, or write `mode = \"{there}\"`"),
                )
                .with(mode.span.clone(), "the mode is set here"),
            );
        }
    }
}

fn sni(r: &mut Reader, item: &Item<'_>) -> Option<Vec<SniRoute>> {
    let mut names = item.table(r)?;
    let named = names.take_named(r);
    let each = named.into_iter().filter_map(|(name, item)| {
        let name = name.parse(r, value::sni_pattern);
        let pool = item.words(r);
        Some(SniRoute { name: name?, pool: pool? })
    });
    Some(each.collect())
}
