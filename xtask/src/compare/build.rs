//! The binary under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::Failure;
use super::children::{Child, Errors, Scratch};

/// A build from nothing on a slow machine.
const LIMIT: Duration = Duration::from_hours(1);

/// Builds balun for release; the inner error says why there is none.
///
/// cargo itself says where the binary is, so that every way to choose a target directory works.
pub(super) fn balun(scratch: &Scratch) -> Result<Result<PathBuf, String>, Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(cargo);
    command.current_dir(own.parent().unwrap_or(own));
    command.args(["build", "--release", "--package", "balun", "--bin", "balun"]);
    command.args(["--message-format", "json-render-diagnostics"]);
    match Child::start(scratch, command, Errors::Shown)?.finish(LIMIT) {
        Ok((status, output)) if status.success() => {
            Ok(executable(&output).ok_or_else(|| "cargo built no binary of that name".to_owned()))
        }
        Ok((status, _)) => Ok(Err(format!("cargo build failed, {status}"))),
        Err(Failure::Because(reason)) => Ok(Err(reason)),
        Err(Failure::Interrupted) => Err(Failure::Interrupted),
    }
}

/// The path of balun in cargo's messages, one JSON object a line.
fn executable(messages: &str) -> Option<PathBuf> {
    messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_balun = message.pointer("/target/name")? == "balun";
        let path = message.get("executable")?.as_str()?;
        is_balun.then(|| PathBuf::from(path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_is_found_among_cargos_messages() {
        let messages = r#"
not json
{"reason":"compiler-artifact","target":{"name":"l7","kind":["lib"]},"executable":null}
{"reason":"compiler-artifact","target":{"name":"balun","kind":["lib"]},"executable":null}
{"reason":"compiler-artifact","target":{"name":"other","kind":["bin"]},"executable":"/t/other"}
{"reason":"compiler-artifact","target":{"name":"balun","kind":["bin"]},"executable":"/t/balun"}
{"reason":"build-finished","success":true}
"#;
        assert_eq!(executable(messages), Some(PathBuf::from("/t/balun")));
        assert_eq!(executable(""), None);
    }
}
