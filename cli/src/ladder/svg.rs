//! A ladder as SVG.

use std::fmt::Write as _;

use super::layout::{HALF_HEAD, HALF_WIDE, HEAD_HEIGHT, HEAD_TOP, Layout, MARGIN};
use super::{Event, Kind, Ladder, Lifeline};
use crate::xml::escape;

/// Characters of a label, of both ends together and of what a balancer says that are drawn; the whole
/// line is in the tooltip.
const MAX_LABEL: usize = 36;
const MAX_ENDS: usize = 36;
const MAX_SAID: usize = 27;

/// Shapes, and the colors of a light scheme. What is told by color is told by shape or weight too. No
/// variables, which not every program that draws SVG knows.
const STYLE: &str = "\
.ladder text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;\
fill:#1f2328}\
.ladder .title,.ladder .name{font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}\
.ladder .title{font-size:17px;font-weight:600}.ladder .name{font-size:15px;font-weight:600}\
.ladder .small{font-size:12px}.ladder .mid{text-anchor:middle}.ladder .strong{font-weight:600}\
.ladder .faint{fill:#656d76}.ladder .new{fill:#0550ae;font-weight:600}\
.ladder .halo{paint-order:stroke;stroke:#fff;stroke-width:5px;stroke-linejoin:round}\
.ladder .paper{fill:#fff;stroke:#d0d7de}.ladder .band{fill:#f3f6fa;stroke:#d0d7de}\
.ladder .head{fill:#e9eef5;stroke:#afb8c1}\
.ladder .life{stroke:#afb8c1;stroke-width:2;stroke-dasharray:2 5;stroke-linecap:round}\
.ladder .wire{stroke:#1f2328;stroke-width:1.6}.ladder .tip{fill:#1f2328}\
.ladder .drop .wire{stroke:#c62828;stroke-dasharray:7 4}.ladder .drop .tip{fill:#c62828}\
.ladder .drop text{fill:#c62828}.ladder .badge{fill:#fdecec;stroke:#c62828}\
.ladder .cross{stroke:#c62828;stroke-width:3;stroke-linecap:round;fill:none}";

/// The colors of a dark scheme.
const DARK: &str = "\
.ladder text{fill:#e6edf3}.ladder .faint{fill:#9198a1}.ladder .new{fill:#79c0ff}\
.ladder .halo{stroke:#0d1117}.ladder .paper{fill:#0d1117;stroke:#30363d}\
.ladder .band{fill:#151b23;stroke:#30363d}.ladder .head{fill:#212830;stroke:#484f58}\
.ladder .life{stroke:#484f58}.ladder .wire{stroke:#e6edf3}.ladder .tip{fill:#e6edf3}\
.ladder .drop .wire,.ladder .cross,.ladder .badge{stroke:#ff7b72}\
.ladder .drop .tip,.ladder .drop text{fill:#ff7b72}.ladder .badge{fill:#2d1618}";

pub(super) fn draw(ladder: &Ladder) -> String {
    let layout = Layout::of(ladder);
    let (width, height) = (layout.width, layout.height);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"ladder\" role=\"img\" width=\"{width}\" \
         height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n\
         <title>{title}</title>\n<desc>{}</desc>\n<style>{STYLE}@media(prefers-color-scheme:dark){{{DARK}}}</style>\n\
         <rect class=\"paper\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"10\"/>\n\
         <text class=\"title\" x=\"{MARGIN}\" y=\"38\">{title}</text>\n",
        escape(&describe(ladder)),
        width - 1,
        height - 1,
        title = escape(&ladder.title),
    );
    for (n, lifeline) in ladder.lifelines.iter().enumerate() {
        draw_lifeline(&mut out, lifeline, layout.middle(n), layout.bottom);
    }
    let pen = Pen { layout: &layout };
    for (event, &y) in ladder.events.iter().zip(&layout.rows) {
        pen.event(&mut out, event, y);
    }
    draw_legend(&mut out, ladder, height - 20);
    out.push_str("</svg>\n");
    out
}

