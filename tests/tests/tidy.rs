//! The house rules that no lint knows.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file before its tests.
const MAX_LINES: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Every Rust file of the project's crates, with its text.
fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    for folder in ["netstack", "nat", "l7", "cli", "tests", "xtask"] {
        walk(&root().join(folder), &mut found);
    }
    assert!(found.len() > 100, "the sources are not where they were: {}", found.len());
    found
}

/// Files whose whole content is tests.
fn is_test(path: &Path) -> bool {
    let name = path.strip_prefix(root()).unwrap().to_string_lossy();
    name.contains("/tests/")
        || name.starts_with("tests/conformance/")
        || name.ends_with("_tests.rs")
        || name.ends_with("/tests.rs")
}

#[test]
fn files_are_small() {
    let long: Vec<_> = sources()
        .into_iter()
        .filter(|(path, _)| !is_test(path))
        .filter_map(|(path, text)| {
            let lines = text.lines().take_while(|line| *line != "#[cfg(test)]").count();
            (lines > MAX_LINES).then(|| format!("{} has {lines} lines", path.display()))
        })
        .collect();
    assert!(long.is_empty(), "split by idea: {long:#?}");
}

#[test]
fn unsafe_lives_in_one_place() {
    for (path, text) in sources() {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let uses =
            code.filter(|line| line.contains("unsafe {") || line.contains("unsafe fn")).count();
        let allowed = path.to_string_lossy().contains("netstack/src/dev/sys/")
            || path.ends_with("tests/tests/tidy.rs");
        assert!(uses == 0 || allowed, "{}", path.display());
    }
}

#[test]
fn nothing_is_left_for_later() {
    let words = ["todo", "unimplemented", "dbg"].map(|word| format!("{word}!("));
    let marks =
        ["FIX", "XX"].map(|mark| format!("{mark}{}", if mark == "XX" { "X" } else { "ME" }));
    let allow = format!("#[{}(", "allow");
    for (path, text) in sources() {
        for word in words.iter().chain(&marks).chain([&allow]) {
            assert!(!text.contains(word.as_str()), "{}: {word}", path.display());
        }
    }
}

#[test]
fn crates_depend_downward_only() {
    let order = ["netstack", "nat", "l7", "cli"];
    for (height, folder) in order.iter().enumerate() {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        for above in &order[height + 1..] {
            let name = if *above == "cli" { "balun" } else { above };
            let depends = manifest.lines().any(|line| {
                line.starts_with(&format!("{name}.")) || line.starts_with(&format!("{name} ="))
            });
            assert!(!depends, "{folder} depends on {above}");
        }
    }
}
