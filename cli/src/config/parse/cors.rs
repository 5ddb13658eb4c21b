//! `cors` and `fault` of routes.

use hyper::StatusCode;
use l7::route::{Abort, Cors, Fault, MILLION};

use super::super::codes::Code;
use super::super::diagnostic::Diagnostic;
use super::super::reader::{Item, Reader};
use super::super::value;

pub(super) fn cors(r: &mut Reader, item: &Item<'_>) -> Option<Cors> {
    let mut table = item.table(r)?;
    let origins = table.require(r, "origins", "[\"https://www.lab\"]").map(|item| {
        let (why, example) = ("nobody would be allowed", "origins = [\"*\"]");
        item.one_or_more(r, why, example, |r, item| item.parse(r, value::origin))
    });
    let methods = table.take(r, "methods").map(|item| {
        item.list(r, |r, item| item.parse(r, value::method).map(|method| method.value))
    });
    let mut names = |key| {
        let names = table.take(r, key).map(|item| {
            item.list(r, |r, item| item.parse(r, value::condition_field).map(|n| n.value.into()))
        });
        names.unwrap_or_default()
    };
    let (headers, expose) = (names("headers"), names("expose"));
    let credentials = table.take(r, "credentials").and_then(|item| item.boolean(r));
    let max_age = table.take(r, "max-age").and_then(|item| item.parse(r, value::some_duration));
    table.finish(r);
    let origins = origins?.into_iter().map(|origin| origin.value.into()).collect();
    Some(Cors {
        origins,
        methods: methods.unwrap_or_default(),
        headers,
        expose,
        credentials: credentials.is_some_and(|credentials| credentials.value),
        max_age: max_age.map(|age| age.value),
    })
}

pub(super) fn fault(r: &mut Reader, item: &Item<'_>) -> Option<Fault> {
    let mut table = item.table(r)?;
    let share = table.take(r, "percent").and_then(|item| item.parse(r, value::share));
    let delay = table.take(r, "delay").and_then(|item| item.parse(r, value::some_duration));
    let status = table.take(r, "status").and_then(|item| item.integer(r, 400..=599_u16));
    let reset = table.take(r, "reset").and_then(|item| item.boolean(r));
    table.finish(r);
    let reset = reset.filter(|reset| reset.value);
    if let (Some(status), Some(reset)) = (&status, &reset) {
        let (title, label) = ("a request fails in one way", "only one of these can be given");
        let help = "write `status` or `reset`";
        let diagnostic = Diagnostic::new(Code::ChooseOne, title, reset.span.clone(), label, help);
        r.report(diagnostic.with(status.span.clone(), "already given here"));
    }
    if delay.is_none() && status.is_none() && reset.is_none() {
        r.report(Diagnostic::new(
            Code::ChooseOne,
            format!("{} does nothing", item.path()),
            item.span.clone(),
            "nothing goes wrong",
            "add `delay = \"100ms\"`, `status = 503` or `reset = true`",
        ));
    }
    let status = status.and_then(|status| StatusCode::from_u16(status.value).ok());
    let abort = status.map(Abort::Status).or(reset.map(|_| Abort::Reset));
    let share = share.map_or(MILLION, |share| share.value);
    Some(Fault { share, delay: delay.map(|delay| delay.value), abort })
}
