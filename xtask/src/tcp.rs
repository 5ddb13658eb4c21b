//! The TCP endpoint beside the kernel's, by the rig that lives in `tests/src/rig`.

use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use crate::Exit;

/// Runs what it starts before everything that has no such wish.
const FIRST: [&str; 3] = ["chrt", "-r", "1"];

/// Runs the command; `arguments` are those after its name, which the rig reads.
pub(crate) fn main(arguments: &[String]) -> Exit {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(cargo);
    command.current_dir(own.parent().unwrap_or(own));
    command.args(["run", "--release", "--quiet", "--package", "tests", "--bin", "tcp"]);
    if may_be_first() {
        let words = FIRST.map(|word| format!("{word:?}")).join(", ");
        command.arg("--config").arg(format!("target.'cfg(unix)'.runner = [{words}]"));
    } else {
        eprintln!("warning: the rig runs as one among many, for `chrt -r 1` is not allowed here");
    }
    match command.arg("--").args(arguments).status() {
        Ok(status) => exit_of(status),
        Err(error) => {
            eprintln!("error: cannot start cargo: {error}");
            Exit::CouldNot
        }
    }
}

fn may_be_first() -> bool {
    let [program, rest @ ..] = FIRST;
    let mut command = Command::new(program);
    command.args(rest).arg("true").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn exit_of(status: ExitStatus) -> Exit {
    match status.code() {
        Some(0) => Exit::Done,
        Some(2) => Exit::WrongCommandLine,
        Some(77) => Exit::NotAllowed,
        None => Exit::Interrupted,
        Some(_) => {
            eprintln!("error: the rig did not run to its end: {status}");
            Exit::CouldNot
        }
    }
}
