//! `route` of `[[service]]`.

use std::path::Path;

use hyper::StatusCode;
use l7::route::{
    Condition, Fields, HostPattern, MILLION, Operation, PathPattern, Rewrite, Sticky, Template,
};

use super::super::codes::Code;
use super::super::diagnostic::{Diagnostic, alternatives};
use super::super::model::{
    Body, ErrorPage, Maintenance, Mode, Respond, Route, RouteAction, Spanned, Treatment,
};
use super::super::reader::{Item, Reader, Table};
use super::super::value;
use super::access::alone;
use super::exactly_one;

const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

/// The keys of fields, by what is done to those of requests and of answers.
const REQUEST: [(Operation, &str); 3] = [
    (Operation::Remove, "remove-headers"),
    (Operation::Set, "set-headers"),
    (Operation::Add, "add-headers"),
];
const ANSWER: [(Operation, &str); 3] = [
    (Operation::Remove, "remove-response-headers"),
    (Operation::Set, "set-response-headers"),
    (Operation::Add, "add-response-headers"),
];

/// The routes of a service, whose own `timeouts` are those.
pub(super) fn routes(r: &mut Reader, table: &mut Table<'_>, timeouts: l7::Timeouts) -> Vec<Route> {
    let routes = table.take(r, "route");
    let routes = routes.map(|item| item.list(r, |r, item| route(r, &item, timeouts)));
    routes.unwrap_or_default()
}

/// What a service says of answers that are ours, and of bodies that are too long.
pub(super) fn of_service(
    r: &mut Reader,
    table: &mut Table<'_>,
) -> (Vec<ErrorPage>, Option<Maintenance>, Option<u64>) {
    let maintenance = table.take(r, "maintenance").and_then(|item| maintenance(r, &item));
    let max_body = table.take(r, "max-body").and_then(|item| item.parse(r, value::size));
    (pages(r, table), maintenance, max_body.map(|size| size.value))
}

/// A route; `timeouts` are those of its service.
fn route(r: &mut Reader, item: &Item<'_>, timeouts: l7::Timeouts) -> Option<Route> {
    let mut table = item.table(r)?;
    let condition = condition(r, &mut table);
    let path = condition.path.as_ref();
    let within = (item.path(), item.span.clone());
    let action = action(r, &mut table, within, path);
    let rewrite = rewrite(r, &mut table, path);
    let answer = fields(r, &mut table, &ANSWER, path);
    let treatment = treatment(r, &mut table, timeouts);
    let cors = table.take(r, "cors").and_then(|item| super::cors::cors(r, &item));
    let fault = table.take(r, "fault").and_then(|item| super::cors::fault(r, &item));
    let mirror = table.take(r, "mirror").and_then(|item| mirror(r, &item));
    let auth = table.take(r, "auth").and_then(|item| item.words(r));
    let limits = table.take(r, "limit").map(|item| {
        let why = "an empty list limits nothing";
        item.one_or_more(r, why, "limit = \"api\"", |r, item| item.words(r))
    });
    let limits = limits.unwrap_or_default();
    let cache = table.take(r, "cache").and_then(|item| item.words(r));
    table.finish(r);
    let (span, action) = (item.span.clone(), action?);
    Some(Route {
        span,
        condition: Condition { preflights: cors.is_some(), ..condition },
        action,
        rewrite,
        answer,
        treatment,
        cors,
        fault,
        mirror,
        auth,
        limits,
        cache,
    })
}

