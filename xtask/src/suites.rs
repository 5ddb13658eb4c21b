//! `cargo xtask desync`, `autobahn` and `cache-tests`: other projects' tests, through the proxy.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Exit;

/// Sends the cases of `http_desync_guardian` through the proxy.
pub(crate) fn desync() -> Exit {
    run("desync", &[])
}

/// Runs the Autobahn suite; `arguments` are those after the command's name.
pub(crate) fn autobahn(arguments: &[String]) -> Exit {
    let (mut wstest, mut cases) = ("wstest", "*");
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let place = match argument.as_str() {
            "--wstest" => &mut wstest,
            "--cases" => &mut cases,
            _ => {
                eprintln!("error: unknown option `{argument}`; see `cargo xtask help`");
                return Exit::WrongCommandLine;
            }
        };
        let Some(value) = rest.next() else {
            eprintln!("error: `{argument}` needs a value; see `cargo xtask help`");
            return Exit::WrongCommandLine;
        };
        *place = value;
    }
    let folder = target().join("autobahn").into_os_string();
    run("autobahn", &[wstest.into(), folder, cases.into()])
}

/// Runs http-cache-tests; `arguments` are those after the command's name.
pub(crate) fn cache_tests(arguments: &[String]) -> Exit {
    let (mut suite, mut test) = ("", "");
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let place = match argument.as_str() {
            "--suite" => &mut suite,
            "--test" => &mut test,
            _ => {
                eprintln!("error: unknown option `{argument}`; see `cargo xtask help`");
                return Exit::WrongCommandLine;
            }
        };
        let Some(value) = rest.next() else {
            eprintln!("error: `{argument}` needs a value; see `cargo xtask help`");
            return Exit::WrongCommandLine;
        };
        *place = value;
    }
    let folder = target().join("cache-tests").into_os_string();
    let mut arguments = vec![folder, suite.into()];
    if !test.is_empty() {
        arguments.push(test.into());
    }
    run("cache_tests", &arguments)
}

/// Builds and runs a program of `xtask/suites`, a workspace of its own, below the target folder.
fn run(program: &str, arguments: &[OsString]) -> Exit {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("suites/Cargo.toml");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["run", "--quiet", "--locked", "--bin", program, "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(target().join("suites"))
        .arg("--")
        .args(arguments)
        .status();
    match status.map(|status| status.code()) {
        Ok(Some(0)) => Exit::Done,
        Ok(Some(1)) => Exit::Failed,
        Ok(None) => Exit::Interrupted,
        Ok(Some(_)) | Err(_) => Exit::CouldNot,
    }
}

/// Where cargo builds.
fn target() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    env::var_os("CARGO_TARGET_DIR").map_or(own, PathBuf::from)
}
