//! The keys of `[pool.NAME]` about connections to its backends, and about what they answer.

use l7::upstream::{PoolLimits, QueueLimits};
use nat::EjectionConfig;

use super::super::model::{Pooling, Spanned};
use super::super::reader::{Item, Reader, Table};
use super::super::value;

/// Idle connections kept to one backend.
const MAX_IDLE: u32 = 4096;
/// Requests that wait for one pool.
const MAX_QUEUE: u32 = 65_536;
/// Connects or answers in a row.
const MAX_IN_A_ROW: u32 = 1000;

pub(super) fn pooling(r: &mut Reader, table: &mut Table<'_>) -> Pooling {
    let warm = table.take(r, "warm").and_then(|item| {
        let count = item.integer(r, 0..=MAX_IDLE)?;
        Some(Spanned::new(count.value, item.key_span))
    });
    let max_pending = table.take(r, "max-pending").and_then(|item| {
        let count = item.integer(r, 1..=u32::MAX)?;
        Some(Spanned::new(count.value, item.key_span))
    });
    let mut keyed = |key| table.take(r, key).map(|item| (item.key_span.clone(), item));
    let (reuse_item, queue_item, ejection_item) =
        (keyed("reuse"), keyed("queue"), keyed("ejection"));
    let reuse = reuse_item.and_then(|(span, item)| Some(Spanned::new(reuse(r, &item)?, span)));
    let queue = queue_item.and_then(|(span, item)| Some(Spanned::new(queue(r, &item)?, span)));
    let ejection =
        ejection_item.and_then(|(span, item)| Some(Spanned::new(ejection(r, &item)?, span)));
    Pooling { warm, reuse, queue, max_pending, ejection }
}

fn reuse(r: &mut Reader, item: &Item<'_>) -> Option<PoolLimits> {
    let mut table = item.table(r)?;
    let idle = table.take(r, "idle").and_then(|item| item.integer(r, 0..=MAX_IDLE));
    let time = table.take(r, "idle-timeout").and_then(|item| item.parse(r, value::some_duration));
    let age = table.take(r, "lifetime").and_then(|item| item.parse(r, value::some_duration));
    let requests = table.take(r, "requests").and_then(|item| item.integer(r, 1..=u32::MAX));
    table.finish(r);
    let default = PoolLimits::default();
    Some(PoolLimits {
        idle_per_backend: idle.map_or(default.idle_per_backend, |count| count.value as usize),
        idle_lifetime: time.map_or(default.idle_lifetime, |time| time.value),
        lifetime: age.map(|age| age.value),
        requests: requests.map(|count| count.value),
        ..default
    })
}

fn queue(r: &mut Reader, item: &Item<'_>) -> Option<QueueLimits> {
    let mut table = item.table(r)?;
    let size = table.require(r, "size", "100").and_then(|item| item.integer(r, 1..=MAX_QUEUE));
    let timeout = table.require(r, "timeout", "\"1s\"");
    let timeout = timeout.and_then(|item| item.parse(r, value::some_duration));
    table.finish(r);
    Some(QueueLimits { size: size?.value as usize, timeout: timeout?.value })
}

fn ejection(r: &mut Reader, item: &Item<'_>) -> Option<EjectionConfig> {
    let mut table = item.table(r)?;
    let mut count = |r: &mut Reader, key| {
        let item = table.take(r, key)?;
        item.integer(r, 1..=MAX_IN_A_ROW).map(|count| count.value)
    };
    let (failures, errors) = (count(r, "failures"), count(r, "errors"));
    let worse = table.take(r, "worse-by");
    let worse = worse.and_then(|item| item.parse(r, value::some_percentage));
    let answers = table.take(r, "answers").and_then(|item| item.integer(r, 1..=u32::MAX));
    let time = table.take(r, "time").and_then(|item| item.parse(r, value::some_duration));
    let longest = table.take(r, "longest").and_then(|item| item.parse(r, value::some_duration));
    let most = table.take(r, "most").and_then(|item| item.parse(r, value::whole_percentage));
    table.finish(r);
    let default = EjectionConfig::default();
    let time = time.map_or(default.time, |time| time.value);
    Some(EjectionConfig {
        failures: failures.unwrap_or(default.failures),
        errors,
        worse_by: worse.map(|percent| percent.value),
        answers: answers.map_or(default.answers, |count| count.value),
        time,
        longest: longest.map_or(default.longest, |time| time.value).max(time),
        most: most.map_or(default.most, |percent| percent.value),
    })
}
