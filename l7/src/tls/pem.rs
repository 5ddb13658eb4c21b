//! Certificates and keys, out of PEM bytes.

use std::fmt;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};

/// A certificate with its chain, and its private key.
#[derive(Clone, Copy)]
pub struct PemPair<'a> {
    /// The certificate, then those that vouch for it, in PEM.
    pub chain: &'a [u8],
    /// The private key in PEM: PKCS #8, PKCS #1 or SEC 1, not encrypted.
    pub key: &'a [u8],
}

/// What is wrong with the certificates of a service. `pair` counts from zero.
#[derive(Debug)]
pub enum TlsError {
    /// There is not one pair.
    NoPairs,
    /// The bytes are not PEM.
    BadPem {
        /// Which pair.
        pair: usize,
        /// What the reader says.
        source: pem::Error,
    },
    /// There is PEM, but no certificate in it.
    NoCertificate {
        /// Which pair.
        pair: usize,
    },
    /// There is PEM, but no private key in it, or an encrypted one.
    NoKey {
        /// Which pair.
        pair: usize,
    },
    /// The key is not that of the certificate.
    KeyMismatch {
        /// Which pair.
        pair: usize,
    },
    /// A certificate or key that cannot be used.
    Unusable {
        /// Which pair.
        pair: usize,
        /// What rustls says.
        source: rustls::Error,
    },
    /// What is to be stapled is no OCSP response in DER that says anything.
    BadOcsp {
        /// Which pair.
        pair: usize,
    },
    /// There is no certificate among those of authorities.
    NoAuthority,
    /// The bytes with certificates of authorities are not PEM.
    BadAuthorityPem(pem::Error),
    /// A certificate of an authority that cannot be used.
    BadAuthority(rustls::Error),
    /// The cryptographic library refuses its work.
    Provider(rustls::Error),
}

/// The certificate and key of pair number `pair`, which fit each other.
pub(super) fn certified_key(
    pair: usize,
    pem: PemPair<'_>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let chain = CertificateDer::pem_slice_iter(pem.chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| TlsError::BadPem { pair, source })?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { pair });
    }
    let key = PrivateKeyDer::from_pem_slice(pem.key).map_err(|source| match source {
        pem::Error::NoItemsFound => TlsError::NoKey { pair },
        source => TlsError::BadPem { pair, source },
    })?;
    CertifiedKey::from_der(chain, key, provider).map_err(|source| match source {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::KeyMismatch { pair }
        }
        source => TlsError::Unusable { pair, source },
    })
}

/// What is stapled to the certificate of pair number `pair`: an OCSP response whose status is that it was
/// successful (RFC 6960 section 4.2.1).
pub(super) fn stapled(pair: usize, response: &[u8]) -> Result<Vec<u8>, TlsError> {
    let is_one = match response {
        // A sequence, whose length is in so many bytes; the status is the first in it.
        [0x30, 0x82, high, low, 0x0a, 1, 0, rest @ ..] => {
            usize::from(u16::from_be_bytes([*high, *low])) == 3 + rest.len()
        }
        [0x30, 0x81, length, 0x0a, 1, 0, rest @ ..] => usize::from(*length) == 3 + rest.len(),
        _ => false,
    };
    if is_one { Ok(response.to_vec()) } else { Err(TlsError::BadOcsp { pair }) }
}

/// Those who may vouch for a peer, out of their certificates.
///
/// # Errors
/// [`TlsError`] if there is none, or one that cannot be used.
pub fn authorities(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(TlsError::BadAuthorityPem)?;
        store.add(certificate).map_err(TlsError::BadAuthority)?;
    }
    if store.is_empty() { Err(TlsError::NoAuthority) } else { Ok(store) }
}

impl fmt::Debug for PemPair<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PemPair").field("chain", &self.chain.len()).finish_non_exhaustive()
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPairs => f.write_str("no certificate is configured"),
            Self::BadPem { pair, source } => write!(f, "certificate {pair}: not PEM: {source}"),
            Self::NoCertificate { pair } => write!(f, "certificate {pair}: none in the PEM"),
            Self::NoKey { pair } => {
                write!(f, "certificate {pair}: no plain private key in the PEM")
            }
            Self::KeyMismatch { pair } => {
                write!(f, "certificate {pair}: the key belongs to another certificate")
            }
            Self::Unusable { pair, source } => write!(f, "certificate {pair}: {source}"),
            Self::BadOcsp { pair } => {
                write!(f, "certificate {pair}: no successful OCSP response in DER")
            }
            Self::NoAuthority => f.write_str("there is no certificate of an authority"),
            Self::BadAuthorityPem(source) => write!(f, "authorities: not PEM: {source}"),
            Self::BadAuthority(source) => write!(f, "authorities: {source}"),
            Self::Provider(source) => write!(f, "cryptography: {source}"),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::BadPem { source, .. } | Self::BadAuthorityPem(source) => Some(source),
            Self::Unusable { source, .. } | Self::BadAuthority(source) | Self::Provider(source) => {
                Some(source)
            }
            _ => None,
        }
    }
}
