//! `balun lab` as a user meets it: up, look around, change a link, down; and nothing left behind.

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use balun::control::{Request, call};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder with a lab file, and the runtime directory of its own user.
struct Bench {
    folder: tempfile::TempDir,
    file: PathBuf,
}

impl Bench {
    fn new(lab: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lab.toml");
        fs::write(&file, lab).unwrap();
        Self { folder, file }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_balun"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("BALUN_") {
                command.env_remove(name);
            }
        }
        command.env("XDG_RUNTIME_DIR", self.folder.path()).current_dir(self.folder.path());
        command.stdin(Stdio::null());
        command
    }

    /// The same by a process without rights: it gets them in a user namespace.
    fn rootless(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("setpriv");
        // The kernel asks for this one right of who maps the user 0; others need none.
        command.args(["--bounding-set=-all,+setfcap", "--inh-caps=-all"]);
        command.arg(env!("CARGO_BIN_EXE_balun")).args(["lab", "-f"]).arg(&self.file);
        command.env("XDG_RUNTIME_DIR", self.folder.path()).current_dir(self.folder.path());
        command.args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    fn lab(&self, arguments: &[&str]) -> Output {
        let file = self.file.to_str().unwrap();
        self.command().args(["lab", "-f", file]).args(arguments).output().unwrap()
    }

    /// Brings the lab up in the background; false, said aloud, where the machine forbids it.
    fn up(&self) -> bool {
        let output = self.lab(&["up", "-d"]);
        if skip(&output) {
            return false;
        }
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        true
    }

    fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.lab(&[arguments, &["--format", "json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // One that is down already says so, which is fine.
        self.lab(&["down"]);
    }
}

fn skip(output: &Output) -> bool {
    let forbidden = output.status.code() == Some(77);
    let required = std::env::var_os("BALUN_REQUIRE_TUN").is_some_and(|value| value == "1");
    assert!(!(forbidden && required), "TUNs are required: {}", stderr(output));
    if forbidden {
        eprintln!("SKIP {}", stderr(output));
    }
    forbidden
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const SMALL: &str = r#"
version = 1
[lab]
name = "small"
[[lab.node]]
name = "client"
address = "10.1.0.5/24"
[[lab.node]]
name = "web"
address = "10.2.0.11/24"
run = "builtin:http"
"#;

/// The command lines of all processes that hold `mark`.
fn processes_with(mark: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(mark)).collect()
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

fn example(name: &str) {
    let bench = Bench::new("");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/labs").join(name);
    let output =
        bench.command().args(["lab", "-f", file.to_str().unwrap(), "check"]).output().unwrap();
    if skip(&output) {
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).ends_with(" passed\n"), "{}", stdout(&output));
}

/// Checks the lab that a page of the manual shows: its first block of TOML.
fn page(name: &str) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    let page = fs::read_to_string(page).unwrap();
    let (_, block) = page.split_once("```toml\n").unwrap();
    let (lab, _) = block.split_once("```\n").unwrap();
    let bench = Bench::new(lab);
    // Blocks that are called by a file's name are that file.
    for file in ["htpasswd", "keys.txt", "keys.json", "blocked.txt"] {
        if let Some((_, block)) = page.split_once(&format!("```{file}\n")) {
            let (text, _) = block.split_once("```\n").unwrap();
            fs::write(bench.folder.path().join(file), text).unwrap();
        }
    }
    let output = bench.lab(&["check"]);
    if skip(&output) {
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).ends_with(" passed\n"), "{}", stdout(&output));
}

#[test]
fn authentication() {
    page("auth.md");
}

#[test]
fn limits_and_rules() {
    page("limits.md");
}

#[test]
fn routing() {
    page("routing.md");
}

#[test]
fn persistence() {
    page("persistence.md");
}

#[test]
fn two_tier() {
    example("two-tier.toml");
}

#[test]
fn tls_passthrough() {
    example("tls-passthrough.toml");
}

#[test]
fn tls_everywhere() {
    example("tls.toml");
}

#[test]
fn canary() {
    example("canary.toml");
}

#[test]
fn virtual_router() {
    example("virtual-router.toml");
}

#[test]
fn dual_stack() {
    example("dual-stack.toml");
}

