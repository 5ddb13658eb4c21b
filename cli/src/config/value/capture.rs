//! Which packets are captured, and when a ring of them is written.

use nat::DropReason;
use netstack::wire::text::filter::Filter;

use super::super::codes::Code;
use super::super::suggest::nearest;
use super::{Parsed, complain};
use crate::capture::Trigger;
use crate::capture::transaction::{RequestPattern, StatusPattern};

pub(in super::super) fn filter(text: &str) -> Parsed<Filter> {
    Filter::parse(text).or_else(|error| {
        let word = text.get(error.span.clone()).unwrap_or(text);
        let label = format!("at `{word}`: {}", error.message);
        let help = "write it as `tcp dst 10.99.0.1:80 S` or `host 10.1.0.5 and not port 22`";
        complain(Code::BadFilter, "is not a filter of packets", label, help)
    })
}

/// `GET /path*`.
pub(in super::super) fn request(text: &str) -> Parsed<RequestPattern> {
    RequestPattern::parse(text).or_else(|_| {
        let label = "expected a method in capitals, a target, or both";
        let help = "write it as `GET /path*`, `POST` or `/path`";
        complain(Code::BadRequest, "does not say which requests", label, help)
    })
}

/// `503` or `5xx`.
pub(in super::super) fn status(text: &str) -> Parsed<StatusPattern> {
    StatusPattern::parse(text).map_or_else(
        || {
            let (label, help) = ("expected a number from 100 to 599", "write it as `503` or `5xx`");
            complain(Code::BadRequest, "is not a status", label, help)
        },
        Ok,
    )
}

/// `drop`, `drop:REASON` or `reset`.
pub(in super::super) fn trigger(text: &str) -> Parsed<Trigger> {
    const HELP: &str = "write `drop`, `drop:no-backend` (any reason of `balun explain`) or `reset`";
    let what = "is not a trigger";
    match text.split_once(':') {
        None if text == "drop" => Ok(Trigger::Drop(None)),
        None if text == "reset" => Ok(Trigger::Reset),
        Some(("drop", name)) => {
            if let Some(reason) = DropReason::ALL.iter().find(|reason| reason.name() == name) {
                return Ok(Trigger::Drop(Some(*reason)));
            }
            let help = match nearest(name, DropReason::ALL.iter().map(|reason| reason.name())) {
                Some(known) => format!("did you mean `drop:{known}`?"),
                None => HELP.to_owned(),
            };
            complain(Code::BadTrigger, what, "no packet is dropped for this reason", help)
        }
        // What a request came to is known to the proxy, and not to the loop that captures.
        None | Some((_, _)) if text == "5xx" || text.starts_with("slow") => {
            let label = "a later version brings this";
            complain(Code::NotYet, "as a trigger is not supported yet", label, HELP)
        }
        _ => complain(Code::BadTrigger, what, "nothing of this name happens", HELP),
    }
}
