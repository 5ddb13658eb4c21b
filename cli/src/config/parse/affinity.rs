//! `affinity` of `[pool.NAME]` by a cookie.

use std::fmt::Write as _;

use super::super::model::{Affinity, AffinityCookie};
use super::super::reader::{Reader, Table};
use super::super::value;

const SAME_SITE: [(&str, &str); 3] = [("strict", "Strict"), ("lax", "Lax"), ("none", "None")];

/// The keys of a cookie by which clients are known.
pub(super) fn cookie(r: &mut Reader, table: &mut Table<'_>) -> Option<Affinity> {
    let name = table.require(r, "name", "\"BALUN\"");
    let name = name.and_then(|item| item.parse(r, value::cookie_name));
    let key = table.take(r, "key").and_then(|item| item.parse(r, value::path));
    let timeout = table.take(r, "timeout").and_then(|item| item.parse(r, value::some_duration));
    let path = table.take(r, "path").and_then(|item| item.parse(r, value::cookie_path));
    let domain = table.take(r, "domain").and_then(|item| item.parse(r, value::route_host));
    let secure = table.take(r, "secure").and_then(|item| item.boolean(r));
    let http_only = table.take(r, "http-only").and_then(|item| item.boolean(r));
    let same_site = table.take(r, "same-site");
    let same_site = same_site.and_then(|item| item.choice(r, "a kind of sites", &SAME_SITE));
    let mut attributes = format!("; Path={}", path.as_ref().map_or("/", |path| &**path));
    if let Some(domain) = domain {
        let _ = write!(attributes, "; Domain={}", *domain);
    }
    if let Some(timeout) = &timeout {
        let _ = write!(attributes, "; Max-Age={}", timeout.as_secs().max(1));
    }
    let same_site = same_site.map_or("Lax", |same_site| same_site.value);
    // Browsers take one for all sites only over TLS.
    if secure.is_some_and(|secure| secure.value) || same_site == "None" {
        attributes.push_str("; Secure");
    }
    if http_only.is_none_or(|http_only| http_only.value) {
        attributes.push_str("; HttpOnly");
    }
    let _ = write!(attributes, "; SameSite={same_site}");
    let renews = timeout.is_some();
    Some(Affinity::Cookie(Box::new(AffinityCookie { name: name?, key, attributes, renews })))
}
