//! What client and service agreed on in a handshake.

use std::sync::Arc;

use rustls::ServerConnection;
use rustls::pki_types::CertificateDer;

use super::sni::SniResolver;
use super::subject;

/// One TLS connection of a client.
#[derive(Debug)]
pub struct Session {
    /// The name that it asked for, in lower case.
    server_name: Option<String>,
    /// The certificates that there were.
    resolver: Arc<SniResolver>,
    client: Option<ClientCertificate>,
    http2: bool,
}

/// The certificate of a client, for which one of the service's authorities vouches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate itself.
    pub der: CertificateDer<'static>,
    /// Whose it is, as RFC 4514 writes names: `CN=alice,O=Lab`. Empty if it says so only in other forms of
    /// names.
    pub subject: String,
}

impl Session {
    pub(super) fn of(connection: &ServerConnection, resolver: Arc<SniResolver>) -> Self {
        let server_name = connection.server_name().map(str::to_ascii_lowercase);
        let client = connection.peer_certificates().and_then(<[_]>::first);
        let client = client.map(|der| ClientCertificate {
            der: der.clone().into_owned(),
            subject: subject::of(der),
        });
        let http2 = connection.alpn_protocol() == Some(b"h2");
        Self { server_name, resolver, client, http2 }
    }

    /// Whether HTTP/2 was agreed on.
    pub const fn is_http2(&self) -> bool {
        self.http2
    }

    /// The server name that the client asked for.
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// Who the client is, verified; nothing if it showed no certificate.
    pub const fn client(&self) -> Option<&ClientCertificate> {
        self.client.as_ref()
    }

    /// Whether a request for `authority` may come on this connection (R9, RFC 9110 section 7.4): if the
    /// client asked for that very name, or would have been shown the same certificate for it. One that
    /// named no server may ask for all.
    pub fn is_for(&self, authority: &[u8]) -> bool {
        let Some(name) = &self.server_name else { return true };
        let host = match authority.iter().rposition(|&byte| byte == b':') {
            Some(colon) if !authority.ends_with(b"]") => authority.get(..colon).unwrap_or_default(),
            _ => authority,
        };
        if host.eq_ignore_ascii_case(name.as_bytes()) {
            return true;
        }
        // A dot at the end says only that nothing is to be appended.
        let host = host.strip_suffix(b".").unwrap_or(host);
        let shown = |name| self.resolver.choose(Some(name));
        str::from_utf8(host).is_ok_and(|host| Arc::ptr_eq(shown(host), shown(name)))
    }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs;

    use super::*;
    use crate::tls::pem::{PemPair, certified_key};

    #[test]
    fn a_request_may_be_for_another_name_of_the_same_certificate() {
        let provider = aws_lc_rs::default_provider();
        let [first, second] = [["a.lab", "b.lab"], ["c.lab", "*.c.lab"]].map(|names| {
            let names = names.map(str::to_owned).to_vec();
            let made = rcgen::generate_simple_self_signed(names).unwrap();
            let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
            let pem = PemPair { chain: chain.as_bytes(), key: key.as_bytes() };
            Arc::new(certified_key(0, pem, &provider).unwrap())
        });
        let mut resolver = SniResolver::new(Arc::clone(&first));
        for (name, key) in
            [("a.lab", &first), ("b.lab", &first), ("c.lab", &second), ("*.c.lab", &second)]
        {
            resolver.add(name, key);
        }
        let resolver = Arc::new(resolver);
        let session = |name: Option<&str>| Session {
            server_name: name.map(str::to_owned),
            resolver: Arc::clone(&resolver),
            client: None,
            http2: false,
        };
        for (name, authority, fits) in [
            (Some("a.lab"), "a.lab", true),
            (Some("a.lab"), "A.LAB:443", true),
            (Some("a.lab"), "a.lab.", true),
            (Some("a.lab"), "b.lab", true),
            (Some("a.lab"), "c.lab", false),
            (Some("a.lab"), "x.c.lab:8443", false),
            (Some("x.c.lab"), "y.c.lab", true),
            (Some("c.lab"), "a.lab", false),
            // Both get the first certificate.
            (Some("other.lab"), "a.lab", true),
            (Some("c.lab"), "other.lab", false),
            (Some("c.lab"), "[fd99::2]:443", false),
            (None, "c.lab", true),
        ] {
            assert_eq!(session(name).is_for(authority.as_bytes()), fits, "{name:?} {authority}");
        }
    }
}
