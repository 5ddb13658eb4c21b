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

pub(crate) use guard::PREFACE;
pub(crate) use stream::Seat;
