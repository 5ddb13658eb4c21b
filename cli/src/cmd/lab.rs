//! `balun lab`.

mod ask;
mod up;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::check::unreadable;
use crate::args::{LabArgs, LabCommand};
use crate::config::render::{self, Source};
use crate::config::{self, Severity, Written, model};
use crate::console::Console;
use crate::control::directory;
use crate::exit::ExitCode;
use crate::lab::graph;

/// Does what one of the commands of `lab` asks for.
pub(super) fn run(args: &LabArgs, console: &Console) -> std::process::ExitCode {
    let done = match &args.command {
        LabCommand::Up(up) => up::up(args, *up, console),
        LabCommand::Check => up::check(args, console),
        LabCommand::Graph { format } => {
            load(&args.config(), console).map(|file| console.finish_with(&file.draw(*format)))
        }
        LabCommand::Down => ask::down(args, console),
        LabCommand::Ps { format } => ask::ps(args, *format, console),
        LabCommand::Link(link) => ask::link(args, link, console),
        LabCommand::Exec { node, command } => {
            return ask::enter(args, node, command, console).unwrap_or_else(Into::into);
        }
        LabCommand::Shell { node } => {
            let shell = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
            return ask::enter(args, node, &[shell], console).unwrap_or_else(Into::into);
        }
    };
    done.unwrap_or_else(|code| code).into()
}

/// A file that describes a lab.
struct LabFile {
    path: PathBuf,
    written: Arc<Written>,
    lab: model::Lab,
}

impl LabFile {
    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    fn draw(&self, format: graph::Format) -> String {
        graph::draw(&self.written.config, &self.lab, format)
    }
}

/// Reads a lab file; says what is wrong with it.
fn load(path: &Path, console: &Console) -> Result<LabFile, ExitCode> {
    let loaded = config::load(path, true).map_err(|e| unreadable(path, &e, console))?;
    let source = Source { file: &loaded.file, text: &loaded.text };
    if !console.quiet() || loaded.count(Severity::Error) > 0 {
        console.say(&render::text(&source, &loaded.diagnostics, console.color()));
    }
    let Some(written) = loaded.written() else { return Err(ExitCode::Config) };
    let Some(lab) = written.config.lab.clone().filter(|lab| !lab.nodes.is_empty()) else {
        console.error(&format!("`{}` describes no lab", path.display()));
        console.say("help: add `[lab]` with a `name`, and `[[lab.node]]`\n");
        return Err(ExitCode::Config);
    };
    Ok(LabFile { path: path.to_owned(), written: Arc::new(written), lab })
}

/// The control socket of the lab of that name.
fn socket(name: &str) -> PathBuf {
    directory::path().join(format!("lab-{name}.sock"))
}
