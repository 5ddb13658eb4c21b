//! TLS toward backends.

use std::path::PathBuf;

use super::super::codes::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::{Backend, Config, Pool, Spanned};

pub(super) fn check(config: &Config, found: &mut Vec<Diagnostic>) {
    for pool in &config.pools {
        found.extend(pool.backends.iter().enumerate().filter_map(|(n, _)| ambiguous(pool, n)));
    }
}

/// Connections are told apart by their address alone.
fn ambiguous(pool: &Pool, n: usize) -> Option<Diagnostic> {
    let (earlier, rest) = pool.backends.split_at_checked(n)?;
    let backend = rest.first()?;
    let settings = |backend: &Backend| {
        let tls = backend.tls.as_ref();
        tls.map(|tls| {
            let path = |path: &Spanned<PathBuf>| path.value.clone();
            let identity = tls.identity.as_ref().map(|pair| (path(&pair.cert), path(&pair.key)));
            let ca = tls.ca.as_ref().map(path);
            (tls.name.as_ref().map(|name| name.value.clone()), ca, identity)
        })
    };
    let other = earlier.iter().find(|other| {
        other.address.value == backend.address.value && settings(other) != settings(backend)
    })?;
    let label = format!("backend `{}` at this address has another `tls`", other.name.value);
    let diagnostic = Diagnostic::new(
        Code::AmbiguousTls,
        format!("it is not clear how to speak to backend `{}`", backend.name.value),
        backend.address.span.clone(),
        label,
        "write the same `tls` for both, or put one of them into another pool",
    );
    Some(diagnostic.with(other.address.span.clone(), "the same address"))
}
