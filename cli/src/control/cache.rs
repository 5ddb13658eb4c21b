//! Requests about caches.

use std::rc::Rc;

use l7::cache::{Cache, Caches, Outcome, Purge};
use serde_json::{Map, Value, json};

use super::request::{Answer, Purged};
use crate::exit::ExitCode;

/// Tells of every cache what it holds and did.
pub(super) fn list(caches: Option<&Rc<Caches>>) -> Answer {
    let all = caches.map_or(&[][..], |caches| caches.list());
    Answer::ok(all.iter().map(|(name, cache)| describe(name, cache)).collect())
}

fn describe(name: &str, cache: &Cache) -> Value {
    let stats = cache.stats();
    let outcomes: Map<_, _> = Outcome::ALL
        .into_iter()
        .map(|outcome| (outcome.name().to_owned(), stats.get(outcome).into()))
        .collect();
    json!({
        "name": name,
        "memory": cache.policy().memory,
        "taken": cache.weight(),
        "resources": cache.resources(),
        "requests": outcomes,
        "collapsed": stats.collapsed.get(),
        "stored": stats.stored.get(),
        "unstored": stats.unstored.get(),
        "invalidated": stats.invalidated.get(),
        "purged": stats.purged.get(),
    })
}

/// Has answers forgotten, and tells how many there were.
pub(super) fn purge(caches: Option<&Rc<Caches>>, name: Option<&str>, what: &Purged) -> Answer {
    let what = match what {
        Purged::Url(url) => Purge::Url(url),
        Purged::Prefix(prefix) => Purge::Prefix(prefix),
        Purged::Tag(tag) => Purge::Tag(tag),
        Purged::All => Purge::All,
    };
    match (caches.and_then(|caches| caches.purge(name, what)), name) {
        (Some(count), _) => Answer::ok(json!({ "purged": count })),
        (None, Some(name)) => {
            Answer::refused(ExitCode::CouldNot, format!("this instance has no cache `{name}`"))
        }
        (None, None) => Answer::refused(ExitCode::CouldNot, "this instance has no cache"),
    }
}
