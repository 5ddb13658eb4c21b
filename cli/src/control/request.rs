//! What can be asked, and how it is answered.

use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::capture::Wanted;
use crate::exit::ExitCode;
use crate::lab::Direction;
use crate::trace::live::Asked;

/// What a client asks: on the wire `{"request": "status"}`, with the fields of the variant beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Who it is, and what went through it.
    Status,
    /// End, as at SIGTERM.
    Stop,
    /// Packets as they come and leave, by a pipe that comes with the answer.
    Capture(Wanted),
    /// What would become of packets, by a pipe that comes with the answer.
    Trace(Asked),
    /// The caches, and what they did.
    Caches,
    /// Answers to be forgotten.
    Purge {
        /// By which cache; by all if none is named.
        #[serde(default)]
        cache: Option<String>,
        /// Which.
        what: Purged,
    },
    /// The nodes of a lab.
    LabPs,
    /// The namespaces of a node, as descriptors, in the order in which they are to be entered.
    LabEnter {
        /// Its name.
        node: String,
    },
    /// What the link to a node does; changed first if there is anything to set.
    LabLink {
        /// Its name.
        node: String,
        /// Which way.
        #[serde(default)]
        direction: Direction,
        /// Changes such as `loss=1%`.
        #[serde(default)]
        set: Vec<String>,
    },
}

/// Answers that a cache is to forget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purged {
    /// Those of a URL.
    Url(String),
    /// Those of all URLs that begin so.
    Prefix(String),
    /// Those that backends gave that word in `Surrogate-Key` or `Cache-Tag`.
    Tag(String),
    /// All.
    All,
}

/// What a client is told.
#[derive(Debug)]
pub struct Answer {
    /// What it asked for, or why not.
    pub body: Result<Value, Refusal>,
    /// Descriptors that go with it.
    pub descriptors: Vec<OwnedFd>,
}

/// Why a request was not followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For people.
    pub message: String,
    /// The exit code of a command that asked for it.
    pub exit: u8,
}

/// An answer on the wire.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Line {
    /// It was done.
    Ok(Value),
    /// It was not.
    Error(Refusal),
}

impl Answer {
    /// It was done, and this came of it.
    pub const fn ok(value: Value) -> Self {
        Self { body: Ok(value), descriptors: Vec::new() }
    }

    /// It was done, and there is nothing to tell.
    pub const fn done() -> Self {
        Self::ok(Value::Null)
    }

    /// It was not done.
    pub fn refused(exit: ExitCode, message: impl Into<String>) -> Self {
        let refusal = Refusal { message: message.into(), exit: exit.code() };
        Self { body: Err(refusal), descriptors: Vec::new() }
    }

    pub(super) fn into_line(self) -> (Vec<u8>, Vec<OwnedFd>) {
        let line = match self.body {
            Ok(value) => Line::Ok(value),
            Err(refusal) => Line::Error(refusal),
        };
        // A value and two strings can always be written.
        let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
        bytes.push(b'\n');
        (bytes, self.descriptors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_the_wire() {
        let parse = serde_json::from_str::<Request>;
        assert_eq!(parse(r#"{"request":"status"}"#).unwrap(), Request::Status);
        assert_eq!(serde_json::to_string(&Request::Stop).unwrap(), r#"{"request":"stop"}"#);
        let link = r#"{"request":"lab-link","node":"client","set":["loss=1%"]}"#;
        let (node, set) = ("client".to_owned(), vec!["loss=1%".to_owned()]);
        let direction = Direction::Both;
        assert_eq!(parse(link).unwrap(), Request::LabLink { node, direction, set });
        let purge = r#"{"request":"purge","what":{"tag":"a"}}"#;
        let what = Purged::Tag("a".to_owned());
        assert_eq!(parse(purge).unwrap(), Request::Purge { cache: None, what });
        parse(r#"{"request":"dance"}"#).unwrap_err();
        let (line, _) = Answer::done().into_line();
        assert_eq!(line, b"{\"ok\":null}\n");
        let (line, _) = Answer::refused(ExitCode::No, "no").into_line();
        assert_eq!(line, b"{\"error\":{\"message\":\"no\",\"exit\":1}}\n");
    }
}
