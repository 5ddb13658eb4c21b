use std::net::SocketAddr;

use http::StatusCode;
use netstack::tcp::Vitals;

use super::*;
use crate::http1::head::{self, Strictness, parse_request};
use crate::http1::reject::Rule;
use crate::identity::{Naming, RequestId};
use crate::ids::Ids;
use crate::log::End;

const REQUEST: &str = "GET /a?b=\"c\" HTTP/1.1\r\nHost: site.test\r\nReferer: http://x/\r\n\
    User-Agent: agent \"7\"\r\nX-Request-Id: id-7\r\n\
    traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n";

fn names() -> Names {
    let backend = |n: u8| (SocketAddr::from(([10, 2, 0, 10 + n], 80)), format!("web{n}"));
    Names::new("site".into(), vec![backend(2), backend(1)])
}

/// A request that went well; `head` is what `format` needs of it.
fn entry(format: &Format, head: &str) -> Entry {
    let ms = Duration::from_millis;
    let mut entry = Entry::new(([10, 1, 0, 5], 40_000).into(), "http");
    let head = head.replace('"', "%22").replace("agent %227%22", "agent \"7\"");
    let mut slots = head::slots();
    let head = parse_request(head.as_bytes(), &mut slots, Strictness::default()).unwrap();
    entry.describe(&head, format.headers());
    let naming = Naming { request_id: RequestId::Pass, trace: true };
    entry.identity = naming.name(&head.fields, true, &Ids::new(1));
    entry.status = Some(StatusCode::OK);
    (entry.request_body, entry.response_body) = (0, 5);
    (entry.received, entry.sent) = (Some(180), Some(90));
    entry.backend = Some(SocketAddr::from(([10, 2, 0, 12], 80)));
    (entry.reused, entry.attempts, entry.end) = (Some(false), 1, End::Ok);
    entry.head = Some(Duration::from_micros(250));
    (entry.connect, entry.first_byte, entry.total) = (Some(ms(1)), Some(ms(20)), ms(31));
    entry.client_vitals = Some(Vitals {
        handshake_rtt: Some(ms(10)),
        smoothed_rtt: Some(Duration::from_micros(10_125)),
        segments_received: 3,
        segments_sent: 4,
        retransmitted_segments: 1,
        timeouts: 0,
        was_reset: false,
    });
    entry
}

fn line(format: &Format, entry: &Entry) -> String {
    let mut out = Vec::new();
    let time = Duration::from_millis(1_795_301_810_123);
    format.write(entry, &names(), time, &Calendar::default(), &mut out);
    let line = String::from_utf8(out).unwrap();
    line.strip_suffix('\n').unwrap().to_owned()
}

#[test]
fn the_known_formats_look_as_everybody_writes_them() {
    let common = "10.1.0.5 - - [21/Nov/2026:22:56:50 +0000] \"GET /a?b=%22c%22 HTTP/1.1\" 200 5";
    assert_eq!(line(&Format::common(), &entry(&Format::common(), REQUEST)), common);
    let combined = Format::combined();
    let expected = format!("{common} \"http://x/\" \"agent \\x227\\x22\"");
    assert_eq!(line(&combined, &entry(&combined, REQUEST)), expected);
}

