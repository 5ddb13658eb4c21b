//! The key `timeouts` of `[[service]]`.

use std::time::Duration;

use l7::Timeouts;

use super::super::codes::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::{Mode, Spanned};
use super::super::reader::{Reader, Table};
use super::super::value;

/// A time, and the modes that wait so.
type Key = (&'static str, &'static [Mode], fn(&mut Timeouts, Duration));

const BOTH: &[Mode] = &[Mode::Http, Mode::Tcp];
const HTTP: &[Mode] = &[Mode::Http];
const KEYS: [Key; 9] = [
    ("tls", BOTH, |timeouts, time| timeouts.handshake = time),
    ("idle", HTTP, |timeouts, time| timeouts.idle = time),
    ("head", HTTP, |timeouts, time| timeouts.head = time),
    ("body", HTTP, |timeouts, time| timeouts.body = time),
    ("connect", BOTH, |timeouts, time| timeouts.connect = time),
    ("response", HTTP, |timeouts, time| timeouts.response = time),
    ("continue", HTTP, |timeouts, time| timeouts.expect = time),
    ("tunnel", BOTH, |timeouts, time| timeouts.tunnel = time),
    ("total", HTTP, |timeouts, time| timeouts.total = Some(time)),
];

pub(super) fn timeouts(
    r: &mut Reader,
    table: &mut Table<'_>,
    mode: Option<&Spanned<Mode>>,
) -> Timeouts {
    changed(r, table, mode, Timeouts::default())
}

/// `timeouts` as the key changes them.
pub(super) fn changed(
    r: &mut Reader,
    table: &mut Table<'_>,
    mode: Option<&Spanned<Mode>>,
    mut timeouts: Timeouts,
) -> Timeouts {
    let table = table.take(r, "timeouts").and_then(|item| item.table(r));
    let Some(mut table) = table else { return timeouts };
    for (key, modes, set) in KEYS {
        let Some(item) = table.take(r, key) else { continue };
        if let Some(mode) = mode.filter(|mode| mode.value == Mode::Tcp && !modes.contains(mode)) {
            r.report(
                Diagnostic::new(
                    Code::WrongMode,
                    format!("`timeouts.{key}` has no meaning in mode `tcp`"),
                    item.key_span.clone(),
                    "belongs to mode `http`",
                    format!("remove `{key}`, or write `mode = \"http\"`"),
                )
                .with(mode.span.clone(), "the mode is set here"),
            );
        }
        if let Some(time) = item.parse(r, value::some_duration) {
            set(&mut timeouts, time.value);
        }
    }
    table.finish(r);
    timeouts
}
