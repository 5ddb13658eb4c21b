//! `balun check`.

use std::path::Path;

use crate::args::{CheckArgs, CheckFormat};
use crate::config::render::{self, Source};
use crate::config::{self, Loaded, Severity};
use crate::console::Console;
use crate::exit::ExitCode;

/// Checks each file; the worst of them decides how the command ends.
pub(super) fn run(args: &CheckArgs, console: &Console) -> ExitCode {
    let mut worst = ExitCode::Done;
    for path in &args.files {
        let code = check(path, args, console);
        if code.code() > worst.code() {
            worst = code;
        }
    }
    worst
}

fn check(path: &Path, args: &CheckArgs, console: &Console) -> ExitCode {
    let loaded = match config::load(path, !args.no_environment) {
        Ok(loaded) => loaded,
        Err(error) => return unreadable(path, &error, console),
    };
    if show(&loaded, args.format, console).is_err() {
        return ExitCode::CouldNot;
    }
    let (errors, warnings) = (loaded.count(Severity::Error), loaded.count(Severity::Warning));
    let failed = errors > 0 || (args.deny_warnings && warnings > 0);
    let result = match &loaded.config {
        Some(config) if !failed => {
            let services = count(config.services.len(), "service");
            format!("ok, {services}, {}", count(config.pools.len(), "pool"))
        }
        _ if errors > 0 => count(errors, "error"),
        _ => "warnings are denied".to_owned(),
    };
    let more =
        if warnings > 0 { format!(", {}", count(warnings, "warning")) } else { String::new() };
    console.talk(&format!("{}: {result}{more}", loaded.file));
    if failed { ExitCode::Config } else { ExitCode::Done }
}

/// Shows what was found. With `-q` warnings that do not matter are silent too.
fn show(loaded: &Loaded, format: CheckFormat, console: &Console) -> std::io::Result<()> {
    let source = Source { file: &loaded.file, text: &loaded.text };
    match format {
        CheckFormat::Text => {
            console.say(&render::text(&source, &loaded.diagnostics, console.color()));
            Ok(())
        }
        CheckFormat::Json => console.data(&render::json(&source, &loaded.diagnostics)),
        CheckFormat::Github => console.data(&render::github(&source, &loaded.diagnostics)),
    }
}

/// Says why a file cannot be read, and what to do.
pub(super) fn unreadable(path: &Path, error: &std::io::Error, console: &Console) -> ExitCode {
    console.error(&format!("cannot read `{}`: {error}", path.display()));
    if error.kind() == std::io::ErrorKind::NotFound {
        console.say("help: `balun config default > balun.toml` makes one to begin with\n");
    }
    ExitCode::CouldNot
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}
