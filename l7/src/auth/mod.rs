//! Who a client is: by a password, a key, a token or a certificate.
//!
//! # Theory of operation
//! A route names an [`Auth`], which looks at a request's fields and at its connection and says one of three
//! things ([`Judgement`]): who the client is, that it may not, or that it has to be found out first what
//! takes too long to do here. That question runs elsewhere, its answer is learned ([`Auth::learn`]), and is
//! final.
//!
//! What is found out is told to the backend in fields: the name in one, and what tokens and certificates
//! say besides in others. Clients cannot say these themselves: a service takes every field of every `Auth`
//! of the configuration from all requests ([`Auth::tells`]), whatever route they take and in whatever
//! spelling.
//!
//! **Nothing leaks.** A client that is refused learns which kind of credentials there must be, and if it
//! presented a token, that it was not a good one; why, the log says. A name that does not exist takes as
//! long as a wrong password and is answered with the same bytes.
//!
//! **Files** (users, keys, key sets, authorities) are [`Renewed`]: what was remembered of the old ones is
//! forgotten with them, so who is removed from a file is locked out at once.

pub mod api_key;
pub mod basic;
pub mod jwt;
pub mod mtls;
mod remembered;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use http::StatusCode;
use rustls::RootCertStore;

use crate::http1::chars;
use crate::http1::head::Fields;
use crate::limits::CREDENTIAL_BYTES;
use crate::renewed::Renewed;
use crate::tls::session::Session;
use api_key::ApiKeys;
use basic::{Basic, Check, Checked, Said, Users};
use jwt::{Jwt, JwtConfig, KeySet};
use mtls::{Mtls, Told};

/// Who a client is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its name; may be empty where a token or certificate has none.
    pub name: String,
    /// More that backends are told: names of fields in small letters, and values.
    pub fields: Vec<(String, String)>,
}

impl Identity {
    /// Somebody of whom nothing but the name is known.
    pub const fn named(name: String) -> Self {
        Self { name, fields: Vec::new() }
    }
}

/// How the clients of an `[auth.NAME]` are known.
#[derive(Clone, Debug)]
pub enum Method {
    /// By names and passwords.
    Basic {
        /// Who there is.
        users: Arc<Renewed<Users>>,
        /// Seconds for which a password that was right is not hashed again.
        remember: u64,
    },
    /// By a key in a field, whose name is in small letters. In `authorization` it comes as
    /// `Bearer KEY`.
    ApiKeys {
        /// The keys.
        keys: Arc<Renewed<ApiKeys>>,
        /// Where a key is.
        header: String,
    },
    /// By a signed token in `Authorization: Bearer`.
    Jwt {
        /// With which keys.
        keys: Arc<Renewed<KeySet>>,
        /// What it must say.
        config: JwtConfig,
    },
    /// By the certificate of its connection.
    Mtls {
        /// Who vouches for it.
        authorities: Arc<Renewed<RootCertStore>>,
        /// What is told of it: the field's name in small letters.
        claims: Vec<(String, Told)>,
    },
}

/// An `[auth.NAME]`.
#[derive(Debug)]
pub struct Auth {
    name: String,
    /// The field in which the backend is told the name, in small letters.
    user_field: String,
    how: How,
}

#[derive(Debug)]
enum How {
    Basic(Arc<Renewed<Users>>, Box<RefCell<Basic>>),
    ApiKeys(Arc<Renewed<ApiKeys>>, String),
    Jwt(Arc<Renewed<KeySet>>, Box<RefCell<Jwt>>, Vec<String>),
    Mtls(Arc<Renewed<RootCertStore>>, Box<RefCell<Mtls>>, Vec<String>),
}

/// What is said of a request.
#[derive(Debug)]
pub enum Judgement {
    /// It is of this client.
    Granted(Rc<Identity>),
    /// It goes no further.
    Denied(Denial),
    /// That has to be found out on another thread.
    Ask(Box<Check>),
}

