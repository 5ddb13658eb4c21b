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
    let (errors, warnings) = (loaded.count(Severity::Error), loaded.count(Severity::Warning));
    let failed = errors > 0 || (args.deny_warnings && warnings > 0);
    let source = Source { file: &loaded.file, text: &loaded.text };
    let shown = match args.format {
        // A warning that changes nothing is talk, which `-q` silences.
        CheckFormat::Text if failed || !console.quiet() => {
            console.say(&render::text(&source, &loaded.diagnostics, console.color()));
            ExitCode::Done
        }
        CheckFormat::Text => ExitCode::Done,
        CheckFormat::Json => console.finish_with(&render::json(&source, &loaded.diagnostics)),
        CheckFormat::Github => console.finish_with(&render::github(&source, &loaded.diagnostics)),
    };
    console.talk(&format!("{}: {}", loaded.file, summary(&loaded, errors, warnings, failed)));
    if failed { ExitCode::Config } else { shown }
}

/// "ok, 2 services, 3 pools, 1 warning".
fn summary(loaded: &Loaded, errors: usize, warnings: usize, failed: bool) -> String {
    let mut parts = Vec::new();
    if let Some(config) = loaded.config.as_ref().filter(|_| !failed) {
        parts.push("ok".to_owned());
        parts.push(count(config.services.len(), "service"));
        parts.push(count(config.pools.len(), "pool"));
    }
    if errors > 0 {
        parts.push(count(errors, "error"));
    }
    if warnings > 0 {
        parts.push(count(warnings, "warning"));
    }
    if failed && errors == 0 {
        parts.push("and warnings are denied".to_owned());
    }
    parts.join(", ")
}

/// Says why a file cannot be read, and what to do.
pub(super) fn unreadable(path: &Path, error: &std::io::Error, console: &Console) -> ExitCode {
    console.error(&format!("cannot read `{}`: {error}", path.display()));
    if error.kind() == std::io::ErrorKind::NotFound {
        console.say("help: `balun config default > balun.toml` makes one to begin with\n");
    }
    ExitCode::CouldNot
}

/// A number and its noun.
pub(super) fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}
