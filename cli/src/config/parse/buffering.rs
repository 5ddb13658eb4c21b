//! The keys of `[[service]]` about messages that are kept whole.

use l7::buffering::Buffering;

use super::super::codes::Code;
use super::super::diagnostic::Diagnostic;
use super::super::reader::{Reader, Table};
use super::super::value;
use super::access::alone;

/// Which messages, each with whether requests and whether answers.
const CHOICES: [(&str, (bool, bool)); 3] =
    [("request", (true, false)), ("response", (false, true)), ("both", (true, true))];

/// Bytes of one message.
const LIMITS: std::ops::RangeInclusive<u64> = 1 << 10..=1 << 30;

pub(super) fn buffering(r: &mut Reader, table: &mut Table<'_>) -> Buffering {
    let default = Buffering::default();
    let choice = table.take(r, "buffer");
    let is_wanted = choice.is_some();
    let choice = choice.and_then(|item| item.choice(r, "a kind of message", &CHOICES));
    let (request, response) = choice.map(|choice| choice.value).unwrap_or_default();
    let limit = table.take(r, "buffer-limit").and_then(|item| {
        if !is_wanted {
            alone(r, table, item.key_span.clone(), "buffer-limit", "buffer", "\"both\"");
        }
        let size = item.parse(r, value::size)?;
        if LIMITS.contains(&size.value) {
            return usize::try_from(size.value).ok();
        }
        r.report(Diagnostic::new(
            Code::OutOfRange,
            "the limit of a buffered message is out of range",
            size.span,
            "from 1KiB to 1GiB",
            "write `buffer-limit = \"1MiB\"`",
        ));
        None
    });
    Buffering { request, response, limit: limit.unwrap_or(default.limit) }
}
