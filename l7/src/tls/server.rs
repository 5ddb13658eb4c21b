//! TLS with the clients of a service, out of PEM bytes.
//!
//! # Theory of operation
//! A [`Server`] holds the settings that new connections are made with. [`Server::reload`] makes others and
//! puts them in their place; connections that are there keep theirs, and settings that cannot be used
//! change nothing. Tickets, whose keys change by themselves every six hours, and cached sessions outlive
//! a reload, unless others vouch for clients than before: a session that is taken up again is not
//! verified again.
//!
//! The secrets of connections are offered to whoever captures requests. Those of some clients or names can
//! be written to a key log too; who is meant is known by the client's hello, before there are any.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use nat::Prefix;
use netstack::wire::Address;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    Acceptor, NoClientAuth, ProducesTickets, ServerSessionMemoryCache, StoresServerSessions,
    WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{KeyLog, RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

use super::keys::Keys;
use super::names::Names;
pub use super::pem::{PemPair, TlsError};
use super::pem::{certified_key, stapled};
use super::session::Session;
use super::sni::SniResolver;

/// Sessions that clients without tickets may resume. Each takes some hundred bytes.
pub const SESSION_CACHE: usize = 16 * 1024;

/// How a service speaks TLS with its clients.
#[derive(Clone, Debug)]
pub struct ServerSettings<'a> {
    /// The certificates and their keys, each with the OCSP response that is stapled to it, in DER, if there
    /// is one. The first is the default.
    pub pairs: Vec<(PemPair<'a>, Option<&'a [u8]>)>,
    /// Protocols by preference; empty offers none.
    pub alpn: &'a [&'a str],
    /// The oldest version of TLS that is spoken; none is 1.2.
    pub min_version: MinVersion,
    /// Who may vouch for clients; none asks them for no certificate.
    pub clients: Option<ClientAuth>,
}

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2 (RFC 5246).
    #[default]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

static TLS13: &[&SupportedProtocolVersion] = &[&version::TLS13];

impl MinVersion {
    const fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls12 => rustls::ALL_VERSIONS,
            Self::Tls13 => TLS13,
        }
    }
}

/// How clients are asked who they are.
#[derive(Clone, Debug)]
pub struct ClientAuth {
    /// Those who may vouch for them.
    pub authorities: Arc<RootCertStore>,
    /// One that shows no certificate is refused. One that shows a bad one always is.
    pub required: bool,
}

/// Whose secrets are written to a key log.
#[derive(Debug)]
pub struct KeyLogScope {
    /// By the server name that they ask for; empty is any, and none.
    pub names: Names<()>,
    /// By their addresses; empty is any.
    pub clients: Vec<Prefix>,
    /// Where they are written.
    pub log: Arc<dyn KeyLog>,
}

impl KeyLogScope {
    fn has(&self, client: SocketAddr, name: Option<&str>) -> bool {
        let address = Address::from(client.ip().to_canonical());
        let is_named = || name.is_some_and(|name| self.names.find(name).is_some());
        (self.clients.is_empty() || self.clients.iter().any(|network| network.contains(address)))
            && (self.names.is_empty() || is_named())
    }
}

/// TLS with the clients of a service, as it is now.
#[derive(Debug)]
pub struct Server {
    now: RwLock<Arc<Current>>,
    capture: Arc<OnceLock<Arc<Keys>>>,
    scope: Option<KeyLogScope>,
}

#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    /// The same, for those whose secrets are logged.
    logged: Option<Arc<ServerConfig>>,
    resolver: Arc<SniResolver>,
    authorities: Option<Arc<RootCertStore>>,
}

/// Sessions that clients may take up again.
#[derive(Clone)]
struct Resumption {
    ticketer: Arc<dyn ProducesTickets>,
    cache: Arc<dyn StoresServerSessions>,
}

impl Server {
    /// A server with these settings. The secrets of connections in `scope` are logged.
    ///
    /// # Errors
    /// [`TlsError`] for settings that cannot be used.
    pub fn new(
        settings: &ServerSettings<'_>,
        scope: Option<KeyLogScope>,
    ) -> Result<Self, TlsError> {
        let resumption = Resumption::new()?;
        let capture = Arc::default();
        let current = Current::new(settings, resumption, &capture, scope.as_ref())?;
        Ok(Self { now: RwLock::new(Arc::new(current)), capture, scope })
    }

    /// Has connections that begin from now on made with other settings.
    ///
    /// # Errors
    /// [`TlsError`] for settings that cannot be used: then those before stay.
    pub fn reload(&self, settings: &ServerSettings<'_>) -> Result<(), TlsError> {
        let before = self.current();
        let authorities = |auth: &ClientAuth| auth.authorities.roots.clone();
        let same = settings.clients.as_ref().map(authorities)
            == before.authorities.as_ref().map(|store| store.roots.clone());
        let resumption = if same { before.resumption() } else { Resumption::new()? };
        let current = Current::new(settings, resumption, &self.capture, self.scope.as_ref())?;
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(current);
        Ok(())
    }

    /// Offers the secrets of connections to `keys`. Only the first call counts.
    pub fn offer_keys(&self, keys: Arc<Keys>) {
        let _ = self.capture.set(keys);
    }

