//! How requests end.

use std::fmt;

use crate::http1::reject::Rule;

/// How a request ended, or a connection of mode `tcp`: for the log and for counters.
///
/// The first that made it end counts: a backend that fails and an answer of ours that says so is the
/// backend's end, whether or not the client reads that answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The whole answer of a backend was delivered.
    Ok,
    /// The whole of an answer was delivered that is our own: a redirection, a page, or out of a cache.
    Answered,
    /// What was joined as a tunnel, or in mode `tcp`, was ended by both sides.
    Tunnel,
    /// A tunnel had to be cut off: one side failed, or nothing moved for too long.
    TunnelCut,
    /// The request broke a rule, and was answered by us.
    Rejected(Rule),
    /// A rule of the service denied the request.
    Denied,
    /// A limit of its route refused the request: too many in a time, or at once.
    Limited,
    /// The client did not show who it is.
    Unauthenticated,
    /// The client left before it had its answer, or before its request was complete.
    ClientGone,
    /// The client took too long to send its request, or to take its answer.
    ClientTimeout,
    /// No backend may serve.
    NoBackend,
    /// Every backend that may serve is at its limit, and so is the queue for them.
    BackendsFull,
    /// No backend became free in time.
    QueueTimeout,
    /// No backend took a connection, or the one that did takes no request.
    BackendRefused,
    /// No backend took a connection in time.
    ConnectTimeout,
    /// TLS with the backend failed: it is not who it should be, or does not agree.
    BackendUntrusted,
    /// The backend did not begin its answer in time, or stopped in the midst of it.
    BackendTimeout,
    /// The backend closed its connection instead of answering.
    BackendClosed,
    /// The backend's connection ended in the midst of its answer.
    BackendCut,
    /// The backend's answer broke a rule.
    BackendGarbage(Rule),
    /// The request was cut off on purpose, as a fault of a route.
    Injected,
    /// The balancer was stopped.
    Stopped,
}

impl End {
    /// How many kinds there are.
    pub const COUNT: usize = Self::NAMES.len();

    /// The names of all kinds, in their order.
    pub const NAMES: [&'static str; 22] = [
        "ok",
        "answered",
        "tunnel",
        "tunnel-cut",
        "rejected",
        "denied",
        "limited",
        "unauthenticated",
        "client-gone",
        "client-timeout",
        "no-backend",
        "backends-full",
        "queue-timeout",
        "backend-refused",
        "connect-timeout",
        "backend-untrusted",
        "backend-timeout",
        "backend-closed",
        "backend-cut",
        "backend-garbage",
        "fault",
        "stopped",
    ];

    /// Its place among all kinds; below [`Self::COUNT`].
    pub const fn kind(self) -> usize {
        match self {
            Self::Ok => 0,
            Self::Answered => 1,
            Self::Tunnel => 2,
            Self::TunnelCut => 3,
            Self::Rejected(_) => 4,
            Self::Denied => 5,
            Self::Limited => 6,
            Self::Unauthenticated => 7,
            Self::ClientGone => 8,
            Self::ClientTimeout => 9,
            Self::NoBackend => 10,
            Self::BackendsFull => 11,
            Self::QueueTimeout => 12,
            Self::BackendRefused => 13,
            Self::ConnectTimeout => 14,
            Self::BackendUntrusted => 15,
            Self::BackendTimeout => 16,
            Self::BackendClosed => 17,
            Self::BackendCut => 18,
            Self::BackendGarbage(_) => 19,
            Self::Injected => 20,
            Self::Stopped => 21,
        }
    }

    /// The name of its kind.
    pub fn name(self) -> &'static str {
        Self::NAMES.get(self.kind()).copied().unwrap_or_default()
    }

    /// The rule that was broken, if that was it.
    pub const fn rule(self) -> Option<Rule> {
        match self {
            Self::Rejected(rule) | Self::BackendGarbage(rule) => Some(rule),
            _ => None,
        }
    }
}

impl fmt::Display for End {
    /// `rejected:r05`, or the name alone if no rule was broken.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        self.rule().map_or(Ok(()), |rule| write!(f, ":{rule}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_name() {
        assert_eq!(End::Ok.to_string(), "ok");
        assert_eq!(End::Rejected(Rule::R05).to_string(), "rejected:r05");
        assert_eq!(End::BackendGarbage(Rule::R16).to_string(), "backend-garbage:r16");
        assert_eq!(End::Stopped.name(), "stopped");
        assert_eq!(End::Stopped.kind() + 1, End::COUNT);
    }
}
