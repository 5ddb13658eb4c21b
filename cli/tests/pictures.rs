//! The pictures of the documentation are those that balun draws today.
//!
//! `cargo xtask pictures` draws them anew.

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A connection whose first backend refuses it, and a packet to a port that nobody listens on.
const LADDER: &[&str] = &[
    "tcp 10.1.0.5:40010 > 10.99.0.1:80 S seq=100 mss=1460",
    "+400us reply R.",
    "+600us reply S. seq=500 mss=1460",
    "+700us tcp 10.1.0.5:40010 > 10.99.0.1:80 . seq=101 ack=501",
    "+100us tcp 10.1.0.5:40010 > 10.99.0.1:80 P. seq=101 ack=501 len=74",
    "+1400us reply P. len=512",
    "+900us tcp 10.1.0.5:40011 > 10.99.0.1:22 S seq=7",
];
const TITLE: &str = "A connection through balun: web1 refuses it, web2 takes it";

fn pictures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pictures")
}

#[test]
fn the_ladder_is_drawn_from_a_story() {
    let folder = tempfile::tempdir().unwrap();
    let drawn = folder.path().join("ladder.svg");
    let mut command = Command::new(env!("CARGO_BIN_EXE_balun"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BALUN_") {
            command.env_remove(name);
        }
    }
    command.args(["trace", "--config"]).arg(pictures().join("ladder.toml"));
    command.arg("--svg").arg(&drawn).args(["--title", TITLE]).args(LADDER);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "the last packet is refused: {said}");
    // If balancing changes, the story may be another.
    for part in [
        "failover web/web1",
        "verdict: forward to web/web2",
        "syn-received → established",
        "verdict: refused, no-service",
    ] {
        assert!(said.contains(part), "{part} in\n{said}");
    }
    is_current("ladder.svg", &fs::read_to_string(&drawn).unwrap());
}

/// Compares with the committed picture, or writes it.
fn is_current(name: &str, drawn: &str) {
    let path = pictures().join(name);
    if std::env::var_os("BALUN_BLESS").is_some() {
        fs::write(path, drawn).unwrap();
        return;
    }
    let committed = fs::read_to_string(path).unwrap_or_default();
    assert!(committed == drawn, "docs/pictures/{name} is not current: cargo xtask pictures");
}
