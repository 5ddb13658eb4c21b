//! The TLS settings of a service, out of PEM bytes.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ServerSessionMemoryCache;
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};

use super::sni::SniResolver;

/// Sessions that clients without tickets may resume. Each takes some hundred bytes.
pub const SESSION_CACHE: usize = 16 * 1024;

/// A certificate with its chain, and its private key.
#[derive(Clone, Copy)]
pub struct PemPair<'a> {
    /// The certificate, then those that vouch for it, in PEM.
    pub chain: &'a [u8],
    /// The private key in PEM: PKCS #8, PKCS #1 or SEC 1, not encrypted.
    pub key: &'a [u8],
}

/// What is wrong with the certificates of a service. `pair` counts from zero.
#[derive(Debug)]
pub enum TlsError {
    /// There is not one pair.
    NoPairs,
    /// The bytes are not PEM.
    BadPem {
        /// Which pair.
        pair: usize,
        /// What the reader says.
        source: pem::Error,
    },
    /// There is PEM, but no certificate in it.
    NoCertificate {
        /// Which pair.
        pair: usize,
    },
    /// There is PEM, but no private key in it, or an encrypted one.
    NoKey {
        /// Which pair.
        pair: usize,
    },
    /// The key is not that of the certificate.
    KeyMismatch {
        /// Which pair.
        pair: usize,
    },
    /// A certificate or key that cannot be used.
    Unusable {
        /// Which pair.
        pair: usize,
        /// What rustls says.
        source: rustls::Error,
    },
    /// The cryptographic library refuses its work.
    Provider(rustls::Error),
}

/// The settings of a TLS server: TLS 1.2 and 1.3, resumption by tickets and by cache, one of
/// several certificates chosen by server name.
///
/// The first pair is the default. `alpn` lists protocols by preference; empty offers none.
///
/// # Errors
/// [`TlsError`] for pairs that cannot be used.
pub fn server_config(pairs: &[PemPair<'_>], alpn: &[&str]) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut resolver: Option<SniResolver> = None;
    for (index, pair) in pairs.iter().enumerate() {
        let key = Arc::new(certified_key(index, *pair, &provider)?);
        let resolver = resolver.get_or_insert_with(|| SniResolver::new(Arc::clone(&key)));
        for name in dns_names(&key) {
            resolver.add(&name, &key);
        }
    }
    let resolver = resolver.ok_or(TlsError::NoPairs)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Provider)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::Provider)?;
    config.session_storage = ServerSessionMemoryCache::new(SESSION_CACHE);
    Ok(config)
}

fn certified_key(
    pair: usize,
    pem: PemPair<'_>,
    provider: &rustls::crypto::CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let chain = CertificateDer::pem_slice_iter(pem.chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| TlsError::BadPem { pair, source })?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { pair });
    }
    let key = PrivateKeyDer::from_pem_slice(pem.key).map_err(|source| match source {
        pem::Error::NoItemsFound => TlsError::NoKey { pair },
        source => TlsError::BadPem { pair, source },
    })?;
    CertifiedKey::from_der(chain, key, provider).map_err(|source| match source {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::KeyMismatch { pair }
        }
        source => TlsError::Unusable { pair, source },
    })
}

/// The names for which a certificate is good.
fn dns_names(key: &CertifiedKey) -> Vec<String> {
    let parsed = key.cert.first().and_then(|cert| webpki::EndEntityCert::try_from(cert).ok());
    parsed.map(|cert| cert.valid_dns_names().map(str::to_owned).collect()).unwrap_or_default()
}

impl fmt::Debug for PemPair<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PemPair").field("chain", &self.chain.len()).finish_non_exhaustive()
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPairs => f.write_str("no certificate is configured"),
            Self::BadPem { pair, source } => write!(f, "certificate {pair}: not PEM: {source}"),
            Self::NoCertificate { pair } => write!(f, "certificate {pair}: none in the PEM"),
            Self::NoKey { pair } => {
                write!(f, "certificate {pair}: no plain private key in the PEM")
            }
            Self::KeyMismatch { pair } => {
                write!(f, "certificate {pair}: the key belongs to another certificate")
            }
            Self::Unusable { pair, source } => write!(f, "certificate {pair}: {source}"),
            Self::Provider(source) => write!(f, "cryptography: {source}"),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::BadPem { source, .. } => Some(source),
            Self::Unusable { source, .. } | Self::Provider(source) => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn one<'a>(chain: &'a str, key: &'a str) -> Result<ServerConfig, TlsError> {
        server_config(&[PemPair { chain: chain.as_bytes(), key: key.as_bytes() }], &["http/1.1"])
    }

    #[test]
    fn a_good_pair_gives_tickets_cache_and_alpn() {
        let (chain, key) = pair(&["a.lab"]);
        let config = one(&chain, &key).unwrap();
        assert_eq!(config.alpn_protocols, [b"http/1.1"]);
        assert!(config.ticketer.enabled());
        assert!(config.session_storage.can_cache());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let (chain, key) = pair(&["a.lab"]);
        let (_, other) = pair(&["a.lab"]);
        assert!(matches!(server_config(&[], &[]), Err(TlsError::NoPairs)));
        assert!(matches!(one("", &key), Err(TlsError::NoCertificate { pair: 0 })));
        assert!(matches!(one(&key, &key), Err(TlsError::NoCertificate { pair: 0 })));
        assert!(matches!(one(&chain, &chain), Err(TlsError::NoKey { pair: 0 })));
        assert!(matches!(one(&chain, &other), Err(TlsError::KeyMismatch { pair: 0 })));
        let torn = &chain[..chain.len() / 2];
        assert!(matches!(one(torn, &key), Err(TlsError::BadPem { pair: 0, .. })));
        let empty = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(one(empty, &key), Err(TlsError::Unusable { pair: 0, .. })));
    }

    #[test]
    fn names_are_chosen_exact_then_wildcard_then_first() {
        let provider = aws_lc_rs::default_provider();
        let keys: Vec<_> = [["first.lab"], ["*.b.lab"], ["x.b.lab"]]
            .iter()
            .map(|names| {
                let (chain, key) = pair(names);
                let pem = PemPair { chain: chain.as_bytes(), key: key.as_bytes() };
                Arc::new(certified_key(0, pem, &provider).unwrap())
            })
            .collect();
        let mut resolver = SniResolver::new(Arc::clone(&keys[0]));
        for key in &keys {
            for name in dns_names(key) {
                resolver.add(&name, key);
            }
        }
        for (name, expected) in [
            (None, 0),
            (Some("first.lab"), 0),
            (Some("X.b.LAB"), 2),
            (Some("y.b.lab"), 1),
            (Some("b.lab"), 0),
            (Some("z.y.b.lab"), 0),
            (Some("lab"), 0),
            (Some(""), 0),
        ] {
            assert!(Arc::ptr_eq(resolver.choose(name), &keys[expected]), "{name:?}");
        }
    }
}
