//! Logging.

use std::fs;
use std::path::Path;

/// The text of every source file of a crate, but for tests.
fn sources(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.unwrap_or_else(|e| panic!("{e}")).path();
        if path.file_stem().is_some_and(|name| name == "tests") {
            continue;
        }
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(fs::read_to_string(&path).unwrap_or_else(|e| panic!("{e}")));
        }
    }
    found
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

tests::conforms! {
    /// No destination is logged, and the volume of logs does not grow with the flows: the packet path
    /// has no logger at all.
    C7 Always "RFC 6888 REQ-12, REQ-14"
    fn the_packet_path_cannot_log() {
        for name in ["netstack", "nat"] {
            let manifest = fs::read_to_string(root().join(name).join("Cargo.toml"))
                .unwrap_or_else(|e| panic!("{e}"));
            for logger in ["tracing", "log.", "log =", "slog", "defmt"] {
                let used = manifest.lines().any(|line| line.starts_with(logger));
                assert!(!used, "{name} depends on {logger}");
            }
            let sources = sources(&root().join(name).join("src"));
            assert!(sources.len() > 10, "{name} is not where it was");
            for word in ["println!", "eprintln!", "print!(", "eprint!("] {
                assert!(!sources.iter().any(|text| text.contains(word)), "{name}: {word}");
            }
        }
    }

    /// Connections that end here are logged only when asked with `-v`: what the proxy says of one is of
    /// the level `debug` or below, and the default shows warnings alone.
    C7 Always "RFC 6888 REQ-12, REQ-14"
    fn the_proxy_says_nothing_of_a_connection_unless_asked() {
        let sources = sources(&root().join("l7/src"));
        assert!(sources.iter().any(|text| text.contains("tracing::debug!(")), "it does log");
        for text in &sources {
            for line in text.lines().filter(|line| line.contains("tracing::")) {
                // A backend's change for the worse or better is said once, whoever its clients are.
                let quiet =
                    ["tracing::debug!(", "tracing::trace!(", "tracing::warn!(\"TLS with backend "];
                assert!(quiet.iter().any(|start| line.contains(start)), "{line}");
            }
        }
    }
}
