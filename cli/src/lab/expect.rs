//! The lab's own expectations.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::message::{Ended, How};
use super::node::Node;
use super::world::failure;
use crate::config::model::{Expect, Lab};

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);
/// Lines that are repeated of what a command printed.
const LAST_LINES: usize = 5;

/// Tries each in turn and says how it went; how many do not hold.
pub(super) fn try_all(lab: &Lab, nodes: &[Arc<Node>], out: &mut impl Write) -> io::Result<usize> {
    let mut failed = 0;
    for expect in &lab.expects {
        let start = Instant::now();
        let result = match nodes.iter().find(|node| node.name == expect.node.value) {
            Some(node) => hold(node, expect),
            None => Err(report(expect, "a node of that name", "none", None)),
        };
        let took = start.elapsed().as_secs_f64();
        let word = if result.is_ok() { "ok  " } else { "FAIL" };
        writeln!(out, " {word} {:<48} {took:.1} s", expect.name)?;
        if let Err(why) = result {
            failed += 1;
            out.write_all(why.as_bytes())?;
        }
    }
    let passed = lab.expects.len() - failed;
    for (node, config) in nodes.iter().zip(&lab.nodes) {
        if let Some(why) = failure(node, config) {
            failed += 1;
            writeln!(out, " FAIL {why}")?;
        }
    }
    if failed > 0 {
        write!(out, "{failed} failed, ")?;
    }
    writeln!(out, "{passed} passed")?;
    out.flush()?;
    Ok(failed)
}

/// Tries until it holds or the time is over; then what was wrong with the last try.
fn hold(node: &Node, expect: &Expect) -> Result<(), String> {
    let deadline = Instant::now() + expect.within;
    loop {
        let Err(why) = once(node, expect, deadline) else { return Ok(()) };
        if Instant::now() + PAUSE >= deadline {
            return Err(why);
        }
        thread::sleep(PAUSE);
    }
}

/// One try.
fn once(node: &Node, expect: &Expect, deadline: Instant) -> Result<(), String> {
    let mut counts = vec![0; expect.seen.len()];
    let mut last = None;
    for n in 1..=expect.repeat {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let got =
                format!("only {} of {} runs within {:?}", n - 1, expect.repeat, expect.within);
            return Err(report(expect, "in time", &got, last.as_ref()));
        }
        let ended = node
            .run(&expect.run, left)
            .map_err(|e| report(expect, "a node that answers", &e.to_string(), None))?;
        if ended.how != How::Exit(expect.exit) {
            let wanted = format!("exit code {}", expect.exit);
            return Err(report(expect, &wanted, &ended.how.to_string(), Some(&ended)));
        }
        if let Some(text) = expect.stdout.iter().find(|text| !ended.stdout.contains(*text)) {
            return Err(report(expect, &format!("\"{text}\""), "other output", Some(&ended)));
        }
        for (count, seen) in counts.iter_mut().zip(&expect.seen) {
            *count += u32::from(ended.stdout.contains(&seen.text));
        }
        last = Some(ended);
    }
    for (count, seen) in counts.iter().zip(&expect.seen) {
        if !(seen.least..=seen.most).contains(count) {
            let wanted = match seen.most {
                most if most >= expect.repeat => format!("at least {}", seen.least),
                most => format!("{} to {most}", seen.least),
            };
            let wanted = format!("\"{}\" in {wanted} of {} runs", seen.text, expect.repeat);
            return Err(report(expect, &wanted, &format!("in {count}"), last.as_ref()));
        }
    }
    Ok(())
}

fn report(expect: &Expect, wanted: &str, got: &str, ended: Option<&Ended>) -> String {
    let mut text = format!("      run     {}: {}\n", *expect.node, expect.run.join(" "));
    // A string takes whatever is written to it.
    let _ = writeln!(text, "      expect  {wanted}");
    let _ = writeln!(text, "      got     {got}");
    for line in ended.map(|ended| ended.last_lines(LAST_LINES)).unwrap_or_default() {
        let _ = writeln!(text, "            | {line}");
    }
    text
}
