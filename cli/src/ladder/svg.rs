//! A ladder as SVG.

use std::fmt::Write as _;

use super::{Event, Kind, Ladder};
use crate::xml::escape;

/// Width of the picture and of the column of times, and distances in the same unit.
const WIDTH: usize = 1_080;
const MARGIN: usize = 170;
const TOP: usize = 64;
const ROW: usize = 52;
/// Characters of a line that are drawn; all of it is in the tooltip.
const MAX_CHARS: usize = 62;

/// Colors by the reader's scheme, and drops that are told by their shape too. Without variables, which
/// programs other than browsers do not know.
const STYLE: &str = "\
.ladder{font:12px ui-monospace,monospace}.ladder .head{font-weight:bold}\
.ladder .paper{fill:#fff}.ladder text{fill:#1b1f24}.ladder .faint{fill:#6e7781}\
.ladder line{stroke:#afb8c1}.ladder .arrow line{stroke:#1b1f24}\
.ladder .arrow polygon{fill:#1b1f24}.ladder .drop line{stroke:#b3261e;stroke-width:2}\
.ladder .drop text{fill:#b3261e}\
@media(prefers-color-scheme:dark){\
.ladder .paper{fill:#0d1117}.ladder text{fill:#e6edf3}.ladder .faint{fill:#9198a1}\
.ladder line{stroke:#59636e}.ladder .arrow line{stroke:#e6edf3}\
.ladder .arrow polygon{fill:#e6edf3}.ladder .drop line{stroke:#ff7b72}\
.ladder .drop text{fill:#ff7b72}}";

pub(super) fn draw(ladder: &Ladder) -> String {
    let height = TOP + ROW * ladder.events.len() + 24;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"ladder\" role=\"img\" width=\"{WIDTH}\" \
         height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\"/>\n",
        escape(&ladder.title)
    );
    let bottom = height - 16;
    for (n, name) in ladder.lifelines.iter().enumerate() {
        let x = lifeline(ladder, n);
        let _ = writeln!(
            out,
            "<text class=\"head\" x=\"{x}\" y=\"28\" text-anchor=\"middle\">{}</text>\
             <line x1=\"{x}\" y1=\"38\" x2=\"{x}\" y2=\"{bottom}\"/>",
            escape(name)
        );
    }
    for (n, event) in ladder.events.iter().enumerate() {
        draw_event(&mut out, ladder, event, TOP + ROW * n + ROW / 2);
    }
    out.push_str("</svg>\n");
    out
}

/// Where a lifeline stands.
fn lifeline(ladder: &Ladder, number: usize) -> usize {
    let last = ladder.lifelines.len().saturating_sub(1);
    let step = (WIDTH - 2 * MARGIN) / last.max(1);
    MARGIN + step * number.min(last)
}

fn draw_event(out: &mut String, ladder: &Ladder, event: &Event, y: usize) {
    let _ =
        write!(out, "<text class=\"faint\" x=\"8\" y=\"{}\">{}</text>", y + 4, escape(&event.time));
    match &event.kind {
        Kind::Packet { from, to, line } => {
            let (from, to) = (lifeline(ladder, *from), lifeline(ladder, *to));
            let _ = write!(out, "<g class=\"arrow\"><title>{}</title>", escape(line));
            draw_line(out, from, to, y);
            // The head points the way that the packet goes.
            let back = if to < from { to + 9 } else { to.saturating_sub(9) };
            let _ = write!(out, "<polygon points=\"{to},{y} {back},{} {back},{}\"/>", y - 5, y + 5);
            draw_label(out, from, to, y, line);
            out.push_str("</g>\n");
        }
        Kind::Drop { from, to, line, reason } => {
            let (from, to) = (lifeline(ladder, *from), lifeline(ladder, *to));
            let label = format!("{line}: dropped, {reason}");
            let _ = write!(out, "<g class=\"drop\"><title>{}</title>", escape(&label));
            draw_line(out, from, to, y);
            for (dy1, dy2) in [(y - 7, y + 7), (y + 7, y - 7)] {
                let _ = write!(
                    out,
                    "<line x1=\"{}\" y1=\"{dy1}\" x2=\"{}\" y2=\"{dy2}\"/>",
                    to.saturating_sub(7),
                    to + 7
                );
            }
            draw_label(out, from, to, y, line);
            let _ =
                write!(out, "<text x=\"{}\" y=\"{}\">{}</text>", to + 14, y + 4, escape(reason));
            out.push_str("</g>\n");
        }
        Kind::Note { text } => {
            let _ = writeln!(
                out,
                "<text class=\"faint\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                WIDTH / 2,
                y + 4,
                escape(text)
            );
        }
    }
}