/// An answer to a request that is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// 400, 401, 403 or 431.
    pub status: StatusCode,
    /// `WWW-Authenticate`, with 401.
    pub challenge: Option<String>,
    /// Why, for the log alone.
    pub reason: Reason,
}

/// Why credentials are no good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There are none.
    Missing,
    /// There are several.
    Several,
    /// They are longer than [`CREDENTIAL_BYTES`].
    Oversized,
    /// They are not of the form that they should have.
    Malformed,
    /// The name, the password or the key is wrong.
    Wrong,
    /// The algorithm of a token is none that is taken, or it asks for what is not understood.
    Algorithm,
    /// No key of the set can have signed the token.
    Key,
    /// The signature is not that of the key.
    Signature,
    /// The token has no end.
    NoExpiry,
    /// The time is over.
    Expired,
    /// The time has not begun.
    NotYet,
    /// It was issued by somebody else.
    Issuer,
    /// It is meant for somebody else.
    Audience,
}

impl Reason {
    /// In a few words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Missing => "no credentials",
            Self::Several => "several credentials",
            Self::Oversized => "the credentials are too long",
            Self::Malformed => "malformed credentials",
            Self::Wrong => "wrong credentials",
            Self::Algorithm => "an algorithm that is not taken",
            Self::Key => "a key that is not in the set",
            Self::Signature => "a signature of another key",
            Self::NoExpiry => "no time of expiry",
            Self::Expired => "expired",
            Self::NotYet => "not valid yet",
            Self::Issuer => "of another issuer",
            Self::Audience => "for another audience",
        }
    }
}

