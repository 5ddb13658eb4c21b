//! `[auth.NAME]`.

use std::time::Duration;

use l7::auth::mtls::Told;

use super::super::model::{Auth, AuthMethod, Jwt, Spanned};
use super::super::reader::{Item, Reader, Table};
use super::super::value;
use super::access::alone;
use super::exactly_one;

const KEYS: [&str; 5] = ["basic", "jwt", "api-keys", "mtls", "forward"];
const USER_HEADER: &str = "x-auth-user";
const KEY_HEADER: &str = "x-api-key";
const REMEMBER: Duration = Duration::from_mins(1);
const LEEWAY: Duration = Duration::from_mins(1);
const TOLD: [(&str, Told); 4] = [
    ("subject", Told::Subject),
    ("fingerprint", Told::Fingerprint),
    ("certificate", Told::Certificate),
    ("names", Told::Names),
];

pub(super) fn auth(r: &mut Reader, name: Spanned<String>, mut table: Table<'_>) -> Option<Auth> {
    let within = (table.path(), table.span.clone());
    let remember = only_with(r, &mut table, "remember", "basic", "\"htpasswd\"");
    let remember = remember.and_then(|item| item.parse(r, value::duration));
    let header = only_with(r, &mut table, "key-header", "api-keys", "\"keys.txt\"");
    let header = header.and_then(|item| item.parse(r, value::field));
    let remember = remember.map_or(REMEMBER, |time| time.value);
    let header = header.map_or_else(|| KEY_HEADER.to_owned(), |header| header.value);
    let mut methods = Vec::new();
    for key in KEYS {
        let Some(item) = table.take(r, key) else { continue };
        let method = match key {
            "basic" => {
                item.parse(r, value::path).map(|users| AuthMethod::Basic { users, remember })
            }
            "api-keys" => item
                .parse(r, value::path)
                .map(|keys| AuthMethod::ApiKeys { keys, header: header.clone() }),
            "forward" => item.words(r).map(|url| AuthMethod::Forward(url.value)),
            "jwt" => jwt(r, &item),
            _ => mtls(r, &item),
        };
        methods.push((item, method));
    }
    let user_header = table.take(r, "user-header");
    let user_header = user_header.and_then(|item| item.parse(r, value::told_field));
    table.finish(r);
    let method = exactly_one(r, within, methods, &KEYS)?;
    let default = || Spanned::default_of(USER_HEADER.to_owned());
    Some(Auth { name, method, user_header: user_header.unwrap_or_else(default) })
}

/// A key that has no meaning without another.
fn only_with<'d>(
    r: &mut Reader,
    table: &mut Table<'d>,
    key: &'static str,
    needs: &str,
    example: &str,
) -> Option<Item<'d>> {
    let is_there = table.has(needs);
    let item = table.take(r, key)?;
    if !is_there {
        alone(r, table, item.key_span.clone(), key, needs, example);
    }
    Some(item)
}

fn jwt(r: &mut Reader, item: &Item<'_>) -> Option<AuthMethod> {
    let mut table = item.table(r)?;
    let jwks = table.require(r, "jwks", "\"keys.json\"");
    let jwks = jwks.and_then(|item| item.parse(r, value::key_set));
    let issuer = table.take(r, "issuer").and_then(|item| item.words(r));
    let audience = table.take(r, "audience").and_then(|item| item.words(r));
    let leeway = table.take(r, "leeway").and_then(|item| item.parse(r, value::duration));
    let claims = table
        .take(r, "claims")
        .map(|item| fields(r, &item, |r, item| item.words(r).map(|claim| claim.value)));
    table.finish(r);
    Some(AuthMethod::Jwt(Box::new(Jwt {
        jwks: jwks?,
        issuer: issuer.map(|issuer| issuer.value),
        audience: audience.map(|audience| audience.value),
        leeway: leeway.map_or(LEEWAY, |leeway| leeway.value),
        claims: claims.unwrap_or_default(),
    })))
}

fn mtls(r: &mut Reader, item: &Item<'_>) -> Option<AuthMethod> {
    let mut table = item.table(r)?;
    let ca = table.require(r, "ca", "\"ca.pem\"");
    let ca = ca.and_then(|item| item.parse(r, value::path));
    let claims = table.take(r, "claims").map(|item| {
        fields(r, &item, |r, item| {
            item.choice(r, "told of a certificate", &TOLD).map(|told| told.value)
        })
    });
    table.finish(r);
    Some(AuthMethod::Mtls { ca: ca?, claims: claims.unwrap_or_default() })
}

/// Names of fields, and what is told in each.
fn fields<T>(
    r: &mut Reader,
    item: &Item<'_>,
    each: impl Fn(&mut Reader, &Item<'_>) -> Option<T>,
) -> Vec<(Spanned<String>, T)> {
    let named = item.table(r).map(|mut table| table.take_named(r)).unwrap_or_default();
    let read = named.into_iter().filter_map(|(name, item)| {
        let name = name.parse(r, value::told_field);
        let told = each(r, &item);
        Some((name?, told?))
    });
    read.collect()
}
