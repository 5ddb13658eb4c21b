//! `balun run`.

use std::path::Path;
use std::sync::Arc;

use super::check::{count, unreadable};
use crate::args::RunArgs;
use crate::config::render::{self, Source};
use crate::config::{self, Loaded, Severity};
use crate::console::Console;
use crate::exit::ExitCode;
use crate::plan::Plan;
use crate::run::{self, RunError};
use crate::seed;

/// Runs the balancer until it is told to stop.
pub(super) fn run(args: &RunArgs, console: &Console) -> ExitCode {
    let loaded = match config::load(&args.config, true) {
        Ok(loaded) => loaded,
        Err(error) => return unreadable(&args.config, &error, console),
    };
    let source = Source { file: &loaded.file, text: &loaded.text };
    console.say(&render::text(&source, &loaded.diagnostics, console.color()));
    let Some(config) = &loaded.config else { return refused(&loaded, console) };
    if config.lab.is_some() {
        console.error(&format!("`{}` describes a lab", loaded.file));
        console.say(&format!("help: `balun lab -f {} up` brings it up\n", loaded.file));
        return ExitCode::Config;
    }
    let folder = args.config.parent().unwrap_or(Path::new(""));
    let plan = seed::from_system()
        .map_err(|e| format!("cannot read random numbers: {e}"))
        .and_then(|seed| Plan::from_config(config, folder, seed).map_err(|e| e.to_string()));
    let plan = match plan {
        Ok(mut plan) => {
            if let Some(capture) = &mut plan.capture {
                capture.config = config::digest(&loaded.text);
            }
            plan.written = loaded.written().map(Arc::new);
            plan
        }
        Err(error) => {
            console.error(&error);
            return ExitCode::Config;
        }
    };
    if args.dry_run {
        return dry_run(plan, console);
    }
    let configured = config.control.as_ref().and_then(|control| control.socket.as_ref());
    let control = args.control.clone().or_else(|| configured.map(|path| folder.join(path)));
    match run::run(plan, control.as_deref(), &mut console.talker()) {
        Ok(()) => ExitCode::Done,
        Err(error) => {
            console.error(&error.to_string());
            match error {
                RunError::Config(_) => ExitCode::Config,
                error if error.is_environment() => {
                    console.talk("next: `balun doctor` says what this machine allows");
                    ExitCode::Environment
                }
                _ => ExitCode::CouldNot,
            }
        }
    }
}

fn dry_run(plan: Plan, console: &Console) -> ExitCode {
    let mut talker = console.talker();
    // Nobody listening is no reason to stop.
    let _ = run::announce(&mut talker, &plan);
    match plan.assemble() {
        Ok(_) => {
            console.talk("dry run: nothing was opened");
            ExitCode::Done
        }
        Err(error) => {
            console.error(&error.to_string());
            ExitCode::Config
        }
    }
}

fn refused(loaded: &Loaded, console: &Console) -> ExitCode {
    let errors = count(loaded.count(Severity::Error), "error");
    console.talk(&format!("{}: {errors}, nothing was started", loaded.file));
    ExitCode::Config
}
