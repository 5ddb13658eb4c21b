//! TLS, out of files.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use l7::tls::client::{BackendTls, ClientSettings};
use l7::tls::pem::{PemPair, TlsError, authorities};
use rustls::RootCertStore;
use rustls::pki_types::ServerName;

use super::PlanError;
use crate::config::model::{self, Config, Pool};

/// Reads a file that the configuration names.
pub(super) fn read(folder: &Path, path: &Path) -> Result<Vec<u8>, PlanError> {
    let path = folder.join(path);
    crate::config::read_pem(&path).map_err(|source| PlanError::File { path, source })
}

/// The backends of each pool that are spoken to over TLS.
pub(super) fn backends(
    config: &Config,
    folder: &Path,
) -> Result<Vec<Vec<(SocketAddr, BackendTls)>>, PlanError> {
    let mut system = None;
    let mut secured = |pool: &Pool| {
        let with_tls = pool.backends.iter().filter_map(|b| Some((b, b.tls.as_ref()?)));
        let each = with_tls.map(|(backend, tls)| {
            let address = backend.address.value;
            let made = backend_tls(address, tls, folder, &mut system);
            made.map(|tls| (address, tls)).map_err(|error| match error {
                Fault::Plan(error) => error,
                Fault::Tls(source) => PlanError::BackendTls {
                    backend: format!("{}/{}", *pool.name, *backend.name),
                    source,
                },
            })
        });
        each.collect::<Result<Vec<_>, _>>()
    };
    config.pools.iter().map(&mut secured).collect()
}

enum Fault {
    Plan(PlanError),
    Tls(TlsError),
}

fn backend_tls(
    address: SocketAddr,
    tls: &model::BackendTls,
    folder: &Path,
    system: &mut Option<Arc<RootCertStore>>,
) -> Result<BackendTls, Fault> {
    let read = |path: &Path| read(folder, path).map_err(Fault::Plan);
    let authorities = match &tls.ca {
        Some(path) => Arc::new(authorities(&read(path)?).map_err(Fault::Tls)?),
        None => match system {
            Some(known) => Arc::clone(known),
            None => Arc::clone(system.insert(system_authorities().map_err(Fault::Tls)?)),
        },
    };
    let identity = match &tls.identity {
        Some(pair) => Some((read(&pair.cert)?, read(&pair.key)?)),
        None => None,
    };
    let identity = identity.as_ref().map(|(chain, key)| PemPair { chain, key });
    let name = match &tls.name {
        // It was checked: a name that is none would be refused by every backend.
        Some(name) => ServerName::try_from(name.value.clone())
            .map_err(|_| Fault::Plan(PlanError::Unchecked("a server name that is one")))?,
        None => ServerName::from(address.ip()),
    };
    let settings = ClientSettings { authorities, identity, alpn: &["http/1.1"] };
    BackendTls::new(name, &settings).map_err(Fault::Tls)
}

/// Those whom this machine trusts.
fn system_authorities() -> Result<Arc<RootCertStore>, TlsError> {
    let mut store = RootCertStore::empty();
    // Some of hundreds are always of a kind that nobody uses.
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if store.is_empty() { Err(TlsError::NoAuthority) } else { Ok(Arc::new(store)) }
}
