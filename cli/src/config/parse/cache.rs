//! `[cache.NAME]`.

use std::time::Duration;

use l7::cache::Policy;

use super::super::model::{Cache, Spanned};
use super::super::reader::{Reader, Table};
use super::super::value;

pub(super) fn cache(r: &mut Reader, name: Spanned<String>, mut table: Table<'_>) -> Option<Cache> {
    let memory = table.require(r, "memory", "\"256MiB\"");
    let memory = memory.and_then(|item| item.parse(r, value::size));
    let greatest = table.take(r, "max-object").and_then(|item| item.parse(r, value::size));
    let mut policy = Policy::new(memory.as_ref().map_or(0, |memory| memory.value));
    let mut time = |key, place: &mut Duration| {
        let written = table.take(r, key).and_then(|item| item.parse(r, value::duration));
        *place = written.map_or(*place, |time| time.value);
    };
    time("stale-while-revalidate", &mut policy.stale_while_revalidate);
    time("stale-if-error", &mut policy.stale_if_error);
    time("negative", &mut policy.negative);
    time("heuristic", &mut policy.heuristic);
    let mut flag = |key, place: &mut bool| {
        let written = table.take(r, key).and_then(|item| item.boolean(r));
        *place = written.map_or(*place, |flag| flag.value);
    };
    flag("set-cookie", &mut policy.cookies);
    flag("client-directives", &mut policy.obeys_clients);
    // Refused by name: not built.
    table.take(r, "disk");
    table.finish(r);
    let memory = memory?;
    let greatest = greatest.unwrap_or_else(|| Spanned::new(policy.greatest, memory.span.clone()));
    policy.greatest = greatest.value;
    Some(Cache { name, memory, max_object: greatest, policy })
}
