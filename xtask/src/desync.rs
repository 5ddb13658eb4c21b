//! `cargo xtask desync`: the cases of another project's tests, through the proxy.

use std::env;
use std::path::Path;
use std::process::Command;

use crate::Exit;

/// Builds and runs `xtask/desync`, a workspace of its own, below the target folder.
pub(crate) fn main() -> Exit {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("desync");
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target").into_os_string(),
        Into::into,
    );
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let status = Command::new(cargo)
        .args(["run", "--quiet", "--locked", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(Path::new(&target).join("desync"))
        .status();
    match status.map(|status| status.code()) {
        Ok(Some(0)) => Exit::Done,
        Ok(Some(1)) => Exit::Failed,
        Ok(None) => Exit::Interrupted,
        Ok(Some(_)) | Err(_) => Exit::CouldNot,
    }
}
