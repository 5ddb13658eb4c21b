//! Who may read answers in a browser (Fetch standard, "CORS protocol").
//!
//! # Theory of operation
//! A browser says where a script comes from (`Origin`), and lets it read an answer only if that says so.
//! Before a request that a form could not send it asks with OPTIONS whether it may (a preflight): that is
//! answered by us. What a backend says of it is replaced by what the route says.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};

use super::condition::Ask;
use crate::answer::Answer;
use crate::http1::edits::Edits;

/// Fields by which answers say it.
const SAID: [&str; 6] = [
    "Access-Control-Allow-Origin",
    "Access-Control-Allow-Credentials",
    "Access-Control-Allow-Methods",
    "Access-Control-Allow-Headers",
    "Access-Control-Expose-Headers",
    "Access-Control-Max-Age",
];

/// Whose scripts may do what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cors {
    /// Origins, as `https://a.lab`, in lower case; `*` is any.
    pub origins: Vec<Box<str>>,
    /// Methods of preflights; empty allows the one that is asked for.
    pub methods: Vec<Method>,
    /// Fields of requests; empty allows those that are asked for.
    pub headers: Vec<Box<str>>,
    /// Fields of answers that scripts may read besides the plain ones.
    pub expose: Vec<Box<str>>,
    /// Scripts may send cookies and passwords. Then an origin is named, never `*`.
    pub credentials: bool,
    /// How long the answer to a preflight may be remembered.
    pub max_age: Option<Duration>,
}

impl Cors {
    /// The answer to a preflight; none if `ask` is none.
    pub(super) fn preflight(&self, ask: &Ask<'_>) -> Option<Answer> {
        let wanted = ask.preflight()?;
        let mut fields: Vec<(&str, Vec<u8>)> = vec![(
            "Vary",
            b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers".to_vec(),
        )];
        if let Some(origin) = self.allowed(ask) {
            fields.push((SAID[0], origin.to_vec()));
            if self.credentials {
                fields.push((SAID[1], b"true".to_vec()));
            }
            let methods: Vec<_> = self.methods.iter().map(Method::as_str).collect();
            let methods = methods.join(", ").into_bytes();
            fields.push((SAID[2], if methods.is_empty() { wanted.to_vec() } else { methods }));
            let headers = if self.headers.is_empty() {
                ask.values("access-control-request-headers").next().unwrap_or_default().to_vec()
            } else {
                self.headers.join(", ").into_bytes()
            };
            if !headers.is_empty() {
                fields.push((SAID[3], headers));
            }
            if let Some(age) = self.max_age {
                fields.push((SAID[5], age.as_secs().to_string().into_bytes()));
            }
        }
        let fields = fields.iter().map(|(name, value)| (*name, &value[..]));
        Some(Answer::new(StatusCode::NO_CONTENT, fields, Bytes::new()))
    }

    /// What is said with the answer to any other request.
    pub(super) fn say(&self, ask: &Ask<'_>, edits: &mut Edits) {
        for name in SAID {
            edits.remove(name);
        }
        let by_origin = self.credentials || !self.is_any();
        if by_origin {
            edits.add("Vary", *b"Origin");
        }
        let Some(origin) = self.allowed(ask) else { return };
        edits.add(SAID[0], origin);
        if self.credentials {
            edits.add(SAID[1], *b"true");
        }
        if !self.expose.is_empty() {
            edits.add(SAID[4], self.expose.join(", ").into_bytes());
        }
    }

    fn is_any(&self) -> bool {
        self.origins.iter().any(|origin| &**origin == "*")
    }

    /// How the origin of a request that may is named.
    fn allowed<'a>(&self, ask: &Ask<'a>) -> Option<&'a [u8]> {
        let origin = ask.values("origin").next()?;
        if self.is_any() {
            return Some(if self.credentials { origin } else { b"*" });
        }
        let mut origins = self.origins.iter().map(|one| one.as_bytes());
        origins.any(|one| one.eq_ignore_ascii_case(origin)).then_some(origin)
    }
}
