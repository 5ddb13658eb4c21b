//! What is written down of requests, and what they are called.

use std::path::PathBuf;

pub use l7::identity::{Naming, RequestId};
use l7::log::Format;

use super::Spanned;

/// Where requests are written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// How; default combined.
    pub format: Format,
    /// Where: relative to the folder of the configuration file, or [`-`](crate::access_log::STDOUT).
    pub path: Spanned<PathBuf>,
}
