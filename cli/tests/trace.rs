//! `balun trace` as a user meets it: each page of `trace/` shows commands and what they say.
//!
//! After a change on purpose, `BALUN_BLESS=1 cargo test -p balun --test trace` writes the pages anew.

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use netstack::dev::pcap::PcapWriter;
use netstack::wire::text;

fn pages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trace")
}

fn balun(folder: &Path, arguments: &[String]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_balun"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BALUN_") {
            command.env_remove(name);
        }
    }
    command.current_dir(folder).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// The words of a command line: single quotes keep blanks together.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (n, part) in line.split('\'').enumerate() {
        if n % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// What a page says, with the answers of today.
fn answered(page: &str) -> String {
    let mut out = String::new();
    let lines: Vec<_> = page.lines().collect();
    let mut n = 0;
    while let Some(line) = lines.get(n) {
        out.push_str(line);
        out.push('\n');
        n += 1;
        let Some(command) = line.strip_prefix("$ balun ") else { continue };
        // An old answer ends with the exit code; a new command has none yet.
        let rest = &lines[n..];
        let own = rest.iter().position(|line| line.starts_with("$ ")).unwrap_or(rest.len());
        let end = rest[..own].iter().position(|line| line.starts_with("(exit "));
        n += end.map_or(0, |end| end + 1);
        let output = balun(&pages(), &words(command));
        out.push_str(std::str::from_utf8(&output.stdout).unwrap());
        out.push_str(std::str::from_utf8(&output.stderr).unwrap());
        out.push_str("(exit ");
        out.push_str(&output.status.code().unwrap().to_string());
        out.push_str(")\n");
    }
    out
}

#[test]
fn every_page_is_true() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(pages()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "txt") {
            continue;
        }
        count += 1;
        let page = fs::read_to_string(&path).unwrap();
        let today = answered(&page);
        if std::env::var_os("BALUN_BLESS").is_some() {
            fs::write(&path, &today).unwrap();
        } else if page != today {
            wrong.push(format!("{}\n--- the page\n{page}\n--- today\n{today}", path.display()));
        }
    }
    assert!(count >= 10, "the pages are not where they were");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn trace(arguments: &[&str]) -> (i32, String, String) {
    let arguments: Vec<_> = ["trace"].iter().chain(arguments).map(ToString::to_string).collect();
    let output = balun(&pages(), &arguments);
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().to_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

const SYN: &str = "tcp 10.1.0.5:40000 > 10.99.0.1:80 S seq=100 mss=1460";

#[test]
fn the_same_question_has_the_same_answer() {
    let drawn = "tcp 10.1.0.5:40000 > 10.99.0.5:80 S";
    assert_eq!(trace(&[SYN, "reply S.", drawn]), trace(&[SYN, "reply S.", drawn]));
}

/// A capture of a SYN, a frame that is no IP, another SYN, and a datagram two seconds later.
fn capture(folder: &Path) -> String {
    let path = folder.join("in.pcap");
    let mut writer = PcapWriter::new(fs::File::create(&path).unwrap()).unwrap();
    let mut write = |millis, line: &str| {
        let packet = text::packet(line).unwrap();
        writer.write(std::time::Duration::from_millis(millis), packet.data()).unwrap();
    };
    write(5_000, SYN);
    write(5_500, "tcp 10.1.0.5:40001 > 10.99.0.1:80 S");
    write(7_000, "tcp 10.1.0.5:40000 > 10.99.0.1:81 S");
    path.display().to_string()
}

#[test]
fn frames_of_a_capture_are_packets_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = capture(folder.path());
    let (code, said, _) = trace(&["--pcap", &path, "--frame", "1,3"]);
    assert_eq!(code, 1, "the second is refused");
    assert!(said.starts_with("at 0.000000s\n in       client  "), "{said}");
    assert!(said.contains("\nat 2.000000s\n in       client  "), "{said}");
    assert!(said.contains("verdict: refused, no-service"), "{said}");
    assert!(!said.contains("40001"), "the frame between is not handed in: {said}");
    let (code, said, talk) = trace(&["--pcap", &path, "--frame", "2", "--with-earlier"]);
    assert_eq!(code, 0);
    assert!(said.contains(" flow     new       syn-sent, 2 of 65536 "), "{said}");
    assert_eq!(said.matches("verdict:").count(), 1);
    assert!(talk.contains("1 frame handed in before"), "{talk}");
    let (code, said, _) = trace(&["--pcap", &path, "--frame", "1", "reply S. seq=9"]);
    assert_eq!((code, said.matches("verdict: forward").count()), (0, 2));
}

