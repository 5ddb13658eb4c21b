//! TLS, toward clients and toward backends. Paths start at the folder of the configuration file.

use std::path::PathBuf;

use l7::tls::server::MinVersion;

use super::Spanned;

/// TLS toward clients.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The first is the default; the others are chosen by the names in them. At least one.
    pub certificates: Vec<Certificate>,
    /// Protocols offered, by preference; default HTTP/1.1.
    pub alpn: Vec<Alpn>,
    /// The oldest version that is spoken; default 1.2.
    pub min_version: MinVersion,
    /// Who vouches for clients; none asks them for no certificate.
    pub client_ca: Option<Spanned<PathBuf>>,
    /// What becomes of clients without a certificate, if they are asked; default they are refused.
    pub client_auth: ClientAuth,
    /// Whose secrets are written down, and where.
    pub key_log: Option<KeyLog>,
}

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// One without is refused.
    #[default]
    Required,
    /// One without is served.
    Optional,
}

/// Connections whose secrets are written to a file, for who wants to read what is in them.
#[derive(Clone, Debug)]
pub struct KeyLog {
    /// The file; appended to.
    pub path: Spanned<PathBuf>,
    /// Server names that clients ask for, or `*.` and one; empty is any.
    pub sni: Vec<Spanned<String>>,
    /// Clients' networks; empty is any.
    pub clients: Vec<Spanned<nat::Prefix>>,
}

/// PEM files of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The chain, leaf first.
    pub cert: Spanned<PathBuf>,
    /// The private key.
    pub key: Spanned<PathBuf>,
    /// An OCSP response for the certificate, in DER.
    pub ocsp: Option<Spanned<PathBuf>>,
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
