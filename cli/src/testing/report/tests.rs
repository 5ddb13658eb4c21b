use super::*;
use crate::ladder::{Event, Kind, Ladder};

/// After a change on purpose: `BALUN_BLESS=1 cargo test -p balun --lib report`.
#[track_caller]
fn same(name: &str, rendered: &str) {
    let golden = format!("{}/src/testing/report/samples/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("BALUN_BLESS").is_some() {
        assert!(std::fs::write(&golden, rendered).is_ok(), "{golden}");
    }
    assert_eq!(rendered, std::fs::read_to_string(&golden).unwrap_or_default(), "{golden}");
}

fn sample() -> Report {
    let passed = |name: &str, micros, simulated| Outcome {
        name: name.to_owned(),
        file: "balun.toml".to_owned(),
        line: 70,
        runs: 1,
        seed: 0x9f3c,
        simulated,
        took: Duration::from_micros(micros),
        failure: None,
    };
    let line = "tcp 10.1.0.5:40000 > 10.99.0.1:80 S seq=0 ttl=64".to_owned();
    let event = Event { time: "0.000000s".to_owned(), kind: Kind::Packet { from: 0, to: 1, line } };
    let facts = vec![
        ("sent", "tcp 10.1.0.5:40000 > 10.99.0.1:80 S".to_owned()),
        ("expect", "> 10.2.0.12:8080".to_owned()),
        ("got", "tcp 10.99.0.250:5000 > 10.2.0.11:8080 S seq=0 ttl=63  at balun0".to_owned()),
        ("differs", "to another address: 10.2.0.11:8080".to_owned()),
        ("note", "web/web1 is drain (step 1, balun.toml:79)".to_owned()),
    ];
    let failed = Outcome {
        failure: Some(Failure {
            step: 3,
            line: 81,
            facts,
            ladder: Ladder {
                title: "a syn's way".to_owned(),
                lifelines: ["client", "balancer", "backend"].map(Into::into).to_vec(),
                events: vec![event],
            },
        }),
        ..passed("syn to a <drained> backend's \"pool\" # 1", 250, false)
    };
    Report {
        outcomes: vec![
            passed("dns answer is un-natted", 300, false),
            failed,
            passed("sim: 200 flows, 2 % loss, backend dies at 5 s", 1_900_000, true),
        ],
        arguments: vec!["examples/a b.toml".to_owned()],
    }
}

#[test]
fn each_form_is_as_agreed() {
    let report = sample();
    same("report.txt", &report.render(Format::Text));
    same("report.xml", &report.render(Format::Junit));
    same("report.tap", &report.render(Format::Tap));
    same("report.json", &report.render(Format::Json));
    same("report.html", &report.render(Format::Html));
}

#[test]
fn what_would_be_markup_is_escaped() {
    let report = sample();
    for format in [Format::Junit, Format::Html] {
        let rendered = report.render(format);
        assert!(!rendered.contains("<drained>"), "{rendered}");
        assert!(rendered.contains("&lt;drained&gt;"), "{rendered}");
    }
    assert!(report.render(Format::Tap).contains("\\# 1\n"), "no directive");
    let rerun = rerun(&report).unwrap_or_default();
    let expected = "balun test 'examples/a b.toml' --filter 'syn to a <drained> backend'\\''s \
                    \"pool\" # 1' --seed 0x9f3c";
    assert_eq!(rerun, expected);
}

#[test]
fn a_page_asks_for_nothing() {
    let page = sample().render(Format::Html);
    for source in ["src=", "href=\"http", "url(", "@import", "<script"] {
        assert!(!page.contains(source), "{source}");
    }
}

#[test]
fn nothing_failed() {
    let mut report = sample();
    report.outcomes.remove(1);
    assert!(report.render(Format::Text).ends_with("2 passed.\n"));
    assert_eq!(rerun(&report), None);
}
