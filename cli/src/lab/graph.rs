//! Pictures of a lab: its nodes, the links to them, the balancer, and its services.

use std::fmt::Write as _;

use super::requests::describe;
use super::world::command;
use crate::config::model::{Config, Lab, Node, NodeLink};

/// Where a picture is to be shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A picture by itself.
    #[default]
    Svg,
    /// For Markdown, as GitHub and others draw it.
    Mermaid,
    /// For Graphviz.
    Dot,
}

/// Draws a lab.
pub fn draw(config: &Config, lab: &Lab, format: Format) -> String {
    let picture = Picture::of(config, lab);
    match format {
        Format::Svg => picture.svg(),
        Format::Mermaid => picture.mermaid(),
        Format::Dot => picture.dot(),
    }
}

/// What the link to a node does, in a few words.
pub(super) fn link_text(link: &NodeLink) -> String {
    let (to, from) = (describe(&link.settings.to), describe(&link.settings.from));
    let mut text = match (to.as_str(), from.as_str()) {
        (to, from) if to == from => to.to_owned(),
        (to, "") => format!("to: {to}"),
        ("", from) => format!("from: {from}"),
        (to, from) => format!("to: {to}; from: {from}"),
    };
    if let Some(mtu) = &link.mtu {
        let space = if text.is_empty() { "" } else { " " };
        let _ = write!(text, "{space}mtu={}", mtu.value);
    }
    text
}

/// A box with lines of text, the first its name.
struct Box {
    lines: Vec<String>,
    link: String,
}

struct Picture {
    lab: String,
    /// Nodes that are no backends.
    left: Vec<Box>,
    balancer: Vec<String>,
    /// Backends.
    right: Vec<Box>,
}

impl Picture {
    fn of(config: &Config, lab: &Lab) -> Self {
        let is_backend = |node: &&Node| {
            let mut backends = config.pools.iter().flat_map(|pool| &pool.backends);
            backends.any(|backend| node.ips().any(|ip| ip == backend.address.ip()))
        };
        let of = |node: &Node| {
            let mut lines = vec![node.name.value.clone()];
            lines.extend(node.addresses.iter().map(|address| address.to_string()));
            lines.extend(Some(command(node)).filter(|run| !run.is_empty()));
            Box { lines, link: lab.link_to(node).map(link_text).unwrap_or_default() }
        };
        let (right, left): (Vec<_>, Vec<_>) = lab.nodes.iter().partition(is_backend);
        let mut balancer = vec!["balun".to_owned()];
        for service in &config.services {
            for listen in &service.listens {
                balancer.push(format!(
                    "{} {} {}",
                    *service.name,
                    listen.value,
                    service.mode.name()
                ));
            }
        }
        Self {
            lab: lab.name.value.clone(),
            left: left.into_iter().map(of).collect(),
            balancer,
            right: right.into_iter().map(of).collect(),
        }
    }

    fn mermaid(&self) -> String {
        // A quotation mark would end the text.
        let text = |lines: &[String]| lines.join("<br>").replace('"', "#quot;");
        let mut out = format!("---\ntitle: {}\n---\nflowchart LR\n", self.lab);
        let _ = writeln!(out, "  balun{{{{\"{}\"}}}}", text(&self.balancer));
        for (side, boxes) in [("l", &self.left), ("r", &self.right)] {
            for (i, one) in boxes.iter().enumerate() {
                let _ = writeln!(out, "  {side}{i}[\"{}\"]", text(&one.lines));
                let label =
                    if one.link.is_empty() { String::new() } else { format!("|\"{}\"|", one.link) };
                let _ = match side {
                    "l" => writeln!(out, "  l{i} ---{label} balun"),
                    _ => writeln!(out, "  balun ---{label} r{i}"),
                };
            }
        }
        out
    }

    fn dot(&self) -> String {
        let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let text = |lines: &[String]| {
            lines.iter().map(|line| escape(line)).collect::<Vec<_>>().join("\\n")
        };
        let mut out = format!("graph \"{}\" {{\n  rankdir=LR;\n  node [shape=box];\n", self.lab);
        let _ = writeln!(out, "  balun [shape=hexagon, label=\"{}\"];", text(&self.balancer));
        for (side, boxes) in [("l", &self.left), ("r", &self.right)] {
            for (i, one) in boxes.iter().enumerate() {
                let _ = writeln!(out, "  {side}{i} [label=\"{}\"];", text(&one.lines));
                let (a, b) = if side == "l" {
                    (format!("l{i}"), "balun".to_owned())
                } else {
                    ("balun".to_owned(), format!("r{i}"))
                };
                let _ = writeln!(out, "  {a} -- {b} [label=\"{}\"];", escape(&one.link));
            }
        }
        out.push_str("}\n");
        out
    }

