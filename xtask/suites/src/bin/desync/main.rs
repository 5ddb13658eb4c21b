//! Runs the cases of the crate `http_desync_guardian` through the proxy.
//!
//! The crate comes with YAML files of requests, each with a tier: compliant, acceptable, ambiguous or
//! severe. They are read where cargo keeps the crate's source. Each request is sent to a proxy in this
//! process, in virtual time, with a good one behind it. Then
//!
//! - a severe one must be refused with 400, the connection closed, and nothing of it or behind it
//!   forwarded; the same holds for any other that is refused, whatever the status;
//! - whatever is forwarded must be strict: understood by the proxy's second reader, and found compliant
//!   by the crate's own analyzer, but for bodies of GET and HEAD, which we frame and pass on (R13).

mod cases;
mod proxy;

use std::collections::BTreeMap;
use std::process::ExitCode;

use http_desync_guardian::RequestSafetyTier;
use http_desync_guardian::request_analyzer::HttpRequestData;

use cases::{Case, Tier};
use proxy::Seen;

/// What our own rules let through although the crate has doubts: a body where its meaning is undefined.
const KNOWN: [&str; 2] = ["UndefinedContentLengthSemantics", "UndefinedTransferEncodingSemantics"];
/// And a body of no bytes, which it calls acceptable.
const HARMLESS: &str = "GetHeadZeroContentLength";

fn main() -> ExitCode {
    let cases = match cases::all() {
        Ok(cases) => cases,
        Err(error) => {
            eprintln!("error: the cases cannot be read: {error}");
            return ExitCode::from(3);
        }
    };
    let mut table: BTreeMap<(Tier, String), usize> = BTreeMap::new();
    let mut wrong = 0;
    for case in &cases {
        let seen = proxy::run(&case.request);
        let (row, fault) = judge(case, &seen);
        *table.entry((case.tier, row)).or_default() += 1;
        if let Some(fault) = fault {
            wrong += 1;
            println!("{}: {}: {fault}", case.place, case.request.escape_ascii());
        }
    }
    println!("{} cases", cases.len());
    for ((tier, row), count) in table {
        println!("{count:5}  {tier:?}  {row}");
    }
    match wrong {
        0 => ExitCode::SUCCESS,
        _ => {
            println!("{wrong} wrong");
            ExitCode::FAILURE
        }
    }
}

/// What to count the case as, and what is wrong with what happened.
fn judge(case: &Case, seen: &Seen) -> (String, Option<String>) {
    if let Some(status) = seen.refused {
        let fault = if !seen.forwarded.is_empty() {
            Some(format!("refused, but forwarded {}", seen.forwarded.escape_ascii()))
        } else if seen.answers != 1 {
            Some(format!("{} answers, but the connection should have ended", seen.answers))
        } else if !seen.closed {
            Some("refused without Connection: close".to_owned())
        } else if case.tier == Tier::Severe && status != 400 {
            Some(format!("severe, but not refused with 400: {}", seen.detail))
        } else {
            None
        };
        let rule = seen.detail.get(..3).unwrap_or_default();
        return (format!("refused with {status} by {rule}"), fault);
    }
    let mut row = "forwarded".to_owned();
    let mut fault = (case.tier == Tier::Severe).then(|| "severe, but forwarded".to_owned());
    if seen.answers != 2 {
        fault = Some(format!("{} answers to two requests", seen.answers));
    }
    for head in heads(&seen.forwarded) {
        let verdict = HttpRequestData::analyze_raw_request(head);
        let reason = format!("{:?}", verdict.reason);
        if verdict.tier != RequestSafetyTier::Compliant {
            row = format!("forwarded, {reason}");
            if !KNOWN.contains(&reason.as_str()) && reason != HARMLESS {
                fault = Some(format!(
                    "what is forwarded is not strict, {reason}: {}",
                    head.escape_ascii()
                ));
            }
        }
    }
    (row, fault)
}

/// The heads among what was forwarded, which the second reader must understand.
fn heads(bytes: &[u8]) -> Vec<&[u8]> {
    let mut heads = Vec::new();
    let mut rest = bytes;
    while let Some(end) = proxy::message_end(rest) {
        let head = rest.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
        heads.push(&rest[..head]);
        rest = &rest[end..];
    }
    assert!(rest.is_empty(), "half a request was forwarded: {}", rest.escape_ascii());
    heads
}