fn condition(r: &mut Reader, table: &mut Table<'_>) -> Condition {
    let why = "a route without `host` is for any";
    let hosts = table.take(r, "host").map(|item| {
        item.one_or_more(r, why, "host = \"api.lab\"", |r, item| item.parse(r, value::route_host))
    });
    let path = table.take(r, "path").and_then(|item| item.parse(r, value::route_path));
    let regex = table.take(r, "path-regex").and_then(|item| {
        let regex = item.parse(r, value::route_regex)?;
        if let Some(path) = &path {
            let (title, label) = ("a route has one path", "only one of these can be given");
            let help = "write `path` or `path-regex`";
            let diagnostic = Diagnostic::new(Code::ChooseOne, title, item.key_span, label, help);
            r.report(diagnostic.with(path.span.clone(), "already given here"));
        }
        Some(regex)
    });
    let methods = table.take(r, "methods").map(|item| {
        item.list(r, |r, item| item.parse(r, value::method).map(|method| method.value))
    });
    let headers = table.take(r, "headers").and_then(|item| {
        texts(r, &item, |r, name| name.parse(r, value::condition_field), value::route_text)
    });
    let query = table.take(r, "query");
    let query = query.and_then(|item| texts(r, &item, |_, name| Some(name), value::route_text));
    let cookies = table.take(r, "cookies").and_then(|item| {
        texts(r, &item, |r, name| name.parse(r, value::cookie_name), value::route_text)
    });
    let kinds = table.take(r, "content-type").map(|item| {
        let why = "a route without `content-type` is for any";
        let example = "content-type = \"application/json\"";
        item.one_or_more(r, why, example, |r, item| item.parse(r, value::content_type))
    });
    let clients = table.take(r, "clients").map(|item| super::access::prefixes(r, &item));
    let except = table.take(r, "except-clients").map(|item| super::access::prefixes(r, &item));
    let share = table.take(r, "percent").and_then(|item| item.parse(r, value::share));
    let bytes = |all: Option<Vec<(String, _)>>| {
        let all = all.unwrap_or_default().into_iter();
        all.map(|(name, pattern)| (name.into_bytes().into(), pattern)).collect()
    };
    Condition {
        hosts: values(hosts).iter().map(|host| HostPattern::new(host)).collect(),
        path: path.or(regex).map(|path| path.value),
        methods: methods.unwrap_or_default(),
        headers: headers
            .unwrap_or_default()
            .into_iter()
            .map(|(name, pattern)| (name.into(), pattern))
            .collect(),
        query: bytes(query),
        cookies: bytes(cookies),
        content_types: values(kinds),
        clients: values(clients),
        except_clients: values(except),
        preflights: false,
        share: share.map(|share| share.value),
    }
}

fn values<T>(all: Option<Vec<Spanned<T>>>) -> Vec<T> {
    all.unwrap_or_default().into_iter().map(|one| one.value).collect()
}

/// A table of names and texts, each read in its way.
fn texts<T>(
    r: &mut Reader,
    item: &Item<'_>,
    mut name: impl FnMut(&mut Reader, Spanned<String>) -> Option<Spanned<String>>,
    text: impl Fn(&str) -> Result<T, super::super::reader::Complaint>,
) -> Option<Vec<(String, T)>> {
    let named = item.table(r)?.take_named(r);
    let each = named.into_iter().filter_map(|(written, item)| {
        let (name, text) = (name(r, written), item.parse(r, &text));
        Some((name?.value, text?.value))
    });
    Some(each.collect())
}

fn action(
    r: &mut Reader,
    table: &mut Table<'_>,
    within: (String, super::super::model::Span),
    path: Option<&PathPattern>,
) -> Option<RouteAction> {
    let mut actions = Vec::new();
    if let Some(item) = table.take(r, "pool") {
        let action = item.words(r).map(RouteAction::Pool);
        actions.push((item, action));
    }
    let sticky = table.take(r, "split-by");
    if let Some(item) = table.take(r, "split") {
        let sticky = sticky.and_then(|item| item.parse(r, value::sticky));
        let action = split(r, &item, sticky.map(|sticky| sticky.value));
        actions.push((item, action));
    } else if let Some(item) = sticky {
        alone(r, table, item.key_span, "split-by", "split", "{ web = 95, canary = 5 }");
    }
    if let Some(item) = table.take(r, "redirect") {
        let action = redirect(r, &item, path);
        actions.push((item, action));
    }
    if let Some(item) = table.take(r, "respond") {
        let action = item.table(r).map(|mut parts| {
            let respond = respond(r, &mut parts, StatusCode::OK);
            parts.finish(r);
            RouteAction::Respond(respond)
        });
        actions.push((item, action));
    }
    exactly_one(r, within, actions, &["pool", "split", "redirect", "respond"])
}

