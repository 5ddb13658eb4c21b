//! `[limit.NAME]`.

use std::time::Duration;

use l7::limit::{AtOnceConfig, Key};
use l7::upstream::QueueLimits;

use super::super::codes::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::{RateLimit, Spanned};
use super::super::reader::{Item, Reader, Table};
use super::super::value;
use super::access::alone;

const KEYS: u32 = 65_536;
const MOST_KEYS: u32 = 1 << 24;
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn rate_limit(
    r: &mut Reader,
    name: Spanned<String>,
    mut table: Table<'_>,
) -> Option<RateLimit> {
    let rate = table.take(r, "rate");
    let at_once = table.take(r, "at-once");
    let has_any = rate.is_some() || at_once.is_some();
    if !has_any {
        r.report(Diagnostic::new(
            Code::MissingKey,
            format!("{} limits nothing", table.path()),
            table.span.clone(),
            "neither `rate` nor `at-once` is here",
            "add `rate = \"100/s\"`, or `at-once = 10`",
        ));
    }
    for key in ["burst", "keys", "tell"] {
        needs(r, &mut table, key, rate.is_some(), "rate", "\"100/s\"");
    }
    needs(r, &mut table, "queue", at_once.is_some(), "at-once", "10");
    let rate = rate.and_then(|item| item.parse(r, value::rate));
    let burst = table.take(r, "burst").and_then(|item| item.integer(r, 1..=u32::MAX));
    let keys = table.take(r, "keys").and_then(|item| item.integer(r, 8..=MOST_KEYS));
    let tell = table.take(r, "tell").and_then(|item| item.boolean(r));
    let most = at_once.and_then(|item| item.integer(r, 1..=u32::MAX));
    let queue = table.take(r, "queue").and_then(|item| queue(r, &item));
    let key = table.take(r, "key").and_then(|item| item.parse(r, value::limit_key));
    let mut key = key.unwrap_or_else(|| Spanned::default_of(Key::default()));
    prefixes(r, &mut table, &mut key.value);
    table.finish(r);
    let burst = burst.map(|burst| burst.value);
    has_any.then(|| RateLimit {
        name,
        rate: rate.map(|rate| (rate.value, burst.unwrap_or(rate.value.count))),
        key,
        at_once: most.map(|most| AtOnceConfig { most: most.value, queue }),
        keys: keys.map_or(KEYS, |keys| keys.value),
        tell: tell.is_some_and(|tell| tell.value),
    })
}

/// Reports a key that has no meaning without another.
fn needs(
    r: &mut Reader,
    table: &mut Table<'_>,
    key: &'static str,
    is_there: bool,
    other: &str,
    example: &str,
) {
    if let Some(span) = table.span_of(key).filter(|_| !is_there) {
        alone(r, table, span, key, other, example);
    }
}

/// How much of an address makes one client.
fn prefixes(r: &mut Reader, table: &mut Table<'_>, key: &mut Key) {
    let v4 = table.take(r, "prefix");
    let v6 = table.take(r, "prefix6");
    let spans = [("prefix", &v4), ("prefix6", &v6)];
    let spans = spans.map(|(key, item)| (key, item.as_ref().map(|item| item.key_span.clone())));
    let v4 = v4.and_then(|item| item.integer(r, 0..=32));
    let v6 = v6.and_then(|item| item.integer(r, 0..=128));
    if let Key::Client { prefix_v4, prefix_v6 } = key {
        *prefix_v4 = v4.map_or(*prefix_v4, |bits| bits.value);
        *prefix_v6 = v6.map_or(*prefix_v6, |bits| bits.value);
        return;
    }
    for (key, span) in spans {
        let Some(span) = span else { continue };
        r.report(Diagnostic::new(
            Code::ChooseOne,
            format!("{} does not count by addresses", table.path()),
            span,
            format!("`{key}` says how much of an address counts"),
            format!("remove `{key}`, or write `key = \"client-ip\"`"),
        ));
    }
}

fn queue(r: &mut Reader, item: &Item<'_>) -> Option<QueueLimits> {
    let mut table = item.table(r)?;
    let size = table.require(r, "size", "100");
    let size = size.and_then(|item| item.integer(r, 1..=1_000_000_u32));
    let timeout = table.take(r, "timeout").and_then(|item| item.parse(r, value::some_duration));
    table.finish(r);
    let timeout = timeout.map_or(QUEUE_TIMEOUT, |timeout| timeout.value);
    Some(QueueLimits { size: size?.value as usize, timeout })
}
