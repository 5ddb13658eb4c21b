//! HTTP/2 (RFC 9113), on the `h2` crate.
//!
//! | module | idea |
//! |---|---|
//! | `head` | heads between HTTP/2 and the text of HTTP/1.1 (R17) |
//! | `body` | DATA as byte streams, at the pace of the receiver |
//! | `guard` | frames that cost us work for nothing |
//! | `server` | connections of clients |
//! | `stream` | one request of a client |
//! | `upstream` | connections to backends |
//! | `own` | answers of our own, also as gRPC has them |

mod body;
mod guard;
mod head;
mod own;
pub(crate) mod server;
mod stream;
pub(crate) mod upstream;

use http::request::Parts;

use crate::http1::reject::Reject;

pub(crate) use guard::PREFACE;
pub(crate) use stream::Seat;

/// The text of HTTP/1.1 that the head of a client's request becomes, for the rules of HTTP/1 to judge;
/// without a body if `ended`. Websockets are not asked for.
///
/// # Errors
/// R17 for what HTTP/2 forbids, R09 for CONNECT, R18 for what is too long.
pub fn text_of(parts: &Parts, ended: bool) -> Result<Vec<u8>, Reject> {
    let mut text = Vec::new();
    head::request_text(parts, ended, None, &mut text)?;
    Ok(text)
}