fn split(r: &mut Reader, item: &Item<'_>, sticky: Option<Sticky>) -> Option<RouteAction> {
    let named = item.table(r)?.take_named(r);
    let each = named.into_iter().filter_map(|(name, item)| {
        let weight = item.integer(r, 0..=u32::from(u16::MAX))?;
        Some((name, weight.value))
    });
    let parts: Vec<_> = each.collect();
    if parts.iter().all(|(_, weight)| *weight == 0) {
        r.report(Diagnostic::new(
            Code::EmptySplit,
            format!("{} sends nothing anywhere", item.path()),
            item.span.clone(),
            "no pool has a weight above 0",
            "write a weight, as in `{ web = 95, canary = 5 }`",
        ));
        return None;
    }
    Some(RouteAction::Split { parts, sticky })
}

fn redirect(r: &mut Reader, item: &Item<'_>, path: Option<&PathPattern>) -> Option<RouteAction> {
    let mut table = item.table(r)?;
    let to = table.require(r, "to", "\"/new/{rest}\"");
    let to = to.and_then(|item| item.parse(r, |text| value::location(text, path)));
    let status = table.take(r, "status").and_then(|item| item.integer(r, 300..=399_u16));
    table.finish(r);
    if let Some(status) = status.as_ref().filter(|status| !REDIRECTS.contains(&status.value)) {
        r.report(Diagnostic::new(
            Code::UnknownChoice,
            format!("`{}` is not a redirection with a new location", status.value),
            status.span.clone(),
            "not one of those",
            format!("write {}", alternatives(&REDIRECTS.map(|status| status.to_string()))),
        ));
    }
    let status = status.and_then(|status| StatusCode::from_u16(status.value).ok());
    let status = status.unwrap_or(StatusCode::PERMANENT_REDIRECT);
    Some(RouteAction::Redirect { to: to?.value, status })
}

/// `mirror`: a pool, and how many requests are copied.
fn mirror(r: &mut Reader, item: &Item<'_>) -> Option<(Spanned<String>, u32)> {
    let mut table = item.table(r)?;
    let pool = table.require(r, "pool", "\"next\"").and_then(|item| item.words(r));
    let share = table.take(r, "percent").and_then(|item| item.parse(r, value::share));
    table.finish(r);
    Some((pool?, share.map_or(MILLION, |share| share.value)))
}

/// `maintenance`: an answer to all but a few.
fn maintenance(r: &mut Reader, item: &Item<'_>) -> Option<Maintenance> {
    let mut table = item.table(r)?;
    let allow = table.take(r, "allow").map(|item| super::access::prefixes(r, &item));
    let after = table.take(r, "retry-after").and_then(|item| item.parse(r, value::some_duration));
    let mut respond = respond(r, &mut table, StatusCode::SERVICE_UNAVAILABLE);
    table.finish(r);
    if let Some(after) = after {
        respond.fields.push(("Retry-After".to_owned(), after.value.as_secs().max(1).to_string()));
    }
    Some(Maintenance { respond, allow: values(allow) })
}

/// `error-pages`: files by statuses.
fn pages(r: &mut Reader, table: &mut Table<'_>) -> Vec<ErrorPage> {
    let Some(item) = table.take(r, "error-pages") else { return Vec::new() };
    let Some(mut named) = item.table(r) else { return Vec::new() };
    let named = named.take_named(r).into_iter();
    let mut pages: Vec<_> = named
        .filter_map(|(statuses, item)| {
            let (statuses, file) = (statuses.parse(r, value::statuses), item.parse(r, value::path));
            Some(ErrorPage { statuses: statuses?.value, file: file? })
        })
        .collect();
    // What is said of one status counts before what is said of many.
    pages.sort_by_key(|page| page.statuses.clone().count());
    pages
}

