//! The keys of `[[service]]` about requests that are sent again, or twice.

use std::time::Duration;

use hyper::StatusCode;
use l7::upstream::{BudgetLimits, Retry};

use super::super::reader::{Item, Reader, Table};
use super::super::value;

/// Times that a request is sent again.
const MAX_TIMES: u32 = 10;

pub(super) fn retry(r: &mut Reader, table: &mut Table<'_>) -> (Retry, Option<Duration>) {
    let retry = table.take(r, "retry").and_then(|item| policy(r, &item));
    let hedge = table.take(r, "hedge-after");
    let hedge = hedge.and_then(|item| item.parse(r, value::some_duration));
    (retry.unwrap_or_default(), hedge.map(|time| time.value))
}

fn policy(r: &mut Reader, item: &Item<'_>) -> Option<Retry> {
    let mut table = item.table(r)?;
    let times = table.take(r, "times").and_then(|item| item.integer(r, 0..=MAX_TIMES));
    let statuses = table.take(r, "statuses").map(|item| item.list(r, |r, item| status(r, &item)));
    let timeout = table.take(r, "timeout").and_then(|item| item.parse(r, value::some_duration));
    let body = table.take(r, "body").and_then(|item| item.parse(r, value::kept_body));
    let percent = table.take(r, "budget").and_then(|item| item.parse(r, value::whole_percentage));
    let per_second = table.take(r, "per-second").and_then(|item| item.integer(r, 0..=u32::MAX));
    table.finish(r);
    let budget = BudgetLimits::default();
    Some(Retry {
        times: times.map_or(1, |times| times.value),
        statuses: statuses.unwrap_or_default(),
        timeout: timeout.map(|time| time.value),
        body: body.map_or(0, |bytes| bytes.value),
        budget: BudgetLimits {
            percent: percent.map_or(budget.percent, |percent| percent.value.into()),
            per_second: per_second.map_or(budget.per_second, |count| count.value),
        },
    })
}

fn status(r: &mut Reader, item: &Item<'_>) -> Option<StatusCode> {
    StatusCode::from_u16(item.integer(r, 400..=599)?.value).ok()
}
