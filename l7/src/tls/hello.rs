//! The server name in a client's hello, read without ending its TLS.
//!
//! # Theory of operation
//! [`server_name`] is a pure function of the first bytes of a connection. It says which name they ask for,
//! or how many bytes are missing at least, or why they will never be a hello; so whoever reads calls it
//! again when that many have come. The hello may be cut into TLS records as it likes (RFC 8446
//! section 5.1), and the records into segments.
//!
//! Every length must fit the one around it exactly, as a server would have it. What is not known is
//! passed over: versions of TLS, suites, extensions, and values that only keep servers from relying on
//! what they know (RFC 8701). Of a hello whose inner one is encrypted (ECH) this is the outer name, by
//! which the client wants to be routed.
//!
//! ```text
//! record   22 │ 3.x │ length │ handshake bytes …        one or more of them
//! hello    1 │ length │ 3.x │ random │ session │ suites │ compression │ extensions
//! name     0 │ length │ list: 0 │ length │ a.lab         RFC 6066 section 3
//! ```

use std::borrow::Cow;

use super::names::is_host_name;
use crate::limits::HELLO_BYTES;

const RECORD_HEADER: usize = 5;
const HANDSHAKE_HEADER: usize = 4;
const HANDSHAKE_RECORD: u8 = 22;
const MAJOR_VERSION: u8 = 3;
const CLIENT_HELLO: u8 = 1;
/// The longest record in plain text (RFC 8446 section 5.1).
const RECORD_BYTES: usize = 1 << 14;
const RANDOM: usize = 32;
const SESSION_ID: usize = 32;
const SERVER_NAME: usize = 0;
const HOST_NAME: usize = 0;

/// How far a hello is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many bytes are missing at least.
    Missing(usize),
    /// It is here, and asks for this name, in lower case; or for none.
    Whole(Option<String>),
}

/// Why bytes are not a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotHello {
    /// They do not begin as one: another protocol.
    OtherProtocol,
    /// They begin as one, and break a rule.
    Malformed(&'static str),
    /// It is longer than [`HELLO_BYTES`].
    TooLong,
}

/// Reads the hello that a connection begins with.
///
/// # Errors
/// [`NotHello`] if the bytes are not the beginning of one, whatever follows.
pub fn server_name(bytes: &[u8]) -> Result<Progress, NotHello> {
    let starts = [(0, HANDSHAKE_RECORD), (1, MAJOR_VERSION), (RECORD_HEADER, CLIENT_HELLO)];
    if starts.iter().any(|&(at, right)| bytes.get(at).is_some_and(|&found| found != right)) {
        return Err(NotHello::OtherProtocol);
    }
    match handshake(bytes)? {
        Gathered::Missing(_) if bytes.len() >= HELLO_BYTES => Err(NotHello::TooLong),
        Gathered::Missing(count) => Ok(Progress::Missing(count)),
        Gathered::Whole(message, end) => {
            let hello = message.get(HANDSHAKE_HEADER..end).unwrap_or_default();
            let name = named_in(hello).map_err(NotHello::Malformed)?;
            Ok(Progress::Whole(name.map(str::to_ascii_lowercase)))
        }
    }
}

enum Gathered<'a> {
    Missing(usize),
    /// The message out of its records, and where it ends in them.
    Whole(Cow<'a, [u8]>, usize),
}

