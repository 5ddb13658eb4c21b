//! Certificates of clients.
//!
//! The handshake has shown that the client holds the key of its certificate, and that an authority of the
//! service vouches for it. Which of those may use a route is said here: those for whom an authority of the
//! `[auth.NAME]` vouches directly.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::remembered::Remembered;
use super::{Identity, Reason, is_value};
use crate::tls::session::ClientCertificate;

/// What a backend is told of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Whose it is, as RFC 4514 writes names.
    Subject,
    /// Its SHA-256, in hexadecimal digits.
    Fingerprint,
    /// Itself, as RFC 9440 writes it: `:BASE64:`.
    Certificate,
    /// The host names that it is for, with commas between.
    Names,
}

/// The certificates of an `[auth.NAME]`, and which were found good.
#[derive(Debug)]
pub(super) struct Mtls {
    /// The field's name in small letters, and what it tells.
    claims: Vec<(String, Told)>,
    known: Remembered<Rc<Identity>>,
    /// What is known was found by these.
    authorities: Arc<RootCertStore>,
}

/// Seconds for which a certificate that was found good is not verified again.
const REMEMBER: u64 = 60;

impl Mtls {
    pub(super) fn new(
        claims: Vec<(String, Told)>,
        authorities: Arc<RootCertStore>,
        seed: u64,
    ) -> Self {
        Self { claims, known: Remembered::new(seed), authorities }
    }

    /// Judges a client's certificate at `now`, in seconds since 1970.
    pub(super) fn judge(
        &mut self,
        now: u64,
        authorities: Arc<RootCertStore>,
        client: &ClientCertificate,
    ) -> Result<Rc<Identity>, Reason> {
        if !Arc::ptr_eq(&authorities, &self.authorities) {
            self.known.clear();
            self.authorities = authorities;
        }
        let digest = self.known.digest(&[client.der.as_ref()]);
        if let Some(identity) = self.known.find(now, &digest) {
            return Ok(identity);
        }
        verify(&self.authorities, &client.der, now)?;
        let fields = self.claims.iter().filter_map(|(field, told)| {
            let value = told.value(client)?;
            is_value(value.as_bytes()).then(|| (field.clone(), value))
        });
        let fields = fields.collect();
        let identity = Rc::new(Identity { name: client.subject.clone(), fields });
        self.known.put(digest, Rc::clone(&identity), now.saturating_add(REMEMBER));
        Ok(identity)
    }
}

fn verify(authorities: &RootCertStore, der: &CertificateDer<'_>, now: u64) -> Result<(), Reason> {
    let certificate = EndEntityCert::try_from(der).map_err(|_| Reason::Malformed)?;
    let algorithms =
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
    let verified = certificate.verify_for_usage(
        algorithms.all,
        &authorities.roots,
        &[],
        now,
        KeyUsage::client_auth(),
        None,
        None,
    );
    verified.map(|_| ()).map_err(|error| match error {
        webpki::Error::CertExpired { .. } => Reason::Expired,
        webpki::Error::CertNotValidYet { .. } => Reason::NotYet,
        _ => Reason::Issuer,
    })
}

impl Told {
    /// Nothing if the certificate says nothing of that kind.
    fn value(self, client: &ClientCertificate) -> Option<String> {
        match self {
            Self::Subject => Some(client.subject.clone()).filter(|subject| !subject.is_empty()),
            Self::Fingerprint => {
                let digest = digest(&SHA256, &client.der);
                let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16);
                let digits = |byte: &u8| [digit(byte >> 4), digit(byte & 15)];
                Some(digest.as_ref().iter().flat_map(digits).flatten().collect())
            }
            Self::Certificate => Some(format!(":{}:", STANDARD.encode(&client.der))),
            Self::Names => {
                let certificate = EndEntityCert::try_from(&client.der).ok()?;
                let names: Vec<_> = certificate.valid_dns_names().collect();
                (!names.is_empty()).then(|| names.join(","))
            }
        }
    }
}

#[cfg(test)]
#[path = "mtls_tests.rs"]
mod tests;
