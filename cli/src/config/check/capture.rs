//! What a capture can write.

use super::super::codes::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::{Config, Mode, Service, Spanned, Transactions};
use crate::capture::{MAX_SNAPLEN, Trigger};

pub(super) fn check(config: &Config, found: &mut Vec<Diagnostic>) {
    let Some(capture) = &config.capture else { return };
    if let Some(transaction) = &capture.transaction {
        requests(config, transaction, found);
    }
    if let Some(ring) = &capture.ring {
        request_triggers(config, &ring.triggers, found);
    }
    let Some(segment) = capture.segment.as_ref().filter(|segment| segment.value) else { return };
    if capture.snaplen.value < MAX_SNAPLEN {
        let mut diagnostic = Diagnostic::new(
            Code::CutSegments,
            format!(
                "super-packets of which {} bytes are kept cannot be cut",
                capture.snaplen.value
            ),
            segment.span.clone(),
            "segments are made of whole packets",
            format!("write `snaplen = {MAX_SNAPLEN}`, or remove `segment`"),
        );
        if capture.snaplen.is_written() {
            diagnostic = diagnostic.with(capture.snaplen.span.clone(), "this cuts packets");
        }
        found.push(diagnostic);
    }
}

/// What requests come to sets something off only if there are any.
fn request_triggers(config: &Config, triggers: &[Spanned<Trigger>], found: &mut Vec<Diagnostic>) {
    let speaks_http = |service: &Service| service.mode.value == Mode::Http;
    if !config.complete || config.services.iter().any(speaks_http) {
        return;
    }
    for trigger in triggers {
        if let Trigger::Status(_) | Trigger::Slow(_) = trigger.value {
            found.push(Diagnostic::new(
                Code::NoRequests,
                "no service has requests",
                trigger.span.clone(),
                "this trigger is what a request came to",
                "remove it, or set a service's `mode = \"http\"`",
            ));
        }
    }
}

/// Requests are those of services that speak HTTP.
fn requests(config: &Config, wanted: &Transactions, found: &mut Vec<Diagnostic>) {
    let Some(name) = wanted.service.as_ref().filter(|_| config.complete) else { return };
    let service = config.services.iter().find(|service| service.name.value == name.value);
    let diagnostic = match service {
        Some(service) if service.mode.value == Mode::Http => return,
        Some(service) => Diagnostic::new(
            Code::NoRequests,
            format!("service `{}` has no requests", name.value),
            name.span.clone(),
            format!("its mode is `{}`, to which bytes are bytes", service.mode.value.name()),
            "name a service in mode `http`, or capture packets by a filter",
        ),
        None => Diagnostic::new(
            Code::NoRequests,
            format!("there is no service `{}`", name.value),
            name.span.clone(),
            "its requests are to be captured",
            "name a service in mode `http`, or remove `service`",
        ),
    };
    found.push(diagnostic);
}
