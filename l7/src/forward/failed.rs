//! What to say of a request that no backend answered.

use http::StatusCode;

use super::{Forward, Outcome};
use crate::failure::Failure;
use crate::request::Request;
use crate::side::Client;
use crate::upstream::{Connect, NoUpstream};

impl<K: Client, C: Connect> Forward<'_, K, C> {
    /// What to answer when there is no backend.
    pub(super) fn apologise(&mut self, none: NoUpstream, request: &Request) -> Outcome {
        self.record.ended(none.end());
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        let (status, detail) = match none {
            NoUpstream::NoBackend => (unavailable, "no backend is ready"),
            NoUpstream::Full => (unavailable, "every backend is at its limit"),
            NoUpstream::Swamped => (unavailable, "too many connections to backends are pending"),
            NoUpstream::QueueFull => (unavailable, "the queue for a backend is full"),
            NoUpstream::QueueTimeout => (unavailable, "no backend became free in time"),
            NoUpstream::Untrusted => (StatusCode::BAD_GATEWAY, "TLS with the backend failed"),
            NoUpstream::Refused => (StatusCode::BAD_GATEWAY, "no backend could be reached"),
            NoUpstream::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "no backend answered in time"),
            NoUpstream::ClientGone => {
                self.stats.aborted.bump();
                return Outcome::Ended;
            }
        };
        Outcome::Own { status, detail, body_read: request.framing.is_empty() }
    }

    /// What to answer for a backend that did not.
    pub(super) fn fail(&mut self, failure: &Failure, body_read: bool) -> Outcome {
        self.record.ended(failure.end());
        let stats = self.stats;
        let (status, detail) = match *failure {
            Failure::ClientGone | Failure::Cut(_) => {
                stats.aborted.bump();
                return Outcome::Ended;
            }
            Failure::Refused(reject) => return Outcome::Refused(reject),
            Failure::Retry(_) | Failure::Closed => {
                (StatusCode::BAD_GATEWAY, "the backend closed the connection")
            }
            Failure::Unprocessed => (StatusCode::SERVICE_UNAVAILABLE, "the backend refused"),
            Failure::TimedOut => {
                (StatusCode::GATEWAY_TIMEOUT, "the backend did not answer in time")
            }
            Failure::BadResponse(reject) => {
                stats.count_rejected(reject.rule);
                tracing::debug!(peer = %self.peer, %reject, "response refused");
                (reject.status, "the backend's answer is not valid HTTP")
            }
        };
        Outcome::Own { status, detail, body_read }
    }
}
