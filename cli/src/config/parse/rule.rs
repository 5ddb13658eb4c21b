//! Rules of `access` of a service.

use l7::access::pattern::Pattern;

use super::super::codes::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::{Listed, Rule, Spanned};
use super::super::reader::{Complaint, Item, Reader, Table};
use super::super::value;

const ACTIONS: [(&str, bool); 2] = [("allow", false), ("deny", true)];
const FORBIDDEN: u16 = 403;

pub(super) fn rule(r: &mut Reader, item: &Item<'_>) -> Option<Rule> {
    let mut table = item.table(r)?;
    let action = table.require(r, "action", "\"deny\"");
    let denies = action.and_then(|item| item.choice(r, "allow or deny", &ACTIONS));
    let status = table.take(r, "status");
    if let (Some(item), Some(false)) = (&status, denies.as_ref().map(|denies| denies.value)) {
        r.report(Diagnostic::new(
            Code::ChooseOne,
            "a rule that allows gives no answer",
            item.key_span.clone(),
            "`status` is for a rule that denies",
            "remove `status`, or write `action = \"deny\"`",
        ));
    }
    let status = status.and_then(|item| item.integer(r, 400..=499_u16));
    let clients = table.take(r, "clients");
    let clients = Listed {
        inline: clients.map(|item| one_or_more(r, item, |r, item| item.parse(r, value::addresses))),
        file: file(r, &mut table, "clients-file"),
    };
    let methods = table.take(r, "methods");
    let methods =
        methods.map(|item| one_or_more(r, item, |r, item| item.parse(r, value::rule_method)));
    let paths = patterns(r, &mut table, "paths", "paths-file");
    let headers = table.take(r, "headers").and_then(|item| headers(r, &item));
    let agents = patterns(r, &mut table, "user-agents", "user-agents-file");
    let span = table.span.clone();
    table.finish(r);
    let status = status.map_or(FORBIDDEN, |status| status.value);
    let deny = denies?.value.then_some(status);
    let (methods, headers) = (methods.unwrap_or_default(), headers.unwrap_or_default());
    Some(Rule { span, deny, clients, methods, paths, headers, agents })
}

fn one_or_more<T>(
    r: &mut Reader,
    item: Item<'_>,
    each: impl FnMut(&mut Reader, Item<'_>) -> Option<T>,
) -> Vec<T> {
    let mut each = each;
    item.one_or_more(r, "an empty list fits nothing", "[\"…\"]", |r, item| each(r, item))
}

fn file(
    r: &mut Reader,
    table: &mut Table<'_>,
    key: &'static str,
) -> Option<Spanned<std::path::PathBuf>> {
    table.take(r, key).and_then(|item| item.parse(r, value::path))
}

fn patterns(
    r: &mut Reader,
    table: &mut Table<'_>,
    key: &'static str,
    file_key: &'static str,
) -> Listed<String> {
    let inline = table.take(r, key);
    let inline = inline.map(|item| one_or_more(r, item, |r, item| item.parse(r, pattern)));
    Listed { inline, file: file(r, table, file_key) }
}

fn headers(r: &mut Reader, item: &Item<'_>) -> Option<Vec<(String, Spanned<String>)>> {
    let named = item.table(r)?.take_named(r);
    let each = named.into_iter().filter_map(|(name, item)| {
        let name = name.parse(r, value::field);
        let pattern = item.parse(r, pattern);
        Some((name?.value, pattern?))
    });
    Some(each.collect())
}

/// A text with `*` for any rest.
fn pattern(text: &str) -> Result<String, Complaint> {
    match Pattern::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(bad) => Err(Complaint {
            code: Code::BadGlob,
            what: "is not a pattern".to_owned(),
            label: bad.to_string(),
            help: "write a text such as `/admin/*`, where `*` stands for any rest".to_owned(),
        }),
    }
}
