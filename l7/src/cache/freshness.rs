//! Which answers may be kept, and how long they are fresh (RFC 9111 sections 3 and 4.2).

use std::time::Duration;

use http::StatusCode;

use super::directive::{MaxStale, RequestDirectives, ResponseDirectives, Scope, seconds};
use super::lines::Lines;
use super::{Policy, Time, date};
use crate::http1::chars;

/// Why an answer is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unkept {
    /// It is partial, or says nothing of its own.
    Status,
    /// It or its request said `no-store`.
    NoStore,
    /// It is for one user.
    Private,
    /// Its request was authorised, and it does not say that others may see it.
    Authorised,
    /// It depends on more than the request (`Vary: *`).
    VariesByAll,
    /// Nothing says how long it is fresh, and nothing can.
    Lifetime,
    /// It sets a cookie.
    Cookie,
    /// It would neither be fresh nor could it be validated.
    Useless,
}

/// How long an answer is fresh, and when it may be used after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Freshness {
    /// Age at which it becomes stale.
    pub(super) lifetime: Duration,
    /// Its age when it came (`corrected_initial_age`).
    initial_age: Duration,
    /// When it came.
    received: Time,
    /// It must be validated before each use.
    always_validates: bool,
    never_stale: bool,
    while_revalidate: Duration,
    if_error: Duration,
}

/// What may become of an answer that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// It may be given as it is.
    Fresh,
    /// It is stale and may be given, as the client takes it so.
    Stale,
    /// It may be given while it is validated.
    WhileValidating,
    /// It must be validated.
    Validate,
}

impl Freshness {
    /// Of an answer that came at `received`, to a request sent at `sent`.
    pub(super) fn of(
        status: StatusCode,
        fields: &impl Lines,
        directives: &ResponseDirectives,
        policy: &Policy,
        (sent, received): (Time, Time),
    ) -> Self {
        let date = fields.single("date").and_then(date::parse).unwrap_or(received);
        // RFC 9111 section 4.2.3.
        let apparent_age = received.saturating_sub(date);
        let corrected_age = age(fields) + received.saturating_sub(sent);
        let never_stale = directives.never_stale || directives.no_cache == Scope::Whole;
        let unless_forbidden = |time: Option<Duration>, default: Duration| {
            if never_stale { Duration::ZERO } else { time.unwrap_or(default) }
        };
        Self {
            lifetime: lifetime(status, fields, directives, policy, date).unwrap_or_default(),
            initial_age: apparent_age.max(corrected_age),
            received,
            always_validates: directives.no_cache == Scope::Whole,
            never_stale,
            while_revalidate: unless_forbidden(
                directives.stale_while_revalidate,
                policy.stale_while_revalidate,
            ),
            if_error: unless_forbidden(directives.stale_if_error, policy.stale_if_error),
        }
    }

    /// Its age (RFC 9111 section 4.2.3).
    pub(super) fn age(&self, now: Time) -> Duration {
        self.initial_age + now.saturating_sub(self.received)
    }

    /// Time for which it is still fresh, or has been stale, below zero.
    pub(super) fn ttl(&self, now: Time) -> i64 {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        seconds(self.lifetime) - seconds(self.age(now))
    }

    /// What may become of it for a request with `directives` (RFC 9111 section 4).
    pub(super) fn judge(&self, directives: &RequestDirectives, now: Time) -> Use {
        let age = self.age(now);
        let too_old = directives.max_age.is_some_and(|most| age > most);
        if self.always_validates || directives.no_cache || too_old {
            return Use::Validate;
        }
        let wanted = directives.min_fresh.unwrap_or_default();
        if age + wanted < self.lifetime {
            return Use::Fresh;
        }
        let staleness = age.saturating_sub(self.lifetime);
        if self.never_stale || !wanted.is_zero() {
            return Use::Validate;
        }
        match directives.max_stale {
            Some(MaxStale::Any) => return Use::Stale,
            Some(MaxStale::By(most)) if staleness <= most => return Use::Stale,
            _ => {}
        }
        if directives.max_age.is_none() && staleness < self.while_revalidate {
            return Use::WhileValidating;
        }
        Use::Validate
    }

