//! `[capture]`.

use super::super::codes::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::{Capture, Ring, Spanned, Transactions};
use super::super::reader::{Item, Reader, Table};
use super::super::value;
use super::access::alone;
use crate::capture::transaction::{DEFAULT_COUNT, DEFAULT_MEMORY};
use crate::capture::{Comments, DEFAULT_FILES, DEFAULT_SNAPLEN, MAX_SNAPLEN, Side};

/// Every header of a packet that balun looks at, as a rule.
const MIN_SNAPLEN: u32 = 64;

/// What a ring holds if nobody says otherwise.
const RING_MEMORY: u64 = 64 << 20;

const RING_KEYS: [&str; 3] = ["trigger", "ring-memory", "files"];

pub(super) fn capture(r: &mut Reader, item: &Item<'_>) -> Option<Capture> {
    let mut table = item.table(r)?;
    let transaction = table.take(r, "transaction").map(|item| transactions(r, &item));
    // Who asks for requests alone says nothing else.
    let path = if transaction.is_some() && !table.is_left() {
        None
    } else {
        let path = table.require(r, "path", "\"balun.pcapng\"");
        Some(path.and_then(|item| item.parse(r, value::path)))
    };
    let filter = table.take(r, "filter").and_then(|item| item.parse(r, value::filter));
    let side = table.take(r, "side").and_then(|item| item.choice(r, "a side", &Side::NAMES));
    let dropped = table.take(r, "dropped").and_then(|item| item.boolean(r));
    let snaplen = table.take(r, "snaplen");
    let snaplen = snaplen.and_then(|item| item.integer(r, MIN_SNAPLEN..=MAX_SNAPLEN));
    let comments = table.take(r, "comments");
    let comments =
        comments.and_then(|item| item.choice(r, "a level of comments", &Comments::NAMES));
    let segment = table.take(r, "segment").and_then(|item| item.boolean(r));
    let ring = ring(r, &mut table);
    table.finish(r);
    Some(Capture {
        path: match path {
            Some(path) => Some(path?.value),
            None => None,
        },
        filter: filter.map(|filter| filter.value).unwrap_or_default(),
        side: side.map(|side| side.value).unwrap_or_default(),
        dropped: dropped.is_some_and(|dropped| dropped.value),
        snaplen: snaplen.unwrap_or(Spanned::default_of(DEFAULT_SNAPLEN)),
        comments: comments.map(|comments| comments.value).unwrap_or_default(),
        segment,
        ring,
        transaction: transaction.flatten(),
    })
}

fn ring(r: &mut Reader, table: &mut Table<'_>) -> Option<Ring> {
    let Some(length) = table.take(r, "ring") else {
        for key in RING_KEYS {
            if let Some(item) = table.take(r, key) {
                alone(r, table, item.key_span.clone(), key, "ring", "\"10s\"");
            }
        }
        return None;
    };
    let length = length.parse(r, value::some_duration);
    let triggers = table.require(r, "trigger", "[\"drop\", \"reset\"]").map(|item| {
        let why = "a ring without triggers is never written";
        item.one_or_more(r, why, "[\"drop\"]", |r, item| item.parse(r, value::trigger))
    });
    let memory = table.take(r, "ring-memory");
    let memory = memory.and_then(|item| memory_of(r, &item, "ring-memory"));
    let files = table.take(r, "files").and_then(|item| item.integer(r, 1..=1000));
    Some(Ring {
        length: length?.value,
        memory: memory.unwrap_or(RING_MEMORY),
        triggers: triggers.unwrap_or_default(),
        files: files.map_or(DEFAULT_FILES, |files| files.value),
    })
}

/// Bytes that packets may take in memory.
fn memory_of(r: &mut Reader, item: &Item<'_>, key: &str) -> Option<u64> {
    let size = item.parse(r, value::size)?;
    if (1 << 20..=4 << 30).contains(&size.value) {
        return Some(size.value);
    }
    r.report(Diagnostic::new(
        Code::OutOfRange,
        "the memory of a ring is out of range",
        size.span,
        "from 1MiB to 4GiB",
        format!("write `{key} = \"64MiB\"`"),
    ));
    None
}

/// `[capture.transaction]`.
fn transactions(r: &mut Reader, item: &Item<'_>) -> Option<Transactions> {
    let mut table = item.table(r)?;
    let folder = table.require(r, "folder", "\"requests\"");
    let folder = folder.and_then(|item| item.parse(r, value::path));
    let service = table.take(r, "service").and_then(|item| item.words(r));
    let request = table.take(r, "request").and_then(|item| item.parse(r, value::request));
    let status = table.take(r, "status").and_then(|item| item.parse(r, value::status));
    let slow = table.take(r, "slow").and_then(|item| item.parse(r, value::some_duration));
    let every = table.take(r, "every").and_then(|item| item.integer(r, 1..=1_000_000));
    let count = table.take(r, "count").and_then(|item| item.integer(r, 1..=100_000));
    let memory = table.take(r, "memory").and_then(|item| memory_of(r, &item, "memory"));
    let keys = table.take(r, "keys").and_then(|item| item.boolean(r));
    table.finish(r);
    Some(Transactions {
        folder: folder?.value,
        service,
        request: request.map(|request| request.value).unwrap_or_default(),
        status: status.map(|status| status.value),
        slow: slow.map(|slow| slow.value),
        every: every.map_or(1, |every| every.value),
        count: count.map_or(DEFAULT_COUNT, |count| count.value),
        memory: memory.unwrap_or(DEFAULT_MEMORY as u64),
        keys: keys.is_some_and(|keys| keys.value),
    })
}