/// The picture in words.
fn describe(ladder: &Ladder) -> String {
    let name = |n: usize| {
        let lifeline = ladder.lifelines.get(n).or(ladder.lifelines.last());
        lifeline.map_or("", |lifeline| lifeline.name.as_str())
    };
    let mut text = String::new();
    for event in &ladder.events {
        let _ = match &event.kind {
            Kind::Packet { from, to, line } => {
                write!(text, "{} to {}: {line}. ", name(*from), name(*to))
            }
            Kind::Pass { from, via, to, before, after, said } => {
                let end = if said.is_empty() { "" } else { "; " };
                let said = said.join(", ");
                let (from, via, to) = (name(*from), name(*via), name(*to));
                write!(text, "{from} to {via}: {before}; {said}{end}on to {to}: {after}. ")
            }
            Kind::Drop { from, to, line, reason } => {
                write!(
                    text,
                    "{} to {}: {line}, which goes no further: {reason}. ",
                    name(*from),
                    name(*to)
                )
            }
            Kind::Note { text: note } => write!(text, "{note}. "),
        };
    }
    text.trim_end().to_owned()
}

fn draw_lifeline(out: &mut String, lifeline: &Lifeline, x: usize, bottom: usize) {
    let half = if lifeline.wide { HALF_WIDE } else { HALF_HEAD };
    let left = x.saturating_sub(half);
    if lifeline.wide {
        let _ = writeln!(
            out,
            "<rect class=\"band\" x=\"{left}\" y=\"{HEAD_TOP}\" width=\"{}\" height=\"{}\" rx=\"8\"/>",
            2 * half,
            bottom.saturating_sub(HEAD_TOP)
        );
    } else {
        let _ = writeln!(
            out,
            "<line class=\"life\" x1=\"{x}\" y1=\"{}\" x2=\"{x}\" y2=\"{bottom}\"/>",
            HEAD_TOP + HEAD_HEIGHT
        );
    }
    let _ = writeln!(
        out,
        "<rect class=\"head\" x=\"{left}\" y=\"{HEAD_TOP}\" width=\"{}\" height=\"{HEAD_HEIGHT}\" \
         rx=\"8\"/>",
        2 * half
    );
    let lines = if lifeline.detail.is_empty() { 29 } else { 20 };
    let _ = writeln!(
        out,
        "<text class=\"name mid\" x=\"{x}\" y=\"{}\">{}</text>",
        HEAD_TOP + lines,
        escape(&shortened(&lifeline.name, 24))
    );
    if !lifeline.detail.is_empty() {
        let _ = writeln!(
            out,
            "<text class=\"small faint mid\" x=\"{x}\" y=\"{}\">{}</text>",
            HEAD_TOP + 38,
            escape(&shortened(&lifeline.detail, if lifeline.wide { 27 } else { 19 }))
        );
    }
}

fn draw_legend(out: &mut String, ladder: &Ladder, y: usize) {
    let passes = ladder.events.iter().any(|event| matches!(event.kind, Kind::Pass { .. }));
    let drops = ladder.events.iter().any(|event| matches!(event.kind, Kind::Drop { .. }));
    let mut x = MARGIN;
    if passes {
        let _ = write!(
            out,
            "<text class=\"small\" x=\"{x}\" y=\"{y}\"><tspan class=\"new\">address:port</tspan>\
             <tspan class=\"faint\" dx=\"7\">was rewritten</tspan></text>"
        );
        x += 236;
    }
    if drops {
        cross(out, x + 6, y - 4, 5);
        let _ = write!(
            out,
            "<text class=\"small faint\" x=\"{}\" y=\"{y}\">went no further</text>",
            x + 20
        );
    }
    out.push('\n');
}

struct Pen<'a> {
    layout: &'a Layout,
}

/// A packet's line in parts.
struct Parts<'a> {
    label: String,
    src: &'a str,
    dst: &'a str,
}

