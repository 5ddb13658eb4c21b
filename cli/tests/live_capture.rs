//! `balun capture`, `balun extcap` and `balun trace --live` on a lab that runs.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as it does")]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use netstack::Packet;
use netstack::dev::CaptureReader;
use netstack::wire::Headers;

const PATIENCE: Duration = Duration::from_secs(20);

const LAB: &str = r#"
version = 1
seed = 7
[lab]
name = "seen"
[[lab.node]]
name = "client"
address = "10.1.0.5/24"
[[lab.node]]
name = "web"
address = "10.2.0.11/24"
run = "builtin:http:8080"
[snat]
addresses = ["10.99.0.250"]
[pool.web]
backend = [{ name = "web", address = "10.2.0.11:8080" }]
[[service]]
name = "l4"
listen = "tcp 10.99.0.1:80"
mode = "nat"
pool = "web"
[[service]]
name = "l7"
listen = "tcp 10.99.0.2:80"
mode = "http"
pool = "web"
"#;

struct Bench(tempfile::TempDir);

impl Bench {
    /// A lab that is up; nothing, said aloud, where the machine forbids it.
    fn up() -> Option<Self> {
        let bench = Self(tempfile::tempdir().unwrap());
        std::fs::write(bench.0.path().join("lab.toml"), LAB).unwrap();
        let output = bench.balun(&["lab", "-f", "lab.toml", "up", "-d"]);
        if output.status.code() == Some(77) {
            let required = std::env::var_os("BALUN_REQUIRE_TUN").is_some_and(|value| value == "1");
            assert!(!required, "TUNs are required: {}", stderr(&output));
            eprintln!("SKIP {}", stderr(&output));
            return None;
        }
        assert!(output.status.success(), "{}", stderr(&output));
        Some(bench)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_balun"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("BALUN_") {
                command.env_remove(name);
            }
        }
        command.env("XDG_RUNTIME_DIR", self.0.path()).current_dir(self.0.path());
        command.args(arguments).stdin(Stdio::null());
        command
    }

    fn balun(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Begins a capture to `file`, and comes back when it has begun.
    fn capture(&self, file: &str, arguments: &[&str]) -> Child {
        let child = self.command(arguments).spawn().unwrap();
        let path = self.0.path().join(file);
        wait_until("the capture begins", || path.metadata().is_ok_and(|file| file.len() > 0));
        child
    }

    fn get(&self) {
        self.get_at("http://10.99.0.1/");
    }

    fn get_at(&self, address: &str) {
        let output = self.balun(&["lab", "exec", "client", "--", "builtin:get", address]);
        assert!(output.status.success(), "{}", stderr(&output));
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.balun(&["lab", "-f", "lab.toml", "down"]);
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// The comments of a capture's packets.
fn comments(path: &Path) -> Vec<String> {
    let mut reader = CaptureReader::open(path).unwrap();
    let mut packet = Packet::max_sized();
    let mut all = Vec::new();
    while reader.read(&mut packet).unwrap().is_some() {
        all.extend(reader.comments().map(str::to_owned));
    }
    assert_eq!(reader.section().run().unwrap().seed, 7);
    all
}

#[test]
fn a_running_instance_is_captured_to_a_file() {
    let Some(bench) = Bench::up() else { return };
    let arguments = ["capture", "tcp dst port 80", "-w", "x.pcapng", "--count", "4"];
    let mut child = bench.capture("x.pcapng", &arguments);
    bench.get();
    assert!(child.wait().unwrap().success(), "it ends after four packets");
    let said = comments(&bench.0.path().join("x.pcapng"));
    assert!(said[0].ends_with("round-robin, new, syn-sent"), "{said:#?}");
    assert!(said[2].ends_with("syn-received → established"), "{said:#?}");
}

#[test]
fn a_request_is_captured_from_its_syn_to_its_last_ack() {
    let Some(bench) = Bench::up() else { return };
    let request = ["--request", "GET /*", "--status", "2xx", "--slow", "1us"];
    let to = ["-w", "r.pcapng", "--count", "1"];
    let arguments = [&["capture"], &request[..], &to].concat();
    let mut child = bench.capture("r.pcapng", &arguments);
    bench.get();
    bench.get_at("http://10.99.0.2/");
    assert!(child.wait().unwrap().success(), "it ends after one request");
    let said = comments(&bench.0.path().join("r.pcapng"));
    assert!(said[0].starts_with("request ") && said[0].contains(": GET / 200 in "), "{said:#?}");
    assert!(said.iter().any(|said| said.contains("l7 flow ")), "{said:#?}");
    assert!(!said.iter().any(|said| said.contains("l4 flow ")), "{said:#?}");
}

#[test]
fn a_request_that_is_none_is_refused_before_anything_is_asked() {
    let run = |arguments: &[&str]| {
        let balun =
            Command::new(env!("CARGO_BIN_EXE_balun")).arg("capture").args(arguments).output();
        let output = balun.unwrap();
        (output.status.code(), stderr(&output))
    };
    for (arguments, said) in [
        (&["--request", "get /"][..], "not a request: write it as `GET /path*`"),
        (&["--request", "*", "--status", "6xx"], "`6xx` is no status"),
        (&["--request", "*", "--slow", "soon"], "`soon` is not a length of time"),
        (&["--status", "5xx"], "--request"),
        (&["--request", "*", "tcp"], "cannot be used with"),
    ] {
        let (code, error) = run(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {error}");
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
}

#[test]
fn wireshark_finds_an_instance_and_captures_it_into_a_fifo() {
    let Some(bench) = Bench::up() else { return };
    let listed = bench.balun(&["extcap", "--extcap-interfaces", "--extcap-version=4.2"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("interface {value=balun-lab-seen}"), "{listed}");
    let interface = "--extcap-interface=balun-lab-seen";
    let links = bench.balun(&["extcap", interface, "--extcap-dlts"]);
    assert!(String::from_utf8(links.stdout).unwrap().starts_with("dlt {number=101}"));

    // A file does as well as a fifo.
    std::fs::write(bench.0.path().join("fifo"), "").unwrap();
    let filter = "--extcap-capture-filter=tcp S";
    let arguments = ["extcap", interface, "--capture", "--fifo", "fifo", filter];
    let mut child = bench.capture("fifo", &arguments);
    bench.get();
    let path = bench.0.path().join("fifo");
    wait_until("a SYN is written", || !comments(&path).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
}

const LIVE: [&str; 2] = ["trace", "--live"];

/// What `balun trace --live` says of packets, and its exit code.
fn ask(bench: &Bench, words: &[&str]) -> (String, Option<i32>) {
    let output = bench.balun(&[&LIVE, words].concat());
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    (said + &stderr(&output), output.status.code())
}

#[test]
fn a_running_instance_says_what_it_would_do_and_does_not_do_it() {
    let Some(bench) = Bench::up() else { return };
    let syn = "tcp 10.1.0.5:40000 > 10.99.0.1:80 S";
    for _ in 0..2 {
        let (said, code) = ask(&bench, &[syn, "reply S."]);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("flow     new") && said.contains("1 of 1048576"), "{said}");
        assert!(said.contains("→ web/web (ready, weight 1)"), "{said}");
        assert!(said.contains("lab.toml:") && said.contains("nothing was sent"), "{said}");
        assert!(said.contains("forward to the client 10.1.0.5"), "{said}");
    }
    // What if a backend were down?
    let (said, code) = ask(&bench, &["--backend", "web/web=down", syn]);
    assert!(code == Some(1) && said.contains("refused, no-backend"), "{code:?} {said}");
    let (said, _) = ask(&bench, &["--format", "json", syn]);
    assert!(said.contains(r#""verdict":"forward""#), "{said}");
    let (said, code) = ask(&bench, &["--svg", "x.svg", syn]);
    assert_eq!(code, Some(0), "{said}");
    assert!(std::fs::read_to_string(bench.0.path().join("x.svg")).unwrap().starts_with("<svg"));
}

#[test]
fn a_running_instance_knows_its_flows() {
    let Some(bench) = Bench::up() else { return };
    let mut child = bench.capture(
        "x.pcapng",
        &["capture", "tcp dst 10.99.0.1:80 S", "-w", "x.pcapng", "--count", "1"],
    );
    bench.get();
    assert!(child.wait().unwrap().success());
    let mut reader = CaptureReader::open(&bench.0.path().join("x.pcapng")).unwrap();
    let mut packet = Packet::max_sized();
    reader.read(&mut packet).unwrap().unwrap();
    let client = Headers::parse(&packet).unwrap().tuple().unwrap().source();
    let (said, code) = ask(&bench, &[&format!("tcp {client} > 10.99.0.1:80 . seq=1 ack=1")]);
    assert!(said.contains("from the client, "), "{code:?} {said}");
    assert!(!said.contains("choose"), "{said}");
    // Of another connection it has heard nothing.
    let (said, code) = ask(&bench, &["tcp 10.1.0.5:1 > 10.99.0.1:80 . seq=1 ack=1"]);
    assert_eq!(code, Some(1), "{said}");
}

#[test]
fn a_question_that_makes_no_sense_is_refused() {
    let empty = Bench(tempfile::tempdir().unwrap());
    let (said, code) = ask(&empty, &["tcp 10.1.0.5:1 > 10.99.0.1:80 S"]);
    assert!(code == Some(3) && said.contains("no instance is known to run"), "{said}");
    let (said, code) = ask(&empty, &["--at", "1s", "tcp 10.1.0.5:1 > 10.99.0.1:80 S"]);
    assert!(code == Some(2) && said.contains("cannot be used with"), "{said}");
    let Some(bench) = Bench::up() else { return };
    for (words, reason) in [
        (&["tcp 10.1.0.5:1 > 10.99.0.1:99999 S"][..], "99999"),
        (&["reply S."], "nothing to answer"),
        (&["--leg", "x", "udp 10.1.0.5:1 > 10.99.0.1:53"], "no leg is called `x`"),
        (&["--backend", "web/x=down", "udp 10.1.0.5:1 > 10.99.0.1:53"], "no backend is called"),
    ] {
        let (said, code) = ask(&bench, words);
        assert!(code == Some(2) && said.contains(reason), "{code:?} {said}");
    }
}

#[test]
fn a_wrong_filter_is_the_command_lines_fault_and_no_instance_is_not() {
    let bench = Bench(tempfile::tempdir().unwrap());
    let output = bench.balun(&["capture", "tcp", "syn"]);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.starts_with("error: tcp syn\n    ^^^ no filter has this word"), "{said}");
    let output = bench.balun(&["capture"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("no instance is known to run"), "{}", stderr(&output));
}