/// The first handshake message, copied only if it lies in several records.
fn handshake(bytes: &[u8]) -> Result<Gathered<'_>, NotHello> {
    let mut rest = bytes;
    let mut message = Cow::Borrowed(&[][..]);
    loop {
        let Some((header, after)) = rest.split_at_checked(RECORD_HEADER) else {
            // A record has one byte at least.
            return Ok(Gathered::Missing(RECORD_HEADER + 1 - rest.len()));
        };
        let mut header = Reader(header);
        let (kind, major) = (header.number(1), header.number(2).map(|version| version >> 8));
        let length = header.number(2).unwrap_or_default();
        if kind != Some(HANDSHAKE_RECORD.into()) || major != Some(MAJOR_VERSION.into()) {
            return Err(NotHello::Malformed("a record of another kind within the hello"));
        }
        if length == 0 || length > RECORD_BYTES {
            return Err(NotHello::Malformed("a record that is empty or too long"));
        }
        let (piece, after) = after.split_at_checked(length).unwrap_or((after, &[]));
        if message.is_empty() {
            message = Cow::Borrowed(piece);
        } else {
            message.to_mut().extend_from_slice(piece);
        }
        let wanted = match wanted(&message) {
            Some(wanted) if wanted > HELLO_BYTES => return Err(NotHello::TooLong),
            Some(wanted) if message.len() >= wanted => {
                return Ok(Gathered::Whole(message, wanted));
            }
            wanted => wanted.unwrap_or(HANDSHAKE_HEADER),
        };
        if piece.len() < length {
            let missing = (length - piece.len()).min(wanted.saturating_sub(message.len()));
            return Ok(Gathered::Missing(missing.max(1)));
        }
        rest = after;
    }
}

/// How long the message is with its header, once that is known.
fn wanted(message: &[u8]) -> Option<usize> {
    let mut header = Reader(message);
    header.number(1)?;
    Some(HANDSHAKE_HEADER + header.number(3)?)
}

/// The name that a hello asks for.
fn named_in(hello: &[u8]) -> Result<Option<&str>, &'static str> {
    const CUT: &str = "a length that does not fit";
    let mut hello = Reader(hello);
    let version = hello.number(2).ok_or(CUT)?;
    hello.take(RANDOM).ok_or(CUT)?;
    let session = hello.vector(1).ok_or(CUT)?;
    let suites = hello.vector(2).ok_or(CUT)?;
    let compression = hello.vector(1).ok_or(CUT)?;
    let even = suites.len().is_multiple_of(2);
    if version >> 8 != usize::from(MAJOR_VERSION)
        || session.len() > SESSION_ID
        || suites.is_empty()
        || !even
        || compression.is_empty()
    {
        return Err("a field of the hello that no client sends");
    }
    if hello.0.is_empty() {
        // As TLS 1.2 allows (RFC 5246 section 7.4.1.2).
        return Ok(None);
    }
    let mut extensions = Reader(hello.vector(2).ok_or(CUT)?);
    if !hello.0.is_empty() {
        return Err("bytes behind the extensions");
    }
    let mut name = None;
    while !extensions.0.is_empty() {
        let kind = extensions.number(2).ok_or(CUT)?;
        let data = extensions.vector(2).ok_or(CUT)?;
        if kind == SERVER_NAME && name.replace(host_name(data)?).is_some() {
            return Err("two lists of server names");
        }
    }
    Ok(name)
}

/// The only name of a list.
fn host_name(list: &[u8]) -> Result<&str, &'static str> {
    let mut list = Reader(list);
    let named = list.vector(2).filter(|_| list.0.is_empty()).and_then(|names| {
        let mut names = Reader(names);
        let kind = names.number(1)?;
        let name = names.vector(2)?;
        // There is one kind of name, and one name of a kind.
        (kind == HOST_NAME && names.0.is_empty()).then_some(name)
    });
    let name = named.ok_or("a malformed list of server names")?;
    let name = str::from_utf8(name).ok().filter(|name| is_host_name(name));
    name.ok_or("a server name that is no host name")
}

/// Bytes that are read from their front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of so many bytes, four at most.
    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |number, &byte| (number << 8) | usize::from(byte)))
    }

    /// As many bytes as the number before them says, which has so many bytes itself.
    fn vector(&mut self, length_bytes: usize) -> Option<&'a [u8]> {
        let length = self.number(length_bytes)?;
        self.take(length)
    }
}

#[cfg(test)]
#[path = "hello_tests.rs"]
mod tests;
