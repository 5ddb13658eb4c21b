//! Names: each defined once, each reference to something that is defined, each definition used.

use std::collections::HashSet;

use super::super::codes::Code;
use super::super::diagnostic::{Diagnostic, alternatives, quoted};
use super::super::model::{Config, Pool, Service, Spanned};
use super::super::not_yet;
use super::super::suggest::nearest;
use super::duplicates;

pub(super) fn check(config: &Config, found: &mut Vec<Diagnostic>) {
    duplicates(config.services.iter().map(|service| &service.name), "service", found);
    for pool in &config.pools {
        duplicates(pool.backends.iter().map(|backend| &backend.name), "backend", found);
        backends(pool, config.complete, found);
    }
    for service in &config.services {
        duplicates(service.sni.iter().map(|route| &route.name), "server name", found);
        if config.complete {
            has_pool(config, service, found);
        }
    }
    let routes = || config.services.iter().flat_map(|service| &service.routes);
    let pools: Vec<_> = config.services.iter().flat_map(Service::pools).collect();
    let caches: Vec<_> = routes().filter_map(|route| route.cache.as_ref()).collect();
    let auths: Vec<_> = routes().filter_map(|route| route.auth.as_ref()).collect();
    let limits: Vec<_> = routes().flat_map(|route| &route.limits).collect();
    let defined: Vec<_> = config.pools.iter().map(|pool| &pool.name).collect();
    references(config, "pool", &defined, &pools, found);
    let defined: Vec<_> = config.caches.iter().map(|cache| &cache.name).collect();
    references(config, "cache", &defined, &caches, found);
    let defined: Vec<_> = config.auths.iter().map(|auth| &auth.name).collect();
    references(config, "auth", &defined, &auths, found);
    let defined: Vec<_> = config.rate_limits.iter().map(|limit| &limit.name).collect();
    references(config, "limit", &defined, &limits, found);
}

/// Compares what is used with what is defined.
fn references(
    config: &Config,
    section: &str,
    defined: &[&Spanned<String>],
    used: &[&Spanned<String>],
    found: &mut Vec<Diagnostic>,
) {
    let names: HashSet<&str> = defined.iter().map(|name| name.value.as_str()).collect();
    for reference in used {
        // A pool always gets into the model; of the others one that is wrong in itself does not.
        if !names.contains(reference.value.as_str()) && (section == "pool" || config.complete) {
            found.push(undefined(section, defined, reference));
        }
    }
    if !config.complete || not_yet::refuses(&format!("{section}.*")) {
        return;
    }
    let used: HashSet<&str> = used.iter().map(|name| name.value.as_str()).collect();
    for name in defined.iter().filter(|name| !used.contains(name.value.as_str())) {
        found.push(Diagnostic::new(
            Code::Unused,
            format!("{section} `{}` is not used", name.value),
            name.span.clone(),
            "no service refers to it",
            format!("remove `[{section}.{}]`, or refer to it", name.value),
        ));
    }
}

fn undefined(
    section: &str,
    defined: &[&Spanned<String>],
    reference: &Spanned<String>,
) -> Diagnostic {
    let names: Vec<_> = defined.iter().map(|name| name.value.as_str()).collect();
    let similar = nearest(&reference.value, names.iter().copied());
    let help = match similar {
        Some(similar) => format!("did you mean `{similar}`?"),
        None if (1..=8).contains(&names.len()) => format!("use {}", alternatives(&names)),
        None => format!("define it: `[{section}.{}]`", reference.value),
    };
    let diagnostic = Diagnostic::new(
        Code::Undefined,
        format!("{section} {} is not defined", quoted(&reference.value)),
        reference.span.clone(),
        format!("no {section} has this name"),
        help,
    );
    match defined.iter().find(|name| similar == Some(name.value.as_str())) {
        Some(name) => diagnostic
            .with(name.span.clone(), format!("a {section} with a similar name is defined here")),
        None => diagnostic,
    }
}

fn backends(pool: &Pool, complete: bool, found: &mut Vec<Diagnostic>) {
    let name = &pool.name.value;
    let Some(first) = pool.backends.first() else {
        if complete {
            found.push(Diagnostic::new(
                Code::NoBackend,
                format!("pool `{name}` has no backend"),
                pool.name.span.clone(),
                "nothing can be sent to this pool",
                format!("add `[[pool.{name}.backend]]` with a `name` and an `address`"),
            ));
        }
        return;
    };
    if pool.backends.iter().all(|backend| backend.weight.value == 0) {
        found.push(
            Diagnostic::new(
                Code::NoWeight,
                format!("pool `{name}` has no backend that takes load"),
                first.weight.span.clone(),
                "every backend of the pool has weight 0",
                "give one backend a weight of 1 or more",
            )
            .with(pool.name.span.clone(), "this pool"),
        );
    }
}

/// A service needs somewhere to send to, be it in a way that is not supported yet.
fn has_pool(config: &Config, service: &Service, found: &mut Vec<Diagnostic>) {
    if service.pool.is_some() || !service.sni.is_empty() || !service.routes.is_empty() {
        return;
    }
    let example = config.pools.first().map_or("web", |pool| pool.name.value.as_str());
    found.push(Diagnostic::new(
        Code::NoPool,
        format!("service `{}` has no pool", service.name.value),
        service.span.clone(),
        "this service has nowhere to send to",
        format!("add `pool = \"{example}\"`"),
    ));
}