impl Pen<'_> {
    fn event(&self, out: &mut String, event: &Event, y: usize) {
        if !event.time.is_empty() {
            let _ = write!(
                out,
                "<text class=\"small faint\" x=\"{MARGIN}\" y=\"{}\">{}</text>",
                y + 4,
                escape(&event.time)
            );
        }
        match &event.kind {
            Kind::Packet { from, to, line } => {
                let _ = write!(out, "<g><title>{}</title>", escape(line));
                self.arrow(out, (*from, *to), y, &parts(line), None);
                out.push_str("</g>\n");
            }
            Kind::Pass { from, via, to, before, after, said } => {
                let title = format!("{before}\n{after}");
                let _ = write!(out, "<g><title>{}</title>", escape(&title));
                let (old, new) = (parts(before), parts(after));
                let turn = self.layout.turn(*from, *via, *to);
                self.arrow(out, (*from, *via), y, &old, None);
                self.arrow(out, (*via, *to), y + turn.unwrap_or(0), &new, Some(&old));
                self.said(out, *via, y + turn.unwrap_or(0) / 2, said);
                out.push_str("</g>\n");
            }
            Kind::Drop { from, to, line, reason } => {
                let title = format!("{line}: {reason}");
                let _ = write!(out, "<g class=\"drop\"><title>{}</title>", escape(&title));
                self.arrow(out, (*from, *to), y, &parts(line), None);
                self.reason(out, *to, y, reason);
                out.push_str("</g>\n");
            }
            Kind::Note { text } => {
                let _ = writeln!(
                    out,
                    "<text class=\"small faint mid\" x=\"{}\" y=\"{}\">{}</text>",
                    self.layout.width / 2,
                    y + 2,
                    escape(text)
                );
            }
        }
    }

    /// An arrow with what the packet is above it and its ends below; those that are not as in `old`
    /// are in color.
    fn arrow(
        &self,
        out: &mut String,
        (from, to): (usize, usize),
        y: usize,
        packet: &Parts<'_>,
        old: Option<&Parts<'_>>,
    ) {
        let (start, end) = (self.layout.edge(from, to), self.layout.edge(to, from));
        let back = if end < start { end + 10 } else { end.saturating_sub(10) };
        let _ = write!(
            out,
            "<line class=\"wire\" x1=\"{start}\" y1=\"{y}\" x2=\"{back}\" y2=\"{y}\"/>\
             <polygon class=\"tip\" points=\"{end},{y} {back},{} {back},{}\"/>",
            y - 5,
            y + 5
        );
        // Labels begin at the left end of the gap beside the balancer, wherever the arrow goes on to.
        let x = self.label_start(from, to) + 14;
        let _ = write!(
            out,
            "<text class=\"strong halo\" x=\"{x}\" y=\"{}\">{}</text>",
            y - 8,
            escape(&shortened(&packet.label, MAX_LABEL))
        );
        let room = |other: &str| MAX_ENDS - other.chars().count().min(MAX_ENDS / 2);
        let src = shortened(packet.src, room(packet.dst));
        let dst = shortened(packet.dst, room(packet.src));
        let class = |now: &str, then: Option<&str>| match then {
            Some(then) if then != now => "new",
            _ => "faint",
        };
        if !packet.src.is_empty() {
            let _ = write!(
                out,
                "<text class=\"small halo\" x=\"{x}\" y=\"{}\"><tspan class=\"{}\">{}</tspan>\
                 <tspan class=\"faint\" dx=\"6\">&gt;</tspan><tspan dx=\"6\" class=\"{}\">{}</tspan></text>",
                y + 18,
                class(packet.src, old.map(|old| old.src)),
                escape(&src),
                class(packet.dst, old.map(|old| old.dst)),
                escape(&dst)
            );
        }
    }

    fn label_start(&self, from: usize, to: usize) -> usize {
        let (start, end) = (self.layout.edge(from, to), self.layout.edge(to, from));
        let left = start.min(end);
        // An arrow from the left of a balancer may pass other lifelines before it comes to the gap.
        let between = |n: &usize| *n > from.min(to) && *n < from.max(to);
        let balancer_right = start.max(end) != self.layout.middle(from.max(to));
        if balancer_right {
            let passed = (0..self.layout.lifelines.len()).filter(between);
            return passed.map(|n| self.layout.middle(n)).max().unwrap_or(left);
        }
        left
    }

    fn said(&self, out: &mut String, via: usize, y: usize, said: &[String]) {
        let x = self.layout.middle(via);
        let first = if said.len() > 1 { y.saturating_sub(4) } else { y + 4 };
        for (n, text) in said.iter().take(3).enumerate() {
            let class = if n == 0 { "small strong mid" } else { "small faint mid" };
            let _ = write!(
                out,
                "<text class=\"{class}\" x=\"{x}\" y=\"{}\">{}</text>",
                first + 17 * n,
                escape(&shortened(text, MAX_SAID))
            );
        }
    }

    /// A cross where the packet ended, and why it did.
    fn reason(&self, out: &mut String, to: usize, y: usize, reason: &str) {
        let x = self.layout.middle(to);
        let reason = shortened(reason, MAX_SAID - 5);
        let half = (reason.chars().count() * 4 + 26).min(HALF_WIDE - 4);
        let _ = write!(
            out,
            "<rect class=\"badge\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"26\" rx=\"13\"/>",
            x.saturating_sub(half),
            y - 13,
            2 * half
        );
        cross(out, x.saturating_sub(half) + 16, y, 5);
        let _ = write!(
            out,
            "<text class=\"small strong mid\" x=\"{}\" y=\"{}\">{}</text>",
            x + 9,
            y + 4,
            escape(&reason)
        );
    }
}