/// The keys of an answer that is always the same.
fn respond(r: &mut Reader, table: &mut Table<'_>, otherwise: StatusCode) -> Respond {
    let status = table.take(r, "status").and_then(|item| item.integer(r, 200..=599_u16));
    let kind = table.take(r, "content-type");
    let kind = kind.and_then(|item| item.parse(r, value::field_value));
    let headers = table.take(r, "headers").and_then(|item| {
        texts(r, &item, |r, name| name.parse(r, value::field_name), value::field_value)
    });
    let text = table.take(r, "body").and_then(|item| item.text(r).map(|text| (item, text.value)));
    let file = table.take(r, "file").and_then(|item| Some((item.parse(r, value::path)?, item)));
    if let (Some((text, _)), Some((_, file))) = (&text, &file) {
        let (title, label) = ("an answer has one body", "only one of these can be given");
        let help = "write `body` or `file`";
        let diagnostic =
            Diagnostic::new(Code::ChooseOne, title, file.key_span.clone(), label, help);
        r.report(diagnostic.with(text.key_span.clone(), "already given here"));
    }
    let guessed = kind_of(file.as_ref().map(|(path, _)| &*path.value));
    let body = match (file, text) {
        (Some((path, _)), _) => Body::File(path),
        (None, text) => Body::Text(text.map(|(_, text)| text.to_owned()).unwrap_or_default()),
    };
    let mut fields = headers.unwrap_or_default();
    if !matches!(&body, Body::Text(text) if text.is_empty()) {
        let kind = kind.map_or_else(|| guessed.to_owned(), |kind| kind.value);
        fields.insert(0, ("Content-Type".to_owned(), kind));
    }
    let status = status.and_then(|status| StatusCode::from_u16(status.value).ok());
    Respond { status: status.unwrap_or(otherwise), fields, body }
}

/// The type of what is in a file of that name; plain text if there is none.
pub(crate) fn kind_of(file: Option<&Path>) -> &'static str {
    let end = file.and_then(Path::extension).and_then(|end| end.to_str());
    match end.unwrap_or_default() {
        "html" | "htm" => "text/html; charset=utf-8",
        "json" => "application/json",
        _ => "text/plain; charset=utf-8",
    }
}

fn rewrite(r: &mut Reader, table: &mut Table<'_>, path: Option<&PathPattern>) -> Rewrite {
    let mut rewrite = Rewrite::default();
    if let Some(mut parts) = table.take(r, "rewrite").and_then(|item| item.table(r)) {
        let target = parts.take(r, "path");
        let target = target.and_then(|item| item.parse(r, |text| value::new_path(text, path)));
        let query = parts.take(r, "query");
        let query = query.and_then(|item| item.parse(r, |text| value::template(text, path)));
        let host = parts.take(r, "host");
        let host = host.and_then(|item| item.parse(r, |text| value::new_host(text, path)));
        parts.finish(r);
        rewrite.target = target.map(|target| target.value);
        rewrite.query = query.map(|query| query.value);
        rewrite.host = host.map(|host| host.value);
    }
    rewrite.fields = fields(r, table, &REQUEST, path);
    rewrite
}

/// Changes of the fields of a head.
fn fields(
    r: &mut Reader,
    table: &mut Table<'_>,
    keys: &[(Operation, &'static str)],
    path: Option<&PathPattern>,
) -> Fields {
    let mut fields = Fields::default();
    for &(operation, key) in keys {
        let Some(item) = table.take(r, key) else { continue };
        if operation == Operation::Remove {
            for name in item.list(r, |r, item| item.parse(r, value::field_name)) {
                fields.remove(&name.value);
            }
            continue;
        }
        let value = |text: &str| value::field_template(text, path);
        let changes = texts(r, &item, |r, name| name.parse(r, value::field_name), value);
        for (name, value) in changes.unwrap_or_default() {
            let value: Template = value;
            fields.change(operation, &name, value);
        }
    }
    fields
}

fn treatment(r: &mut Reader, table: &mut Table<'_>, timeouts: l7::Timeouts) -> Treatment {
    let max_body = table.take(r, "max-body").and_then(|item| item.parse(r, value::size));
    let timeouts = table.has("timeouts").then(|| {
        let mode = Spanned::default_of(Mode::Http);
        super::waiting::changed(r, table, Some(&mode), timeouts)
    });
    let has_retry = table.has("retry");
    let (retry, hedge_after) = super::retry::retry(r, table);
    let buffers = table.has("buffer");
    let buffering = super::buffering::buffering(r, table);
    Treatment {
        max_body: max_body.map(|size| size.value),
        timeouts,
        retry: has_retry.then_some(retry),
        hedge_after,
        buffering: buffers.then_some(buffering),
        pages: pages(r, table),
    }
}