#[test]
fn a_day_in_a_lab() {
    let bench = Bench::new(SMALL);
    let output = bench.lab(&["ps"]);
    assert_eq!(output.status.code(), Some(3), "it is not up");
    if !bench.up() {
        return;
    }
    let output = bench.lab(&["up", "-d"]);
    assert_eq!(output.status.code(), Some(3), "once is enough");
    assert!(stderr(&output).contains("lab `small` is up already"), "{}", stderr(&output));
    let output = bench.lab(&["up"]);
    assert!(stderr(&output).contains("another instance listens there"), "{}", stderr(&output));

    // Nodes reach each other through balun, which needs no service for that.
    let get = ["exec", "client", "--", "builtin:get", "http://10.2.0.11/"];
    let output = bench.lab(&get);
    assert_eq!(stdout(&output), "hello from web\n", "{}", stderr(&output));

    let ps = bench.json(&["ps"]);
    let (client, web) = (&ps["nodes"][0], &ps["nodes"][1]);
    assert_eq!((&client["name"], &client["state"]), (&"client".into(), &"idle".into()));
    assert_eq!((&web["run"], &web["state"]), (&"http:80".into(), &"serving".into()));
    assert!(client["from"].as_u64().unwrap() >= 4, "{ps}");
    assert!(stdout(&bench.lab(&["ps"])).starts_with("NODE "));

    let output = bench.lab(&["down"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let left = fs::read_dir(bench.folder.path().join("balun")).unwrap().count();
    assert_eq!(left, 0, "no socket and no log");
    let file = bench.file.to_str().unwrap();
    wait_until("its process ends", || processes_with(file).is_empty());
    assert_eq!(bench.lab(&["ps"]).status.code(), Some(3));
}

#[test]
fn no_rights_are_needed_where_user_namespaces_are_allowed() {
    let available =
        Command::new("setpriv").arg("--bounding-set=-all,+setfcap").arg("true").output();
    if !available.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIP there is no setpriv, or no right to give up");
        return;
    }
    let bench = Bench::new(SMALL);
    let output = bench.rootless(&["up", "-d"]);
    if skip(&output) {
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("rootless (user namespace)"), "{}", stderr(&output));
    let get = ["exec", "client", "--", "builtin:get", "http://10.2.0.11/"];
    let output = bench.rootless(&get);
    assert_eq!(stdout(&output), "hello from web\n", "{}", stderr(&output));
    assert_eq!(bench.rootless(&["exec", "web", "--", "false"]).status.code(), Some(1));
    assert_eq!(bench.rootless(&["down"]).status.code(), Some(0));
}

#[test]
fn a_command_ends_as_it_would_outside() {
    let bench = Bench::new(SMALL);
    if !bench.up() {
        return;
    }
    let code = |arguments: &[&str]| bench.lab(&[&["exec"], arguments].concat()).status.code();
    assert_eq!(code(&["web", "--", "sh", "-c", "exit 42"]), Some(42));
    assert_eq!(code(&["web", "--", "sh", "-c", "kill -9 $$"]), Some(137));
    assert_eq!(code(&["web", "--", "no-such-program"]), Some(127));
    assert_eq!(code(&["wep", "--", "true"]), Some(3));
    let output = bench.lab(&["exec", "web", "--", "cat", "/proc/net/dev"]);
    assert!(stdout(&output).contains("eth0:"), "{}", stdout(&output));
}

#[test]
fn a_link_is_changed_while_packets_flow() {
    let bench = Bench::new(SMALL);
    if !bench.up() {
        return;
    }
    let get = ["exec", "client", "--", "builtin:get", "http://10.2.0.11/"];
    let before = bench.json(&["link", "client"]);
    assert_eq!((&before["to"]["settings"], &before["mtu"]), (&"".into(), &1500.into()));
    let output = bench.lab(&["link", "client", "set", "delay=20ms", "loss=0%"]);
    assert_eq!(stdout(&output), "client  mtu 1500\n  to    delay=20ms\n  from  delay=20ms\n");
    let start = Instant::now();
    assert_eq!(bench.lab(&get).status.code(), Some(0));
    assert!(start.elapsed() >= Duration::from_millis(80), "a handshake and a request, both ways");

    // One way is cut, and the other is as it was.
    bench.lab(&["link", "client", "--direction", "to", "set", "loss=100%"]);
    let cut = bench.json(&["link", "client"]);
    assert_eq!(cut["to"]["settings"], "delay=20ms loss=100%");
    assert_eq!(cut["from"]["settings"], "delay=20ms");
    assert!(cut["from"]["offered"].as_u64().unwrap() >= 4, "{cut}");

    let output = bench.lab(&["link", "client", "set", "loss=lots"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("is not a percentage"), "{}", stderr(&output));
}

#[test]
fn nothing_is_left_behind_by_kill_9() {
    let mark = format!("31{:07}", std::process::id());
    let lab = format!(
        "{SMALL}\n[[lab.node]]\nname = \"busy\"\naddress = \"10.3.0.1/24\"\n\
         run = \"(setsid sleep {mark} &) ; sleep {mark} & sleep {mark}\"\n"
    );
    let bench = Bench::new(&lab);
    if !bench.up() {
        return;
    }
    let mut inside = bench.command();
    let file = bench.file.to_str().unwrap().to_owned();
    inside.args(["lab", "-f", &file, "exec", "web", "--", "sleep", &mark]);
    let mut inside = inside.spawn().unwrap();
    wait_until("four sleep", || {
        processes_with(&mark).iter().filter(|line| line.starts_with("sleep")).count() == 4
    });
    let lab = processes_with(&file).into_iter().filter(|line| line.contains("--report"));
    assert_eq!(lab.count(), 1);
    let pid = fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let line =
            String::from_utf8_lossy(&fs::read(entry.path().join("cmdline")).ok()?).into_owned();
        (line.contains(&file) && line.contains("--report")).then(|| entry.file_name())
    });
    let kill = Command::new("kill").arg("-9").arg(pid.unwrap()).status().unwrap();
    assert!(kill.success());
    wait_until("all of it is gone", || processes_with(&mark).is_empty());
    assert_eq!(inside.wait().unwrap().code(), Some(137), "it was killed with the node");

    // Its name is free again, as soon as its last thread has let go of the socket.
    let socket = bench.folder.path().join("balun/lab-small.sock");
    wait_until("the lab is gone", || std::os::unix::net::UnixStream::connect(&socket).is_err());
    assert!(bench.up());
}

