//! TLS, toward clients and toward backends. Paths start at the folder of the configuration file.

use std::path::PathBuf;

use super::Spanned;

/// TLS toward clients.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The first is the default; the others are chosen by the names in them. At least one.
    pub certificates: Vec<Certificate>,
    /// Protocols offered, by preference; default HTTP/1.1.
    pub alpn: Vec<Alpn>,
}

/// PEM files of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The chain, leaf first.
    pub cert: Spanned<PathBuf>,
    /// The private key.
    pub key: Spanned<PathBuf>,
}

/// An application protocol (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// `http/1.1`.
    Http1,
    /// `h2`.
    Http2,
}

impl Alpn {
    /// Its registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
        }
    }
}

/// TLS toward a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendTls {
    /// Its key.
    pub span: super::Span,
    /// The name in its certificate, of a host or an address; none is its address.
    pub name: Option<Spanned<String>>,
    /// Who vouches for it; none is the system's list.
    pub ca: Option<Spanned<PathBuf>>,
    /// What we show to it, if it asks.
    pub identity: Option<Certificate>,
}
