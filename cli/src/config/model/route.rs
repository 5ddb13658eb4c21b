//! Routes of services.

use std::path::PathBuf;

use hyper::StatusCode;
use l7::route::{Condition, Cors, Fault, Fields, Rewrite, Sticky, Template};

use super::{Span, Spanned};

/// Which requests, and what happens to them.
#[derive(Clone, Debug)]
pub struct Route {
    /// Where it stands.
    pub span: Span,
    /// Which requests.
    pub condition: Condition,
    /// What happens to them.
    pub action: RouteAction,
    /// What is changed of them.
    pub rewrite: Rewrite,
    /// What is changed of the heads of answers.
    pub answer: Fields,
    /// How they are treated, where not as the service says.
    pub treatment: Treatment,
    /// Whose scripts may read answers.
    pub cors: Option<Cors>,
    /// What goes wrong on purpose.
    pub fault: Option<Fault>,
    /// Where copies of requests without a body go, and of how many of a million.
    pub mirror: Option<(Spanned<String>, u32)>,
    /// Who may: an `[auth.NAME]`.
    pub auth: Option<Spanned<String>>,
    /// How often: each a `[limit.NAME]`.
    pub limits: Vec<Spanned<String>>,
    /// What is kept: a `[cache.NAME]`.
    pub cache: Option<Spanned<String>>,
}

/// What a route says of things that its service says of all requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Treatment {
    /// Bytes of a request's body; beyond is 413.
    pub max_body: Option<u64>,
    /// All times, with those of the service where the route says nothing.
    pub timeouts: Option<l7::Timeouts>,
    /// When a request is sent again.
    pub retry: Option<l7::upstream::Retry>,
    /// Time without an answer after which a request is sent to a second backend too.
    pub hedge_after: Option<std::time::Duration>,
    /// Which messages are kept whole.
    pub buffering: Option<l7::buffering::Buffering>,
    /// What errors of ours look like; empty is as the service says.
    pub pages: Vec<ErrorPage>,
}

/// What errors of some statuses look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPage {
    /// Of these statuses.
    pub statuses: std::ops::RangeInclusive<u16>,
    /// A file, relative to the folder of the configuration.
    pub file: Spanned<PathBuf>,
}

/// While a service is down on purpose.
#[derive(Clone, Debug)]
pub struct Maintenance {
    /// What everybody is told.
    pub respond: Respond,
    /// Networks of clients that are served all the same.
    pub allow: Vec<nat::Prefix>,
}

/// What happens to a request.
#[derive(Clone, Debug)]
pub enum RouteAction {
    /// It goes to a pool.
    Pool(Spanned<String>),
    /// It goes to one of several pools.
    Split {
        /// The pools, and their weights.
        parts: Vec<(Spanned<String>, u32)>,
        /// What keeps a client where it is.
        sticky: Option<Sticky>,
    },
    /// It is answered with a redirection.
    Redirect {
        /// The new location.
        to: Template,
        /// 301, 302, 303, 307 or 308.
        status: StatusCode,
    },
    /// It is answered, always the same.
    Respond(Respond),
}

/// An answer that is always the same.
#[derive(Clone, Debug)]
pub struct Respond {
    /// The status.
    pub status: StatusCode,
    /// Fields, the type of the body among them.
    pub fields: Vec<(String, String)>,
    /// The body.
    pub body: Body,
}

/// The body of an answer.
#[derive(Clone, Debug)]
pub enum Body {
    /// A text.
    Text(String),
    /// What is in a file, relative to the folder of the configuration.
    File(Spanned<PathBuf>),
}
