//! TLS, out of files.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use l7::tls::client::{BackendTls, ClientSettings};
use l7::tls::names::Names;
use l7::tls::pem::{PemPair, TlsError, authorities};
use l7::tls::server::{self, KeyLogScope, MinVersion, Server, ServerSettings};
use rustls::RootCertStore;
use rustls::pki_types::ServerName;

use super::PlanError;
use super::key_file::KeyFile;
use crate::config::model::{self, Alpn, ClientAuth, Config, Pool, Service, Spanned, Tls};

/// TLS with the clients of a service.
#[derive(Clone, Debug)]
pub struct TlsPlan {
    /// What new connections are made with.
    pub server: Arc<Server>,
    /// Where that came from; nothing if from no files.
    pub files: Option<Arc<ServerFiles>>,
    /// Where secrets are written, and of whom.
    pub key_log: Option<String>,
}

impl TlsPlan {
    /// TLS that does not change.
    pub fn fixed(server: Server) -> Self {
        Self { server: Arc::new(server), files: None, key_log: None }
    }
}

/// The files that a service's TLS is made of.
#[derive(Clone, Debug)]
pub struct ServerFiles {
    certificates: Vec<Certificate>,
    client_ca: Option<PathBuf>,
    client_auth: ClientAuth,
    alpn: Vec<&'static str>,
    min_version: MinVersion,
}

#[derive(Clone, Debug)]
struct Certificate {
    cert: PathBuf,
    key: PathBuf,
    ocsp: Option<PathBuf>,
}

impl ServerFiles {
    fn of(tls: &Tls, folder: &Path) -> Self {
        let path = |path: &Spanned<PathBuf>| folder.join(&path.value);
        let certificates = tls.certificates.iter().map(|pair| Certificate {
            cert: path(&pair.cert),
            key: path(&pair.key),
            ocsp: pair.ocsp.as_ref().map(path),
        });
        Self {
            certificates: certificates.collect(),
            client_ca: tls.client_ca.as_ref().map(path),
            client_auth: tls.client_auth,
            alpn: tls.alpn.iter().map(|protocol| protocol.name()).collect(),
            min_version: tls.min_version,
        }
    }

    /// All of them.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let pairs = self.certificates.iter().flat_map(|pair| {
            [Some(&pair.cert), Some(&pair.key), pair.ocsp.as_ref()].into_iter().flatten()
        });
        pairs.chain(&self.client_ca).map(PathBuf::as_path)
    }

    /// Reads them, and gives what is in them to `used`.
    fn read<T>(
        &self,
        used: impl FnOnce(&ServerSettings<'_>) -> Result<T, TlsError>,
    ) -> Result<T, Fault> {
        let read = |path: &PathBuf| read(path).map_err(Fault::Plan);
        let files = self.certificates.iter().map(|pair| {
            let ocsp = pair.ocsp.as_ref().map(read).transpose()?;
            Ok((read(&pair.cert)?, read(&pair.key)?, ocsp))
        });
        let files = files.collect::<Result<Vec<_>, Fault>>()?;
        let clients = self.client_ca.as_ref().map(|path| {
            let authorities = Arc::new(authorities(&read(path)?).map_err(Fault::Tls)?);
            Ok(server::ClientAuth {
                authorities,
                required: self.client_auth == ClientAuth::Required,
            })
        });
        let settings = ServerSettings {
            pairs: files
                .iter()
                .map(|(chain, key, ocsp)| (PemPair { chain, key }, ocsp.as_deref()))
                .collect(),
            alpn: &self.alpn,
            min_version: self.min_version,
            clients: clients.transpose()?,
        };
        used(&settings).map_err(Fault::Tls)
    }
}

/// A service whose TLS can be made anew from its files.
#[derive(Clone, Debug)]
pub struct TlsReload {
    /// The service.
    pub service: String,
    /// Its files.
    pub files: Arc<ServerFiles>,
    server: Arc<Server>,
}

impl TlsReload {
    /// That of a service; nothing if its TLS is of no files.
    pub(super) fn of(service: &str, tls: &TlsPlan) -> Option<Self> {
        let (service, server) = (service.to_owned(), Arc::clone(&tls.server));
        Some(Self { service, files: Arc::clone(tls.files.as_ref()?), server })
    }

    /// Takes the files as they are now. What begins from then on is made with them.
    ///
    /// # Errors
    /// [`PlanError`] if they cannot be read or used: then all stays as it is.
    pub fn run(&self) -> Result<(), PlanError> {
        let reloaded = self.files.read(|settings| self.server.reload(settings));
        reloaded.map_err(|fault| fault.of_service(&self.service))
    }
}

/// TLS with the clients of `service`.
pub(super) fn server(service: &Service, tls: &Tls, folder: &Path) -> Result<TlsPlan, PlanError> {
    let files = ServerFiles::of(tls, folder);
    let scope = tls.key_log.as_ref().map(|log| key_log(log, folder));
    let server = files.read(|settings| Server::new(settings, scope));
    let server = server.map_err(|fault| fault.of_service(&service.name.value))?;
    let key_log = tls.key_log.as_ref().map(|log| {
        let of = |names: Vec<String>, all: &str| {
            if names.is_empty() { all.to_owned() } else { names.join(", ") }
        };
        let names = of(log.sni.iter().map(|name| name.value.clone()).collect(), "any server name");
        let clients = of(log.clients.iter().map(|net| net.to_string()).collect(), "any client");
        format!("{}, of {names}, {clients}", folder.join(&log.path.value).display())
    });
    Ok(TlsPlan { server: Arc::new(server), files: Some(Arc::new(files)), key_log })
}

fn key_log(log: &model::KeyLog, folder: &Path) -> KeyLogScope {
    let mut names = Names::default();
    for name in &log.sni {
        names.add(&name.value, ());
    }
    KeyLogScope {
        names,
        clients: log.clients.iter().map(|network| network.value).collect(),
        log: Arc::new(KeyFile::new(folder.join(&log.path.value))),
    }
}

/// Reads a file of certificates or of a key.
fn read(path: &Path) -> Result<Vec<u8>, PlanError> {
    let path = path.to_owned();
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
            let alpn = if pool.is_http2() { Alpn::Http2 } else { Alpn::Http1 };
            let made = backend_tls(address, tls, alpn, folder, &mut system);
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

impl Fault {
    fn of_service(self, service: &str) -> PlanError {
        match self {
            Self::Plan(error) => error,
            Self::Tls(source) => PlanError::Tls { service: service.to_owned(), source },
        }
    }
}

fn backend_tls(
    address: SocketAddr,
    tls: &model::BackendTls,
    alpn: Alpn,
    folder: &Path,
    system: &mut Option<Arc<RootCertStore>>,
) -> Result<BackendTls, Fault> {
    let read = |path: &Path| read(&folder.join(path)).map_err(Fault::Plan);
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
    let settings = ClientSettings { authorities, identity, alpn: &[alpn.name()] };
    BackendTls::new(name, &settings).map_err(Fault::Tls)
}

/// Those whom this machine trusts.
fn system_authorities() -> Result<Arc<RootCertStore>, TlsError> {
    let mut store = RootCertStore::empty();
    // Some of hundreds are always of a kind that nobody uses.
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if store.is_empty() { Err(TlsError::NoAuthority) } else { Ok(Arc::new(store)) }
}
