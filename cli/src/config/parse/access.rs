//! The keys of `[[service]]` that say who may use it, and how much of it.

use super::super::codes::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::{Access, Burst, Span, Spanned};
use super::super::reader::{Item, Reader, Table};
use super::super::value;

const REFUSALS: [(&str, nat::Refuse); 2] =
    [("reject", nat::Refuse::Reject), ("drop", nat::Refuse::Drop)];

pub(super) fn access(r: &mut Reader, table: &mut Table<'_>) -> Access {
    let allow = table.take(r, "allow").map(|item| prefixes(r, &item));
    let deny = table.take(r, "deny").map(|item| prefixes(r, &item));
    let client_rate = burst(r, table, "client-rate", "client-burst");
    let flows = table.take(r, "client-flows").and_then(|item| item.integer(r, 1..=u32::MAX));
    let v4 = table.take(r, "client-prefix");
    let v6 = table.take(r, "client-prefix6");
    for (key, item) in [("client-prefix", &v4), ("client-prefix6", &v6)] {
        let Some(item) = item.as_ref().filter(|_| client_rate.is_none() && flows.is_none()) else {
            continue;
        };
        alone(r, table, item.key_span.clone(), key, "client-rate", "\"100/s\"");
    }
    let v4 = v4.and_then(|item| item.integer(r, 0..=32));
    let v6 = v6.and_then(|item| item.integer(r, 0..=128));
    let rate = burst(r, table, "rate", "burst");
    let max_flows = table.take(r, "max-flows").and_then(|item| item.integer(r, 1..=u32::MAX));
    let refuse = table.take(r, "refuse");
    let refuse = refuse.and_then(|item| item.choice(r, "a way to refuse", &REFUSALS));
    Access {
        allow: allow.unwrap_or_default(),
        deny: deny.unwrap_or_default(),
        client_rate,
        client_flows: flows.map(|flows| flows.value),
        client_prefixes: (v4.map(|bits| bits.value), v6.map(|bits| bits.value)),
        rate,
        max_flows: max_flows.map(|flows| flows.value),
        refuse: refuse.map(|refuse| refuse.value).unwrap_or_default(),
    }
}

/// A list of networks and single addresses.
pub(super) fn prefixes(r: &mut Reader, item: &Item<'_>) -> Vec<Spanned<nat::Prefix>> {
    item.list(r, |r, item| item.parse(r, value::addresses))
}

/// A rate, with the key of its burst.
fn burst(
    r: &mut Reader,
    table: &mut Table<'_>,
    rate: &'static str,
    burst: &'static str,
) -> Option<Burst> {
    let written = table.take(r, rate);
    let at_once = table.take(r, burst);
    if let (None, Some(item)) = (&written, &at_once) {
        alone(r, table, item.key_span.clone(), burst, rate, "\"100/s\"");
    }
    let rate = written.and_then(|item| item.parse(r, value::rate));
    let at_once = at_once.and_then(|item| item.integer(r, 1..=u32::MAX));
    let rate = rate?.value;
    Some(Burst { rate, burst: at_once.map_or(rate.count, |count| count.value) })
}

/// Reports a key that has no meaning without another.
pub(super) fn alone(
    r: &mut Reader,
    table: &Table<'_>,
    span: Span,
    key: &str,
    needs: &str,
    example: &str,
) {
    r.report(Diagnostic::new(
        Code::MissingKey,
        format!("{} has no `{needs}`", table.path()),
        span,
        format!("`{key}` has no meaning without it"),
        format!("add `{needs} = {example}`, or remove `{key}`"),
    ));
}