impl Auth {
    /// One that has not seen anybody. `user_field` is in small letters.
    pub fn new(name: String, user_field: String, method: Method, seed: u64) -> Self {
        fn names<T>(claims: &[(String, T)]) -> Vec<String> {
            claims.iter().map(|(name, _)| name.clone()).collect()
        }
        let how = match method {
            Method::Basic { users, remember } => {
                let basic = Basic::new(users.get(), remember, seed);
                How::Basic(users, Box::new(RefCell::new(basic)))
            }
            Method::ApiKeys { keys, header } => How::ApiKeys(keys, header),
            Method::Jwt { keys, config } => {
                let fields = names(&config.claims);
                let jwt = Jwt::new(config, keys.get(), seed);
                How::Jwt(keys, Box::new(RefCell::new(jwt)), fields)
            }
            Method::Mtls { authorities, claims } => {
                let fields = names(&claims);
                let mtls = Mtls::new(claims, authorities.get(), seed);
                How::Mtls(authorities, Box::new(RefCell::new(mtls)), fields)
            }
        };
        Self { name, user_field, how }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The field in which backends are told who the client is.
    pub fn user_field(&self) -> &str {
        &self.user_field
    }

    /// Every field in which backends are told something, in small letters.
    pub fn tells(&self) -> impl Iterator<Item = &str> {
        let more: &[String] = match &self.how {
            How::Basic(..) | How::ApiKeys(..) => &[],
            How::Jwt(_, _, fields) | How::Mtls(_, _, fields) => fields,
        };
        std::iter::once(&self.user_field).chain(more).map(String::as_str)
    }

    /// Judges a request with these fields at `now`, in seconds since 1970.
    pub fn judge(&self, now: u64, fields: &Fields<'_, '_>, session: Option<&Session>) -> Judgement {
        let granted = match &self.how {
            How::Basic(users, basic) => {
                let value = match credential(fields, "authorization") {
                    Ok(value) => value,
                    Err(reason) => return self.deny(reason),
                };
                match basic.borrow_mut().judge(now, users.get(), value) {
                    Said::Known(identity) => Ok(identity),
                    Said::Refused(reason) => Err(reason),
                    Said::Ask(check) => return Judgement::Ask(Box::new(check)),
                }
            }
            How::ApiKeys(keys, header) => credential(fields, header).and_then(|value| {
                let key = if header == "authorization" {
                    after_scheme(value, "bearer").ok_or(Reason::Malformed)?
                } else {
                    value
                };
                let keys = keys.get();
                let name = keys.find(key).ok_or(Reason::Wrong)?;
                Ok(Rc::new(Identity::named(name.to_owned())))
            }),
            How::Jwt(keys, jwt, _) => credential(fields, "authorization").and_then(|value| {
                let token = after_scheme(value, "bearer").ok_or(Reason::Malformed)?;
                jwt.borrow_mut().judge(now, keys.get(), token)
            }),
            How::Mtls(authorities, mtls, _) => {
                let client = session.and_then(Session::client).ok_or(Reason::Missing);
                client.and_then(|client| mtls.borrow_mut().judge(now, authorities.get(), client))
            }
        };
        match granted {
            Ok(identity) => Judgement::Granted(identity),
            Err(reason) => self.deny(reason),
        }
    }

    /// Takes the answer to what was asked.
    pub fn learn(&self, now: u64, checked: Checked) -> Judgement {
        let learned = match &self.how {
            How::Basic(_, basic) => basic.borrow_mut().learn(now, checked),
            _ => None,
        };
        match learned {
            Some(identity) => Judgement::Granted(identity),
            None => self.deny(Reason::Wrong),
        }
    }

    fn deny(&self, reason: Reason) -> Judgement {
        let status = match (reason, &self.how) {
            (Reason::Oversized, _) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            (Reason::Several, _) => StatusCode::BAD_REQUEST,
            // What is missing cannot be sent on this connection.
            (_, How::Mtls(..)) => StatusCode::FORBIDDEN,
            _ => StatusCode::UNAUTHORIZED,
        };
        let challenge = (status == StatusCode::UNAUTHORIZED).then(|| self.challenge(reason));
        Judgement::Denied(Denial { status, challenge, reason })
    }

    /// RFC 9110 section 11.6.1. Names of an `[auth.NAME]` have nothing that would have to be escaped.
    fn challenge(&self, reason: Reason) -> String {
        let name = &self.name;
        match &self.how {
            How::Basic(..) => format!("Basic realm=\"{name}\", charset=\"UTF-8\""),
            // RFC 6750 section 3: no code without a token.
            How::Jwt(..) if reason != Reason::Missing => {
                format!("Bearer realm=\"{name}\", error=\"invalid_token\"")
            }
            How::ApiKeys(_, header) if header != "authorization" => {
                format!("ApiKey realm=\"{name}\", header=\"{header}\"")
            }
            _ => format!("Bearer realm=\"{name}\""),
        }
    }
}

/// The one value of a field with credentials.
fn credential<'a>(fields: &Fields<'a, '_>, name: &str) -> Result<&'a [u8], Reason> {
    let mut values = fields.named(name);
    let value = values.next().ok_or(Reason::Missing)?;
    if values.next().is_some() {
        return Err(Reason::Several);
    }
    if value.len() > CREDENTIAL_BYTES {
        return Err(Reason::Oversized);
    }
    Ok(value)
}

/// What follows the scheme, in any case, and spaces (RFC 9110 section 11.4).
fn after_scheme<'a>(value: &'a [u8], scheme: &str) -> Option<&'a [u8]> {
    let (begin, rest) = value.split_at_checked(scheme.len())?;
    let spaces = rest.iter().take_while(|&&byte| byte == b' ').count();
    let is_scheme = begin.eq_ignore_ascii_case(scheme.as_bytes()) && spaces > 0;
    rest.get(spaces..).filter(|rest| is_scheme && !rest.is_empty())
}

/// Whether text can be the value of a field.
fn is_value(text: &[u8]) -> bool {
    text.iter().all(|&byte| chars::is_field_value(byte))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
