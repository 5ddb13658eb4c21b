//! Drawings of the [table](super::ROWS).

use std::fmt::Write;

use super::{Event, ROWS, TcpState, Timer};
use crate::flow::Direction;

/// Where a flow begins, and by what.
const FIRST: [(TcpState, &str); 3] = [
    (TcpState::SynSent, "client SYN"),
    (TcpState::PickedUp, "picked up from client"),
    (TcpState::Established, "picked up from backend"),
];

/// The state machine in Graphviz' DOT: an edge a pair of states, labelled with every segment that
/// leads along it.
pub fn dot() -> String {
    let mut out = String::from(
        "// Made from nat::flow::tcp::ROWS: BALUN_BLESS=1 cargo test -p tests --test tcp_states\n\
         digraph tcp {\n    rankdir=LR;\n    node [shape=box, style=rounded];\n    \
         start [shape=point];\n",
    );
    for state in TcpState::ALL {
        let (name, timer) = (state.name(), state.timer().name());
        // Writing to a string does not fail.
        let _ = writeln!(out, "    \"{name}\" [label=\"{name}\\n{timer}\"];");
    }
    for (first, label) in FIRST {
        let _ = writeln!(out, "    start -> \"{}\" [label=\"{label}\"];", first.name());
    }
    for (from, to, label) in edges() {
        let (from, to, label) = (from.name(), to.name(), label.join("\\n"));
        let _ = writeln!(out, "    \"{from}\" -> \"{to}\" [label=\"{label}\"];");
    }
    out + "}\n"
}

/// The state machine in Mermaid, with what each state's timer is.
pub fn mermaid() -> String {
    let mut out = String::from("stateDiagram-v2\n");
    let id = |state: TcpState| state.name().replace('-', "_");
    for state in TcpState::ALL {
        let _ = writeln!(out, "    state \"{}\" as {}", state.name(), id(state));
    }
    for (first, label) in FIRST {
        let _ = writeln!(out, "    [*] --> {}: {label}", id(first));
    }
    for (from, to, label) in edges() {
        let _ = writeln!(out, "    {} --> {}: {}", id(from), id(to), label.join(", "));
    }
    for timer in [Timer::HalfOpen, Timer::Established, Timer::Closing] {
        for state in TcpState::ALL.into_iter().filter(|state| state.timer() == timer) {
            let _ = writeln!(out, "    {} --> [*]: {}", id(state), timer.name());
        }
    }
    out
}

/// Each pair of states that lines lead between, in the table's order, with the segments that do.
fn edges() -> Vec<(TcpState, TcpState, Vec<String>)> {
    let mut edges: Vec<(TcpState, TcpState, Vec<String>)> = Vec::new();
    for row in ROWS {
        let label = match (row.direction, row.event) {
            (_, Event::Restart) => row.event.name().to_owned(),
            (Direction::Forward, event) => format!("client {}", event.name()),
            (Direction::Reverse, event) => format!("backend {}", event.name()),
        };
        match edges.iter_mut().find(|(from, to, _)| (*from, *to) == (row.from, row.to)) {
            Some((_, _, labels)) => labels.push(label),
            None => edges.push((row.from, row.to, vec![label])),
        }
    }
    edges
}
