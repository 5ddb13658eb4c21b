//! `[pool.NAME]` and its backends.

use std::time::Duration;

use super::super::codes::Code;
use super::super::diagnostic::{Diagnostic, alternatives};
use super::super::model::{
    Affinity, Alpn, Backend, Health, Initial, Pool, Probe, Scheduler, Spanned,
};
use super::super::reader::{Item, Reader, Table};
use super::super::value;
use super::exactly_one;

const SCHEDULERS: [(&str, Scheduler); 7] = [
    ("round-robin", Scheduler::RoundRobin),
    ("random", Scheduler::Random),
    ("least-connections", Scheduler::LeastConnections),
    ("p2c", Scheduler::P2c),
    ("source-hash", Scheduler::SourceHash),
    ("maglev", Scheduler::Maglev),
    ("ewma", Scheduler::Ewma),
];
const PROTOCOLS: [(&str, Alpn); 2] = [("http/1.1", Alpn::Http1), ("h2", Alpn::Http2)];
const INITIALS: [(&str, Initial); 2] = [("up", Initial::Up), ("down", Initial::Down)];
const PROBES: [&str; 5] = ["http", "tcp", "icmp", "grpc", "udp"];
/// Probes in a row.
const MAX_PROBES: u32 = 1000;

pub(super) fn pool(r: &mut Reader, name: Spanned<String>, mut table: Table<'_>) -> Pool {
    let scheduler = table.take(r, "scheduler");
    let scheduler = scheduler.and_then(|item| item.choice(r, "a scheduler", &SCHEDULERS));
    let affinity = table.take(r, "affinity").and_then(|item| affinity(r, &item));
    let health = table.take(r, "health").and_then(|item| health(r, &item));
    let slow_start = table.take(r, "slow-start");
    let slow_start = slow_start.and_then(|item| item.parse(r, value::some_duration));
    let panic = table.take(r, "panic-threshold");
    let panic = panic.and_then(|item| item.parse(r, value::whole_percentage));
    let pooling = super::pooling::pooling(r, &mut table);
    let protocol = table.take(r, "protocol");
    let protocol = protocol.and_then(|item| item.choice(r, "a protocol", &PROTOCOLS));
    let backends = table.take(r, "backend");
    let backends = backends.map(|item| item.list(r, |r, item| backend(r, &item)));
    table.finish(r);
    Pool {
        name,
        scheduler: scheduler.map(|scheduler| scheduler.value).unwrap_or_default(),
        affinity,
        health,
        slow_start: slow_start.map(|time| time.value),
        panic_threshold: panic.map_or(0, |percent| percent.value),
        pooling,
        protocol,
        backends: backends.unwrap_or_default(),
    }
}

fn backend(r: &mut Reader, item: &Item<'_>) -> Option<Backend> {
    let mut table = item.table(r)?.named_by_its_name();
    let name = table.require(r, "name", "\"web1\"");
    let name = name.and_then(|item| item.parse(r, value::name));
    let address = table.require(r, "address", "\"10.2.0.11:8080\"");
    let address = address.and_then(|item| item.parse(r, value::backend));
    let weight = table.take(r, "weight").and_then(|item| item.integer(r, 0..=u16::MAX));
    let max_connections = table.take(r, "max-connections");
    let max_connections = max_connections.and_then(|item| item.integer(r, 1..=u32::MAX));
    let backup = table.take(r, "backup").and_then(|item| item.boolean(r));
    let priority = table.take(r, "priority").and_then(|item| item.integer(r, 0..=u16::MAX));
    let tls = table.take(r, "tls").and_then(|item| super::tls::backend(r, &item));
    table.finish(r);
    Some(Backend {
        name: name?,
        address: address?,
        weight: weight.unwrap_or(Spanned::default_of(1)),
        max_connections,
        backup: backup.is_some_and(|backup| backup.value),
        priority: priority.map_or(0, |priority| priority.value),
        tls,
    })
}