#[test]
fn json_has_every_field_that_has_a_value() {
    let json = Format::json();
    let mut entry = entry(&json, REQUEST);
    let span = entry.identity.trace.unwrap().span_id;
    let span = format!("{:016x}", u64::from_be_bytes(span));
    let expected = "{\"time\":\"2026-11-21T22:56:50.123Z\",\"service\":\"site\",\
        \"request_id\":\"id-7\",\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\",\
        \"span_id\":\"SPAN\",\"parent_id\":\"b7ad6b7169203331\",\"client\":\"10.1.0.5:40000\",\
        \"client_ip\":\"10.1.0.5\",\"client_port\":40000,\"scheme\":\"http\",\"method\":\"GET\",\
        \"target\":\"/a?b=%22c%22\",\"version\":\"HTTP/1.1\",\"status\":200,\"request_body\":0,\
        \"response_body\":5,\"received\":180,\"sent\":90,\"backend\":\"web2\",\
        \"backend_address\":\"10.2.0.12:80\",\"backend_reused\":false,\"attempts\":1,\
        \"end\":\"ok\",\"head_ms\":0.250,\"connect_ms\":1.000,\"first_byte_ms\":20.000,\
        \"total_ms\":31.000,\"client_handshake_ms\":10.000,\"client_rtt_ms\":10.125,\
        \"client_retransmits\":1,\"client_segments_in\":3,\"client_segments_out\":4,\
        \"client_reset\":false,\"host\":\"site.test\",\"referer\":\"http://x/\",\
        \"user_agent\":\"agent \\\"7\\\"\"}";
    assert_eq!(line(&json, &entry), expected.replace("SPAN", &span));

    entry.clear();
    entry.refuse(b"GET /\x1b[2J \"\xff\nrest");
    (entry.end, entry.status) = (End::Rejected(Rule::R06), Some(StatusCode::BAD_REQUEST));
    let refused = line(&json, &entry);
    assert!(
        refused.contains("\"line\":\"GET /\\u001b[2J \\\"\u{fffd}\",\"status\":400"),
        "{refused}"
    );
    assert!(refused.contains("\"end\":\"rejected\",\"rule\":\"r06\""), "{refused}");
    assert!(!refused.contains("backend\"") && !refused.contains("method"), "{refused}");
}

#[test]
fn a_format_of_ones_own_names_what_it_wants() {
    let format =
        Format::parse("{{{client}}} {method} {header:HOST}{target} {rule} {header:x-no} {end}")
            .unwrap();
    let mut entry = entry(&format, REQUEST);
    assert_eq!(line(&format, &entry), "{10.1.0.5:40000} GET site.test/a?b=%22c%22 - - ok");
    entry.clear();
    entry.refuse(b"G\xc3\x28 \"\\");
    let format = Format::parse("<{line}>").unwrap();
    assert_eq!(line(&format, &entry), "<G\\xc3( \\x22\\x5c>");
    entry.clear();
    assert_eq!(line(&format, &entry), "<->");
}

#[test]
fn every_field_can_be_written_in_both_ways() {
    let calendar = Calendar::default();
    let entry = entry(&Format::json(), REQUEST);
    for field in Field::ALL {
        let format = Format::parse(&format!("{{{}}}", field.name())).unwrap();
        let text = line(&format, &entry);
        assert!(!text.is_empty() && text.bytes().all(|b| (b' '..=b'~').contains(&b)), "{text}");
        let (names, mut out) = (names(), Vec::new());
        entry.value(*field, &names, Duration::ZERO).json(&calendar, &mut out);
        assert!(!out.is_empty(), "{}", field.name());
        assert!(!field.about().contains('\n'));
    }
}

#[test]
fn what_is_no_format_is_refused_with_its_place() {
    let many: Vec<_> = (0..=MAX_HEADERS).map(|n| format!("{{header:h{n}}}")).collect();
    let many = many.concat();
    let last = many.len() - 1 - format!("header:h{MAX_HEADERS}").len();
    for (text, at, kind) in [
        ("{client} {clinet}", 10..16, FormatErrorKind::UnknownField),
        ("{}", 1..1, FormatErrorKind::UnknownField),
        ("{client", 0..1, FormatErrorKind::Brace),
        ("{client} }", 9..10, FormatErrorKind::Brace),
        ("{header:a b}", 1..11, FormatErrorKind::BadHeader),
        ("{header:}", 1..8, FormatErrorKind::BadHeader),
        ("nothing {{else}}", 0..16, FormatErrorKind::Constant),
        ("", 0..0, FormatErrorKind::Constant),
        ("{client}\n", 8..9, FormatErrorKind::Control),
        (&*many, last..many.len() - 1, FormatErrorKind::TooMuch),
        (&*"x".repeat(MAX_FORMAT + 1), MAX_FORMAT..MAX_FORMAT + 1, FormatErrorKind::TooMuch),
    ] {
        assert_eq!(Format::parse(text), Err(FormatError { at, kind }), "{text}");
    }
    assert!(Format::parse(&many[..last - 1]).is_ok());
}

#[test]
fn an_entry_that_is_used_again_keeps_nothing_but_its_memory() {
    let format = Format::combined();
    let mut entry = entry(&format, REQUEST);
    entry.clear();
    let fresh = Entry::new(entry.client, entry.scheme);
    assert_eq!(line(&Format::json(), &entry), line(&Format::json(), &fresh));
}
