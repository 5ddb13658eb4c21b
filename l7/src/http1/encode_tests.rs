use std::fmt::Write;

use proptest::prelude::*;

use super::*;
use crate::http1::head::{Strictness, parse_request, parse_response, slots};

fn hop(forwarded: Forwarded) -> Hop<'static> {
    Hop {
        forwarded,
        client: "10.1.0.5",
        local: "10.99.0.2:80",
        secure: false,
        name: "balun",
        received: "1.1",
        spelling: Spelling::default(),
        identity: &Identity::NONE,
        changes: Changes::NONE,
    }
}

/// Forwards a request given as `|`-separated lines; the answer in the same form.
fn forward(lines: &str, hop: &Hop<'_>) -> String {
    let bytes = format!("{}\r\n\r\n", lines.replace('|', "\r\n")).into_bytes();
    let mut slots = slots();
    let head = parse_request(&bytes, &mut slots, Strictness::default()).expect(lines);
    let mut out = Vec::new();
    request(&head, hop, &mut out);
    let text = String::from_utf8(out).unwrap();
    text.strip_suffix("\r\n\r\n").unwrap().replace("\r\n", "|")
}

fn hidden(lines: &str) -> String {
    forward(lines, &hop(Forwarded::Hide))
}

#[test]
fn r04_requests_get_our_framing() {
    assert_eq!(
        hidden("POST / HTTP/1.1|content-LENGTH: 007|host: a|X-Y: z"),
        "POST / HTTP/1.1|host: a|X-Y: z|Content-Length: 7"
    );
    assert_eq!(
        hidden("POST / HTTP/1.1|Host: a|Transfer-Encoding: Chunked|Trailer: X|TE: trailers;q=1"),
        "POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked"
    );
    assert_eq!(hidden("POST / HTTP/1.1|Host: a"), "POST / HTTP/1.1|Host: a");
}

#[test]
fn r04_who_understands_trailers_says_so_to_the_next_hop() {
    assert_eq!(
        hidden("GET / HTTP/1.1|Host: a|TE: gzip;q=0, Trailers|Connection: TE"),
        "GET / HTTP/1.1|Host: a|TE: trailers|Connection: TE"
    );
    assert_eq!(hidden("GET / HTTP/1.0|Host: a|TE: trailers"), "GET / HTTP/1.1|Host: a");
}

#[test]
fn r09_host_follows_an_absolute_target_and_is_never_missing() {
    assert_eq!(
        hidden("GET http://A.lab/x?y HTTP/1.1|X: 1|Host: a.lab:80"),
        "GET /x?y HTTP/1.1|X: 1|Host: A.lab"
    );
    assert_eq!(hidden("GET / HTTP/1.0"), "GET / HTTP/1.1|Host: 10.99.0.2:80");
}

#[test]
fn r10_hop_by_hop_fields_and_nominated_ones_go() {
    assert_eq!(
        hidden(
            "GET / HTTP/1.1|Host: a|Connection: close, X-Mine|x-mine: 1|Keep-Alive: timeout=5|\
             Proxy-Connection: x|Upgrade: h2c|HTTP2-Settings: AAA|Proxy-Authorization: b|\
             Accept: */*|TE: gzip"
        ),
        "GET / HTTP/1.1|Host: a|Accept: */*"
    );
}

#[test]
fn r11_websocket_keeps_its_handshake() {
    assert_eq!(
        hidden(
            "GET /s HTTP/1.1|Host: a|Connection: keep-alive, Upgrade|Upgrade: WebSocket|\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==|Sec-WebSocket-Version: 13"
        ),
        "GET /s HTTP/1.1|Host: a|Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==|\
         Sec-WebSocket-Version: 13|Connection: Upgrade|Upgrade: websocket"
    );
}

#[test]
fn r12_an_expectation_passes_only_with_a_body() {
    assert!(
        hidden("POST / HTTP/1.1|Host: a|Expect: 100-continue|Content-Length: 1").contains("Expect")
    );
    assert!(!hidden("POST / HTTP/1.1|Host: a|Expect: 100-continue").contains("Expect"));
}