#[test]
fn a_capture_that_cannot_be_read_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = capture(folder.path());
    let (code, _, talk) = trace(&["--pcap", &path, "--frame", "9"]);
    assert!(code == 1 && talk.contains("no frame 9"), "{code} {talk}");
    let (code, _, talk) = trace(&["--pcap", &path, "--frame", "0"]);
    assert!(code == 2 && talk.contains("numbers from 1"), "{code} {talk}");
    let (code, _, talk) = trace(&["--pcap", "nowhere.pcap", "--frame", "1"]);
    assert!(code == 3 && talk.contains("nowhere.pcap"), "{code} {talk}");
    let (code, _, talk) = trace(&["--pcap", "balun.toml", "--frame", "1"]);
    assert!(code == 3 && talk.contains("neither pcap nor pcapng"), "{code} {talk}");
}

#[test]
fn json_has_a_line_a_packet() {
    let (code, said, _) = trace(&["--format=json", SYN, "tcp 10.1.0.5:4 > 10.99.0.1:81 S"]);
    assert_eq!(code, 1);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 2);
    let begin = r#"{"at_us":0,"in":{"leg":"client","line":"tcp 10.1.0.5:40000 > 10.99.0.1:80 S seq=100 mss=1460 ttl=64","bytes":44},"verdict":"forward","steps":[{"verb":"vip","object":"web-l4","#;
    assert!(lines[0].starts_with(begin), "{}", lines[0]);
    assert!(lines[0].contains(r#""file":"balun.toml","line":"#), "{}", lines[0]);
    assert!(
        lines[0].contains(r#"],"out":[{"leg":"backend","line":"tcp 10.99.0.250:"#),
        "{}",
        lines[0]
    );
    assert!(lines[1].contains(r#""verdict":"reject","reason":"no-service","#), "{}", lines[1]);
}

#[test]
fn a_picture_is_drawn_beside_the_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.svg").display().to_string();
    let (code, _, talk) =
        trace(&["--svg", &path, SYN, "reply R.", "udp 10.1.0.5:4 > 10.99.0.1:99"]);
    assert_eq!(code, 1, "{talk}");
    let svg = fs::read_to_string(&path).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    for part in [">client<", ">balun<", ">web1<", ">web2<", "class=\"drop\"", ">no-service<"] {
        assert!(svg.contains(part), "{part} in {svg}");
    }
    let (code, _, talk) = trace(&["--svg", "/no/such/folder/x.svg", SYN]);
    assert!(code == 3 && talk.contains("cannot write"), "{talk}");
}

/// Whatever a trace can end with has a page.
#[test]
fn every_reason_that_is_named_is_explained() {
    for reason in nat::DropReason::ALL {
        let arguments = ["explain".to_owned(), format!("drop:{reason}")];
        let output = balun(&pages(), &arguments);
        assert_eq!(output.status.code(), Some(0), "{reason}");
        let page = std::str::from_utf8(&output.stdout).unwrap();
        assert!(page.contains(reason.description()), "{reason}: {page}");
    }
}

#[test]
fn mistakes_are_told_before_anything_is_done() {
    for (arguments, says) in [
        (&[SYN, "tcp 10.1.0.5:40000 > 10.99.0.1:80"][..], "cannot be read"),
        (&["reply S."], "nothing to answer"),
        (&["--backend", "web/web9=down", SYN], "`web/web9`"),
        (&["--backend", "web/web1=tired", SYN], "ready, drain, maint and down"),
        (&["--leg", "nowhere", SYN], "client, backend"),
        (&["--at", "5", SYN], "unit"),
        (&["--frame", "1", SYN], "--pcap"),
        (&[], "PACKET"),
    ] {
        let (code, said, talk) = trace(arguments);
        assert_eq!((code, said.as_str()), (2, ""), "{arguments:?}");
        assert!(talk.contains(says), "{arguments:?}: {talk}");
    }
}