    /// Whether it may be given where the backend fails (RFC 5861 section 4).
    pub(super) fn covers_errors(&self, directives: &RequestDirectives, now: Time) -> bool {
        let staleness = self.age(now).saturating_sub(self.lifetime);
        !self.never_stale && !directives.no_cache && staleness < self.if_error
    }
}

/// Whether an answer to GET may be kept, by its own word and by that of its request.
pub(super) fn storable(
    status: StatusCode,
    fields: &impl Lines,
    directives: &ResponseDirectives,
    policy: &Policy,
    (asked, authorised): (&RequestDirectives, bool),
    freshness: &Freshness,
) -> Result<(), Unkept> {
    if status.is_informational()
        || matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED)
    {
        return Err(Unkept::Status);
    }
    // RFC 9111 section 5.2.2.3: who understands the status ignores `no-store` beside it.
    let understood = directives.must_understand && is_understood(status);
    if directives.must_understand && !understood {
        return Err(Unkept::Status);
    }
    if asked.no_store || directives.no_store && !understood {
        return Err(Unkept::NoStore);
    }
    if directives.private == Scope::Whole {
        return Err(Unkept::Private);
    }
    if authorised && !directives.allows_authorised {
        return Err(Unkept::Authorised);
    }
    if fields.lines("vary").flat_map(chars::members).any(|member| member == b"*") {
        return Err(Unkept::VariesByAll);
    }
    let explicit = directives.lifetime().is_some()
        || !directives.targeted && fields.lines("expires").next().is_some();
    if !(explicit || directives.public || may_be_guessed(status)) {
        return Err(Unkept::Lifetime);
    }
    if fields.lines("set-cookie").next().is_some()
        && !directives.withholds("set-cookie")
        && !(explicit && policy.cookies)
    {
        return Err(Unkept::Cookie);
    }
    let validator = fields.lines("etag").chain(fields.lines("last-modified")).next();
    let fresh = freshness.lifetime > freshness.initial_age && !freshness.always_validates;
    if fresh || validator.is_some() { Ok(()) } else { Err(Unkept::Useless) }
}

/// RFC 9111 section 4.2.1, and what is taken where nothing is said.
fn lifetime(
    status: StatusCode,
    fields: &impl Lines,
    directives: &ResponseDirectives,
    policy: &Policy,
    date: Time,
) -> Option<Duration> {
    if let Some(lifetime) = directives.lifetime() {
        return Some(lifetime);
    }
    if !directives.targeted && fields.lines("expires").next().is_some() {
        // Section 5.3: an invalid date, "0" above all, is in the past; so are several.
        let expires = fields.single("expires").and_then(date::parse);
        return Some(expires.map_or(Duration::ZERO, |expires| expires.saturating_sub(date)));
    }
    if is_refusal(status) && !policy.negative.is_zero() {
        return Some(policy.negative);
    }
    if !(may_be_guessed(status) || directives.public) {
        return None;
    }
    // Section 4.2.2: a tenth of the time for which it had not changed.
    let modified = fields.single("last-modified").and_then(date::parse)?;
    Some((date.saturating_sub(modified) / 10).min(policy.heuristic))
}

/// The age that an answer came with (RFC 9111 section 5.1): the first of several, none if it is not a
/// number.
fn age(fields: &impl Lines) -> Duration {
    let first = fields.lines("age").next().unwrap_or_default();
    let first = first.split(|&byte| byte == b',').next().unwrap_or_default();
    seconds(chars::trim(first)).unwrap_or_default()
}

/// Statuses whose answers may be kept where nothing is said of it (RFC 9110 section 15.1).
fn may_be_guessed(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// Those of them that tell of what is not there.
fn is_refusal(status: StatusCode) -> bool {
    matches!(status.as_u16(), 404 | 405 | 410 | 414 | 501)
}

/// Statuses whose rules about caches are known and kept here.
fn is_understood(status: StatusCode) -> bool {
    may_be_guessed(status)
        || matches!(status.as_u16(), 302 | 303 | 307 | 400 | 403 | 451 | 500 | 502 | 503 | 504)
}

/// Statuses in whose place a stale answer may be given (RFC 5861 section 4).
pub(super) fn is_error(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

#[cfg(test)]
#[path = "freshness_tests.rs"]
mod tests;
