//! Caches: whether they can hold what they should, and whether anything goes through them.

use super::super::codes::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::{Cache, Config, RouteAction};

pub(super) fn check(config: &Config, found: &mut Vec<Diagnostic>) {
    for cache in &config.caches {
        size(cache, found);
    }
    for route in config.services.iter().flat_map(|service| &service.routes) {
        let Some(cache) = &route.cache else { continue };
        if matches!(route.action, RouteAction::Pool(_) | RouteAction::Split { .. }) {
            continue;
        }
        found.push(Diagnostic::new(
            Code::CacheBypassed,
            format!("nothing goes through the cache `{}` by this route", cache.value),
            cache.span.clone(),
            "no backend answers here",
            "remove `cache`, or write `pool` or `split`",
        ));
    }
}

fn size(cache: &Cache, found: &mut Vec<Diagnostic>) {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    if cache.memory.value < Cache::LEAST {
        found.push(Diagnostic::new(
            Code::CacheSize,
            format!("the cache `{}` is too small to be one", cache.name.value),
            cache.memory.span.clone(),
            "less than 1MiB",
            "write `memory = \"256MiB\"`",
        ));
    } else if cache.max_object.value > cache.memory.value / Cache::SHARE {
        let least = mib(cache.max_object.value.saturating_mul(Cache::SHARE));
        let diagnostic = Diagnostic::new(
            Code::CacheSize,
            format!("the cache `{}` is too small for its `max-object`", cache.name.value),
            cache.max_object.span.clone(),
            "more than a quarter of `memory`",
            format!("write `memory = \"{least}MiB\"`, or a smaller `max-object`"),
        );
        found.push(diagnostic.with(cache.memory.span.clone(), "all of the cache"));
    }
}
