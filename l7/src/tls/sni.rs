//! Which certificate a client gets, by the server name it asks for (RFC 6066 section 3).

use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Chooses by server name: an exact name, then a wildcard of the leftmost label, then the first
/// certificate, which also serves clients that name no server.
#[derive(Debug)]
pub struct SniResolver {
    first: Arc<CertifiedKey>,
    /// Lower-case names and their certificates, sorted by name; wildcards without their `*`.
    exact: Vec<(String, Arc<CertifiedKey>)>,
    wildcard: Vec<(String, Arc<CertifiedKey>)>,
}

impl SniResolver {
    /// A resolver in which `first` is the default.
    pub(super) fn new(first: Arc<CertifiedKey>) -> Self {
        Self { first, exact: Vec::new(), wildcard: Vec::new() }
    }

    /// Gives `certificate` to clients that ask for `name`, unless an earlier one has that name.
    pub(super) fn add(&mut self, name: &str, certificate: &Arc<CertifiedKey>) {
        let name = name.to_ascii_lowercase();
        let (table, key) = match name.strip_prefix('*') {
            Some(suffix) => (&mut self.wildcard, suffix.to_owned()),
            None => (&mut self.exact, name),
        };
        if let Err(place) = table.binary_search_by(|(known, _)| known.as_str().cmp(&key)) {
            table.insert(place, (key, Arc::clone(certificate)));
        }
    }

    /// The certificate for `name`.
    pub fn choose(&self, name: Option<&str>) -> &Arc<CertifiedKey> {
        let Some(name) = name else { return &self.first };
        let name = name.to_ascii_lowercase();
        let suffix = name.find('.').and_then(|dot| name.get(dot..));
        find(&self.exact, &name).or_else(|| find(&self.wildcard, suffix?)).unwrap_or(&self.first)
    }
}

fn find<'a>(table: &'a [(String, Arc<CertifiedKey>)], name: &str) -> Option<&'a Arc<CertifiedKey>> {
    let place = table.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok()?;
    table.get(place).map(|(_, certificate)| certificate)
}

impl ResolvesServerCert for SniResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.choose(hello.server_name())))
    }
}
