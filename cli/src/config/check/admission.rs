//! Who is let in: files of users, keys and lists, and what routes ask of clients.

use std::path::Path;

use l7::access::list::Networks;
use l7::access::pattern::{Case, Patterns};
use l7::auth::api_key::ApiKeys;
use l7::auth::basic::Users;
use l7::auth::jwt::KeySet;
use l7::limit::Key;

use super::super::codes::Code;
use super::super::diagnostic::{Diagnostic, quoted};
use super::super::model::{Auth, AuthMethod, Config, Route, Service, Spanned};
use super::super::read_list;
use super::file::unreadable;

pub(super) fn check(config: &Config, found: &mut Vec<Diagnostic>) {
    for service in &config.services {
        for route in &service.routes {
            found.extend(no_certificates(config, service, route));
            found.extend(no_identity(config, route));
        }
    }
}

/// The files that are there to be read.
pub(super) fn check_files(config: &Config, folder: &Path, found: &mut Vec<Diagnostic>) {
    for auth in &config.auths {
        found.extend(credentials(auth, folder));
    }
    for rule in config.services.iter().flat_map(|service| &service.rules) {
        if let Some(file) = &rule.clients.file {
            let read = |bytes: &[u8]| Networks::parse(bytes).map(drop).map_err(|e| e.to_string());
            found.extend(bad_list(file, folder, read));
        }
        for file in [&rule.paths.file, &rule.agents.file].into_iter().flatten() {
            let read = |bytes: &[u8]| {
                Patterns::parse(bytes, Case::Counts).map(drop).map_err(|e| e.to_string())
            };
            found.extend(bad_list(file, folder, read));
        }
    }
}

/// Says what is wrong with a file.
type Reads = fn(&[u8]) -> Result<(), String>;

fn credentials(auth: &Auth, folder: &Path) -> Option<Diagnostic> {
    let (file, read): (_, Reads) = match &auth.method {
        AuthMethod::Basic { users, .. } => {
            (users, |bytes| Users::parse(bytes).map(drop).map_err(|e| e.to_string()))
        }
        AuthMethod::ApiKeys { keys, .. } => {
            (keys, |bytes| ApiKeys::parse(bytes, 0).map(drop).map_err(|e| e.to_string()))
        }
        AuthMethod::Jwt(jwt) => {
            (&jwt.jwks, |bytes| KeySet::parse(bytes).map(drop).map_err(|e| e.to_string()))
        }
        AuthMethod::Mtls { ca, .. } => (ca, |bytes| {
            l7::tls::pem::authorities(bytes).map(drop).map_err(|error| error.to_string())
        }),
        AuthMethod::Forward(_) => return None,
    };
    bad_file(Code::BadCredentials, file, folder, read, "mend the file, or name another")
}

fn bad_list(
    file: &Spanned<std::path::PathBuf>,
    folder: &Path,
    read: impl Fn(&[u8]) -> Result<(), String>,
) -> Option<Diagnostic> {
    let help = "write one entry a line; `#` begins a comment";
    bad_file(Code::BadList, file, folder, read, help)
}

/// A file that is not there, or in which something is wrong.
fn bad_file(
    code: Code,
    file: &Spanned<std::path::PathBuf>,
    folder: &Path,
    read: impl Fn(&[u8]) -> Result<(), String>,
    help: &str,
) -> Option<Diagnostic> {
    if let Some(diagnostic) = unreadable(file, folder) {
        return Some(diagnostic);
    }
    let bytes = read_list(&folder.join(&file.value)).map_err(|error| error.to_string());
    let error = bytes.and_then(|bytes| read(&bytes)).err()?;
    let title = format!("{} cannot be used", quoted(&file.value.display().to_string()));
    Some(Diagnostic::new(code, title, file.span.clone(), error, help))
}

/// A client shows a certificate only if it is asked for one.
fn no_certificates(config: &Config, service: &Service, route: &Route) -> Option<Diagnostic> {
    let name = route.auth.as_ref()?;
    let auth = config.auths.iter().find(|auth| auth.name.value == name.value)?;
    let asks = service.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    if asks || !matches!(auth.method, AuthMethod::Mtls { .. }) {
        return None;
    }
    let service = &service.name.value;
    let diagnostic = Diagnostic::new(
        Code::NoCertificates,
        format!("no client of service `{service}` shows a certificate"),
        name.span.clone(),
        "asks for one here",
        "add `client-ca` to the service's `tls`: whose certificates clients may show",
    );
    Some(diagnostic.with(auth.name.span.clone(), "this way to know clients"))
}

/// Who nobody has asked has no identity.
fn no_identity(config: &Config, route: &Route) -> Option<Diagnostic> {
    let named = |name: &&Spanned<String>| {
        let limit = config.rate_limits.iter().find(|limit| limit.name.value == name.value);
        limit.is_some_and(|limit| limit.key.value == Key::Identity)
    };
    let name = route.limits.iter().find(named).filter(|_| route.auth.is_none())?;
    Some(Diagnostic::new(
        Code::NoIdentity,
        format!("limit `{}` counts identities, and this route asks for none", name.value),
        name.span.clone(),
        "all requests would count together",
        "add `auth` to the route, or count by `client-ip`",
    ))
}
