//! `tls`, of services and of backends.

use l7::tls::server::MinVersion;

use super::super::model::{Alpn, BackendTls, Certificate, ClientAuth, KeyLog, Tls};
use super::super::reader::{Item, Reader, Table};
use super::super::value;
use super::access::alone;

const ALPN: [(&str, Alpn); 2] = [("h2", Alpn::Http2), ("http/1.1", Alpn::Http1)];
const MIN_VERSIONS: [(&str, MinVersion); 2] =
    [("1.2", MinVersion::Tls12), ("1.3", MinVersion::Tls13)];
const CLIENT_AUTHS: [(&str, ClientAuth); 2] =
    [("required", ClientAuth::Required), ("optional", ClientAuth::Optional)];
const CERTIFICATES: &str = "[{ cert = \"site.pem\", key = \"site.key\" }]";

pub(super) fn service(r: &mut Reader, item: &Item<'_>) -> Option<Tls> {
    let mut table = item.table(r)?;
    let certificates = table.require(r, "certificates", CERTIFICATES).map(|item| {
        let why = "TLS needs a certificate";
        item.filled_list(r, why, CERTIFICATES, |r, item| certificate(r, &item))
    });
    let alpn = table.take(r, "alpn");
    let alpn = alpn.map(|item| item.list(r, |r, item| item.choice(r, "an ALPN protocol", &ALPN)));
    let min_version = table.take(r, "min-version");
    let min_version =
        min_version.and_then(|item| item.choice(r, "a version of TLS", &MIN_VERSIONS));
    let client_ca = table.take(r, "client-ca").and_then(|item| item.parse(r, value::path));
    let client_auth = table.take(r, "client-auth");
    if let Some(item) = client_auth.as_ref().filter(|_| client_ca.is_none()) {
        alone(r, &table, item.key_span.clone(), "client-auth", "client-ca", "\"clients.pem\"");
    }
    let client_auth =
        client_auth.and_then(|item| item.choice(r, "a way to ask clients", &CLIENT_AUTHS));
    let key_log = table.take(r, "key-log").and_then(|item| key_log(r, &item));
    table.finish(r);
    let alpn = alpn.map(|list| list.into_iter().map(|protocol| protocol.value).collect());
    Some(Tls {
        certificates: certificates?,
        alpn: alpn.unwrap_or_else(|| vec![Alpn::Http1]),
        min_version: min_version.map(|version| version.value).unwrap_or_default(),
        client_ca,
        client_auth: client_auth.map(|auth| auth.value).unwrap_or_default(),
        key_log,
    })
}

fn key_log(r: &mut Reader, item: &Item<'_>) -> Option<KeyLog> {
    let mut table = item.table(r)?;
    let path = table.require(r, "path", "\"keys.log\"");
    let path = path.and_then(|item| item.parse(r, value::path));
    let sni = table.take(r, "sni").map(|item| {
        let why = "nobody's secrets are logged";
        let example = "[\"a.lab\"]";
        item.one_or_more(r, why, example, |r, item| item.parse(r, value::sni_pattern))
    });
    let clients = table.take(r, "client").map(|item| {
        let why = "nobody's secrets are logged";
        let example = "[\"10.1.0.0/24\"]";
        item.one_or_more(r, why, example, |r, item| item.parse(r, value::addresses))
    });
    table.finish(r);
    let (sni, clients) = (sni.unwrap_or_default(), clients.unwrap_or_default());
    Some(KeyLog { path: path?, sni, clients })
}

fn certificate(r: &mut Reader, item: &Item<'_>) -> Option<Certificate> {
    let mut table = item.table(r)?;
    let cert = table.require(r, "cert", "\"site.pem\"");
    let cert = cert.and_then(|item| item.parse(r, value::path));
    let key = table.require(r, "key", "\"site.key\"");
    let key = key.and_then(|item| item.parse(r, value::path));
    let ocsp = table.take(r, "ocsp").and_then(|item| item.parse(r, value::path));
    table.finish(r);
    Some(Certificate { cert: cert?, key: key?, ocsp })
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
    Some(Certificate { cert: cert?, key: key?, ocsp: None })
}
