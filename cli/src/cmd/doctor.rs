//! `balun doctor`.

use std::io;

use netstack::dev::probe::State;

use crate::args::DoctorArgs;
use crate::console::Console;
use crate::doctor;
use crate::exit::ExitCode;

/// Says what this machine allows.
pub(super) fn run(args: &DoctorArgs, console: &Console) -> ExitCode {
    let mut text = Vec::new();
    let state =
        if args.fix_hints { doctor::fix_hints(&mut text) } else { doctor::examine(&mut text) };
    finish(state, &text, console)
}

/// The part of the child process that tries a user namespace.
pub(super) fn try_rootless(console: &Console) -> ExitCode {
    let mut text = Vec::new();
    let state = doctor::try_rootless(&mut text).map(|()| State::Ok);
    finish(state, &text, console)
}

fn finish(state: io::Result<State>, text: &[u8], console: &Console) -> ExitCode {
    let shown = console.finish_with(&String::from_utf8_lossy(text));
    match state {
        Err(error) => {
            console.error(&error.to_string());
            ExitCode::CouldNot
        }
        Ok(State::Fail) => ExitCode::Environment,
        Ok(_) => shown,
    }
}