fn draw_line(out: &mut String, from: usize, to: usize, y: usize) {
    let _ = write!(out, "<line x1=\"{from}\" y1=\"{y}\" x2=\"{to}\" y2=\"{y}\"/>");
}

/// The two ends above the line, the rest of the words below it.
fn draw_label(out: &mut String, from: usize, to: usize, y: usize, line: &str) {
    let middle = from.midpoint(to);
    let ends = line.match_indices(' ').nth(3).map_or(line.len(), |(at, _)| at);
    for (text, y) in [(&line[..ends], y - 7), (line[ends..].trim(), y + 16)] {
        let _ = write!(
            out,
            "<text x=\"{middle}\" y=\"{y}\" text-anchor=\"middle\">{}</text>",
            escape(&shortened(text))
        );
    }
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= MAX_CHARS {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(MAX_CHARS - 1).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ladder() -> Ladder {
        let event = |time: &str, kind| Event { time: time.to_owned(), kind };
        let packet = |from, to, line: &str| Kind::Packet { from, to, line: line.to_owned() };
        Ladder {
            title: "a <ladder>".to_owned(),
            lifelines: ["client", "balancer", "backend"].map(str::to_owned).to_vec(),
            events: vec![
                event(
                    "0.000000s",
                    packet(0, 1, "tcp 10.1.0.5:40000 > 10.99.0.1:80 S seq=0 ttl=64"),
                ),
                event(
                    "0.000000s",
                    packet(1, 2, "tcp 10.99.0.250:5000 > 10.2.0.11:8080 S seq=0 ttl=63"),
                ),
                event("0.001000s", Kind::Note { text: "web/web1 is set to drain".to_owned() }),
                event(
                    "1.000000s",
                    Kind::Drop {
                        from: 0,
                        to: 1,
                        line: "udp 10.1.0.5:40000 > 10.99.0.1:81 ttl=64".to_owned(),
                        reason: "no-service".to_owned(),
                    },
                ),
            ],
        }
    }

    /// After a change on purpose: `BALUN_BLESS=1 cargo test -p balun --lib ladder`.
    #[test]
    fn a_ladder_is_drawn_as_agreed() {
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/src/ladder/sample.svg");
        let drawn = ladder().to_svg();
        if std::env::var_os("BALUN_BLESS").is_some() {
            assert!(std::fs::write(golden, &drawn).is_ok());
        }
        assert_eq!(drawn, std::fs::read_to_string(golden).unwrap_or_default());
    }

    #[test]
    fn drops_are_told_by_shape_and_words_are_escaped() {
        let drawn = ladder().to_svg();
        assert!(drawn.contains("<title>a &lt;ladder&gt;</title>"), "{drawn}");
        assert_eq!(drawn.matches("class=\"drop\"").count(), 1);
        let drop = drawn.split("class=\"drop\"").nth(1).unwrap_or_default();
        let drop = drop.split("</g>").next().unwrap_or_default();
        assert_eq!(drop.matches("<line").count(), 3, "the way and a cross: {drop}");
        assert!(!drawn.contains("http://") || drawn.matches("http://").count() == 1, "no requests");
    }

    #[test]
    fn odd_ladders_are_drawn_too() {
        let mut odd = ladder();
        odd.lifelines.truncate(1);
        odd.events.push(Event {
            time: String::new(),
            kind: Kind::Packet { from: 9, to: 0, line: "é".repeat(500) },
        });
        assert!(odd.to_svg().contains('…'));
        assert!(Ladder::default().to_svg().ends_with("</svg>\n"));
    }
}