#[test]
fn forwarding_policies() {
    let lines = "GET / HTTP/1.1|Host: a|X-Forwarded-For: 1.1.1.1|x-forwarded-for: 2.2.2.2|\
                 X-Forwarded-Proto: https|X-Real-IP: 9.9.9.9|Forwarded: for=1.1.1.1|Via: 1.0 old";
    assert_eq!(
        forward(lines, &hop(Forwarded::Append)),
        "GET / HTTP/1.1|Host: a|X-Forwarded-Proto: https|X-Real-IP: 9.9.9.9|\
         X-Forwarded-For: 1.1.1.1, 2.2.2.2, 10.1.0.5|X-Forwarded-Host: a|\
         Forwarded: for=1.1.1.1, for=10.1.0.5;proto=http|Via: 1.0 old, 1.1 balun"
    );
    assert_eq!(
        forward(lines, &hop(Forwarded::Replace)),
        "GET / HTTP/1.1|Host: a|X-Forwarded-For: 10.1.0.5|X-Forwarded-Proto: http|\
         X-Forwarded-Host: a|Via: 1.1 balun"
    );
    assert_eq!(hidden(lines), "GET / HTTP/1.1|Host: a");
    let v6 = Hop { client: "fd99::5", secure: true, ..hop(Forwarded::Append) };
    let seen = forward("GET / HTTP/1.1|Host: a|Forwarded: for=x", &v6);
    assert!(seen.contains("|Forwarded: for=x, for=\"[fd99::5]\";proto=https|"), "{seen}");
}

#[test]
fn r19_aliases_of_our_fields_are_dropped() {
    assert_eq!(
        hidden("GET / HTTP/1.1|Host: a|X_Forwarded_For: 1.1.1.1|user_id: 7"),
        "GET / HTTP/1.1|Host: a|user_id: 7"
    );
}

fn deliver(lines: &str, method: &Method, version: Version, keep: bool) -> String {
    let bytes = format!("{}\r\n\r\n", lines.replace('|', "\r\n")).into_bytes();
    let mut slots = slots();
    let head = parse_response(&bytes, &mut slots, method).expect(lines);
    let mut out = Vec::new();
    let delivery = Delivery::new(head.framing, version, keep);
    response(&head, Changes::NONE, delivery, &mut out);
    let text = String::from_utf8(out).unwrap();
    text.strip_suffix("\r\n\r\n").unwrap().replace("\r\n", "|")
}

#[test]
fn r04_responses_get_our_framing() {
    for (lines, method, version, keep, expected) in [
        (
            "HTTP/1.1 200 Fine|Content-length: 05|A: b|Connection: keep-alive|Keep-Alive: x",
            Method::GET,
            Version::HTTP_11,
            true,
            "HTTP/1.1 200 Fine|A: b|Content-Length: 5",
        ),
        (
            "HTTP/1.0 200 OK|A: b",
            Method::GET,
            Version::HTTP_11,
            true,
            "HTTP/1.1 200 OK|A: b|Transfer-Encoding: chunked",
        ),
        (
            "HTTP/1.1 200 OK|Transfer-Encoding: chunked",
            Method::GET,
            Version::HTTP_10,
            true,
            "HTTP/1.1 200 OK|Connection: close",
        ),
        (
            "HTTP/1.1 200 OK|Content-Length: 1",
            Method::GET,
            Version::HTTP_10,
            true,
            "HTTP/1.1 200 OK|Content-Length: 1|Connection: keep-alive",
        ),
        (
            "HTTP/1.1 200 OK|Content-Length: 9|Connection: X-Mine|X-Mine: 1",
            Method::HEAD,
            Version::HTTP_11,
            false,
            "HTTP/1.1 200 OK|Content-Length: 9|Connection: close",
        ),
        (
            "HTTP/1.1 304 Not Modified|Content-Length: 9|ETag: \"x\"",
            Method::GET,
            Version::HTTP_11,
            true,
            "HTTP/1.1 304 Not Modified|ETag: \"x\"|Content-Length: 9",
        ),
        (
            "HTTP/1.1 204 No Content|Content-Length: 0",
            Method::GET,
            Version::HTTP_11,
            true,
            "HTTP/1.1 204 No Content",
        ),
        (
            "HTTP/1.1 103 Early Hints|Link: </a>",
            Method::GET,
            Version::HTTP_11,
            false,
            "HTTP/1.1 103 Early Hints|Link: </a>",
        ),
        (
            "HTTP/1.1 101 Switching Protocols|Connection: upgrade|Upgrade: websocket|\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            Method::GET,
            Version::HTTP_11,
            true,
            "HTTP/1.1 101 Switching Protocols|Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=|\
             Connection: Upgrade|Upgrade: websocket",
        ),
    ] {
        assert_eq!(deliver(lines, &method, version, keep), expected);
    }
}

