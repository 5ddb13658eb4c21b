//! Which packets are captured, and when a ring of them is written.

use nat::DropReason;
use netstack::wire::text::filter::Filter;

use super::super::codes::Code;
use super::super::suggest::nearest;
use super::{Parsed, complain, some_duration};
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

/// `drop`, `drop:REASON`, `reset`, `5xx`, `503` or `slow:500ms`.
pub(in super::super) fn trigger(text: &str) -> Parsed<Trigger> {
    const HELP: &str = "write `drop`, `drop:no-backend` (any reason of `balun explain`), `reset`, \
                        `5xx` or `slow:500ms`";
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
        Some(("slow", limit)) => match some_duration(limit) {
            Ok(limit) => Ok(Trigger::Slow(limit)),
            Err(error) => complain(Code::BadTrigger, what, error.label, "write it as `slow:500ms`"),
        },
        None if text == "slow" => {
            complain(Code::BadTrigger, what, "how slow is not said", "write it as `slow:500ms`")
        }
        _ => StatusPattern::parse(text).map_or_else(
            || complain(Code::BadTrigger, what, "nothing of this name happens", HELP),
            |status| Ok(Trigger::Status(status)),
        ),
    }
}
