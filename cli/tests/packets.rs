//! `balun test` as a user meets it: the project's own examples, what failures look like, and how
//! mistakes are refused.

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

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

const CONFIG: &str = r#"version = 1

[[leg]]
name = "client"
address = ["10.1.0.254/24"]

[[leg]]
name = "backend"
address = ["10.2.0.254/24"]

[snat]
addresses = ["10.99.0.250"]

[pool.web]
scheduler = "round-robin"
backend = [
  { name = "web1", address = "10.2.0.11:8080" },
  { name = "web2", address = "10.2.0.12:8080" },
]

[[service]]
name = "web"
listen = "tcp 10.99.0.1:80"
mode = "nat"
pool = "web"
"#;

/// A folder with the configuration, and these tests behind it.
fn folder(tests: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("balun.toml"), format!("{CONFIG}{tests}")).unwrap();
    folder
}

/// What is printed, without how long it took.
fn timeless(text: &str) -> String {
    let cut = |line: &str| match line.rsplit_once("  ") {
        Some((rest, time)) if time.ends_with(" ms") || time.ends_with(" s") => {
            format!("{}\n", rest.trim_end())
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(cut).collect()
}

#[test]
fn the_examples_pass() {
    // The certificates that the sample names are not there, and no test needs them.
    let folder = tempfile::tempdir().unwrap();
    let tests = folder.path().join("tests");
    fs::create_dir(&tests).unwrap();
    fs::copy(examples().join("two-legs.toml"), folder.path().join("two-legs.toml")).unwrap();
    for script in fs::read_dir(examples().join("tests")).unwrap() {
        let script = script.unwrap();
        fs::copy(script.path(), tests.join(script.file_name())).unwrap();
    }
    for arguments in [&["test", "tests", "--runs", "3"][..], &["test", "two-legs.toml"]] {
        let output = balun(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
        assert!(stdout(&output).ends_with(" passed.\n"), "{}", stdout(&output));
    }
}

/// What `docs/testing.md` shows of `.pkt` files is a test that passes.
#[test]
fn the_manual_is_right() {
    let manual = fs::read_to_string(Path::new(HERE).join("../docs/testing.md")).unwrap();
    let script = manual.split("```text\n").nth(1).and_then(|rest| rest.split("```").next());
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("tests")).unwrap();
    fs::copy(examples().join("two-legs.toml"), folder.path().join("two-legs.toml")).unwrap();
    fs::write(folder.path().join("tests/manual.pkt"), script.unwrap()).unwrap();
    let output = balun(folder.path(), &["test", "tests", "--seed", "1"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
}

#[test]
fn a_failure_says_what_was_sent_expected_and_seen() {
    let folder = folder(
        r#"
[[test]]
name = "the first backend takes a syn"
step = [
  { send = 'tcp 10.1.0.5:40000 > 10.99.0.1:80 S' },
  { expect = '> 10.2.0.11:8080 S ttl=63', leg = "backend" },
]

[[test]]
name = "a drained backend is passed over"
step = [
  { backend = "web/web1", state = "drain" },
  { send = 'tcp 10.1.0.5:40000 > 10.99.0.1:80 S' },
  { expect = '> 10.2.0.11:8080' },
]
"#,
    );
    let output = balun(folder.path(), &["test", "--seed", "0x2a"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let said = timeless(stdout(&output));
    let id = said.split(" ipid=").nth(1).and_then(|rest| rest.split(' ').next());
    let said = said.replace(&format!(" ipid={}", id.unwrap_or_default()), "");
    let port = said.split("10.99.0.250:").nth(1).and_then(|rest| rest.split(' ').next());
    assert_eq!(
        said.replace(port.unwrap_or_default(), "PORT"),
        " ok   the first backend takes a syn\n \
         FAIL a drained backend is passed over      balun.toml:39  seed 0x2a\n      \
         sent    tcp 10.1.0.5:40000 > 10.99.0.1:80 S\n      \
         expect  > 10.2.0.11:8080\n      \
         got     tcp 10.99.0.250:PORT > 10.2.0.12:8080 S seq=0 ttl=63  at backend\n      \
         differs to another address: 10.2.0.12:8080\n      \
         note    web/web1 is drain (step 1, balun.toml:37)\n\
         1 failed, 1 passed.   \
         rerun: balun test --filter 'a drained backend is passed over' --seed 0x2a\n"
    );
    let rerun = ["test", "--filter", "a DRAINED backend", "--seed", "42"];
    let again = balun(folder.path(), &rerun);
    assert_eq!(again.status.code(), Some(1));
    assert!(stdout(&again).contains("1 failed, 0 passed."), "{}", stdout(&again));
    assert!(!stdout(&again).contains("the first backend"));
}

#[test]
fn reasons_counters_and_time() {
    let folder = folder(
        r#"
[[test]]
name = "nobody listens"
step = [
  { send = 'tcp 10.1.0.5:40000 > 10.99.0.1:81 S' },
  { verdict = "reject", reason = "no-service" },
  { expect = 'tcp 10.99.0.1:81 > 10.1.0.5:40000 R.', leg = "client" },
  { counters = { packets = 1, forwarded = 0, dropped = 1, no-service = 1 } },
  { flows = 0 },
]

[[test]]
name = "a handshake that nobody answers is forgotten"
step = [
  { send = 'tcp 10.1.0.5:40000 > 10.99.0.1:80 S' },
  { flows = 1 },
  { at = "3m", flows = 1 },
  { after = "2m", flows = 0 },
  { expect = 'nothing' },
]
"#,
    );
    let output = balun(folder.path(), &["test"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
}

const SIMULATION: &str = r#"
[[test]]
name = "a backend dies and others take over"
step = [
  { sim = { service = "web", client = "10.1.0.5", clients = 3, flows = 60, seconds = 5, delay = "5ms", loss = "1%", kill = "web/web1", at = "2s", errors = 5, at-least = { "web/web1" = 5, "web/web2" = 20 } } },
]
"#;

#[test]
fn simulated_hosts_repeat_themselves_by_their_seed() {
    let folder = folder(SIMULATION);
    let output = balun(folder.path(), &["test", "--seed", "7"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).contains("seed 0x7"), "{}", stdout(&output));

    let wrong = SIMULATION.replace("errors = 5", "errors = 0").replace("= 20", "= 61");
    fs::write(folder.path().join("balun.toml"), format!("{CONFIG}{wrong}")).unwrap();
    let first = balun(folder.path(), &["test", "--seed", "7", "--runs", "3"]);
    assert_eq!(first.status.code(), Some(1));
    let said = stdout(&first);
    assert!(said.contains("expect  answers of web/web2: at least 61"), "{said}");
    assert!(said.contains("seen    web/web1 "), "{said}");
    let again = balun(folder.path(), &["test", "--seed", "7"]);
    assert_eq!(timeless(said), timeless(stdout(&again)), "the same to the letter");
}

#[test]
fn a_script_names_its_configuration_or_is_given_one() {
    let folder = folder("");
    let script = "test a syn\n\
                  send client: tcp 10.1.0.5:40000 > 10.99.0.1:80 S seq=7\n\
                  expect backend: tcp $snat > $web S seq=7\n\
                  +100ms reply S. seq=9\n\
                  expect client: S. seq=9 ack=8\n";
    fs::create_dir(folder.path().join("t")).unwrap();
    let path = folder.path().join("t/a.pkt");
    fs::write(&path, script).unwrap();
    let output = balun(folder.path(), &["test", "t"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).contains("does not say which configuration"), "{}", stderr(&output));
    let output = balun(folder.path(), &["test", "t/a.pkt", "-c", "balun.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    fs::write(&path, format!("config = ../balun.toml\n{script}")).unwrap();
    let output = balun(folder.path(), &["test", "t"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn mistakes_in_scripts_are_pointed_at() {
    let folder = folder("");
    let path = folder.path().join("a.pkt");
    let said = |text: &str| {
        fs::write(&path, format!("config = balun.toml\n{text}\n")).unwrap();
        let output = balun(folder.path(), &["test", "a.pkt"]);
        assert_eq!(output.status.code(), Some(78), "{text}");
        assert_eq!(stdout(&output), "", "{text}");
        stderr(&output).to_owned()
    };
    assert_eq!(
        said("snd tcp 10.1.0.5:40000 > 10.99.0.1:80 S"),
        "error[E0101]: `snd` is not a step\n \
         --> a.pkt:2:1\n  \
         |\n\
         2 | snd tcp 10.1.0.5:40000 > 10.99.0.1:80 S\n  \
         | ^^^ unknown step\n  \
         |\n\
         help: did you mean `send`?\n  \
         = balun explain E0101\n\n\
         a.pkt: 1 error, nothing was tested\n"
    );
    for (text, part) in [
        ("send cleint: tcp 10.1.0.5:40000 > 10.99.0.1:80 S", "did you mean `client`?"),
        ("send tcp 10.1.0.5:40000 > 10.99.0.1:80 S tll=1", "a.pkt:2:42"),
        ("backend web/web3 drain", "backend `web/web3` is not defined"),
        ("reply S.", "a reply answers no packet"),
        (
            "sim { service = \"web\", client = \"10.1.0.5\", kill = \"x\", at = \"1s\" }",
            "a.pkt:2:52",
        ),
    ] {
        let said = said(text);
        assert!(said.contains(part), "{text}: {said}");
    }
}

#[test]
fn files_that_cannot_be_read_and_tests_that_are_not_there() {
    let folder = folder("");
    let code = |arguments: &[&str]| balun(folder.path(), arguments).status.code();
    assert_eq!(code(&["test"]), Some(1), "a configuration without a test");
    assert_eq!(code(&["test", "nowhere.pkt"]), Some(3));
    assert_eq!(code(&["test", "."]), Some(3), "no script in the folder");
    assert_eq!(code(&["test", "--seed", "x"]), Some(2));
    assert_eq!(code(&["test", "--runs", "0"]), Some(2));
    fs::write(folder.path().join("bad.pkt"), [0xff, 0xfe]).unwrap();
    assert_eq!(code(&["test", "bad.pkt"]), Some(3));
    let long = vec![b'#'; (1 << 20) + 1];
    fs::write(folder.path().join("long.pkt"), long).unwrap();
    assert_eq!(code(&["test", "long.pkt"]), Some(3));
    fs::write(folder.path().join("balun.toml"), format!("{CONFIG}[[test]]\nnmae = \"x\"\n"))
        .unwrap();
    assert_eq!(code(&["test"]), Some(78));
}

#[test]
fn forms_for_programs() {
    let folder = folder(
        "\n[[test]]\nname = \"a\"\nstep = [{ send = 'udp 10.1.0.5:1 > 10.99.0.1:9' }, { verdict = \"forward\" }]\n",
    );
    let render = |format: &str| {
        let output = balun(folder.path(), &["test", "--format", format, "--seed", "1"]);
        assert_eq!(output.status.code(), Some(1), "{format}");
        assert!(stderr(&output).contains("rerun: balun test --filter a --seed 0x1"), "{format}");
        stdout(&output).to_owned()
    };
    assert!(render("tap").starts_with("TAP version 14\n1..1\nnot ok 1 - a\n"));
    assert!(render("junit").contains("<testsuite name=\"balun.toml\" tests=\"1\" failures=\"1\""));
    assert!(render("json").contains("\"result\":\"fail\""));
    let page = render("html");
    assert!(page.contains("<svg") && page.contains("class=\"drop\""), "{page}");
}
