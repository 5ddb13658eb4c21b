//! What the README shows must work.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;

/// The text of the fenced blocks of this language, in order.
fn blocks(language: &str) -> Vec<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = fs::read_to_string(readme).unwrap();
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line == format!("```{language}") {
            let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            found.push(block.join("\n") + "\n");
        }
    }
    found
}

#[test]
fn the_configuration_is_five_lines_and_valid() {
    let configs = blocks("toml");
    assert_eq!(configs.len(), 1);
    assert_eq!(configs[0].lines().count(), 5);
    let (config, diagnostics) = balun::config::parse(&configs[0]);
    assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    let config = config.expect("a configuration");
    let environment = balun::config::Environment::Ignore;
    let findings = balun::config::check(&config, environment);
    assert!(findings.is_empty(), "{findings:#?}");
    let plan = balun::plan::Plan::from_config(&config, Path::new(""), 1).expect("a plan");
    assert!(plan.assemble().is_ok());
}

#[test]
fn there_are_two_commands() {
    assert_eq!(blocks("sh"), ["cargo run --release -- demo\ncargo test\n"]);
}

#[test]
fn linked_files_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(root.join("README.md")).unwrap();
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for link in links.filter(|link| !link.contains("://")) {
        assert!(root.join(link).exists(), "{link}");
    }
}
