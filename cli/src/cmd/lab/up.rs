//! `balun lab up` and `check`.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::{LabFile, load, socket};
use crate::args::{LabArgs, LabUpArgs};
use crate::console::Console;
use crate::control::{Connection, directory};
use crate::exit::ExitCode;
use crate::lab::{self, LabError, Options, Outcome};
use crate::plan::Plan;
use crate::seed;

/// What a lab in the background says to whoever started it, when it is up.
const READY: &str = "ready";

pub(super) fn up(args: &LabArgs, up: LabUpArgs, console: &Console) -> Result<ExitCode, ExitCode> {
    let file = load(&args.config(), console)?;
    let folder = directory::path();
    directory::make(&folder).map_err(|error| {
        console.error(&format!("cannot keep a control socket in `{}`: {error}", folder.display()));
        ExitCode::CouldNot
    })?;
    if up.detach {
        return detach(&file, console);
    }
    if up.report {
        // What is typed at the terminal later is not for it. It leads no group, so that this succeeds.
        let _ = nix::unistd::setsid();
    }
    // Asked for now: in a user namespace this user has another number.
    let (socket, log) = (socket(&file.lab.name), log(&file));
    let plan = plan(&file, console)?;
    let options = Options { folder: file.folder(), socket: Some(&socket), check: false };
    let first = file.lab.nodes.first().map_or("", |node| node.name.value.as_str());
    let ready = || {
        console.talk(&format!(
            "try:  balun lab exec {first} -- builtin:get http://ADDRESS/   balun lab ps   balun lab down"
        ));
        if up.report {
            // Whoever started this waits for the line; if it is gone, nobody does.
            let mut out = std::io::stdout();
            let _ = writeln!(out, "{READY}").and_then(|()| out.flush());
        }
    };
    let streams = (std::io::sink(), &mut console.talker());
    let outcome = lab::up(&file.written.config, &file.lab, plan, options, streams, ready);
    if up.report && outcome.is_ok() {
        // Of a lab that failed it stays, to be read.
        let _ = std::fs::remove_file(log);
    }
    outcome.map(|_| ExitCode::Done).map_err(|error| failed(&error, console))
}

pub(super) fn check(args: &LabArgs, console: &Console) -> Result<ExitCode, ExitCode> {
    let file = load(&args.config(), console)?;
    if file.lab.expects.is_empty() {
        console
            .error(&format!("lab `{}` expects nothing: there is nothing to check", *file.lab.name));
        console.say("help: add `[[lab.expect]]` with a `name`, a `node` and what to `run`\n");
        return Err(ExitCode::Config);
    }
    let plan = plan(&file, console)?;
    let options = Options { folder: file.folder(), socket: None, check: true };
    let streams = (std::io::stdout(), &mut console.talker());
    match lab::up(&file.written.config, &file.lab, plan, options, streams, || {}) {
        Ok(Outcome::Checked { failed: 0 } | Outcome::Stopped) => Ok(ExitCode::Done),
        Ok(Outcome::Checked { .. }) => Ok(ExitCode::No),
        Ok(Outcome::Interrupted) => Ok(ExitCode::Interrupted),
        Err(error) => Err(failed(&error, console)),
    }
}

fn plan(file: &LabFile, console: &Console) -> Result<Plan, ExitCode> {
    let seed = seed::from_system().map_err(|e| {
        console.error(&format!("cannot read random numbers: {e}"));
        ExitCode::CouldNot
    })?;
    let plan = Plan::from_config(&file.written.config, file.folder(), seed);
    let mut plan = plan.map_err(|e| {
        console.error(&e.to_string());
        ExitCode::Config
    })?;
    plan.written = Some(Arc::clone(&file.written));
    Ok(plan)
}

fn failed(error: &LabError, console: &Console) -> ExitCode {
    console.error(&error.to_string());
    match error {
        LabError::Config(_) => ExitCode::Config,
        error if error.is_environment() => {
            console.talk("next: `balun doctor` says what this machine allows");
            ExitCode::Environment
        }
        _ => ExitCode::CouldNot,
    }
}

/// What a lab in the background says.
fn log(file: &LabFile) -> PathBuf {
    socket(&file.lab.name).with_extension("log")
}

/// Starts the lab in the background and waits until it is up.
fn detach(file: &LabFile, console: &Console) -> Result<ExitCode, ExitCode> {
    let cannot = |what: &str, error: &std::io::Error| {
        console.error(&format!("cannot {what}: {error}"));
        ExitCode::CouldNot
    };
    if Connection::open(&socket(&file.lab.name)).is_ok() {
        console.error(&format!("lab `{}` is up already", *file.lab.name));
        console.say("help: `balun lab down` ends it\n");
        return Err(ExitCode::CouldNot);
    }
    let log = log(file);
    let stderr = File::create(&log)
        .map_err(|e| cannot(&format!("write the log `{}`", log.display()), &e))?;
    let mut child = Command::new("/proc/self/exe")
        .args(["lab", "--file"])
        .arg(&file.path)
        .args(["up", "--report"])
        // It would send itself to the background in its turn.
        .env_remove("BALUN_DETACH")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .map_err(|e| cannot("start the lab", &e))?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        // Nothing is said by one that fails: its end is waited for below.
        let _ = BufReader::new(stdout).read_line(&mut line);
    }
    let said = std::fs::read_to_string(&log).unwrap_or_default();
    console.say(&said);
    if line.trim_end() == READY {
        console
            .talk(&format!("in the background, log {}; `balun lab down` ends it", log.display()));
        return Ok(ExitCode::Done);
    }
    let status = child.wait().map_err(|e| cannot("wait for the lab", &e))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    let known = ExitCode::ALL.into_iter().find(|known| Some(known.code()) == code);
    Err(known.filter(|code| *code != ExitCode::Done).unwrap_or(ExitCode::CouldNot))
}
