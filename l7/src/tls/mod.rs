//! TLS with clients, and with backends.
//!
//! | module | idea |
//! |---|---|
//! | [`client`] | connections to backends inside TLS |
//! | [`hello`] | the server name in a client's hello, without ending its TLS |
//! | [`keys`] | the secrets of connections, for captures |
//! | [`names`] | tables of server names and wildcards |
//! | [`pem`] | certificates and keys out of PEM bytes |
//! | [`server`] | TLS with clients: settings, their reload, whose secrets are logged |
//! | [`session`] | what was agreed on with a client, and who it is |
//! | [`sni`] | which certificate a client gets |
//! | `subject` | whose a certificate is, in words |

use rustls::CipherSuite;
use rustls::crypto::{CryptoProvider, aws_lc_rs};

pub mod client;
pub mod hello;
pub mod keys;
pub mod names;
pub mod pem;
pub mod server;
pub mod session;
pub mod sni;
mod subject;

/// What we encrypt with: AES with 128 bits first, as most large sites have it. Its suite of TLS 1.3 derives
/// keys by SHA-256, which processors have instructions for, and not by SHA-384, which with some of them takes
/// a fifth of a handshake.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    let is_first = |suite| {
        matches!(
            suite,
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        )
    };
    // Stable: TLS 1.3 stays before 1.2.
    let rank = |suite: CipherSuite| (is_tls12(suite), !is_first(suite));
    provider.cipher_suites.sort_by_key(|suite| rank(suite.suite()));
    provider
}

/// Suites of TLS 1.3 have numbers of their own (RFC 8446 appendix B.4).
fn is_tls12(suite: CipherSuite) -> bool {
    u16::from(suite) >> 8 != 0x13
}
