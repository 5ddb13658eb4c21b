//! Routes that nothing ever reaches.

use l7::route::Condition;

use super::super::codes::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::Config;

/// Routes of a service that are compared with those before them. With more, only what takes all
/// requests is looked for.
const COMPARED: usize = 512;

pub(super) fn check(config: &Config, found: &mut Vec<Diagnostic>) {
    if !config.complete {
        return;
    }
    for service in &config.services {
        let routes = &service.routes;
        for (at, route) in routes.iter().enumerate() {
            let before = routes.get(..at).unwrap_or_default();
            let mut before = before
                .iter()
                .filter(|before| is_any(&before.condition) || routes.len() <= COMPARED);
            let Some(before) = before.find(|before| covers(&before.condition, &route.condition))
            else {
                continue;
            };
            found.push(
                Diagnostic::new(
                    Code::Shadowed,
                    format!("route {} of service `{}` is never taken", at + 1, *service.name),
                    route.span.clone(),
                    "all its requests take an earlier route",
                    "put it before that one, or remove it",
                )
                .with(before.span.clone(), "this one is for all of them"),
            );
        }
    }
}

/// Whether all requests fit.
fn is_any(condition: &Condition) -> bool {
    covers(condition, &Condition::default())
}

/// Whether every request that fits `late` fits `early` too, as far as that is plain to see: in each
/// respect `early` asks for nothing, or for the same.
fn covers(early: &Condition, late: &Condition) -> bool {
    let shown = |all: &[(Box<[u8]>, l7::route::TextPattern)]| format!("{all:?}");
    let path = match (&early.path, &late.path) {
        (None, _) => true,
        (Some(early), Some(late)) => {
            early.to_string() == late.to_string()
                || early.to_string() == "/*"
                || early.to_string().strip_suffix('*').is_some_and(|begin| {
                    !begin.contains('{')
                        && is_plain(early)
                        && is_plain(late)
                        && late.to_string().starts_with(begin)
                })
        }
        (Some(early), None) => early.to_string() == "/*",
    };
    let subset = |early: &[_], late: &[_]| {
        early.is_empty() || !late.is_empty() && late.iter().all(|one| early.contains(one))
    };
    path && (early.hosts.is_empty()
        || !late.hosts.is_empty() && late.hosts.iter().all(|host| early.hosts.contains(host)))
        && subset(&early.methods, &late.methods)
        && (early.headers.is_empty()
            || format!("{:?}", early.headers) == format!("{:?}", late.headers))
        && (early.query.is_empty() || shown(&early.query) == shown(&late.query))
        && (early.cookies.is_empty() || shown(&early.cookies) == shown(&late.cookies))
        && (early.content_types.is_empty()
            || format!("{:?}", early.content_types) == format!("{:?}", late.content_types))
        && (early.clients.is_empty()
            || !late.clients.is_empty() && late.clients.iter().all(|c| early.clients.contains(c)))
        && early.except_clients.is_empty()
        && early.share.is_none()
}

/// Whether a path is no regular expression.
fn is_plain(path: &l7::route::PathPattern) -> bool {
    matches!(path, l7::route::PathPattern::Segments(_))
}
