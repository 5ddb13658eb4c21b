//! Which certificate a client gets, by the server name it asks for (RFC 6066 section 3).

use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::names::Names;

/// Chooses by server name: an exact name, then a wildcard of the leftmost label, then the first
/// certificate, which also serves clients that name no server.
#[derive(Debug)]
pub struct SniResolver {
    first: Arc<CertifiedKey>,
    named: Names<Arc<CertifiedKey>>,
}

impl SniResolver {
    /// A resolver in which `first` is the default.
    pub(super) fn new(first: Arc<CertifiedKey>) -> Self {
        Self { first, named: Names::default() }
    }

    /// Gives `certificate` to clients that ask for `name`, unless an earlier one has that name.
    pub(super) fn add(&mut self, name: &str, certificate: &Arc<CertifiedKey>) {
        self.named.add(name, Arc::clone(certificate));
    }

    /// The certificate for `name`.
    pub fn choose(&self, name: Option<&str>) -> &Arc<CertifiedKey> {
        name.and_then(|name| self.named.find(name)).unwrap_or(&self.first)
    }
}

impl ResolvesServerCert for SniResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.choose(hello.server_name())))
    }
}
