//! `[cache.NAME]`, `[auth.NAME]` and `[limit.NAME]`.

use super::super::model::{Auth, AuthMethod, Cache, RateLimit, Spanned};
use super::super::reader::{Item, Reader, Table};
use super::super::value;
use super::exactly_one;

pub(super) fn cache(r: &mut Reader, name: Spanned<String>, mut table: Table<'_>) -> Option<Cache> {
    let memory = table.require(r, "memory", "\"256MiB\"");
    let memory = memory.and_then(|item| item.parse(r, value::size));
    let stale = table.take(r, "stale-while-revalidate");
    let stale = stale.and_then(|item| item.parse(r, value::duration));
    table.finish(r);
    let stale_while_revalidate = stale.map(|time| time.value);
    Some(Cache { name, memory: memory?.value, stale_while_revalidate })
}

pub(super) fn auth(r: &mut Reader, name: Spanned<String>, mut table: Table<'_>) -> Option<Auth> {
    const KEYS: [&str; 5] = ["basic", "jwt", "api-keys", "mtls", "forward"];
    let within = (table.path(), table.span.clone());
    let mut methods = Vec::new();
    for key in KEYS {
        let Some(item) = table.take(r, key) else { continue };
        let method = match key {
            "basic" => item.parse(r, value::path).map(|path| AuthMethod::Basic(path.value)),
            "api-keys" => item.parse(r, value::path).map(|path| AuthMethod::ApiKeys(path.value)),
            "forward" => item.words(r).map(|url| AuthMethod::Forward(url.value)),
            "jwt" => jwt(r, &item),
            _ => mtls(r, &item),
        };
        methods.push((item, method));
    }
    table.finish(r);
    let method = exactly_one(r, within, methods, &KEYS)?;
    Some(Auth { name, method })
}

fn jwt(r: &mut Reader, item: &Item<'_>) -> Option<AuthMethod> {
    let mut table = item.table(r)?;
    let jwks = table.require(r, "jwks", "\"keys.json\"");
    let jwks = jwks.and_then(|item| item.parse(r, value::path));
    let issuer = table.take(r, "issuer").and_then(|item| item.words(r));
    let audience = table.take(r, "audience").and_then(|item| item.words(r));
    table.finish(r);
    Some(AuthMethod::Jwt {
        jwks: jwks?.value,
        issuer: issuer.map(|issuer| issuer.value),
        audience: audience.map(|audience| audience.value),
    })
}

fn mtls(r: &mut Reader, item: &Item<'_>) -> Option<AuthMethod> {
    let mut table = item.table(r)?;
    let ca = table.require(r, "ca", "\"ca.pem\"");
    let ca = ca.and_then(|item| item.parse(r, value::path));
    table.finish(r);
    Some(AuthMethod::Mtls { ca: ca?.value })
}

pub(super) fn rate_limit(
    r: &mut Reader,
    name: Spanned<String>,
    mut table: Table<'_>,
) -> Option<RateLimit> {
    let rate = table.require(r, "rate", "\"100/s\"");
    let rate = rate.and_then(|item| item.parse(r, value::rate));
    let burst = table.take(r, "burst").and_then(|item| item.integer(r, 1..=u32::MAX));
    let key = table.take(r, "key").and_then(|item| item.parse(r, value::rate_key));
    table.finish(r);
    let rate = rate?.value;
    Some(RateLimit {
        name,
        rate,
        burst: burst.map_or(rate.count, |burst| burst.value),
        key: key.map(|key| key.value).unwrap_or_default(),
    })
}
