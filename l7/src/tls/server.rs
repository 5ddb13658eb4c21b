//! The TLS settings of a service, out of PEM bytes.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::ServerSessionMemoryCache;
use rustls::sign::CertifiedKey;

use super::pem::certified_key;
pub use super::pem::{PemPair, TlsError};
use super::sni::SniResolver;

/// Sessions that clients without tickets may resume. Each takes some hundred bytes.
pub const SESSION_CACHE: usize = 16 * 1024;

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

/// The names for which a certificate is good.
fn dns_names(key: &CertifiedKey) -> Vec<String> {
    let parsed = key.cert.first().and_then(|cert| webpki::EndEntityCert::try_from(cert).ok());
    parsed.map(|cert| cert.valid_dns_names().map(str::to_owned).collect()).unwrap_or_default()
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
