//! What routes refer to by name, and the control of a running instance.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::Spanned;

/// A store of responses.
#[derive(Clone, Debug)]
pub struct Cache {
    /// Its name, at its place in the header.
    pub name: Spanned<String>,
    /// Bytes.
    pub memory: u64,
    /// How long a stale response is served while a fresh one is fetched.
    pub stale_while_revalidate: Option<Duration>,
}

/// A way to know clients.
#[derive(Clone, Debug)]
pub struct Auth {
    /// Its name, at its place in the header.
    pub name: Spanned<String>,
    /// How.
    pub method: AuthMethod,
}

/// How clients are known. Paths are relative to the folder of the configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// By the passwords of that file.
    Basic(PathBuf),
    /// By signed tokens.
    Jwt {
        /// Keys.
        jwks: PathBuf,
        /// Who must have issued it.
        issuer: Option<String>,
        /// Whom it must be meant for.
        audience: Option<String>,
    },
    /// By the keys of that file.
    ApiKeys(PathBuf),
    /// By certificates that this authority signed.
    Mtls {
        /// Its certificate.
        ca: PathBuf,
    },
    /// By what that URL answers.
    Forward(String),
}

/// A bound on the rate of requests.
#[derive(Clone, Debug)]
pub struct RateLimit {
    /// Its name, at its place in the header.
    pub name: Spanned<String>,
    /// In the long run.
    pub rate: Rate,
    /// At once; default the rate's own count.
    pub burst: u32,
    /// What is counted apart; default the client's address.
    pub key: RateKey,
}

/// So many in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At least 1.
    pub count: u32,
    /// A second, a minute or an hour.
    pub per: Duration,
}

/// What a rate is counted for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RateKey {
    /// Each client address.
    #[default]
    ClientIp,
    /// Each value of that field.
    Header(String),
}

/// How a running instance is reached.
#[derive(Clone, Debug, Default)]
pub struct Control {
    /// Unix socket for commands.
    pub socket: Option<PathBuf>,
    /// Address of the metrics.
    pub metrics: Option<SocketAddr>,
    /// Address of the live page.
    pub web: Option<SocketAddr>,
}
