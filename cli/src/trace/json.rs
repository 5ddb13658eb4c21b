//! A story for programs: one object a line.

use std::fmt::Write as _;

use nat::Verdict;
use netstack::Packet;
use netstack::wire::text::Line;

use super::Event;
use super::narrator::{Narrator, Row};
use crate::config::render::json_string;

/// A story, an object a line.
pub fn json(narrator: &Narrator<'_>, events: &[Event]) -> String {
    let mut out = String::new();
    for event in events {
        match event {
            Event::Passage(passage) => {
                let at = passage.at.as_micros();
                let _ = write!(out, "{{\"at_us\":{at},\"in\":");
                packet(narrator, &passage.came, &mut out);
                let (verdict, reason) = match passage.verdict {
                    Verdict::Forward => ("forward", None),
                    Verdict::Reply => ("reply", None),
                    Verdict::Divert(_) => ("divert", None),
                    Verdict::Hold => ("hold", None),
                    Verdict::Consumed => ("consumed", None),
                    Verdict::Reject(reason) => ("reject", Some(reason)),
                    Verdict::Drop(reason) => ("drop", Some(reason)),
                };
                let _ = write!(out, ",\"verdict\":\"{verdict}\"");
                if let Some(reason) = reason {
                    let _ = write!(out, ",\"reason\":\"{reason}\"");
                }
                out.push_str(",\"steps\":[");
                // The packets themselves stand beside the steps.
                let rows = narrator.rows(passage);
                let rows = rows.iter().filter(|row| !matches!(row.verb, "in" | "out"));
                for (n, row) in rows.enumerate() {
                    out.push_str(if n > 0 { "," } else { "" });
                    step(row, &mut out);
                }
                out.push(']');
                sent(narrator, &passage.sent, &mut out);
            }
            Event::Sent(at, packet) => {
                let _ = write!(out, "{{\"at_us\":{}", at.as_micros());
                sent(narrator, std::slice::from_ref(packet), &mut out);
            }
        }
    }
    out
}

fn step(row: &Row, out: &mut String) {
    let _ = write!(
        out,
        "{{\"verb\":\"{}\",\"object\":{},\"detail\":{}",
        row.verb,
        json_string(&row.object),
        json_string(&row.detail)
    );
    if let Some((file, line)) = row.aside.rsplit_once(':') {
        let _ = write!(out, ",\"file\":{},\"line\":{line}", json_string(file));
    }
    out.push('}');
}

fn sent(narrator: &Narrator<'_>, packets: &[Packet], out: &mut String) {
    out.push_str(",\"out\":[");
    for (n, sent) in packets.iter().enumerate() {
        out.push_str(if n > 0 { "," } else { "" });
        packet(narrator, sent, out);
    }
    out.push_str("]}\n");
}

fn packet(narrator: &Narrator<'_>, packet: &Packet, out: &mut String) {
    let leg = json_string(narrator.leg(Some(packet.leg)));
    let line = json_string(&Line::of(packet).to_string());
    let _ = write!(out, "{{\"leg\":{leg},\"line\":{line},\"bytes\":{}}}", packet.len());
}