#[test]
fn a_command_that_fails_is_named_with_its_last_words() {
    let lab = format!(
        "{SMALL}\n[[lab.node]]\nname = \"bad\"\naddress = \"10.3.0.1/24\"\n\
         run = \"echo first; echo no such device >&2; exit 7\"\n"
    );
    let bench = Bench::new(&lab);
    let output = bench.lab(&["up", "-d"]);
    if skip(&output) {
        return;
    }
    assert_eq!(output.status.code(), Some(3));
    let said = stderr(&output);
    assert!(said.contains("node `bad`") && said.contains("ended with exit code 7"), "{said}");
    assert!(said.contains("\n  | no such device"), "{said}");
}

#[test]
fn an_expectation_that_does_not_hold_says_what_came_instead() {
    let lab = format!(
        "{SMALL}\n[[lab.expect]]\nname = \"it holds\"\nnode = \"web\"\nrun = \"echo here\"\n\
         stdout = \"here\"\n[[lab.expect]]\nname = \"it does not\"\nnode = \"client\"\n\
         run = \"echo nothing\"\nrepeat = 3\nseen = {{ here = \"1-2\" }}\nwithin = \"300ms\"\n"
    );
    let bench = Bench::new(&lab);
    let output = bench.lab(&["check"]);
    if skip(&output) {
        return;
    }
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let said = stdout(&output);
    assert!(said.starts_with(" ok   it holds"), "{said}");
    assert!(said.contains("\n FAIL it does not"), "{said}");
    assert!(
        said.contains("expect  \"here\" in 1 to 2 of 3 runs") && said.contains("| nothing"),
        "{said}"
    );
    assert!(said.ends_with("1 failed, 1 passed\n"), "{said}");
}

