//! Files that the configuration names.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::super::codes::Code;
use super::super::diagnostic::{Diagnostic, quoted};
use super::super::model::{Affinity, Body, Config, Respond, RouteAction, Spanned};
use crate::access_log::STDOUT;

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
    let routes = config.services.iter().flat_map(|service| &service.routes);
    for route in routes {
        if let RouteAction::Respond(Respond { body: Body::File(file), .. }) = &route.action {
            found.extend(unreadable(file, folder));
        }
        found
            .extend(route.treatment.pages.iter().filter_map(|page| unreadable(&page.file, folder)));
    }
    for service in &config.services {
        found.extend(service.pages.iter().filter_map(|page| unreadable(&page.file, folder)));
        let maintenance = service.maintenance.as_ref().map(|down| &down.respond.body);
        if let Some(Body::File(file)) = maintenance {
            found.extend(unreadable(file, folder));
        }
    }
    for pool in &config.pools {
        if let Some(Affinity::Cookie(cookie)) = &pool.affinity {
            found.extend(cookie.key.as_ref().and_then(|key| unreadable(key, folder)));
        }
    }
    let logs = config.services.iter().filter_map(|service| service.access_log.as_ref());
    found.extend(logs.filter_map(|log| unwritable(&log.path, folder)));
}

/// A log whose folder is not there, or that is none. Nothing is made to find out.
fn unwritable(file: &Spanned<PathBuf>, folder: &Path) -> Option<Diagnostic> {
    if file.value.as_os_str() == STDOUT {
        return None;
    }
    let path = folder.join(&file.value);
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let (label, help) = if path.is_dir() {
        ("this is a folder", "write the name of a file in it".to_owned())
    } else if !parent.is_dir() {
        ("its folder is not there", format!("make the folder `{}`", parent.display()))
    } else {
        return None;
    };
    let title = format!("{} cannot be written", quoted(&file.value.display().to_string()));
    Some(Diagnostic::new(Code::LogPlace, title, file.span.clone(), label, help))
}

pub(super) fn unreadable(file: &Spanned<PathBuf>, folder: &Path) -> Option<Diagnostic> {
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