    fn current(&self) -> Arc<Current> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Shakes hands with a client.
    ///
    /// The caller sets the time limit, by dropping the future. What is left of a connection that failed
    /// comes with the error.
    pub(crate) async fn accept<S>(
        &self,
        stream: S,
        client: SocketAddr,
    ) -> Result<(TlsStream<S>, Session), (io::Error, Option<S>)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let current = self.current();
        let handshake = match (&self.scope, &current.logged) {
            (Some(scope), Some(logged)) => {
                let mut acceptor = LazyConfigAcceptor::new(Acceptor::default(), stream);
                let hello = match (&mut acceptor).await {
                    Ok(hello) => hello,
                    Err(error) => return Err((error, acceptor.take_io())),
                };
                let is_logged = scope.has(client, hello.client_hello().server_name());
                let config = if is_logged { logged } else { &current.config };
                hello.into_stream(Arc::clone(config))
            }
            _ => TlsAcceptor::from(Arc::clone(&current.config)).accept(stream),
        };
        let stream = handshake.into_fallible().await.map_err(|(error, io)| (error, Some(io)))?;
        let session = Session::of(stream.get_ref().1, Arc::clone(&current.resolver));
        Ok((stream, session))
    }
}

impl Resumption {
    fn new() -> Result<Self, TlsError> {
        let ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::Provider)?;
        Ok(Self { ticketer, cache: ServerSessionMemoryCache::new(SESSION_CACHE) })
    }
}

impl Current {
    fn new(
        settings: &ServerSettings<'_>,
        resumption: Resumption,
        capture: &Arc<OnceLock<Arc<Keys>>>,
        scope: Option<&KeyLogScope>,
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(super::provider());
        let resolver = Arc::new(resolver(settings, &provider)?);
        let verifier = verifier(settings.clients.as_ref(), &provider)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(settings.min_version.versions())
            .map_err(TlsError::Provider)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::clone(&resolver) as _);
        config.alpn_protocols = settings.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        // Ours, and not what the client lists first: `provider` says why.
        config.ignore_client_order = true;
        config.ticketer = resumption.ticketer;
        config.session_storage = resumption.cache;
        let tap = |log| Arc::new(Tap { capture: Arc::clone(capture), log });
        config.key_log = tap(None);
        let logged = scope.map(|scope| {
            let mut logged = config.clone();
            logged.key_log = tap(Some(Arc::clone(&scope.log)));
            Arc::new(logged)
        });
        let authorities = settings.clients.as_ref().map(|auth| Arc::clone(&auth.authorities));
        Ok(Self { config: Arc::new(config), logged, resolver, authorities })
    }

    fn resumption(&self) -> Resumption {
        let ServerConfig { ticketer, session_storage, .. } = &*self.config;
        Resumption { ticketer: Arc::clone(ticketer), cache: Arc::clone(session_storage) }
    }
}

/// Offers secrets to captures, and to a log.
#[derive(Debug)]
struct Tap {
    capture: Arc<OnceLock<Arc<Keys>>>,
    log: Option<Arc<dyn KeyLog>>,
}

impl KeyLog for Tap {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        if let Some(keys) = self.capture.get() {
            keys.log(label, client_random, secret);
        }
        if let Some(log) = &self.log {
            log.log(label, client_random, secret);
        }
    }

    fn will_log(&self, label: &str) -> bool {
        let captured = self.capture.get().is_some_and(|keys| keys.will_log(label));
        captured || self.log.as_ref().is_some_and(|log| log.will_log(label))
    }
}

fn resolver(
    settings: &ServerSettings<'_>,
    provider: &CryptoProvider,
) -> Result<SniResolver, TlsError> {
    let mut resolver: Option<SniResolver> = None;
    for (index, (pair, ocsp)) in settings.pairs.iter().enumerate() {
        let mut key = certified_key(index, *pair, provider)?;
        key.ocsp = ocsp.map(|ocsp| stapled(index, ocsp)).transpose()?;
        let key = Arc::new(key);
        let resolver = resolver.get_or_insert_with(|| SniResolver::new(Arc::clone(&key)));
        for name in dns_names(&key) {
            resolver.add(&name, &key);
        }
    }
    resolver.ok_or(TlsError::NoPairs)
}

fn verifier(
    auth: Option<&ClientAuth>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let Some(ClientAuth { authorities, required }) = auth else {
        return Ok(Arc::new(NoClientAuth));
    };
    let (roots, provider) = (Arc::clone(authorities), Arc::clone(provider));
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider);
    let builder = if *required { builder } else { builder.allow_unauthenticated() };
    // It is built of roots alone, and what can be wrong with them is that there are none.
    builder.build().map_err(|_| TlsError::NoAuthority)
}

/// The settings of a plain TLS server: TLS 1.2 and 1.3, resumption by tickets and by cache, one of several
/// certificates chosen by server name.
///
/// The first pair is the default. `alpn` lists protocols by preference; empty offers none.
///
/// # Errors
/// [`TlsError`] for pairs that cannot be used.
pub fn server_config(pairs: &[PemPair<'_>], alpn: &[&str]) -> Result<ServerConfig, TlsError> {
    let pairs = pairs.iter().map(|pair| (*pair, None)).collect();
    let min_version = MinVersion::default();
    let settings = ServerSettings { pairs, alpn, min_version, clients: None };
    let server = Server::new(&settings, None)?;
    Ok((*server.current().config).clone())
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
