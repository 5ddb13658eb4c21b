use super::*;
use crate::http1::encode::Delivery;
use crate::http1::framing::Framing;
use crate::http1::head::{parse_response, slots};

/// The parts of a request: method, URI, and fields as `name: value` separated by `|`.
fn parts(method: &str, uri: &str, fields: &str) -> Parts {
    let mut builder = Request::builder().method(method).uri(uri);
    for line in fields.split('|').filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap();
        builder = builder.header(name, value);
    }
    builder.body(()).unwrap().into_parts().0
}

fn text(parts: &Parts, ended: bool) -> Result<String, (Rule, u16)> {
    let mut out = Vec::new();
    match request_text(parts, ended, Some(b"AAAAAAAAAAAAAAAAAAAAAA=="), &mut out) {
        Ok(()) => {
            let text = String::from_utf8(out).unwrap();
            Ok(text.strip_suffix("\r\n\r\n").unwrap().replace("\r\n", "|"))
        }
        Err(reject) => Err((reject.rule, reject.status.as_u16())),
    }
}

fn verdict(method: &str, uri: &str, fields: &str) -> Result<String, (Rule, u16)> {
    text(&parts(method, uri, fields), true)
}

#[test]
fn r17_what_a_request_becomes() {
    for (method, uri, fields, expected) in [
        ("GET", "http://a.lab/x?y", "accept: */*", "GET /x?y HTTP/1.1|host: a.lab|accept: */*"),
        ("GET", "https://a.lab:8443/", "", "GET / HTTP/1.1|host: a.lab:8443"),
        ("GET", "/x", "host: a", "GET /x HTTP/1.1|host: a"),
        ("GET", "http://a/", "host: a", "GET / HTTP/1.1|host: a"),
        ("OPTIONS", "*", "host: a", "OPTIONS * HTTP/1.1|host: a"),
        ("POST", "http://a/", "content-length: 0", "POST / HTTP/1.1|host: a|content-length: 0"),
        ("GET", "http://a/", "te: trailers", "GET / HTTP/1.1|host: a|te: trailers"),
        (
            "GET",
            "http://a/",
            "cookie: a=1|x: y|cookie: b=2",
            "GET / HTTP/1.1|host: a|x: y|cookie: a=1; b=2",
        ),
    ] {
        assert_eq!(verdict(method, uri, fields).as_deref(), Ok(expected), "{uri} {fields}");
    }
}

#[test]
fn r17_a_body_is_framed_by_its_length_or_in_chunks() {
    let known = parts("POST", "http://a/", "content-length: 5");
    assert_eq!(text(&known, false).unwrap(), "POST / HTTP/1.1|host: a|content-length: 5");
    let unknown = parts("POST", "http://a/", "");
    assert_eq!(
        text(&unknown, false).unwrap(),
        "POST / HTTP/1.1|host: a|transfer-encoding: chunked"
    );
}

#[test]
fn r17_malformed_requests() {
    for (method, uri, fields) in [
        ("GET", "http://a/", "connection: close"),
        ("GET", "http://a/", "keep-alive: timeout=5"),
        ("GET", "http://a/", "proxy-connection: x"),
        ("GET", "http://a/", "transfer-encoding: chunked"),
        ("GET", "http://a/", "upgrade: h2c"),
        ("GET", "http://a/", "http2-settings: AAA"),
        ("GET", "http://a/", "te: gzip"),
        ("GET", "http://a/", "te: trailers, gzip"),
        ("GET", "http://a/", "host: b"),
        ("GET", "http://a/", "host: a|host: b"),
        ("GET", "http://u@a/", ""),
        ("GET", "ftp://a/", ""),
        ("GET", "*", "host: a"),
        ("GET", "http://a/", "x:  y"),
        ("GET", "http://a/", "x: y\t"),
        ("GET", "http://a/", "cookie: a |cookie: b"),
        ("POST", "http://a/", "content-length: 5"),
        ("POST", "http://a/", "content-length: 0|content-length: 0"),
    ] {
        let found = verdict(method, uri, fields);
        assert_eq!(found, Err((Rule::R17, 400)), "{method} {uri} {fields}");
    }
}

#[test]
fn r17_field_names_and_values_that_would_frame_something_else() {
    for value in [b"a\rb".as_slice(), b"a\nb", b"a\0b", b"a\x01b", b"a\x7fb"] {
        assert_eq!(check_field(b"x", value).unwrap_err().rule, Rule::R17, "{value:?}");
    }
    for name in [b"X".as_slice(), b"", b"a b", b"a:", b":path", b"a\r\nb"] {
        assert_eq!(check_field(name, b"v").unwrap_err().rule, Rule::R17, "{name:?}");
    }
    assert_eq!(check_field(b"x", b"a\tb c\xe9"), Ok(()));
}