#[test]
fn decimals() {
    for value in [0, 1, 9, 10, 12_345, u64::MAX] {
        let mut out = Vec::new();
        push_decimal(value, &mut out);
        assert_eq!(out, value.to_string().as_bytes());
    }
}

proptest! {
    #[test]
    fn a_forwarded_head_parses_to_the_same_message(
        method in "[A-Z]{1,8}",
        target in "/[a-z./%&;]{0,20}(\\?[ -~&&[^ #]]{0,10})?",
        fields in prop::collection::vec(("[A-Za-z_-]{1,18}", "[!-~]([ -~]{0,10}[!-~])?"), 0..8),
        length in prop::option::of(0..=i64::MAX as u64),
        chunked: bool,
        policy in prop::sample::select(vec![Forwarded::Append, Forwarded::Replace, Forwarded::Hide]),
    ) {
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: a.lab\r\n");
        for (name, value) in &fields {
            write!(text, "{name}: {value}\r\n").unwrap();
        }
        match length {
            _ if chunked => text += "Transfer-Encoding: chunked\r\n",
            Some(length) => write!(text, "Content-Length: {length}\r\n").unwrap(),
            None => {}
        }
        text += "\r\n";
        let mut first = slots();
        let Ok(head) = parse_request(text.as_bytes(), &mut first, Strictness::default()) else {
            return Ok(());
        };
        let mut out = Vec::new();
        request(&head, &hop(policy), &mut out);
        let mut second = slots();
        let again = parse_request(&out, &mut second, Strictness::default()).unwrap();
        prop_assert_eq!(again.framing, head.framing);
        prop_assert_eq!(&again.method, &head.method);
        prop_assert_eq!(again.target.forwarded(), head.target.forwarded());
        prop_assert_eq!(again.host, head.host);
        prop_assert_eq!(again.expects_continue, head.expects_continue);
        prop_assert!(again.fields.values(Known::Connection).next().is_none());
    }
}

/// RFC 7239, with or without the older fields.
#[test]
fn clients_are_told_of_in_the_fields_that_are_asked_for() {
    let told = |spelling, client: &'static str, lines: &str, forwarded| {
        let hop = Hop { spelling, client, ..hop(forwarded) };
        let text = forward(lines, &hop);
        text.split('|')
            .skip(2)
            .filter(|line| !line.starts_with("Via"))
            .collect::<Vec<_>>()
            .join("|")
    };
    let (append, replace) = (Forwarded::Append, Forwarded::Replace);
    let plain = "GET / HTTP/1.1|Host: a:80";
    assert_eq!(
        told(Spelling::Forwarded, "10.1.0.5", plain, append),
        "Forwarded: for=10.1.0.5;host=\"a:80\";proto=http"
    );
    assert_eq!(
        told(Spelling::Both, "fd99::5", plain, append),
        "X-Forwarded-For: fd99::5|X-Forwarded-Proto: http|X-Forwarded-Host: a:80|\
         Forwarded: for=\"[fd99::5]\";host=\"a:80\";proto=http"
    );
    let said = "GET / HTTP/1.1|Host: a|Forwarded: for=x|X-Forwarded-For: y";
    assert_eq!(
        told(Spelling::Forwarded, "10.1.0.5", said, append),
        "Forwarded: for=x, for=10.1.0.5;host=\"a\";proto=http"
    );
    assert_eq!(
        told(Spelling::Forwarded, "10.1.0.5", said, replace),
        "Forwarded: for=10.1.0.5;host=\"a\";proto=http"
    );
    assert_eq!(told(Spelling::Both, "10.1.0.5", said, Forwarded::Hide), "");
}