#[test]
fn a_running_balancer_takes_commands_and_impairs_its_leg() {
    let bench = Bench::new(
        "version = 1\n[[leg]]\nname = \"left\"\naddress = [\"10.1.0.1/24\"]\n\
         impair = { delay = \"5ms\", from = { loss = \"1%\" } }\n",
    );
    let socket = bench.folder.path().join("control");
    // A network of its own, which ends with it.
    let available = Command::new("unshare").args(["-n", "true"]).output();
    if !available.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIP there is no unshare, or no right to it");
        return;
    }
    let mut command = Command::new("unshare");
    command.args(["-n", env!("CARGO_BIN_EXE_balun"), "run", "-c"]).arg(&bench.file);
    command.arg("--control").arg(&socket).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut running = command.spawn().unwrap();
    wait_until("it listens or has ended", || {
        socket.exists() || running.try_wait().unwrap().is_some()
    });
    if running.try_wait().unwrap().is_some() {
        let output = running.wait_with_output().unwrap();
        assert!(skip(&output), "{}", stderr(&output));
        return;
    }
    let status = call(&socket, &Request::Status).unwrap();
    assert_eq!(status["legs"][0]["name"], "left");
    assert_eq!(status["pid"], running.id());
    let error = call(&socket, &Request::LabPs).unwrap_err();
    assert_eq!(error.to_string(), "this instance runs no lab");
    call(&socket, &Request::Stop).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(0));
    assert!(!socket.exists());
}

#[test]
fn files_that_are_no_labs() {
    let bench = Bench::new("version = 1\n[[leg]]\nname = \"a\"\naddress = [\"10.1.0.1/24\"]\n");
    let output = bench.lab(&["up"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).contains("describes no lab"), "{}", stderr(&output));

    let bench = Bench::new(SMALL);
    let output = bench.command().args(["run", "-c", "lab.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).contains("balun lab -f lab.toml up"), "{}", stderr(&output));
    let output = bench.lab(&["check"]);
    assert_eq!(output.status.code(), Some(78), "it expects nothing");
    let output = bench.lab(&["graph", "--format", "mermaid"]);
    assert!(stdout(&output).contains("flowchart LR"), "{}", stdout(&output));
}

#[test]
fn cache() {
    page("cache.md");
}

/// What is kept is forgotten on demand: by URL, by its beginning, by tag, and altogether.
#[test]
fn a_cache_is_shown_and_purged_while_it_runs() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cache.md"));
    let page = page.unwrap();
    let (_, block) = page.split_once("```toml\n").unwrap();
    let (lab, _) = block.split_once("[[lab.expect]]").unwrap();
    let bench = Bench::new(lab);
    if !bench.up() {
        return;
    }
    let get = |path: &str| {
        let url = format!("http://10.99.0.1{path}");
        stdout(&bench.lab(&["exec", "client", "--", "builtin:get", "--head", &url]))
    };
    let cache = |arguments: &[&str]| {
        let output = bench.command().arg("cache").args(arguments).output().unwrap();
        (output.status.code(), stdout(&output))
    };
    for (purge, count) in [
        (&["purge", "http://10.99.0.1/fresh/60"][..], 1),
        (&["purge", "--prefix", "http://10.99.0.1/fresh/", "--cache", "static"], 2),
        (&["purge", "--tag", "fresh"], 2),
        (&["purge", "--all"], 2),
    ] {
        for path in ["/fresh/60", "/fresh/61"] {
            get(path);
            assert!(get(path).contains("balun; hit"), "{purge:?}: {path}");
        }
        assert_eq!(cache(purge), (Some(0), format!("{count} purged\n")), "{purge:?}");
        assert!(get("/fresh/60").contains("fwd=uri-miss; stored"), "{purge:?}");
    }
    let (code, shown) = cache(&["show", "--format", "json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (code, &shown[0]["name"], &shown[0]["purged"]),
        (Some(0), &"static".into(), &7.into())
    );
    assert_eq!(shown[0]["requests"]["hit"], 12);
    assert_eq!(cache(&["purge", "http://10.99.0.1/nothing"]), (Some(1), "0 purged\n".to_owned()));
    assert_eq!(cache(&["purge", "--all", "--cache", "other"]).0, Some(3));
    assert_eq!(cache(&["purge", "/fresh/60"]).0, Some(2), "not a whole URL");
}
