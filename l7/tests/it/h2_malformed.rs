//! R17 on the wire: frames whose request no backend may see.

use tokio::time::{Duration, timeout};

use crate::h2_harness::*;
use crate::harness::*;

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const AUTHORITY: (&str, &str) = (":authority", "a.lab");
const PATH: (&str, &str) = (":path", "/");

/// What becomes of a request with these fields: the status of an answer, or the code of a reset, or of
/// the connection's end. And how many connections to backends were made.
async fn verdict(fields: &[(&str, &str)]) -> (String, usize) {
    let network = Network::new([answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")]);
    let service = network.service(config());
    let mut raw = Raw::open(client(&service)).await;
    raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(fields)).await;
    let verdict = loop {
        let frame = timeout(Duration::from_secs(5), raw.receive()).await.expect("a verdict");
        let Some(frame) = frame else { break "closed".to_owned() };
        match frame.kind {
            // :status of the static table, or a literal of three digits.
            HEADERS if frame.payload[0] == 0x88 => break "200".to_owned(),
            HEADERS if frame.payload[0] == 0x8c => break "400".to_owned(),
            HEADERS => break format!("{:x?}", &frame.payload[..4]),
            RST_STREAM => break format!("reset {}", frame.payload[3]),
            GOAWAY => break format!("goaway {}", frame.payload[7]),
            _ => {}
        }
    };
    (verdict, network.connects.borrow().len())
}

#[tokio::test(start_paused = true)]
async fn r17_what_is_well_formed_passes() {
    local(async {
        for fields in [
            &[METHOD, SCHEME, AUTHORITY, PATH][..],
            &[PATH, AUTHORITY, SCHEME, METHOD],
            &[METHOD, SCHEME, PATH, ("host", "a.lab")],
            &[METHOD, SCHEME, AUTHORITY, PATH, ("host", "a.lab")],
            &[METHOD, SCHEME, AUTHORITY, PATH, ("te", "trailers"), ("x", "")],
            &[METHOD, SCHEME, AUTHORITY, (":path", "/?a=b"), ("content-length", "0")],
            &[(":method", "OPTIONS"), SCHEME, AUTHORITY, (":path", "*")],
        ] {
            assert_eq!(verdict(fields).await, ("200".to_owned(), 1), "{fields:?}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn r17_what_is_malformed_reaches_nobody() {
    local(async {
        let plus = |field| vec![METHOD, SCHEME, AUTHORITY, PATH, field];
        let path = |path| vec![METHOD, SCHEME, AUTHORITY, (":path", path)];
        let authority = |authority| vec![METHOD, SCHEME, (":authority", authority), PATH];
        let cases = [
            plus(("X-Upper", "a")),
            plus(("x y", "a")),
            plus(("x:y", "a")),
            plus(("", "a")),
            plus(("x", "a\r\nb: c")),
            plus(("x", "a\nb")),
            plus(("x", "a\rb")),
            plus(("x", "a\0b")),
            plus(("x", " a")),
            plus(("x", "a\t")),
            plus(("connection", "close")),
            plus(("keep-alive", "timeout=5")),
            plus(("proxy-connection", "close")),
            plus(("transfer-encoding", "chunked")),
            plus(("upgrade", "websocket")),
            plus(("te", "gzip")),
            plus(("te", "trailers, gzip")),
            plus(("host", "b.lab")),
            plus(("content-length", "3")),
            plus(("content-length", "+0")),
            plus(("content-length", "")),
            plus((":path", "/again")),
            plus((":other", "x")),
            plus((":status", "200")),
            plus(("transfer_encoding", "chunked")),
            vec![METHOD, SCHEME, AUTHORITY, PATH, ("content-length", "0"), ("content-length", "0")],
            vec![METHOD, SCHEME, AUTHORITY, ("x", "y"), PATH],
            vec![METHOD, SCHEME, AUTHORITY],
            vec![METHOD, AUTHORITY, PATH],
            vec![SCHEME, AUTHORITY, PATH],
            vec![METHOD, SCHEME, PATH],
            vec![METHOD, (":scheme", "ftp"), AUTHORITY, PATH],
            vec![(":method", "GE T"), SCHEME, AUTHORITY, PATH],
            vec![(":method", ""), SCHEME, AUTHORITY, PATH],
            path(""),
            path("x"),
            path("*"),
            path("http://b.lab/"),
            path("/a b"),
            path("/a\tb"),
            path("/a\\b"),
            path("/%00"),
            path("/../.."),
            authority("u@a.lab"),
            authority("a.lab/x"),
            authority("a lab"),
            authority("a.lab:99999"),
            authority(""),
        ];
        for fields in cases {
            let (verdict, connects) = verdict(&fields).await;
            assert_eq!(connects, 0, "{fields:?}: {verdict}");
            assert!(
                verdict == "400" || verdict == "reset 1" || verdict == "goaway 1",
                "{fields:?}: {verdict}"
            );
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn r17_pseudo_fields_are_no_trailers() {
    local(async {
        let network = Network::new([serves(|mut stream, _| async move {
            let head = read_head(&mut stream).await.unwrap();
            assert!(field(&head, "Transfer-Encoding").is_some());
            let mut rest = Vec::new();
            let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await;
            assert!(!rest.ends_with(b"0\r\n\r\n"), "the body never ends");
        })]);
        let service = network.service(config());
        let mut raw = Raw::open(client(&service)).await;
        let head = block(&[(":method", "POST"), SCHEME, AUTHORITY, PATH]);
        raw.send(HEADERS, END_HEADERS, 1, &head).await;
        raw.send(DATA, 0, 1, b"abc").await;
        raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[(":path", "/x")])).await;
        loop {
            let frame = raw.receive().await.expect("a reset");
            if matches!(frame.kind, RST_STREAM | GOAWAY) {
                break;
            }
        }
    })
    .await;
}
