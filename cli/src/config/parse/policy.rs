//! `[cache.NAME]`.

use super::super::model::{Cache, Spanned};
use super::super::reader::{Reader, Table};
use super::super::value;

pub(super) fn cache(r: &mut Reader, name: Spanned<String>, mut table: Table<'_>) -> Option<Cache> {
    let memory = table.require(r, "memory", "\"256MiB\"");
    let memory = memory.and_then(|item| item.parse(r, value::size));
    let stale = table.take(r, "stale-while-revalidate");
    let stale = stale.and_then(|item| item.parse(r, value::duration));
    table.finish(r);
    let stale_while_revalidate = stale.map(|time| time.value);
    Some(Cache { name, memory: memory?.value, stale_while_revalidate })
}
