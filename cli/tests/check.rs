//! `balun check`, `explain`, `config` and `version` as a user meets them.
//!
//! Each `diagnostics/*.toml` is checked, and what is said must equal the `.stderr` beside it. After a
//! change on purpose, `BALUN_BLESS=1 cargo test -p balun --test check` writes them anew.

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use balun::config::{Code, Severity};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

fn balun(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_balun"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BALUN_") {
            command.env_remove(name);
        }
    }
    command.current_dir(folder).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn examples() -> PathBuf {
    Path::new(HERE).join("../examples")
}

fn diagnostics() -> PathBuf {
    Path::new(HERE).join("tests/diagnostics")
}

/// The file names of all cases, in order.
fn cases() -> Vec<String> {
    let entries = fs::read_dir(diagnostics()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let is_case = |name: &String| Path::new(name).extension().is_some_and(|end| end == "toml");
    let cases: BTreeSet<_> = names.filter(is_case).collect();
    cases.into_iter().collect()
}

/// What is said about each case, asked for once: tests run at the same time, and must not depend on golden
/// files that one of them may be writing.
fn outputs() -> &'static BTreeMap<String, Output> {
    static OUTPUTS: LazyLock<BTreeMap<String, Output>> = LazyLock::new(|| {
        let said = |case: String| {
            let output = balun(&diagnostics(), &["check", &case]);
            (case, output)
        };
        cases().into_iter().map(said).collect()
    });
    &OUTPUTS
}

/// Compares with a golden file, or writes it.
fn same(golden: &Path, said: &str, wrong: &mut Vec<String>) {
    if std::env::var_os("BALUN_BLESS").is_some() {
        fs::write(golden, said).unwrap();
        return;
    }
    let expected = fs::read_to_string(golden).unwrap_or_default();
    if expected != said {
        let name = golden.display();
        wrong.push(format!("{name}\n--- expected\n{expected}\n--- said\n{said}"));
    }
}

