//! An answer that is kept, and how it changes when it is validated.

use bytes::Bytes;
use http::StatusCode;

use super::directive::{RequestDirectives, ResponseDirectives};
use super::freshness::{self, Freshness, Unkept};
use super::lines::{self, Lines, Text};
use super::vary::Selecting;
use super::{Policy, Time, date};
use crate::http1::chars;

/// Bytes that an answer takes beside its text.
const OVERHEAD: usize = 320;

/// An answer that is kept.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) status: StatusCode,
    /// The fields as text: neither the length nor the age, nothing of one connection.
    pub(super) fields: Box<[u8]>,
    pub(super) body: Bytes,
    pub(super) freshness: Freshness,
    /// It may be given to who is authorised (RFC 9111 section 3.5).
    pub(super) for_authorised: bool,
    /// The requests that it fits.
    pub(super) selecting: Selecting,
    /// Which way the request went: answers of one route are none of another's.
    pub(super) space: u64,
    pub(super) etag: Option<Box<[u8]>>,
    pub(super) modified: Option<Box<[u8]>>,
    /// When it was made, by its own word, or else when it came.
    pub(super) date: Time,
}

/// An answer's head as it came.
#[derive(Debug)]
pub(super) struct Came<'a, A> {
    pub(super) status: StatusCode,
    pub(super) fields: &'a A,
    /// When its request was sent, and when it came.
    pub(super) times: (Time, Time),
}

/// The request that an answer is to.
#[derive(Debug)]
pub(super) struct To<'a, R> {
    pub(super) fields: &'a R,
    pub(super) directives: &'a RequestDirectives,
    pub(super) authorised: bool,
    pub(super) space: u64,
}

impl Stored {
    /// The answer as it is to be kept, its body to come.
    pub(super) fn new(
        came: &Came<'_, impl Lines>,
        to: &To<'_, impl Lines>,
        policy: &Policy,
    ) -> Result<Self, Unkept> {
        let Came { status, fields, times } = *came;
        let directives = ResponseDirectives::of(fields);
        let freshness = Freshness::of(status, fields, &directives, policy, times);
        let asked = (to.directives, to.authorised);
        freshness::storable(status, fields, &directives, policy, asked, &freshness)?;
        let mut text = Vec::with_capacity(512);
        for (name, value) in fields.all() {
            if passes(name) && !directives.withholds(name) {
                lines::push(name, value, &mut text);
            }
        }
        Ok(Self {
            status,
            etag: fields.single("etag").map(Into::into),
            modified: fields.single("last-modified").map(Into::into),
            date: fields.single("date").and_then(date::parse).unwrap_or(times.1),
            fields: text.into(),
            body: Bytes::new(),
            freshness,
            for_authorised: directives.allows_authorised,
            selecting: Selecting::new(fields, to.fields),
            space: to.space,
        })
    }

    /// It as a 304 makes it anew (RFC 9111 section 4.3.4). None if the 304 is about another answer, or
    /// says that it is not to be kept.
    pub(super) fn freshened(
        &self,
        came: &Came<'_, impl Lines>,
        to: &To<'_, impl Lines>,
        policy: &Policy,
    ) -> Option<Self> {
        let etag = came.fields.single("etag");
        if let (Some(new), Some(old)) = (etag, self.etag.as_deref())
            && !same_weakly(new, old)
        {
            return None;
        }
        let mut text = Vec::with_capacity(self.fields.len() + 128);
        let replaced = |name: &str| !stays(name) && came.fields.lines(name).next().is_some();
        for (name, value) in Text::new(&self.fields).all().filter(|(name, _)| !replaced(name)) {
            lines::push(name, value, &mut text);
        }
        for (name, value) in came.fields.all().filter(|(name, _)| !stays(name) && passes(name)) {
            lines::push(name, value, &mut text);
        }
        let mut fields = text;
        if came.fields.lines("age").next().is_some() {
            let age = came.fields.lines("age").next().unwrap_or_default();
            lines::push("age", age, &mut fields);
        }
        let merged = Came { status: self.status, fields: &Text::new(&fields), times: came.times };
        let mut stored = Self::new(&merged, to, policy).ok()?;
        stored.body = self.body.clone();
        Some(stored)
    }

    /// Bytes that it takes.
    pub(super) fn weight(&self) -> usize {
        let validators = [&self.etag, &self.modified];
        let validators = validators.into_iter().flatten().map(|text| text.len());
        self.fields.len()
            + self.body.len()
            + self.selecting.len()
            + validators.sum::<usize>()
            + OVERHEAD
    }

    /// Whether it can be asked for whether it is still good.
    pub(super) const fn has_validator(&self) -> bool {
        self.etag.is_some() || self.modified.is_some()
    }

    /// Whether a purge by `tag` means it: a word of `Surrogate-Key`, or a member of `Cache-Tag`.
    pub(super) fn is_tagged(&self, tag: &[u8]) -> bool {
        let fields = Text::new(&self.fields);
        let words = fields.lines("surrogate-key").flat_map(|value| value.split(|&b| b == b' '));
        { words }.any(|word| word == tag)
            || fields.lines("cache-tag").flat_map(chars::members).any(|member| member == tag)
    }
}

/// Whether two entity tags are the same, weak or not (RFC 9110 section 8.8.3.2).
pub(super) fn same_weakly(a: &[u8], b: &[u8]) -> bool {
    fn opaque(tag: &[u8]) -> &[u8] {
        tag.strip_prefix(b"W/").unwrap_or(tag)
    }
    opaque(a) == opaque(b)
}

/// Whether two entity tags are the same and strong.
pub(super) fn same_strongly(a: &[u8], b: &[u8]) -> bool {
    a == b && a.starts_with(b"\"")
}

/// Fields that are kept. What concerns a connection was left out before (RFC 9111 section 3.1); the age
/// and the length are told anew each time.
fn passes(name: &str) -> bool {
    !["age", "content-length"].iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Fields that a 304 does not change, since they describe the body that is kept (RFC 9111 section 3.2).
fn stays(name: &str) -> bool {
    ["content-length", "content-encoding", "content-range", "content-md5", "etag"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
}
