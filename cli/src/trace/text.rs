//! Rows on a terminal.

use std::fmt::Write as _;

use nat::Verdict;
use netstack::Instant;
use netstack::wire::text::Line;

use super::Event;
use super::narrator::{Narrator, Row, look};

/// Characters of a detail beyond which the column to its right is not moved any further.
const MAX_DETAIL: usize = 84;

/// A story as text: one block a packet. The times are shown if any passes.
pub fn text(narrator: &Narrator<'_>, events: &[Event]) -> String {
    let timed = events.iter().any(|event| event.at() > Instant::ZERO);
    let mut out = String::new();
    for (n, event) in events.iter().enumerate() {
        if n > 0 {
            out.push('\n');
        }
        if timed {
            let _ = writeln!(out, "at {}", event.at());
        }
        match event {
            Event::Passage(passage) => {
                out.push_str(&table(&narrator.rows(passage)));
                let verdict = format!("verdict: {}", narrator.verdict(passage));
                let aside = match passage.verdict {
                    Verdict::Drop(reason) | Verdict::Reject(reason) => {
                        format!("balun explain drop:{reason}")
                    }
                    _ if n + 1 == events.len() => "(nothing was sent)".to_owned(),
                    _ => String::new(),
                };
                out.push_str(format!("{verdict:<42}  {aside}").trim_end());
                out.push('\n');
            }
            Event::Sent(_, packet) => {
                let object = narrator.leg(Some(packet.leg)).to_owned();
                let (detail, aside) = (Line::of(packet).to_string(), look(packet));
                out.push_str(&table(&[Row { verb: "out", object, detail, aside }]));
                out.push_str("sent as time passed\n");
            }
        }
    }
    out
}

/// Rows in columns.
fn table(rows: &[Row]) -> String {
    let width = |text: &str| text.chars().count();
    let objects = rows.iter().map(|row| width(&row.object)).max().unwrap_or(0).max(8);
    let with_aside = rows.iter().filter(|row| !row.aside.is_empty());
    let details = with_aside.map(|row| width(&row.detail)).filter(|&n| n <= MAX_DETAIL).max();
    let details = details.unwrap_or(0);
    let mut out = String::new();
    for Row { verb, object, detail, aside } in rows {
        let line = format!(" {verb:<8} {object:<objects$}  {detail:<details$}  {aside}");
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}
