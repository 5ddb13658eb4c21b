//! HTTP/1 messages: strict reading, forwarding in our own framing.
//!
//! | module | idea |
//! |---|---|
//! | [`chars`] | byte classes of RFC 9110 and RFC 9112 |
//! | [`field`] | the field names that a proxy treats apart |
//! | [`scan`] | where a head ends, and whether its lines are lines (R6, R18) |
//! | [`head`] | request and response heads (R7, R8, R11, R12) |
//! | [`host`], [`target`] | authority and path (R8, R9, R20) |
//! | [`framing`] | where a body ends (R1 to R4, R16) |
//! | [`chunked`], [`body`] | reading and writing bodies (R5, R6) |
//! | [`encode`] | heads as they are forwarded (R4, R9, R10) |
//! | [`trailer`] | which fields may follow a body (R4) |
//! | [`reject`] | the rules' names and the answers to those who break them |
//! | [`proof`] | what is about to be sent, read once more by another reader |
//! | [`websocket`] | the one protocol that may take over a connection (R11) |
//!
//! The rules R1 to R20 are those of [`reject::Rule`]. Nothing here reads or writes a stream: bytes
//! come in as slices and go out into vectors.

pub mod body;
pub mod chars;
pub mod chunked;
pub mod edits;
pub mod encode;
pub mod field;
pub mod framing;
pub mod head;
pub mod host;
pub mod proof;
pub mod reject;
pub mod scan;
pub mod target;
pub mod trailer;
pub mod websocket;
pub mod withheld;
