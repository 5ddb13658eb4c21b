//! The commands, one file each.

mod cache;
mod capture;
mod check;
mod config;
mod demo;
mod doctor;
mod explain;
mod extcap;
mod lab;
mod replay;
mod run;
mod test;
mod trace;
mod version;

use clap::Parser as _;

use crate::args::{Arguments, Command};
use crate::console::Console;
use crate::exit::ExitCode;

/// Runs the command that the process was started with.
pub fn main() -> std::process::ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return not_parsed(&error).into(),
    };
    // These speak for themselves: what they end with is a command's own.
    match &arguments.command {
        Command::LabInit => return crate::lab::init::main().into(),
        Command::LabRun { command } => return crate::lab::tool::main(command),
        _ => {}
    }
    let console = Console::new(arguments.verbosity);
    console.log();
    if let Command::Lab(args) = &arguments.command {
        return lab::run(args, &console);
    }
    run_command(&arguments.command, &console).into()
}

fn run_command(command: &Command, console: &Console) -> ExitCode {
    match command {
        Command::Run(args) => run::run(args, console),
        Command::Check(args) => check::run(args, console),
        Command::Test(args) => test::run(args, console),
        Command::Cache(args) => cache::run(args, console),
        Command::Capture(args) => capture::run(args, console),
        Command::Extcap(args) => extcap::run(args, console),
        Command::Replay(args) => replay::run(args, console),
        Command::Demo(args) => demo::run(args, console),
        Command::Doctor(args) => doctor::run(args, console),
        Command::Trace(args) => trace::run(args, console),
        Command::Explain(args) => explain::run(args, console),
        Command::Config(command) => config::run(*command, console),
        Command::Version(args) => version::run(*args, console),
        Command::TryRootless => doctor::try_rootless(console),
        Command::Lab(_) | Command::LabInit | Command::LabRun { .. } => ExitCode::Usage,
    }
}

/// Help that was asked for is data and success; the rest is a wrong command line.
fn not_parsed(error: &clap::Error) -> ExitCode {
    // Nobody is left to tell if this cannot be written.
    let _ = error.print();
    if error.use_stderr() { ExitCode::Usage } else { ExitCode::Done }
}
