//! From text to model.

mod access;
mod access_log;
mod affinity;
mod auth;
mod buffering;
mod cache;
mod capture;
mod cors;
mod forwarded;
mod impair;
mod lab;
mod leg;
pub(super) mod pkt;
mod pool;
mod pooling;
mod rate_limit;
mod retry;
pub(crate) mod route;
mod rule;
mod service;
mod tcp;
mod test;
mod tls;
mod waiting;

use std::ops::RangeInclusive;
use std::time::Duration;

pub use impair::change as change_impairment;
use toml::de::DeTable;

use super::codes::Code;
use super::diagnostic::{Diagnostic, alternatives};
use super::model::{
    Config, Control, Limits, PortRange, Refusal, Snat, SnatMapping, Span, Spanned, Timeouts,
};
use super::reader::{Item, Reader, Table};
use super::value;

/// The version of the format that this program reads.
const VERSION: u64 = 1;
/// Numbers that the engine can give to flows.
const FLOWS: RangeInclusive<u32> = 1..=1 << 30;
/// RFC 6888 REQ-8.
const QUARANTINE: Duration = Duration::from_mins(2);
const QUARANTINE_PORTS: u32 = 1_048_576;

/// Reads a text. Each error in the form of the file gives one diagnostic; a text that is not TOML gives
/// one in all, and no configuration.
///
/// What the parser could not make sense of is left out of the configuration; see
/// [`Config::complete`].
pub fn parse(text: &str) -> (Option<Config>, Vec<Diagnostic>) {
    let (document, errors) = DeTable::parse_recoverable(text);
    let first = errors.into_iter().min_by_key(|error| error.span().map_or(usize::MAX, |s| s.start));
    if let Some(error) = first {
        let span = error.span().unwrap_or(text.len()..text.len());
        return (None, vec![syntax_error(error.message(), span)]);
    }
    let mut reader = Reader::default();
    let mut config = file(&mut reader, Table::root(document.get_ref()));
    config.complete = reader.diagnostics.iter().all(|d| d.code == Code::NotYet);
    (Some(config), reader.diagnostics)
}

/// What TOML's parser found, in plainer words for the mistakes that people make most.
fn syntax_error(message: &str, span: Span) -> Diagnostic {
    let (label, help) = if message.starts_with("duplicate key") {
        ("this key is given twice", "remove one of the two, or rename it")
    } else if !message.starts_with("string values must be quoted") {
        (message, "mend the syntax here; https://toml.io describes it")
    } else if span.is_empty() {
        ("a value is missing here", "write a value after the `=`")
    } else {
        ("a string stands in quotes", "put the value in double quotes")
    };
    Diagnostic::new(Code::Syntax, "the file is not valid TOML", span, label, help)
}

fn file(r: &mut Reader, mut root: Table<'_>) -> Config {
    if let Some(item) = root.require(r, "version", "1") {
        version(r, &item);
    }
    let seed = root.take(r, "seed").and_then(|item| item.integer(r, 0..=i64::MAX as u64));
    let hide_hop = root.take(r, "hide-hop").and_then(|item| item.boolean(r));
    let legs = root.take(r, "leg");
    let mut legs: Vec<_> =
        legs.map(|item| item.list(r, |r, item| leg::leg(r, &item))).unwrap_or_default();
    let snat = root.take(r, "snat").and_then(|item| snat(r, &item));
    let timeouts = root.take(r, "timeouts").and_then(|item| timeouts(r, &item));
    let limits = root.take(r, "limits").and_then(|item| limits(r, &item));
    let pools = named(r, &mut root, "pool", |r, name, table| Some(pool::pool(r, name, table)));
    let services = root.take(r, "service");
    let services = services.map(|item| item.list(r, |r, item| service::service(r, &item)));
    let bypass = root.take(r, "bypass").map(|item| access::prefixes(r, &item));
    let caches = named(r, &mut root, "cache", cache::cache);
    let auths = named(r, &mut root, "auth", auth::auth);
    let rate_limits = named(r, &mut root, "limit", rate_limit::rate_limit);
    let control = root.take(r, "control").and_then(|item| control(r, &item));
    let tests = root.take(r, "test");
    let tests = tests.map(|item| item.list(r, |r, item| test::test(r, &item))).unwrap_or_default();
    let capture = root.take(r, "capture").and_then(|item| capture::capture(r, &item));
    let lab = root.take(r, "lab").and_then(|item| lab::lab(r, &item));
    if let Some(lab) = &lab {
        legs.extend(lab::legs(lab));
    }
    root.finish(r);
    Config {
        seed: seed.map(|seed| seed.value),
        hide_hop: hide_hop.is_some_and(|hide| hide.value),
        legs,
        snat,
        timeouts: timeouts.unwrap_or_default(),
        limits: limits.unwrap_or_default(),
        pools,
        services: services.unwrap_or_default(),
        bypass: bypass.unwrap_or_default(),
        caches,
        auths,
        rate_limits,
        control,
        tests,
        capture,
        lab,
        complete: true,
    }
}

