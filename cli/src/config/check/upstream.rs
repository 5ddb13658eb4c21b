//! Keys of a pool that nothing would follow from.

use super::super::codes::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::{Config, Mode, Pool, Span};

pub(super) fn check(config: &Config, found: &mut Vec<Diagnostic>) {
    if !config.complete {
        return;
    }
    for service in config.services.iter().filter(|service| service.hedge_after.is_some()) {
        let mut pools = service.pools().filter_map(|name| config.pool(&name.value));
        if pools.all(Pool::is_http2) {
            let name = &service.name.value;
            found.push(Diagnostic::new(
                Code::NoEffect,
                format!("`service.{name}.hedge-after` has no effect"),
                service.span.clone(),
                "its pools are spoken to in HTTP/2, where it is not done",
                "remove `hedge-after`",
            ));
        }
    }
    for pool in &config.pools {
        let name = &pool.name.value;
        let uses = |mode: fn(Mode) -> bool| {
            let mut services = config.services.iter().filter(|s| mode(s.mode.value));
            services.any(|service| service.pools().any(|used| used.value == *name))
        };
        if !uses(|_| true) {
            continue; // Which is reported as such.
        }
        if uses(|mode| mode != Mode::Nat) {
            fits(pool, found);
        } else {
            for (key, span) in pool.pooling.keys() {
                let label = "all services of this pool are of mode `nat`";
                report(pool, key, span, label, format!("remove `{key}`"), found);
            }
        }
        let ejection = pool.pooling.ejection.as_ref().filter(|e| e.judges_answers());
        if let Some(ejection) = ejection.filter(|_| !uses(|mode| mode == Mode::Http)) {
            let key = if ejection.errors.is_some() { "errors" } else { "worse-by" };
            let label = "no service of mode `http` uses this pool: nobody sees what it answers";
            let help = format!("remove `{key}` from it");
            report(pool, &format!("ejection.{key}"), &ejection.span, label, help, found);
        }
    }
}

fn fits(pool: &Pool, found: &mut Vec<Diagnostic>) {
    let pooling = &pool.pooling;
    if let Some(queue) = &pooling.queue
        && pool.backends.iter().all(|backend| backend.max_connections.is_none())
    {
        let label = "no backend of this pool has a limit, so nobody ever waits";
        let help = "add `max-connections = 100` to its backends, or remove `queue`".to_owned();
        report(pool, "queue", &queue.span, label, help, found);
    }
    if let Some(warm) = pooling.warm.as_ref().filter(|warm| warm.value > 0 && pool.is_http2()) {
        let label = "connections of HTTP/2 are shared, and made when one is needed";
        report(pool, "warm", &warm.span, label, "remove `warm`".to_owned(), found);
    }
    let limits = pooling.limits();
    if let Some(warm) = pooling.warm.as_ref().filter(|_| limits.warm > limits.idle_per_backend) {
        let most = limits.idle_per_backend;
        let label = format!("only {most} idle connections are kept to a backend");
        let help = format!("write `reuse = {{ idle = {} }}`, or a smaller `warm`", limits.warm);
        report(pool, "warm", &warm.span, &label, help, found);
    }
}

fn report(
    pool: &Pool,
    key: &str,
    span: &Span,
    label: &str,
    help: String,
    found: &mut Vec<Diagnostic>,
) {
    let title = format!("`pool.{}.{key}` has no effect", pool.name.value);
    found.push(Diagnostic::new(Code::NoEffect, title, span.clone(), label, help));
}
