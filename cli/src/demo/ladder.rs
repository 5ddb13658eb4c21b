//! Which demo this machine can show: the best rung that it allows, and a word on which and why.

use std::io::Write;
use std::path::Path;

use netstack::dev::enter_user_namespace;
use netstack::dev::probe::{self, State};

use super::options::Options;
use super::report::Outcome;
use super::{DemoError, real, simulated};

/// Shows the demo on the best rung of the ladder: private namespaces as root; the same in a user
/// namespace; simulated. `sim` asks for the last at once. Must be called before the process starts a
/// thread. Every packet is written to the capture `record`, if there is one. What it does is said on `talk`, the demo itself on `out`.
///
/// # Errors
/// [`DemoError::Environment`] only if `options` ask for a demo to hold on to, which cannot be
/// simulated.
pub fn show(
    options: Options,
    sim: bool,
    record: Option<&Path>,
    out: &mut impl Write,
    talk: &mut impl Write,
) -> Result<Outcome, DemoError> {
    if sim {
        return simulate(options, record, "in memory, as asked", out, talk);
    }
    match climb() {
        Ok(rung) => {
            say(talk, &format!("demo: real TUN devices in private namespaces, {rung}"));
            match real::run(options, record, out) {
                Err(DemoError::Environment(why)) => fall_back(options, record, &why, out, talk),
                result => result,
            }
        }
        Err(why) => fall_back(options, record, &why, out, talk),
    }
}

/// Gets hold of the rights to make namespaces and devices; says how.
pub(crate) fn climb() -> Result<&'static str, String> {
    let node = probe::tun_node();
    if node.state == State::Fail {
        return Err(text(&node));
    }
    if probe::capabilities().state == State::Ok {
        return Ok("with the rights of this process");
    }
    enter_user_namespace().map(|()| "rootless (user namespace)").map_err(|e| e.to_string())
}

fn fall_back(
    options: Options,
    record: Option<&Path>,
    why: &str,
    out: &mut impl Write,
    talk: &mut impl Write,
) -> Result<Outcome, DemoError> {
    if options.hold {
        return Err(DemoError::Environment(why.to_owned()));
    }
    say(talk, &format!("demo: no TUN devices here\n{why}"));
    simulate(options, record, "in memory instead", out, talk)
}

fn simulate(
    options: Options,
    record: Option<&Path>,
    how: &str,
    out: &mut impl Write,
    talk: &mut impl Write,
) -> Result<Outcome, DemoError> {
    say(talk, &format!("demo: simulated, {how}; seed {}", options.seed));
    simulated::run(options, record, out)
}

fn text(probe: &probe::Probe) -> String {
    let more = [("cause", &probe.cause), ("fix", &probe.fix)]
        .into_iter()
        .filter_map(|(label, text)| Some(format!("\n{label}: {}", text.as_ref()?)));
    format!("{}: {}{}", probe.name, probe.detail, more.collect::<String>())
}

fn say(talk: &mut impl Write, text: &str) {
    // Nobody listening is no reason to stop.
    let _ = writeln!(talk, "{text}");
}