fn cross(out: &mut String, x: usize, y: usize, half: usize) {
    let (left, right) = (x.saturating_sub(half), x + half);
    let (top, bottom) = (y.saturating_sub(half), y + half);
    let _ = write!(
        out,
        "<path class=\"cross\" d=\"M{left} {top}L{right} {bottom}M{left} {bottom}L{right} {top}\"/>"
    );
}

/// `tcp 10.1.0.5:40000 > 10.99.0.1:80 S seq=0 ttl=64` as label and ends. What every packet has of the
/// IP header is left to the tooltip.
fn parts(line: &str) -> Parts<'_> {
    let mut words = line.splitn(5, ' ');
    let (protocol, src, arrow, dst) = (words.next(), words.next(), words.next(), words.next());
    let (Some(protocol), Some(src), Some(">"), Some(dst)) = (protocol, src, arrow, dst) else {
        return Parts { label: line.to_owned(), src: "", dst: "" };
    };
    let words = words.next().unwrap_or_default().split(' ');
    let words = words.filter(|word| {
        let key = word.split('=').next().unwrap_or_default();
        !matches!(key, "ttl" | "tos" | "ipid" | "df")
    });
    let label = std::iter::once(protocol).chain(words).collect::<Vec<_>>().join(" ");
    Parts { label, src, dst }
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
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
            lifelines: vec!["client".into(), Lifeline::balancer("balancer"), "backend".into()],
            events: vec![
                event(
                    "0.000000s",
                    Kind::Pass {
                        from: 0,
                        via: 1,
                        to: 2,
                        before: "tcp 10.1.0.5:40000 > 10.99.0.1:80 S seq=0 ttl=64".to_owned(),
                        after: "tcp 10.99.0.250:5000 > 10.2.0.11:8080 S seq=0 ttl=63".to_owned(),
                        said: vec!["round-robin → web/web1".to_owned(), "new flow".to_owned()],
                    },
                ),
                event(
                    "0.000500s",
                    packet(1, 0, "icmp 10.99.0.1 > 10.1.0.5 echo id=7 seq=0 ttl=64"),
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
        assert!(drop.contains("class=\"cross\"") && drop.contains(">no-service<"), "{drop}");
        assert!(!drawn.contains("http://") || drawn.matches("http://").count() == 1, "no requests");
    }

    /// Ends that translation changed are told from those that it left alone.
    #[test]
    fn what_was_rewritten_is_marked() {
        let mut ladder = ladder();
        if let Kind::Pass { after, .. } = &mut ladder.events[0].kind {
            *after = "tcp 10.1.0.5:40000 > 10.2.0.11:8080 S seq=0 ttl=63".to_owned();
        }
        let drawn = ladder.to_svg();
        assert!(drawn.contains("class=\"new\">10.2.0.11:8080</tspan>"), "{drawn}");
        assert!(!drawn.contains("class=\"new\">10.1.0.5:40000</tspan>"), "{drawn}");
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