fn version(r: &mut Reader, item: &Item<'_>) {
    let Some(version) = item.integer(r, 0..=u64::MAX) else { return };
    if version.value != VERSION {
        r.report(Diagnostic::new(
            Code::BadVersion,
            format!("version `{}` of the format is not known", version.value),
            version.span,
            format!("this program reads version {VERSION}"),
            format!("write `version = {VERSION}`, or use a newer balun"),
        ));
    }
}

/// The tables `[section.NAME]`.
fn named<'d, T>(
    r: &mut Reader,
    root: &mut Table<'d>,
    section: &'static str,
    mut each: impl FnMut(&mut Reader, Spanned<String>, Table<'d>) -> Option<T>,
) -> Vec<T> {
    let table = root.take(r, section).and_then(|item| item.table(r));
    let mut found = Vec::new();
    for (name, item) in table.map(|mut table| table.take_named(r)).unwrap_or_default() {
        if let Err(complaint) = value::name(&name.value) {
            r.complain(&name.value, name.span.clone(), complaint);
        }
        let Some(table) = item.table(r) else { continue };
        found.extend(each(r, name, table));
    }
    found
}

/// The one key of several that was written. None, or two, is an error.
fn exactly_one<T>(
    r: &mut Reader,
    (path, span): (String, Span),
    mut written: Vec<(Item<'_>, Option<T>)>,
    keys: &[&str],
) -> Option<T> {
    let choose = format!("choose exactly one of {}", alternatives(keys));
    match &written[..] {
        [_] => written.pop().and_then(|(_, value)| value),
        [] => {
            let title = format!("{path} has none of the keys that it needs");
            let label = "one of them must be here";
            r.report(Diagnostic::new(
                Code::ChooseOne,
                title,
                span,
                label,
                format!("add one of {}", alternatives(keys)),
            ));
            None
        }
        [(first, _), (second, _), ..] => {
            let title = format!("{} contradicts {}", second.path(), first.path());
            let label = "only one of these can be given";
            r.report(
                Diagnostic::new(Code::ChooseOne, title, second.key_span.clone(), label, choose)
                    .with(first.key_span.clone(), "already given here"),
            );
            None
        }
    }
}

fn snat(r: &mut Reader, item: &Item<'_>) -> Option<Snat> {
    const MAPPINGS: [(&str, SnatMapping); 2] = [
        ("endpoint-dependent", SnatMapping::EndpointDependent),
        ("endpoint-independent", SnatMapping::EndpointIndependent),
    ];
    const REFUSALS: [(&str, Refusal); 2] = [("reject", Refusal::Reject), ("drop", Refusal::Drop)];
    let mut table = item.table(r)?;
    let addresses = table.take(r, "addresses");
    let addresses = addresses.map(|item| item.list(r, |r, item| item.parse(r, value::ip)));
    let ports = table.take(r, "ports").and_then(|item| item.parse(r, value::ports));
    let mapping = table.take(r, "mapping");
    let mapping = mapping.and_then(|item| item.choice(r, "a way to map", &MAPPINGS));
    let parity = table.take(r, "parity").and_then(|item| item.boolean(r));
    let quarantine = table.take(r, "quarantine").and_then(|item| item.parse(r, value::duration));
    let mut count = |r: &mut Reader, key| table.take(r, key).and_then(|i| i.integer(r, FLOWS));
    let quarantine_ports = count(r, "quarantine-ports");
    let ports_per_client = count(r, "ports-per-client");
    let mut refusal = |r: &mut Reader, key| {
        let item = table.take(r, key);
        item.and_then(|item| item.choice(r, "a way to refuse", &REFUSALS)).map(|word| word.value)
    };
    let exhausted = refusal(r, "exhausted").unwrap_or_default();
    let unsolicited = refusal(r, "unsolicited").unwrap_or_default();
    let span = table.span.clone();
    table.finish(r);
    Some(Snat {
        span,
        addresses: addresses.unwrap_or_default(),
        ports: ports.unwrap_or(Spanned::default_of(PortRange::default())),
        mapping: mapping.map(|mapping| mapping.value).unwrap_or_default(),
        parity: parity.is_some_and(|parity| parity.value),
        quarantine: quarantine.map_or(QUARANTINE, |time| time.value),
        quarantine_ports: quarantine_ports.map_or(QUARANTINE_PORTS, |count| count.value),
        ports_per_client,
        exhausted,
        unsolicited,
    })
}

fn timeouts(r: &mut Reader, item: &Item<'_>) -> Option<Timeouts> {
    let mut table = item.table(r)?;
    let mut timeouts = Timeouts::default();
    for (key, timeout) in [
        ("tcp-established", &mut timeouts.tcp_established),
        ("tcp-transitory", &mut timeouts.tcp_transitory),
        ("tcp-half-open", &mut timeouts.tcp_half_open),
        ("tcp-closing", &mut timeouts.tcp_closing),
        ("udp", &mut timeouts.udp),
        ("icmp", &mut timeouts.icmp),
    ] {
        let written = table.take(r, key).and_then(|item| item.parse(r, value::some_duration));
        if let Some(written) = written {
            *timeout = written;
        }
    }
    for part in [&mut timeouts.tcp_half_open, &mut timeouts.tcp_closing] {
        if !part.is_written() {
            *part = Spanned::default_of(timeouts.tcp_transitory.value);
        }
    }
    table.finish(r);
    Some(timeouts)
}

fn limits(r: &mut Reader, item: &Item<'_>) -> Option<Limits> {
    let mut table = item.table(r)?;
    let mut count = |r: &mut Reader, key| table.take(r, key).and_then(|i| i.integer(r, FLOWS));
    let defaults = Limits::default();
    let limits = Limits {
        flows: count(r, "flows").unwrap_or(defaults.flows),
        flows_per_client: count(r, "flows-per-client").unwrap_or(defaults.flows_per_client),
        half_open: count(r, "half-open").unwrap_or(defaults.half_open),
        fragments: count(r, "fragments").unwrap_or(defaults.fragments),
        memory: table.take(r, "memory").and_then(|item| item.parse(r, value::size)),
    };
    table.finish(r);
    Some(limits)
}

fn control(r: &mut Reader, item: &Item<'_>) -> Option<Control> {
    let mut table = item.table(r)?;
    let socket = table.take(r, "socket").and_then(|item| item.parse(r, value::path));
    let metrics = table.take(r, "metrics").and_then(|item| item.parse(r, value::any_socket));
    let web = table.take(r, "web").and_then(|item| item.parse(r, value::any_socket));
    table.finish(r);
    Some(Control {
        socket: socket.map(|path| path.value),
        metrics: metrics.map(|address| address.value),
        web: web.map(|address| address.value),
    })
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