#[test]
fn every_mistake_is_explained_as_agreed() {
    let mut wrong = Vec::new();
    for (case, output) in outputs() {
        let golden = diagnostics().join(case.replace(".toml", ".stderr"));
        same(&golden, stderr(output), &mut wrong);
        assert_eq!(stdout(output), "", "{case}: talk goes to the standard error stream");
        let fails = stderr(output).contains("error[");
        assert_eq!(output.status.code(), Some(if fails { 78 } else { 0 }), "{case}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_code_has_a_case_of_its_name() {
    // An event is of a script, not of a configuration: `replay.rs` shows what is said of one.
    for code in Code::ALL.iter().filter(|code| **code != Code::BadEvent) {
        let prefix = code.as_str().to_lowercase();
        let is_mine = |case: &str| case.starts_with(&prefix);
        let mine: Vec<_> = outputs().iter().filter(|(case, _)| is_mine(case)).collect();
        assert!(!mine.is_empty(), "{code} has no case");
        for (case, output) in mine {
            let shown = format!("{}[{code}]: ", code.severity().name());
            assert!(stderr(output).contains(&shown), "{case} does not show {shown}");
        }
    }
}

#[test]
fn every_diagnostic_has_one_help_and_names_its_page() {
    for (case, output) in outputs() {
        for diagnostic in stderr(output).split("\n\n").filter(|part| part.contains("-->")) {
            assert_eq!(diagnostic.matches("\nhelp: ").count(), 1, "{case}:\n{diagnostic}");
            let code = diagnostic.split(['[', ']']).nth(1).unwrap();
            assert!(diagnostic.ends_with(&format!(" = balun explain {code}")), "{diagnostic}");
            let title = diagnostic.lines().next().unwrap();
            assert!(!title.ends_with('.'), "{title}");
        }
    }
}

/// The list of what the format has and this version does not do.
#[test]
fn the_reference_fails_for_what_is_not_supported_alone() {
    let output =
        balun(&examples(), &["check", "--no-environment", "reference.toml", "--format=json"]);
    assert_eq!(output.status.code(), Some(78));
    let titles = stdout(&output).lines().map(|line| {
        assert!(line.starts_with(r#"{"code":"E0901","#), "{line}");
        let title = line.split(r#""title":""#).nth(1).unwrap();
        title.split(r#"","file""#).next().unwrap().replace('\\', "")
    });
    let said: String = titles.map(|title| title + "\n").collect();
    let mut wrong = Vec::new();
    same(&Path::new(HERE).join("tests/reference.not-yet"), &said, &mut wrong);
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_sample_is_valid_and_printed_by_config_default() {
    let arguments = ["check", "--no-environment", "--deny-warnings"];
    let output = balun(&examples(), &arguments);
    assert_eq!(stderr(&output), "balun.toml: ok, 5 services, 2 pools\n");
    assert_eq!(output.status.code(), Some(0));
    let printed = balun(&examples(), &["config", "default"]);
    assert_eq!(printed.stdout, fs::read(examples().join("balun.toml")).unwrap());
}

#[test]
fn files_are_looked_for_beside_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("etc")).unwrap();
    fs::copy(examples().join("balun.toml"), folder.path().join("etc/balun.toml")).unwrap();
    let output = balun(folder.path(), &["check", "etc/balun.toml"]);
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(stderr(&output).matches("error[E0401]").count(), 2, "{}", stderr(&output));
    for file in ["site.pem", "site.key"] {
        fs::write(folder.path().join("etc").join(file), "x").unwrap();
    }
    let output = balun(folder.path(), &["check", "etc/balun.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn warnings_fail_only_when_denied() {
    let case = "w0002_unused.toml";
    let output = balun(&diagnostics(), &["check", case]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stderr(&output).ends_with(": ok, 1 service, 2 pools, 1 warning\n"));
    let output = balun(&diagnostics(), &["check", case, "--deny-warnings"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).ends_with(": 1 warning, and warnings are denied\n"));
}

#[test]
fn several_files_are_checked_and_the_worst_decides() {
    let good = "w0002_unused.toml";
    let output = balun(&diagnostics(), &["check", good, "no-such-file.toml"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("cannot read `no-such-file.toml`"));
    let files = ["check", "no-such-file.toml", "e0301_no_leg.toml", good];
    let output = balun(&diagnostics(), &files);
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).contains("w0002_unused.toml: ok"));
}

#[test]
fn the_default_file_is_balun_toml_here() {
    let folder = tempfile::tempdir().unwrap();
    let output = balun(folder.path(), &["check"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("cannot read `balun.toml`"), "{}", stderr(&output));
}

#[test]
fn forms_for_programs_go_to_the_standard_output() {
    let case = "e0304_undefined.toml";
    let output = balun(&diagnostics(), &["check", "--format", "github", case]);
    assert_eq!(output.status.code(), Some(78));
    let first = stdout(&output).lines().next().unwrap();
    assert!(first.starts_with("::error file=e0304_undefined.toml,line="), "{first}");
    let output = balun(&diagnostics(), &["check", "--format", "json", "many_errors.toml"]);
    assert_eq!(stdout(&output).lines().count(), 23, "programs get them all");
    let output = balun(&diagnostics(), &["-q", "check", "--format", "json", case]);
    assert_eq!(stderr(&output), "");
}

#[test]
fn quiet_leaves_errors_alone() {
    let output = balun(&diagnostics(), &["-q", "check", "w0002_unused.toml"]);
    assert_eq!(stderr(&output), "", "a warning that is not denied is talk");
    let output = balun(&diagnostics(), &["check", "e0301_no_leg.toml", "-q"]);
    assert!(stderr(&output).contains("error[E0301]"));
    assert!(!stderr(&output).contains("1 error"));
}

#[test]
fn flags_have_variables() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_balun"));
    command.current_dir(diagnostics()).args(["check", "w0002_unused.toml"]);
    let denied = |value| {
        let output = Command::new(command.get_program())
            .current_dir(diagnostics())
            .args(command.get_args())
            .env("BALUN_DENY_WARNINGS", value)
            .env("BALUN_FORMAT", "json")
            .output()
            .unwrap();
        assert!(stdout(&output).starts_with('{'), "{}", stderr(&output));
        output.status.code()
    };
    assert_eq!(denied("1"), Some(78));
    assert_eq!(denied("true"), Some(78));
    assert_eq!(denied("0"), Some(0));
}

#[test]
fn explain_prints_pages_and_lists_them() {
    for code in Code::ALL {
        let output = balun(Path::new(HERE), &["explain", code.as_str()]);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(stdout(&output), code.page());
    }
    let list = balun(Path::new(HERE), &["explain"]);
    let errors = Code::ALL.iter().filter(|code| code.severity() == Severity::Error).count();
    let listed = stdout(&list).lines().filter(|line| line.starts_with("  E")).count();
    assert_eq!(listed, errors);
    let output = balun(Path::new(HERE), &["explain", "E9999"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stdout(&output), "");
}

#[test]
fn version_is_told() {
    let version = env!("CARGO_PKG_VERSION");
    let output = balun(Path::new(HERE), &["version"]);
    assert_eq!(stdout(&output), format!("balun {version}\n"));
    let output = balun(Path::new(HERE), &["version", "--json"]);
    assert_eq!(stdout(&output), format!("{{\"name\":\"balun\",\"version\":\"{version}\"}}\n"));
}

#[test]
fn a_wrong_command_line_is_2_and_help_is_0() {
    for wrong in [&["frobnicate"][..], &["check", "--frobnicate"], &[]] {
        assert_eq!(balun(Path::new(HERE), wrong).status.code(), Some(2), "{wrong:?}");
    }
    let help = balun(Path::new(HERE), &["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(stdout(&help).contains("Exit codes:"));
}

/// A reader that went away has seen enough.
#[test]
fn a_broken_pipe_is_success() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = Command::new(env!("CARGO_BIN_EXE_balun"))
        .args(["config", "default"])
        .stdout(writer)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_full_disk_is_not() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_balun"))
        .args(["config", "default"])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("cannot write"), "{}", stderr(&output));
}

/// The page about routes shows a configuration, and what is said of a request to it.
#[test]
fn explain_names_the_route_that_a_request_takes() {
    let page = fs::read_to_string(Path::new(HERE).join("../docs/routing.md")).unwrap();
    let block = |begin: &str| {
        let (_, from) = page.split_once(begin).unwrap();
        from.split_once("```\n").unwrap().0.to_owned()
    };
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("routing.toml"), block("```toml\n")).unwrap();
    let shown = block("-c routing.toml\n");
    let asked = |request: &str, more: &[&str]| {
        let arguments = [&["explain", request, "-c", "routing.toml"], more].concat();
        balun(folder.path(), &arguments)
    };
    assert_eq!(stdout(&asked("GET http://10.99.0.1/old/x", &[])), shown);
    let header = ["--header", "X-Canary: 1"];
    assert!(stdout(&asked("http://10.99.0.1/", &header)).ends_with("taken: pool canary\n"));
    assert!(stdout(&asked("http://10.99.0.1/nowhere", &[])).ends_with("404, no route\n"));
    for (wrong, said) in [
        ("GET http://10.99.0.1/..%2f", "r20"),
        ("G@T http://10.99.0.1/", "is not a method"),
        ("http://", "is not a URL"),
    ] {
        let output = asked(wrong, &[]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
    let output = asked("http://10.99.0.1/", &["--service", "shop"]);
    assert!(stderr(&output).contains("there is no service `shop`"), "{}", stderr(&output));
}
