//! `balun doctor`: what this machine allows, and the cure for what it does not.

use std::io::{self, Write};
use std::process::Command;

use netstack::dev::probe::{self, Probe, State};

/// The hidden argument with which the process calls itself, to try a user namespace in a child: the
/// try moves the whole process.
pub const TRY_ROOTLESS: &str = "__try-rootless";

/// Writes the findings; the worst of them decides what the process returns.
///
/// # Errors
/// The output is closed.
pub fn examine(out: &mut impl Write) -> io::Result<State> {
    let found = probes();
    let usable = found.iter().any(|p| p.name == "rootless" && p.state == State::Ok)
        || found.iter().any(|p| p.name == "offloads");
    for probe in &found {
        write_probe(out, probe)?;
    }
    writeln!(out, " ok    simulation         always available:  balun demo --sim")?;
    let (state, verdict) = if usable {
        (State::Ok, "real TUN devices work here:  balun demo")
    } else {
        (State::Fail, "no TUN devices here; balun can only simulate")
    };
    writeln!(out, "\n{verdict}")?;
    Ok(state)
}

/// Writes only what to do, a line each, for whatever is not as it should be.
///
/// # Errors
/// The output is closed.
pub fn fix_hints(out: &mut impl Write) -> io::Result<State> {
    let found = probes();
    for fix in found.iter().filter_map(|probe| probe.fix.as_ref()) {
        writeln!(out, "{fix}")?;
    }
    Ok(State::Ok)
}

fn probes() -> Vec<Probe> {
    let mut found = probe::all();
    found.extend(rootless());
    found
}

/// The child's part: makes a user namespace and a TUN in it, and says how that went.
///
/// # Errors
/// The output is closed.
pub fn try_rootless(out: &mut impl Write) -> io::Result<()> {
    let probe = probe::try_user_namespace().map_err(io::Error::other)?;
    let state = match probe.state {
        State::Ok => "ok",
        State::Warn | State::Fail => "fail",
    };
    writeln!(out, "{state}\n{}", probe.detail)?;
    for text in [&probe.cause, &probe.fix] {
        writeln!(out, "{}", text.as_deref().unwrap_or_default().replace('\n', " "))?;
    }
    Ok(())
}

fn rootless() -> Option<Probe> {
    let own = std::env::current_exe().ok()?;
    let output = Command::new(own).arg(TRY_ROOTLESS).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = text.lines();
    let state = if lines.next()? == "ok" { State::Ok } else { State::Fail };
    let mut next = || lines.next().filter(|line| !line.is_empty()).map(str::to_owned);
    Some(Probe {
        name: "rootless",
        state,
        detail: next().unwrap_or_default(),
        cause: next(),
        fix: next(),
    })
}

fn write_probe(out: &mut impl Write, probe: &Probe) -> io::Result<()> {
    let state = match probe.state {
        State::Ok => "ok",
        State::Warn => "warn",
        State::Fail => "FAIL",
    };
    writeln!(out, " {state:<5} {:<18} {}", probe.name, probe.detail)?;
    for (label, text) in [("cause:", &probe.cause), ("fix:", &probe.fix)] {
        if let Some(text) = text {
            writeln!(out, " {:<24} {label:<7} {text}", "")?;
        }
    }
    Ok(())
}
