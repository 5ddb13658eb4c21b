//! `tls`, of services and of backends.

use super::super::model::{Alpn, BackendTls, Certificate, Tls};
use super::super::reader::{Item, Reader, Table};
use super::super::value;
use super::access::alone;

const ALPN: [(&str, Alpn); 2] = [("h2", Alpn::Http2), ("http/1.1", Alpn::Http1)];
const CERTIFICATES: &str = "[{ cert = \"site.pem\", key = \"site.key\" }]";

pub(super) fn service(r: &mut Reader, item: &Item<'_>) -> Option<Tls> {
    let mut table = item.table(r)?;
    let certificates = table.require(r, "certificates", CERTIFICATES).map(|item| {
        let why = "TLS needs a certificate";
        item.filled_list(r, why, CERTIFICATES, |r, item| certificate(r, &item))
    });
    let alpn = table.take(r, "alpn");
    let alpn = alpn.map(|item| item.list(r, |r, item| item.choice(r, "an ALPN protocol", &ALPN)));
    table.finish(r);
    let alpn = alpn.map(|list| list.into_iter().map(|protocol| protocol.value).collect());
    Some(Tls { certificates: certificates?, alpn: alpn.unwrap_or_else(|| vec![Alpn::Http1]) })
}

fn certificate(r: &mut Reader, item: &Item<'_>) -> Option<Certificate> {
    let mut table = item.table(r)?;
    let cert = table.require(r, "cert", "\"site.pem\"");
    let cert = cert.and_then(|item| item.parse(r, value::path));
    let key = table.require(r, "key", "\"site.key\"");
    let key = key.and_then(|item| item.parse(r, value::path));
    table.finish(r);
    Some(Certificate { cert: cert?, key: key? })
}

pub(super) fn backend(r: &mut Reader, item: &Item<'_>) -> Option<BackendTls> {
    let mut table = item.table(r)?;
    let name = table.take(r, "name").and_then(|item| item.parse(r, value::tls_name));
    let ca = table.take(r, "ca").and_then(|item| item.parse(r, value::path));
    let identity = identity(r, &mut table);
    table.finish(r);
    Some(BackendTls { span: item.key_span.clone(), name, ca, identity })
}

/// A certificate and its key, of which neither is of use alone.
fn identity(r: &mut Reader, table: &mut Table<'_>) -> Option<Certificate> {
    let (cert, key) = (table.take(r, "cert"), table.take(r, "key"));
    match (&cert, &key) {
        (Some(cert), None) => {
            alone(r, table, cert.key_span.clone(), "cert", "key", "\"balun.key\"");
        }
        (None, Some(key)) => {
            alone(r, table, key.key_span.clone(), "key", "cert", "\"balun.pem\"");
        }
        _ => {}
    }
    let cert = cert.and_then(|item| item.parse(r, value::path));
    let key = key.and_then(|item| item.parse(r, value::path));
    Some(Certificate { cert: cert?, key: key? })
}