    fn svg(&self) -> String {
        let column = |boxes: &[Box]| boxes.iter().map(|b| height(b.lines.len()) + GAP).sum::<u32>();
        let middle = height(self.balancer.len());
        let tall = column(&self.left).max(column(&self.right)).max(middle + GAP) + GAP;
        let width = |lines: &[String]| {
            lines.iter().map(|line| line.chars().count() as u32).max().unwrap_or(0) * CHAR + 2 * PAD
        };
        let widest = |boxes: &[Box]| boxes.iter().map(|b| width(&b.lines)).max().unwrap_or(0);
        let label = |boxes: &[Box]| {
            boxes.iter().map(|b| b.link.chars().count() as u32).max().unwrap_or(0) * CHAR + 4 * PAD
        };
        let (left, center, right) =
            (widest(&self.left), width(&self.balancer), widest(&self.right));
        let center_x = GAP + left + label(&self.left);
        let right_x = center_x + center + label(&self.right);
        let total = right_x + right + GAP;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{total}\" height=\"{tall}\" \
             viewBox=\"0 0 {total} {tall}\" font-family=\"monospace\" font-size=\"12\">\n\
             <title>{}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
            escape(&self.lab)
        );
        let heart = tall / 2;
        for (boxes, x, wide, from) in [
            (&self.left, GAP, left, (center_x, -1)),
            (&self.right, right_x, right, (center_x + center, 1)),
        ] {
            let mut y = (tall - column(boxes)) / 2 + GAP / 2;
            for one in boxes {
                let high = height(one.lines.len());
                let (end, side) = from;
                let begin = if side < 0 { x + wide } else { x };
                let at = y + high / 2;
                let _ = writeln!(
                    out,
                    "<line x1=\"{begin}\" y1=\"{at}\" x2=\"{end}\" y2=\"{heart}\" stroke=\"#555\"/>"
                );
                let anchor = if side < 0 { "start" } else { "end" };
                let text_x = if side < 0 { begin + PAD } else { begin - PAD };
                let _ = writeln!(
                    out,
                    "<text x=\"{text_x}\" y=\"{}\" text-anchor=\"{anchor}\" fill=\"#b00\">{}</text>",
                    at - 6,
                    escape(&one.link)
                );
                frame(&mut out, (x, y), (wide, high), &one.lines, "#eef");
                y += high + GAP;
            }
        }
        frame(&mut out, (center_x, heart - middle / 2), (center, middle), &self.balancer, "#dfd");
        out.push_str("</svg>\n");
        out
    }
}

/// Measures of the picture, in pixels.
const CHAR: u32 = 8;
const LINE: u32 = 16;
const PAD: u32 = 10;
const GAP: u32 = 24;

const fn height(lines: usize) -> u32 {
    lines as u32 * LINE + PAD
}

fn frame(
    out: &mut String,
    (x, y): (u32, u32),
    (wide, high): (u32, u32),
    lines: &[String],
    fill: &str,
) {
    let _ = writeln!(
        out,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"{high}\" rx=\"4\" fill=\"{fill}\" stroke=\"#333\"/>"
    );
    for (i, line) in lines.iter().enumerate() {
        let weight = if i == 0 { " font-weight=\"bold\"" } else { "" };
        let (x, y) = (x + PAD, y + (i as u32 + 1) * LINE);
        let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\"{weight}>{}</text>", escape(line));
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    const LAB: &str = r#"
        version = 1
        [lab]
        name = "small"
        [[lab.node]]
        name = "client"
        address = "10.1.0.5/24"
        run = "echo '<\"&>'"
        [[lab.node]]
        name = "web"
        address = "10.2.0.11/24"
        run = "builtin:http"
        [[lab.link]]
        node = "client"
        delay = "10ms"
        from = { loss = "0.5%" }
        [pool.web]
        backend = [{ name = "web", address = "10.2.0.11:80" }]
        [[service]]
        name = "site"
        listen = "tcp 10.99.0.1:80"
        mode = "nat"
        pool = "web"
    "#;

    fn picture(format: Format) -> String {
        let (config, found) = parse(LAB);
        assert!(found.is_empty(), "{found:?}");
        let config = config.unwrap();
        let lab = config.lab.clone().unwrap();
        draw(&config, &lab, format)
    }

    #[test]
    fn mermaid_and_dot_name_nodes_links_and_services() {
        let link = "to: delay=10ms; from: delay=10ms loss=0.5%";
        let mermaid = picture(Format::Mermaid);
        assert!(mermaid.contains(&format!("  l0 ---|\"{link}\"| balun\n")), "{mermaid}");
        assert!(mermaid.contains("  balun --- r0\n"), "{mermaid}");
        assert!(mermaid.contains("site tcp 10.99.0.1:80 nat"), "{mermaid}");
        let dot = picture(Format::Dot);
        assert!(dot.contains(&format!("  l0 -- balun [label=\"{link}\"];")), "{dot}");
        assert!(dot.contains(r#"echo '<\"&>'"#), "{dot}");
    }

    #[test]
    fn svg_is_well_formed() {
        let svg = picture(Format::Svg);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("echo '&lt;&quot;&amp;&gt;'"), "{svg}");
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
        assert_eq!(svg.matches("<rect").count(), 4, "three boxes and the ground");
    }
}
