//! What can be made anew from files while it is used.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::admission::ListFile;
use super::tls::TlsReload;
use super::{Plan, PlanError, Protocol};

/// Something that is made of files.
#[derive(Clone, Debug)]
pub enum Reload {
    /// The TLS of a service.
    Tls(TlsReload),
    /// A list of users, keys, networks or patterns.
    List(Arc<ListFile>),
}

impl Reload {
    /// Its files.
    pub fn paths(&self) -> Vec<&Path> {
        match self {
            Self::Tls(tls) => tls.files.paths().collect(),
            Self::List(list) => vec![&list.path],
        }
    }

    /// Takes the files as they are now.
    ///
    /// # Errors
    /// [`PlanError`] if they cannot be read or used: then all stays as it is.
    pub fn run(&self) -> Result<(), PlanError> {
        match self {
            Self::Tls(tls) => tls.run(),
            Self::List(list) => list.run(),
        }
    }
}

/// Whose files they are, and which.
impl fmt::Display for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(tls) => write!(f, "service `{}`: its certificates", tls.service),
            Self::List(list) => write!(f, "{}: `{}`", list.what, list.path.display()),
        }
    }
}

impl Plan {
    /// All that can be made anew from files.
    pub fn reloads(&self) -> Vec<Reload> {
        let mut found = Vec::new();
        let mut shared: &[Arc<ListFile>] = &[];
        for (service, application) in self.engine.services.iter().zip(&self.applications) {
            let Some(application) = application else { continue };
            if let Protocol::Http(_, Some(tls)) = &application.protocol {
                found.extend(TlsReload::of(&service.name, tls).map(Reload::Tls));
            }
            if let Some(admission) = &application.admission {
                let (own, all) = admission.files();
                found.extend(own.iter().cloned().map(Reload::List));
                shared = all;
            }
        }
        found.extend(shared.iter().cloned().map(Reload::List));
        found
    }
}
