//! What is asked of a lab that runs.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{SigSet, Signal};
use serde_json::Value;

use super::socket;
use crate::args::{LabArgs, LabLinkArgs, TableFormat};
use crate::config;
use crate::console::Console;
use crate::control::{CallError, Connection, Request, directory};
use crate::exit::ExitCode;

/// How long a lab may take to go down.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn down(args: &LabArgs, console: &Console) -> Result<ExitCode, ExitCode> {
    let path = find(args, console)?;
    let mut connection = open(&path, console)?;
    ask(&mut connection, &Request::Stop, console)?;
    // It removes its socket when all of it is down.
    let deadline = Instant::now() + PATIENCE;
    while path.exists() {
        if Instant::now() > deadline {
            console.error("the lab was told to end, and has not");
            return Err(ExitCode::CouldNot);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    // It does so too; whoever is here first. A lab in the foreground has none.
    let _ = std::fs::remove_file(path.with_extension("log"));
    Ok(ExitCode::Done)
}

pub(super) fn ps(
    args: &LabArgs,
    format: TableFormat,
    console: &Console,
) -> Result<ExitCode, ExitCode> {
    let mut connection = open(&find(args, console)?, console)?;
    let (answer, _) = ask(&mut connection, &Request::LabPs, console)?;
    Ok(console.finish_with(&match format {
        TableFormat::Json => format!("{answer}\n"),
        TableFormat::Table => table(&answer),
    }))
}

fn table(answer: &Value) -> String {
    let mut out = format!(
        "{:<12} {:<28} {:<10} {:<18} {:>8} {:>8}\n",
        "NODE", "ADDRESS", "STATE", "RUN", "FROM", "TO"
    );
    for node in answer["nodes"].as_array().into_iter().flatten() {
        let text = |key: &str| node[key].as_str().unwrap_or_default().to_owned();
        let addresses: Vec<_> =
            node["addresses"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let _ = writeln!(
            out,
            "{:<12} {:<28} {:<10} {:<18} {:>8} {:>8}  {}",
            text("name"),
            addresses.join(" "),
            text("state"),
            text("run"),
            node["from"].to_string(),
            node["to"].to_string(),
            text("detail"),
        );
    }
    let lines: Vec<_> = out.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

pub(super) fn link(
    args: &LabArgs,
    link: &LabLinkArgs,
    console: &Console,
) -> Result<ExitCode, ExitCode> {
    let set = match link.set.split_first() {
        None => &[],
        Some((verb, changes)) if verb == "set" && !changes.is_empty() => changes,
        Some(_) => {
            console.error("after the node stands nothing, or `set` and changes such as `loss=1%`");
            return Err(ExitCode::Usage);
        }
    };
    let request =
        Request::LabLink { node: link.node.clone(), direction: link.direction, set: set.to_vec() };
    let mut connection = open(&find(args, console)?, console)?;
    let (answer, _) = ask(&mut connection, &request, console)?;
    if link.format == TableFormat::Json {
        return Ok(console.finish_with(&format!("{answer}\n")));
    }
    let mut out = format!("{}  mtu {}\n", link.node, answer["mtu"]);
    for way in ["to", "from"] {
        let one = &answer[way];
        let settings = one["settings"].as_str().filter(|text| !text.is_empty());
        let _ = write!(out, "  {way:<5} {}", settings.unwrap_or("as it is"));
        let counters =
            ["offered", "lost", "queue-full", "duplicated", "reordered", "corrupted", "overflow"];
        for key in counters {
            if one[key] != 0 {
                let _ = write!(out, "  {key} {}", one[key]);
            }
        }
        out.push('\n');
    }
    Ok(console.finish_with(&out))
}

/// Runs a command in a node and ends as it does.
pub(super) fn enter(
    args: &LabArgs,
    node: &str,
    command: &[OsString],
    console: &Console,
) -> Result<std::process::ExitCode, ExitCode> {
    let mut connection = open(&find(args, console)?, console)?;
    let request = Request::LabEnter { node: node.to_owned() };
    let (answer, descriptors) = ask(&mut connection, &request, console)?;
    drop(connection);
    let kinds = answer["namespaces"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for (kind, descriptor) in kinds.zip(descriptors) {
        let flag = match kind {
            "user" => CloneFlags::CLONE_NEWUSER,
            "net" => CloneFlags::CLONE_NEWNET,
            _ => CloneFlags::CLONE_NEWPID,
        };
        setns(descriptor, flag).map_err(|error| {
            console.error(&format!("cannot enter the {kind} namespace of `{node}`: {error}"));
            ExitCode::CouldNot
        })?;
    }
    // A Ctrl-C is for the command: it decides whether it ends, and then so do we.
    let keys = SigSet::from_iter([Signal::SIGINT, Signal::SIGQUIT]);
    let _ = keys.thread_block();
    let status = Command::new("/proc/self/exe").arg("__lab-run").args(command).status();
    let status = status.map_err(|error| {
        console.error(&format!("cannot start a process in `{node}`: {error}"));
        ExitCode::CouldNot
    })?;
    // As a shell says it: 128 and the signal's number.
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    let code = code.and_then(|code| u8::try_from(code).ok());
    Ok(code.unwrap_or(ExitCode::CouldNot.code()).into())
}

fn open(path: &std::path::Path, console: &Console) -> Result<Connection, ExitCode> {
    Connection::open(path).map_err(|error| refused(&error, console))
}

fn ask(
    connection: &mut Connection,
    request: &Request,
    console: &Console,
) -> Result<(Value, Vec<std::os::fd::OwnedFd>), ExitCode> {
    connection.call(request).map_err(|error| refused(&error, console))
}

fn refused(error: &CallError, console: &Console) -> ExitCode {
    console.error(&error.to_string());
    match error {
        CallError::Refused(refusal) => {
            let code = ExitCode::ALL.into_iter().find(|code| code.code() == refusal.exit);
            code.unwrap_or(ExitCode::CouldNot)
        }
        CallError::NotRunning { .. } => {
            console.say("help: `balun lab up` starts it\n");
            ExitCode::CouldNot
        }
        CallError::Io { .. } => ExitCode::CouldNot,
    }
}

/// The socket of the lab that is meant: of the file that was named; of the only one that runs; of the
/// file that commands read if none is named.
fn find(args: &LabArgs, console: &Console) -> Result<PathBuf, ExitCode> {
    let by_file = |path: &std::path::Path| {
        let loaded = config::load(path, false).ok()?;
        let (config, _) = config::parse(&loaded.text);
        config?.lab.map(|lab| socket(&lab.name))
    };
    if let Some(path) = &args.file {
        return by_file(path).ok_or_else(|| {
            console.error(&format!("`{}` names no lab", path.display()));
            ExitCode::Config
        });
    }
    let running = running();
    if let [only] = &running[..] {
        return Ok(only.clone());
    }
    if let Some(path) = by_file(&args.config()) {
        return Ok(path);
    }
    if running.is_empty() {
        console.error("no lab is running");
        console.say("help: `balun lab -f FILE up` starts one\n");
    } else {
        console.error(&format!("{} labs are running: say which with `-f FILE`", running.len()));
    }
    Err(ExitCode::CouldNot)
}

/// Sockets of labs that somebody listens at.
fn running() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory::path()).into_iter().flatten().flatten();
    let named = entries.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("lab-") && name.ends_with(".sock")
    });
    named.filter(|path| std::os::unix::net::UnixStream::connect(path).is_ok()).collect()
}
