//! How an exchange with a backend fails, and what that means for others.

use http::StatusCode;

use crate::http1::reject::Reject;
use crate::log::End;
use crate::side::Upstream;
use crate::upstream::Turn;

/// Why an exchange with a backend brought no whole answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The backend closed before the first byte of its answer.
    Closed,
    /// The backend says that it did not look at the request.
    Unprocessed,
    /// It did not answer in time.
    TimedOut,
    /// It answered, but not with HTTP that we accept.
    BadResponse(Reject),
    /// It answered with a status for which the request goes to another, where a turn has been taken.
    Retry(StatusCode),
    /// The client's body broke a rule, or came too slowly, before there was an answer.
    Refused(Reject),
    /// The client is gone: nothing can be said.
    ClientGone,
    /// Half an answer is on its way, and the rest will not come, or is not taken: nor can anything be
    /// said.
    Cut(End),
}

impl Failure {
    /// Whether it tells of a sick backend. One that closes a kept connection is within its rights.
    pub(crate) const fn blames_backend(&self, reused: bool) -> bool {
        match self {
            Self::Closed => !reused,
            Self::TimedOut | Self::BadResponse(_) => true,
            Self::Retry(_)
            | Self::Unprocessed
            | Self::Refused(_)
            | Self::ClientGone
            | Self::Cut(_) => false,
        }
    }

    /// How it makes the request end.
    pub(crate) fn end(&self) -> End {
        match self {
            Self::Closed | Self::Retry(_) => End::BackendClosed,
            Self::Unprocessed => End::BackendRefused,
            Self::TimedOut => End::BackendTimeout,
            Self::BadResponse(reject) => End::BackendGarbage(reject.rule),
            Self::Refused(reject) => reject.into(),
            Self::ClientGone => End::ClientGone,
            Self::Cut(end) => *end,
        }
    }
    /// Tells the balancer what it means for the backend of `turn`, over a connection that was `kept` or
    /// not.
    pub(crate) fn report<T>(&self, turn: &Turn, backend: &Upstream<T>, kept: bool) {
        if let (Self::TimedOut, Upstream::Http2(stream)) = (self, backend) {
            stream.suspect();
        }
        if let Self::Retry(status) = self {
            turn.finished(Some(*status));
        } else if self.blames_backend(kept) {
            turn.failed();
        }
    }

    /// There is no answer, and another backend may have one.
    pub(crate) const fn is_silence(&self) -> bool {
        matches!(self, Self::Closed | Self::TimedOut)
    }
}