#[test]
fn r18_heads_and_targets_are_bounded() {
    let path = format!("http://a/{}", "x".repeat(TARGET_BYTES));
    assert_eq!(verdict("GET", &path, ""), Err((Rule::R18, 414)));
    assert!(verdict("GET", &path[..path.len() - 1], "").is_ok());
    let empty = "GET / HTTP/1.1\r\nhost: a\r\nx: \r\n\r\n".len();
    for (pad, good) in [(HEAD_BYTES - empty, true), (HEAD_BYTES - empty + 1, false)] {
        let found = verdict("GET", "http://a/", &format!("x: {}", "v".repeat(pad)));
        assert_eq!(found.is_ok(), good, "{pad}");
        assert_eq!(found.err(), (!good).then_some((Rule::R18, 431)));
    }
}

#[test]
fn r17_connect_is_for_websockets() {
    assert_eq!(verdict("CONNECT", "a.lab:443", ""), Err((Rule::R09, 405)));
    let mut socket = parts("CONNECT", "http://a/chat", "sec-websocket-version: 13");
    socket.extensions.insert(h2::ext::Protocol::from_static("websocket"));
    assert_eq!(
        text(&socket, false).unwrap(),
        "GET /chat HTTP/1.1|host: a|sec-websocket-version: 13|\
         sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==|connection: upgrade|upgrade: websocket"
    );
    let refused = request_text(&socket, false, None, &mut Vec::new()).unwrap_err();
    assert_eq!((refused.rule, refused.status.as_u16()), (Rule::R17, 501), "not offered");
    socket.extensions.insert(h2::ext::Protocol::from_static("connect-udp"));
    assert_eq!(text(&socket, false), Err((Rule::R17, 501)));
}

#[test]
fn r17_answers_of_backends_are_judged_too() {
    let written = |fields: &[(&'static str, &'static str)], status: u16| {
        let mut response = Response::builder().status(status);
        for &(name, value) in fields {
            response = response.header(name, value);
        }
        let mut out = Vec::new();
        response_text(&response.body(()).unwrap(), &mut out)
            .map(|()| String::from_utf8(out).unwrap().replace("\r\n", "|"))
            .map_err(|reject| (reject.rule, reject.status.as_u16()))
    };
    assert_eq!(
        written(&[("content-length", "3"), ("x", "y")], 200).unwrap(),
        "HTTP/1.1 200 OK|content-length: 3|x: y||"
    );
    for fields in [
        [("connection", "close"), ("x", "y")],
        [("transfer-encoding", "chunked"), ("x", "y")],
        [("x", " y"), ("a", "b")],
        [("content-length", "3"), ("content-length", "3")],
    ] {
        assert_eq!(written(&fields, 200), Err((Rule::R17, 502)), "{fields:?}");
    }
    assert_eq!(written(&[], 101), Err((Rule::R17, 502)));
}

#[test]
fn a_forwarded_request_becomes_pseudo_fields_and_fields() {
    let text = b"POST /x?y HTTP/1.1\r\nhost: a.lab\r\nX-A:  b \r\nTransfer-Encoding: chunked\r\n\
                 TE: trailers\r\nConnection: TE\r\n\r\n";
    let request = request(text, false).unwrap();
    assert_eq!(request.method(), Method::POST);
    assert_eq!(request.uri(), "http://a.lab/x?y");
    let fields: Vec<_> = request.headers().iter().map(|(n, v)| (n.as_str(), v)).collect();
    assert_eq!(
        fields,
        [("x-a", &HeaderValue::from_static("b")), ("te", &HeaderValue::from_static("trailers"))]
    );
    assert!(super::request(b"", false).is_none());
}

#[test]
fn an_answer_loses_what_is_of_its_connection() {
    let text = b"HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nContent-Length: 3\r\n\
                 Keep-Alive: x\r\nServer: b\r\n\r\n";
    let mut slots = slots();
    let head = parse_response(text, &mut slots, &Method::GET).unwrap();
    let delivery = Delivery::new(Framing::Length(3), Version::HTTP_2, true);
    let response = response(&head, Changes::NONE, delivery);
    let names: Vec<_> = response.headers().keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["server", "content-length"]);
}
