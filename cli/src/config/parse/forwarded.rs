//! The keys of `[[service]]` that say what backends are told about clients.

use l7::http1::encode::Spelling;

use super::super::model::{Forwarded, Spanned};
use super::super::reader::{Reader, Table};

const FORWARDED: [(&str, Forwarded); 3] =
    [("append", Forwarded::Append), ("replace", Forwarded::Replace), ("hide", Forwarded::Hide)];
const SPELLINGS: [(&str, Spelling); 3] = [
    ("x-forwarded", Spelling::XForwarded),
    ("forwarded", Spelling::Forwarded),
    ("both", Spelling::Both),
];

/// What is told, in which fields, and which proxies are believed.
pub(super) struct Told {
    pub(super) forwarded: Forwarded,
    pub(super) spelling: Spelling,
    pub(super) trusted: Vec<Spanned<nat::Prefix>>,
}

pub(super) fn told(r: &mut Reader, table: &mut Table<'_>) -> Told {
    let forwarded = table.take(r, "forwarded");
    let forwarded = forwarded.and_then(|item| item.choice(r, "a way to forward", &FORWARDED));
    let spelling = table.take(r, "forwarded-header");
    let spelling = spelling.and_then(|item| item.choice(r, "a field for that", &SPELLINGS));
    let trusted = table.take(r, "trusted-proxies");
    let trusted = trusted.map(|item| super::access::prefixes(r, &item));
    Told {
        forwarded: forwarded.map(|forwarded| forwarded.value).unwrap_or_default(),
        spelling: spelling.map(|spelling| spelling.value).unwrap_or_default(),
        trusted: trusted.unwrap_or_default(),
    }
}
