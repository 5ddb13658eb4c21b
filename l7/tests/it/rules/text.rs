//! The tables of `tests/rules`: what each rule accepts and what it refuses.
//!
//! A table is a file for each rule. A line at the margin begins a block: `request` or `response`, options
//! in brackets, and a message in which `@` stands for what the rows below it say (without a message, rows
//! are all of it). Each row has a verdict and the bytes; after ` => ` what the other side gets of them.
//!
//! | verdict | of a request | of a response |
//! |---|---|---|
//! | `sent` | forwarded, the connection stays | delivered, the backend's connection is used again |
//! | `last` | forwarded, the connection ends | delivered, the backend's connection is not used again |
//! | `tunnel` | | delivered, and the connections become a tunnel |
//! | `torn` | | the client's connection is cut, so that it sees no end |
//! | a status | refused with it by the file's rule, or by the one named | the client gets it instead |
//!
//! In bytes, `|` is CR LF, `{text*n}` is the text n times, and `\r`, `\n`, `\t`, `\0`, `\xNN`, `\\`, `\|`,
//! `\{` are what they look like. A row that ends with `\` goes on in the next line. `#` begins a comment.

use std::fmt;

use l7::http1::reject::Rule;

/// One row.
pub(crate) struct Probe {
    /// `r05.txt:12`.
    pub(crate) place: String,
    pub(crate) kind: Kind,
    pub(crate) options: Vec<String>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Sent(Vec<u8>),
    Last(Vec<u8>),
    Tunnel(Vec<u8>),
    Torn,
    Refused(Rule, u16),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent(bytes) => write!(f, "sent {}", bytes.escape_ascii()),
            Self::Last(bytes) => write!(f, "last {}", bytes.escape_ascii()),
            Self::Tunnel(bytes) => write!(f, "tunnel {}", bytes.escape_ascii()),
            Self::Torn => f.write_str("torn"),
            Self::Refused(rule, status) => write!(f, "{status} by {rule}"),
        }
    }
}

impl Probe {
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find_map(|option| option.strip_prefix(name)?.strip_prefix('='))
    }

    pub(crate) fn has(&self, option: &str) -> bool {
        self.options.iter().any(|found| found == option)
    }
}

/// Every rule that has a table, with the text.
pub(crate) const TABLES: [(Rule, &str); 18] = [
    (Rule::R01, include_str!("../../rules/r01.txt")),
    (Rule::R02, include_str!("../../rules/r02.txt")),
    (Rule::R03, include_str!("../../rules/r03.txt")),
    (Rule::R04, include_str!("../../rules/r04.txt")),
    (Rule::R05, include_str!("../../rules/r05.txt")),
    (Rule::R06, include_str!("../../rules/r06.txt")),
    (Rule::R07, include_str!("../../rules/r07.txt")),
    (Rule::R08, include_str!("../../rules/r08.txt")),
    (Rule::R09, include_str!("../../rules/r09.txt")),
    (Rule::R10, include_str!("../../rules/r10.txt")),
    (Rule::R11, include_str!("../../rules/r11.txt")),
    (Rule::R12, include_str!("../../rules/r12.txt")),
    (Rule::R13, include_str!("../../rules/r13.txt")),
    (Rule::R14, include_str!("../../rules/r14.txt")),
    (Rule::R16, include_str!("../../rules/r16.txt")),
    (Rule::R18, include_str!("../../rules/r18.txt")),
    (Rule::R19, include_str!("../../rules/r19.txt")),
    (Rule::R20, include_str!("../../rules/r20.txt")),
];

/// All probes of the table of `rule`.
pub(crate) fn probes(rule: Rule) -> Vec<Probe> {
    let (_, text) = TABLES.iter().find(|(of, _)| *of == rule).expect("a table");
    let mut probes = Vec::new();
    let mut block = None;
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if !line.starts_with(' ') {
            block = Some(Block::parse(line));
            continue;
        }
        let place = format!("{rule}.txt:{}", number + 1);
        let mut row = line.trim().to_owned();
        while row.ends_with('\\') {
            row.pop();
            row.push_str(lines.next().expect(&place).1.trim());
        }
        let block: &Block<'_> = block.as_ref().expect(&place);
        probes.push(block.probe(rule, place, &row));
    }
    probes
}

struct Block<'a> {
    kind: Kind,
    options: Vec<String>,
    message: &'a str,
}

impl<'a> Block<'a> {
    fn parse(line: &'a str) -> Self {
        let (word, message) = line.split_once(' ').unwrap_or((line, ""));
        let (word, options) = word.split_once('[').unwrap_or((word, ""));
        let options = options.trim_end_matches(']').split(',').map(str::to_owned).collect();
        let kind = match word {
            "request" => Kind::Request,
            "response" => Kind::Response,
            other => panic!("{other}"),
        };
        Self { kind, options, message }
    }

    fn probe(&self, rule: Rule, place: String, row: &str) -> Probe {
        let (verdict, rest) = row.split_once(' ').expect(&place);
        let mut rest = rest.trim_start();
        let mut by = rule;
        if let Some((name, after)) = rest.split_once(' ')
            && let Some(named) =
                TABLES.iter().map(|(rule, _)| *rule).find(|rule| rule.name() == name)
        {
            by = named;
            rest = after.trim_start();
        }
        let (given, expected) = rest.split_once("=> ").unwrap_or((rest, ""));
        let given = given.trim_end();
        let message = if self.message.is_empty() { "@" } else { self.message };
        let bytes = expand(&message.replacen('@', given, 1));
        let expected = expand(expected);
        let verdict = match verdict {
            "sent" => Verdict::Sent(expected),
            "last" => Verdict::Last(expected),
            "tunnel" => Verdict::Tunnel(expected),
            "torn" => Verdict::Torn,
            status => Verdict::Refused(by, status.parse().expect(&place)),
        };
        Probe { place, kind: self.kind, options: self.options.clone(), bytes, verdict }
    }
}

/// The bytes that `text` spells.
fn expand(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'|' => out.extend_from_slice(b"\r\n"),
            b'{' => {
                let end = rest.iter().position(|&byte| byte == b'}').expect("a closing brace");
                let (inner, after) = rest.split_at(end);
                rest = &after[1..];
                let inner = std::str::from_utf8(inner).unwrap();
                let (what, count) = inner.rsplit_once('*').expect("a count");
                out.extend_from_slice(&expand(what).repeat(count.parse().unwrap()));
            }
            b'\\' => {
                let (&escape, after) = rest.split_first().expect("an escape");
                rest = after;
                match escape {
                    b'r' => out.push(b'\r'),
                    b'n' => out.push(b'\n'),
                    b't' => out.push(b'\t'),
                    b'0' => out.push(0),
                    b'x' => {
                        let digits = std::str::from_utf8(&rest[..2]).unwrap();
                        out.push(u8::from_str_radix(digits, 16).unwrap());
                        rest = &rest[2..];
                    }
                    other => out.push(other),
                }
            }
            plain => out.push(plain),
        }
    }
    out
}

#[test]
fn tables_are_read_as_they_are_written() {
    assert_eq!(expand(r"a|\r\n\t\0\x7f\\\|{b|*2}[::1]"), b"a\r\n\r\n\t\0\x7f\\|b\r\nb\r\n[::1]");
    let mut count = 0;
    for (rule, _) in TABLES {
        let all = probes(rule);
        let accepts =
            |probe: &Probe| !matches!(probe.verdict, Verdict::Refused(..) | Verdict::Torn);
        assert!(all.iter().any(accepts), "{rule} accepts something");
        count += all.len();
    }
    assert!(count >= 500, "{count}");
}
