//! Files that the configuration names.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::super::codes::Code;
use super::super::diagnostic::{Diagnostic, quoted};
use super::super::model::{Config, Spanned};

pub(super) fn check(config: &Config, folder: &Path, found: &mut Vec<Diagnostic>) {
    for tls in config.services.iter().filter_map(|service| service.tls.as_ref()) {
        let certificates = tls.certificates.iter();
        let pairs =
            certificates.flat_map(|pair| [&pair.cert, &pair.key].into_iter().chain(&pair.ocsp));
        for file in pairs.chain(&tls.client_ca) {
            found.extend(unreadable(file, folder));
        }
    }
    let backends = config.pools.iter().flat_map(|pool| &pool.backends);
    for tls in backends.filter_map(|backend| backend.tls.as_ref()) {
        let identity = tls.identity.iter().flat_map(|pair| [&pair.cert, &pair.key]);
        for file in tls.ca.iter().chain(identity) {
            found.extend(unreadable(file, folder));
        }
    }
}

fn unreadable(file: &Spanned<PathBuf>, folder: &Path) -> Option<Diagnostic> {
    let path = folder.join(&file.value);
    let error = File::open(&path).and_then(|mut file| file.read(&mut [0])).err()?;
    let shown = path.display();
    let (label, help) = match error.kind() {
        io::ErrorKind::NotFound => {
            ("no such file".to_owned(), format!("put the file at `{shown}`, or correct the name"))
        }
        io::ErrorKind::PermissionDenied => {
            ("permission denied".to_owned(), format!("make `{shown}` readable for this user"))
        }
        io::ErrorKind::IsADirectory => {
            ("this is a folder".to_owned(), "write the name of the file in it".to_owned())
        }
        _ => (error.to_string(), format!("make `{shown}` a readable file")),
    };
    let title = format!("{} cannot be read", quoted(&file.value.display().to_string()));
    Some(Diagnostic::new(Code::MissingFile, title, file.span.clone(), label, help))
}
