//! The second reading: what we are about to send, read once more by someone else.
//!
//! # Theory of operation
//! Request smuggling needs two readers of one byte string who disagree. The first reader of a request is
//! [`head`](super::head), which leans on `httparse`; what it understood is written anew by
//! [`encode::request`]. With `smuggling-proof` on, those bytes are read by [`reader`], which shares
//! no line of code with either and knows nothing but the grammar of RFC 9112, and what it understands is
//! compared with what was meant: method, target, host, the end of the body, the upgrade. If the two
//! differ, nothing is sent; the client gets 502, and R04 is counted. Chunks are read again as well, by
//! [`chunks`].
//!
//! A disagreement is always a defect of ours, never the client's fault. None is known.
//!
//! Both readers are oracles for the fuzzers and for the tables of `tests/rules` too.

pub mod chunks;
pub mod reader;

use http::StatusCode;

pub use chunks::Chunks;
pub use reader::{Body, Fault, Request, Response};

use super::encode::{self, Hop};
use super::framing::Framing;
use super::head::RequestHead;
use super::reject::{Reject, Rule};

/// Appends the head to send to a backend, and reads it once more if `twice`.
///
/// # Errors
/// Those of [`check`].
pub fn encode(
    head: &RequestHead<'_, '_>,
    hop: &Hop<'_>,
    twice: bool,
    out: &mut Vec<u8>,
) -> Result<(), Reject> {
    let begin = out.len();
    encode::request(head, hop, out);
    if twice { check(head, hop, out.get(begin..).unwrap_or_default()) } else { Ok(()) }
}

/// Reads `bytes`, which were encoded from `head`, and compares.
///
/// # Errors
/// R04 with 502 if they say anything else.
pub fn check(head: &RequestHead<'_, '_>, hop: &Hop<'_>, bytes: &[u8]) -> Result<(), Reject> {
    let read = reader::request(bytes).map_err(|Fault(detail)| disagreement(detail))?;
    let body = match head.framing {
        Framing::None => Body::None,
        Framing::Length(length) => Body::Length(length),
        // A body of unknown end, which a later version may have, is sent on in chunks.
        Framing::Chunked | Framing::UntilClose => Body::Chunked,
    };
    if read.method != head.method.as_str().as_bytes() || read.target != head.target.forwarded() {
        return Err(disagreement("another request line than was meant"));
    }
    if read.host != head.host.unwrap_or(hop.local.as_bytes()) {
        return Err(disagreement("another host than was meant"));
    }
    if read.body != body {
        return Err(disagreement("another end of the body than was meant"));
    }
    if read.upgrades != head.websocket.is_some() {
        return Err(disagreement("another upgrade than was meant"));
    }
    Ok(())
}

/// The refusal of what the second reading does not understand as the first did.
pub const fn disagreement(detail: &'static str) -> Reject {
    Reject::new(Rule::R04, StatusCode::BAD_GATEWAY, detail)
}

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
