//! Faults on purpose, to see what clients make of them.

use std::time::Duration;

use http::StatusCode;

use crate::answer::Answer;

/// What goes wrong with some requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// So many of a million requests.
    pub share: u32,
    /// They wait so long.
    pub delay: Option<Duration>,
    /// And then they fail.
    pub abort: Option<Abort>,
}

/// How a request fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Abort {
    /// It is answered with that status.
    Status(StatusCode),
    /// Its connection is reset; over HTTP/2, its stream.
    Reset,
}

impl Fault {
    /// The answer of a request that fails so.
    pub(super) fn answer(status: StatusCode) -> Answer {
        let reason = status.canonical_reason().unwrap_or("Error");
        Answer::text(status, &format!("{} {reason}\na fault on purpose\n", status.as_u16()))
    }
}
