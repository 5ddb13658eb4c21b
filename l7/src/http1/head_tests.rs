use proptest::prelude::*;

use super::*;
use crate::http1::scan::Scanner;

type Verdict = Result<(), (Rule, u16)>;

fn judge(bytes: &[u8]) -> Verdict {
    let reject = |reject: Reject| (reject.rule, reject.status.as_u16());
    let extent = Scanner::default().scan(bytes).map_err(reject)?.expect("a whole head");
    let mut slots = slots();
    parse_request(&bytes[extent.start..extent.end], &mut slots, Strictness::default())
        .map(drop)
        .map_err(reject)
}

/// Judges a request line with a good `Host`.
fn line(line: &str) -> Verdict {
    judge(format!("{line}\r\nHost: a\r\n\r\n").as_bytes())
}

/// Judges fields under a good request line and `Host`.
fn fields(fields: &str) -> Verdict {
    judge(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n").as_bytes())
}

const OK: Verdict = Ok(());

const fn bad(rule: Rule) -> Verdict {
    Err((rule, 400))
}

#[test]
fn r01_r02_r03_framing_fields() {
    assert_eq!(fields("Content-Length: 5"), OK);
    assert_eq!(fields("Content-Length:\t5 "), OK);
    assert_eq!(fields("transfer-encoding: \tChunked "), OK);
    assert_eq!(fields("Content-Length: 5\r\nTransfer-Encoding: chunked"), bad(Rule::R01));
    assert_eq!(fields("Transfer-Encoding: chunked\r\ncontent-length: 5"), bad(Rule::R01));
    assert_eq!(fields("Content-Length: 5\r\nContent-Length: 5"), bad(Rule::R02));
    assert_eq!(fields("Content-Length: 5, 5"), bad(Rule::R02));
    assert_eq!(fields("Content-Length: +5"), bad(Rule::R02));
    assert_eq!(fields("Transfer-Encoding: gzip, chunked"), Err((Rule::R03, 501)));
    assert_eq!(judge(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), bad(Rule::R03));
}

#[test]
fn r07_field_lines() {
    for good in ["A: b", "A:b", "A:", "A: \t", "a!#$%&'*+-.^_`|~9: b", "A: \u{e9} \"x\"", "A: b\tc"]
    {
        assert_eq!(fields(good), OK, "{good:?}");
    }
    for wrong in [
        "A : b",
        "A\t: b",
        ": b",
        "A",
        "A b: c",
        "A\u{e9}: b",
        "A(: b",
        "A: b\0",
        "A: b\u{1}c",
        "A: b\u{7f}",
        "\"A\": b",
        "A: b\u{b}",
    ] {
        assert_eq!(fields(wrong), bad(Rule::R07), "{wrong:?}");
    }
}

#[test]
fn r08_request_line() {
    for good in ["GET / HTTP/1.1", "M-SEARCH /x?y=z HTTP/1.1", "get /|{}\" HTTP/1.1"] {
        assert_eq!(line(good), OK, "{good:?}");
    }
    for wrong in [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET /",
        "GET",
        "GET / x HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET /a#b HTTP/1.1",
        "GET /\u{e9} HTTP/1.1",
        "GET /\u{1} HTTP/1.1",
        "GET /\u{7f} HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/11",
        "GET / HTTP/1.",
        "GET / HTTPS/1.1",
        "GET / HTTP/1.1x",
        "GET /\t HTTP/1.1",
    ] {
        assert_eq!(line(wrong), bad(Rule::R08), "{wrong:?}");
    }
    for version in ["HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/9.9"] {
        assert_eq!(line(&format!("GET / {version}")), Err((Rule::R08, 505)), "{version}");
    }
    let long = |len| line(&format!("{} / HTTP/1.1", "M".repeat(len)));
    assert_eq!(long(METHOD_BYTES), OK);
    assert_eq!(long(METHOD_BYTES + 1), bad(Rule::R08));
}

#[test]
fn r09_host_and_target() {
    let get = |rest: &str| judge(format!("GET {rest}\r\n\r\n").as_bytes());
    assert_eq!(get("/ HTTP/1.1"), bad(Rule::R09));
    assert_eq!(get("/ HTTP/1.0"), OK);
    assert_eq!(get("/ HTTP/1.1\r\nHost: a\r\nHost: a"), bad(Rule::R09));
    assert_eq!(get("/ HTTP/1.0\r\nHost: a\r\nHost: a"), bad(Rule::R09));
    assert_eq!(get("/ HTTP/1.1\r\nHost: a, b"), bad(Rule::R09));
    assert_eq!(get("/ HTTP/1.1\r\nHost: a b"), bad(Rule::R09));
    assert_eq!(get("/ HTTP/1.1\r\nHost:"), bad(Rule::R09));
    assert_eq!(get("http://a/ HTTP/1.1\r\nHost: A:80"), OK);
    assert_eq!(get("http://a/ HTTP/1.1\r\nHost: b"), bad(Rule::R09));
    assert_eq!(get("http://a/ HTTP/1.1"), bad(Rule::R09));
    assert_eq!(line("CONNECT a:443 HTTP/1.1"), Err((Rule::R09, 405)));
    assert_eq!(line("OPTIONS * HTTP/1.1"), OK);
    assert_eq!(line("GET * HTTP/1.1"), bad(Rule::R09));
}

#[test]
fn r09_without_strict_host_the_target_wins() {
    let bytes = b"GET http://b.lab/x HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut slots = slots();
    let head = parse_request(bytes, &mut slots, Strictness { strict_host: false }).unwrap();
    assert_eq!(head.host, Some(b"b.lab".as_slice()));
    assert_eq!(head.target.forwarded(), b"/x");
}

#[test]
fn r10_connection_may_not_name_what_must_stay() {
    for good in ["close", "keep-alive", "X-Own, close", "TE", "upgrade, HTTP2-Settings", ""] {
        assert_eq!(fields(&format!("Connection: {good}")), OK, "{good:?}");
    }
    for wrong in [
        "Host",
        "content-length",
        "close, Transfer-Encoding",
        "Authorization",
        "Cookie",
        "X-Forwarded-For",
        "Forwarded",
        "Via",
        ":path",
        "a b",
        "x-real-ip",
    ] {
        assert_eq!(fields(&format!("Connection: {wrong}")), bad(Rule::R10), "{wrong:?}");
    }
}

#[test]
fn r11_only_a_proper_request_for_websocket_upgrades() {
    let asks = |method: &str, extra: &str| {
        let text = format!(
            "{method} / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{extra}\r\n"
        );
        let mut slots = slots();
        parse_request(text.as_bytes(), &mut slots, Strictness::default()).unwrap().websocket
    };
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    assert_eq!(asks("GET", key).as_ref(), Some(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(asks("POST", key), None);
    assert_eq!(asks("GET", ""), None);
    assert_eq!(asks("GET", &format!("{key}{key}")), None);
    assert_eq!(asks("GET", &format!("{key}Content-Length: 1\r\n")), None);
    assert_eq!(asks("GET", &format!("{key}Upgrade: h2c\r\n")), None);
}

#[test]
fn r12_expectations() {
    assert_eq!(fields("Expect: 100-continue\r\nContent-Length: 1"), OK);
    assert_eq!(fields("Expect: 100-Continue"), OK);
    assert_eq!(fields("Expect: 200-ok"), Err((Rule::R12, 417)));
    assert_eq!(fields("Expect: 100-continue, x"), Err((Rule::R12, 417)));
    assert_eq!(fields("Expect: 100-continue\r\nExpect: 100-continue"), bad(Rule::R12));
    assert_eq!(judge(b"GET / HTTP/1.0\r\nExpect: x\r\n\r\n"), OK);
}

#[test]
fn r18_fields_and_targets_at_their_limits() {
    // One is `Host`.
    let many = |count: usize| fields(&vec!["A: b"; count - 1].join("\r\n"));
    assert_eq!(many(FIELDS), OK);
    assert_eq!(many(FIELDS + 1), Err((Rule::R18, 431)));
    let long = |len: usize| line(&format!("GET /{} HTTP/1.1", "a".repeat(len - 1)));
    assert_eq!(long(TARGET_BYTES), OK);
    assert_eq!(long(TARGET_BYTES + 1), Err((Rule::R18, 414)));
    assert_eq!(long(3 * TARGET_BYTES), Err((Rule::R18, 414)));
}

#[test]
fn r19_aliases_of_framing_names_are_refused() {
    for name in ["Content_Length", "transfer_encoding", "Transfer_Encoding"] {
        assert_eq!(fields(&format!("{name}: 5")), bad(Rule::R19), "{name}");
    }
    assert_eq!(fields("X_Forwarded_For: 1.2.3.4"), OK);
    assert_eq!(fields("user_id: 1"), OK);
}

#[test]
fn r20_paths_are_judged_with_the_head() {
    assert_eq!(line("GET /a\\b HTTP/1.1"), bad(Rule::R20));
    assert_eq!(line("GET /a%00 HTTP/1.1"), bad(Rule::R20));
}

#[test]
fn persistence_follows_version_and_connection() {
    for (text, expected) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n", false),
        ("GET / HTTP/1.0\r\n\r\n", false),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true),
        ("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false),
    ] {
        let mut slots = slots();
        let head = parse_request(text.as_bytes(), &mut slots, Strictness::default()).unwrap();
        assert_eq!(head.persistent, expected, "{text:?}");
    }
}

#[test]
fn r16_response_heads() {
    let judge = |text: &str| {
        let mut slots = slots();
        parse_response(text.as_bytes(), &mut slots, &Method::GET)
            .map(|head| (head.status.as_u16(), head.framing, head.persistent))
            .map_err(|reject| (reject.rule, reject.status.as_u16()))
    };
    let http = |rest: &str| judge(&format!("HTTP/1.1 {rest}\r\n\r\n"));
    assert_eq!(http("200 OK\r\nContent-Length: 5"), Ok((200, Framing::Length(5), true)));
    assert_eq!(http("200\r\nContent-Length: 5"), Ok((200, Framing::Length(5), true)));
    assert_eq!(http("200 OK"), Ok((200, Framing::UntilClose, true)));
    assert_eq!(http("304 Not Modified\r\nConnection: close"), Ok((304, Framing::None, false)));
    assert_eq!(judge("HTTP/1.0 200 OK\r\n\r\n"), Ok((200, Framing::UntilClose, false)));
    for (text, rule) in [
        ("200 OK\r\nContent-Length: 5\r\nContent-Length: 5", Rule::R02),
        ("200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", Rule::R01),
        ("200 OK\r\nTransfer-Encoding: gzip", Rule::R03),
        ("600 Odd", Rule::R16),
        ("99 Odd", Rule::R16),
        ("2x0 OK", Rule::R16),
        ("200 OK\r\nA : b", Rule::R07),
    ] {
        assert_eq!(http(text), Err((rule, 502)), "{text:?}");
    }
    assert_eq!(judge("HTTP/2.0 200 OK\r\n\r\n"), Err((Rule::R16, 502)));
    assert_eq!(judge("ICY 200 OK\r\n\r\n"), Err((Rule::R16, 502)));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut slots1 = slots();
        let _ = parse_request(&bytes, &mut slots1, Strictness::default());
        let mut slots2 = slots();
        let _ = parse_response(&bytes, &mut slots2, &Method::GET);
        let _ = Scanner::default().scan(&bytes);
    }

    #[test]
    fn almost_requests_never_panic(
        text in "(GET|POST) [/a-c%.\\\\*:0-2]{0,12} HTTP/1.[01]\r\n([A-Ca-c_:\\- \t]{0,6}: ?[ -~]{0,8}\r\n){0,4}\r\n"
    ) {
        let mut slots = slots();
        let _ = parse_request(text.as_bytes(), &mut slots, Strictness::default());
    }
}
