//! Who clients are, how often they may come, and which may come at all.

use std::path::PathBuf;
use std::time::Duration;

use l7::limit::{AtOnceConfig, Key};

use super::{Rate, Span, Spanned};

/// A way to know clients.
#[derive(Clone, Debug)]
pub struct Auth {
    /// Its name, at its place in the header.
    pub name: Spanned<String>,
    /// How.
    pub method: AuthMethod,
    /// The field in which backends are told the name; default `x-auth-user`.
    pub user_header: Spanned<String>,
}

/// How clients are known. Paths are relative to the folder of the configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// By the passwords of a file.
    Basic {
        /// As `htpasswd` writes it.
        users: Spanned<PathBuf>,
        /// How long a password that was right is not hashed again; default a minute.
        remember: Duration,
    },
    /// By signed tokens.
    Jwt(Box<Jwt>),
    /// By the keys of a file.
    ApiKeys {
        /// A name and the SHA-256 of a key, each line.
        keys: Spanned<PathBuf>,
        /// The field that a key comes in, in small letters; default `x-api-key`.
        header: String,
    },
    /// By certificates that this authority signed.
    Mtls {
        /// Its certificate.
        ca: Spanned<PathBuf>,
        /// What backends are told of a client's.
        claims: Vec<(Spanned<String>, l7::auth::mtls::Told)>,
    },
    /// By what that URL answers.
    Forward(String),
}

/// What tokens must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwt {
    /// Keys.
    pub jwks: Spanned<PathBuf>,
    /// Who must have issued it.
    pub issuer: Option<String>,
    /// Whom it must be meant for.
    pub audience: Option<String>,
    /// How far clocks may be apart; default a minute.
    pub leeway: Duration,
    /// What backends are told of it.
    pub claims: Vec<(Spanned<String>, String)>,
}

/// A bound on requests.
#[derive(Clone, Debug)]
pub struct RateLimit {
    /// Its name, at its place in the header.
    pub name: Spanned<String>,
    /// In the long run, and at once after a pause; default as many as the rate's own count.
    pub rate: Option<(Rate, u32)>,
    /// What is counted apart; default the client's address.
    pub key: Spanned<Key>,
    /// Served at the same time.
    pub at_once: Option<AtOnceConfig>,
    /// Keys that are known at once; default 65,536.
    pub keys: u32,
    /// Clients that are not refused are told of the rate too; default not.
    pub tell: bool,
}

/// A rule about which requests a service takes.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its place.
    pub span: Span,
    /// What happens to a request that fits; nothing is that it is allowed.
    pub deny: Option<u16>,
    /// Networks of clients.
    pub clients: Listed<nat::Prefix>,
    /// Methods.
    pub methods: Vec<Spanned<String>>,
    /// Patterns of paths.
    pub paths: Listed<String>,
    /// Fields and patterns of their values.
    pub headers: Vec<(String, Spanned<String>)>,
    /// Patterns of user agents.
    pub agents: Listed<String>,
}

/// What is written down, and what is in a file.
#[derive(Clone, Debug)]
pub struct Listed<T> {
    /// Written down; nothing if the key is not there.
    pub inline: Option<Vec<Spanned<T>>>,
    /// The file.
    pub file: Option<Spanned<PathBuf>>,
}

impl<T> Listed<T> {
    /// True if neither is there.
    pub const fn is_none(&self) -> bool {
        self.inline.is_none() && self.file.is_none()
    }
}

impl Auth {
    /// Every field in which backends are told something.
    pub fn fields(&self) -> Vec<&Spanned<String>> {
        let claims = match &self.method {
            AuthMethod::Jwt(jwt) => jwt.claims.iter().map(|(field, _)| field).collect(),
            AuthMethod::Mtls { claims, .. } => claims.iter().map(|(field, _)| field).collect(),
            _ => Vec::new(),
        };
        std::iter::once(&self.user_header).chain(claims).collect()
    }
}
