//! Why a client's connection was closed before anything was served on it.

use std::fmt;

use crate::stats::Counter;

macro_rules! reasons {
    ($($variant:ident = $name:literal: $sentence:literal,)+) => {
        /// A reason, by its name in logs and counters.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Unserved {
            $(#[doc = concat!("`", $name, "`: ", $sentence, ".")] $variant,)+
        }

        impl Unserved {
            /// All of them, in the order of their counters.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name, in kebab-case.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it means.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)+ }
            }
        }
    };
}

reasons! {
    NotTls = "not-tls": "the client does not speak TLS, and there is no pool for others",
    NoServerName = "no-server-name": "the client names no server, and there is no pool for that",
    UnknownServerName = "unknown-server-name": "no pool is there for the server that the client names",
    BadHello = "bad-hello": "the client's hello breaks a rule of TLS",
    LongHello = "long-hello": "the client's hello is longer than is looked through",
    SlowHello = "slow-hello": "the client's hello was not there in time",
    HelloEnded = "hello-ended": "the client left before its hello was there",
    BadProxyHeader = "bad-proxy-header": "the PROXY header breaks a rule",
    NoProxyHeader = "no-proxy-header": "the connection does not begin with a PROXY header",
    SlowProxyHeader = "slow-proxy-header": "the PROXY header was not there in time",
    ProxyHeaderEnded = "proxy-header-ended": "the client left before its PROXY header was there",
    HandshakeFailed = "handshake-failed": "client and service do not agree on TLS",
    SlowHandshake = "slow-handshake": "the TLS handshake did not end in time",
}

/// TLS alerts (RFC 8446 section 6.2).
const DECODE_ERROR: u8 = 50;
const MISSING_EXTENSION: u8 = 109;
const UNRECOGNIZED_NAME: u8 = 112;

impl Unserved {
    /// The record that tells a client of TLS why it is not served, if it understands one.
    pub(crate) const fn alert(self) -> Option<[u8; 7]> {
        let description = match self {
            Self::NoServerName => MISSING_EXTENSION,
            Self::UnknownServerName => UNRECOGNIZED_NAME,
            Self::BadHello | Self::LongHello => DECODE_ERROR,
            _ => return None,
        };
        // An alert of two bytes, in a record of TLS 1.2: it is fatal.
        Some([21, 3, 3, 0, 2, 2, description])
    }
}

impl fmt::Display for Unserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

impl std::error::Error for Unserved {}

/// How many connections were closed for each reason.
#[derive(Debug, Default)]
pub struct UnservedCounts([Counter; Unserved::ALL.len()]);

impl UnservedCounts {
    /// Connections closed for `reason`.
    pub fn of(&self, reason: Unserved) -> u64 {
        self.0.get(reason as usize).map_or(0, Counter::get)
    }

    /// The reasons that came up, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (Unserved, u64)> {
        let each = Unserved::ALL.iter().zip(&self.0).map(|(&reason, count)| (reason, count.get()));
        each.filter(|&(_, count)| count > 0)
    }

    pub(crate) fn bump(&self, reason: Unserved) {
        if let Some(counter) = self.0.get(reason as usize) {
            counter.bump();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_by_name() {
        let counts = UnservedCounts::default();
        for (n, &reason) in Unserved::ALL.iter().enumerate() {
            (0..n).for_each(|_| counts.bump(reason));
            assert_eq!(counts.of(reason), n as u64);
        }
        let found: Vec<_> = counts.iter().map(|(reason, count)| (reason.name(), count)).collect();
        assert_eq!(found[..2], [("no-server-name", 1), ("unknown-server-name", 2)]);
        assert_eq!(found.len(), Unserved::ALL.len() - 1, "what never came up is left out");
    }
}