fn affinity(r: &mut Reader, item: &Item<'_>) -> Option<Affinity> {
    #[derive(Clone, Copy)]
    enum By {
        ClientIp,
        Cookie,
        Header,
    }
    const CHOICES: [(&str, By); 3] =
        [("client-ip", By::ClientIp), ("cookie", By::Cookie), ("header", By::Header)];
    let mut table = item.table(r)?;
    let by = table.require(r, "by", "\"client-ip\"");
    let affinity = match by.and_then(|item| item.choice(r, "a way to know clients", &CHOICES)) {
        Some(Spanned { value: By::ClientIp, .. }) => {
            let timeout = table.require(r, "timeout", "\"10m\"");
            let timeout = timeout.and_then(|item| item.parse(r, value::some_duration));
            let prefix = table.take(r, "prefix").and_then(|item| item.integer(r, 1..=32));
            let prefix6 = table.take(r, "prefix6").and_then(|item| item.integer(r, 1..=128));
            timeout.map(|timeout| Affinity::ClientIp {
                timeout: timeout.value,
                prefix: prefix.map_or(32, |bits| bits.value),
                prefix6: prefix6.map_or(128, |bits| bits.value),
            })
        }
        Some(Spanned { value: By::Cookie, .. }) => super::affinity::cookie(r, &mut table),
        Some(Spanned { value: By::Header, .. }) => table
            .require(r, "name", "\"x-user\"")
            .and_then(|item| item.parse(r, value::condition_field))
            .map(|name| Affinity::Header { name }),
        None => return None,
    };
    table.finish(r);
    affinity
}

fn health(r: &mut Reader, item: &Item<'_>) -> Option<Health> {
    let mut table = item.table(r)?;
    let within = (item.path(), item.span.clone());
    let host = table.take(r, "host").and_then(|item| {
        let host = item.parse(r, value::probe_host);
        host.map(|host| (host, item.key_span))
    });
    let service = table.take(r, "service").and_then(|item| {
        let service = item.words(r);
        service.map(|service| (service, item.key_span))
    });
    let mut probes = Vec::new();
    for key in PROBES {
        let Some(item) = table.take(r, key) else { continue };
        let switched_on = |r: &mut Reader, probe| match item.boolean(r) {
            // Switched off is as good as not written.
            Some(Spanned { value: false, .. }) => None,
            on => Some(on.map(|_| probe)),
        };
        let probe = match key {
            "http" => Some(item.parse(r, value::probe_path).map(|path| Probe::Http {
                path: path.value,
                host: host.as_ref().map(|(host, _)| host.value.clone()),
            })),
            "udp" => Some(item.parse(r, value::probe_payload).map(|text| Probe::Udp(text.value))),
            "tcp" => switched_on(r, Probe::Tcp),
            "icmp" => switched_on(r, Probe::Icmp),
            _ => {
                let host = host.as_ref().map(|(host, _)| host.value.clone());
                let service = service.as_ref().map(|(service, _)| service.value.clone());
                switched_on(r, Probe::Grpc { service, host })
            }
        };
        let Some(probe) = probe else { continue };
        let span = item.key_span.clone();
        probes.push((item, probe.map(|probe| Spanned::new(probe, span))));
    }
    let every = table.take(r, "every").and_then(|item| item.parse(r, value::some_duration));
    let timeout = table.take(r, "timeout").and_then(|item| item.parse(r, value::some_duration));
    let fall = table.take(r, "fall").and_then(|item| item.integer(r, 1..=MAX_PROBES));
    let rise = table.take(r, "rise").and_then(|item| item.integer(r, 1..=MAX_PROBES));
    let initial = table.take(r, "initial");
    let initial = initial.and_then(|item| item.choice(r, "a state to start in", &INITIALS));
    table.finish(r);
    let probe = exactly_one(r, within, probes, &PROBES)?;
    let key = probe.key();
    for (option, span, probes) in [
        ("host", host.map(|(_, span)| span), &["http", "grpc"][..]),
        ("service", service.map(|(_, span)| span), &["grpc"]),
    ] {
        let Some(span) = span.filter(|_| !probes.contains(&key)) else { continue };
        r.report(Diagnostic::new(
            Code::BadProbe,
            format!("`{option}` belongs to the probe {}", alternatives(probes)),
            span,
            format!("the probe is `{key}`"),
            format!("remove the key `{option}`"),
        ));
    }
    Some(Health {
        probe,
        every: every.unwrap_or(Spanned::default_of(Duration::from_secs(2))),
        timeout: timeout.unwrap_or(Spanned::default_of(Duration::from_millis(500))),
        fall: fall.map_or(3, |count| count.value),
        rise: rise.map_or(2, |count| count.value),
        initial: initial.map_or(Initial::default(), |initial| initial.value),
    })
}
