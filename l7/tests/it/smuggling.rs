//! Attacks on framing: each is answered and none reaches a backend.

use std::cell::RefCell;
use std::rc::Rc;

use l7::http1::reject::Rule;
use l7::{Config, Forwarded};
use tokio::io::AsyncReadExt;

use crate::harness::*;

/// Sends `bytes`; the answer, what all backends received, and the service's counters by rule.
async fn attack(bytes: &str, rule: Rule) -> (String, String, u64) {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&seen);
    let backend = serves(move |mut stream, _| {
        let log = Rc::clone(&log);
        async move {
            let mut bytes = Vec::new();
            let _ = stream.read_to_end(&mut bytes).await;
            log.borrow_mut().extend_from_slice(&bytes);
        }
    });
    let service =
        Network::new([backend]).service(Config { forwarded: Forwarded::Hide, ..Config::default() });
    let answer = ask(&service, bytes).await;
    tokio::task::yield_now().await;
    let received = String::from_utf8_lossy(&seen.borrow()).into_owned();
    (answer, received, service.stats().rejected(rule))
}

#[tokio::test(start_paused = true)]
async fn heads_that_break_a_rule_reach_no_backend() {
    let evil = "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n";
    for (rule, status, fields) in [
        (Rule::R01, 400, "Content-Length: 4\r\nTransfer-Encoding: chunked"),
        (Rule::R01, 400, "Transfer-Encoding: chunked\r\nContent-Length: 4"),
        (Rule::R02, 400, "Content-Length: 4\r\nContent-Length: 40"),
        (Rule::R02, 400, "Content-Length: 4\r\nContent-Length: 4"),
        (Rule::R02, 400, "Content-Length: 4, 40"),
        (Rule::R02, 400, "Content-Length: +4"),
        (Rule::R02, 400, "Content-Length: 0x4"),
        (Rule::R02, 400, "Content-Length: -1"),
        (Rule::R02, 400, "Content-Length: 18446744073709551620"),
        (Rule::R03, 400, "Transfer-Encoding: xchunked"),
        (Rule::R03, 400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        (Rule::R03, 501, "Transfer-Encoding: identity, chunked"),
        (Rule::R03, 400, "Transfer-Encoding: \"chunked\""),
        (Rule::R06, 400, "X: y\nTransfer-Encoding: chunked"),
        (Rule::R06, 400, "X: y\rTransfer-Encoding: chunked"),
        (Rule::R07, 400, "Transfer-Encoding : chunked"),
        (Rule::R07, 400, "X: y\r\n Transfer-Encoding: chunked"),
        (Rule::R07, 400, "Transfer-Encoding:\u{b}chunked"),
        (Rule::R07, 400, "Transfer\u{0}-Encoding: chunked"),
        (Rule::R09, 400, "Host: b"),
        (Rule::R10, 400, "Connection: Content-Length\r\nContent-Length: 4"),
        (Rule::R10, 400, "Connection: close, Host"),
        (Rule::R12, 417, "Expect: 200"),
        (Rule::R19, 400, "Transfer_Encoding: chunked"),
        (Rule::R19, 400, "Content_Length: 4"),
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{evil}");
        let (answer, received, count) = local(attack(&request, rule)).await;
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{fields:?}: {answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{fields:?}");
        assert!(answer.contains(&format!("\n{rule}: ")), "{fields:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "one answer, then the end: {fields:?}");
        assert_eq!(received, "", "{fields:?}");
        assert_eq!(count, 1, "{fields:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn request_lines_that_break_a_rule_reach_no_backend() {
    for (rule, status, line) in [
        (Rule::R08, 400, "GET /a b HTTP/1.1"),
        (Rule::R08, 505, "GET / HTTP/2.0"),
        (Rule::R08, 400, "GET /#x HTTP/1.1"),
        (Rule::R09, 405, "CONNECT a:443 HTTP/1.1"),
        (Rule::R09, 400, "GET http://b/ HTTP/1.1"),
        (Rule::R09, 400, "GET * HTTP/1.1"),
        (Rule::R20, 400, "GET /../../etc/passwd HTTP/1.1"),
        (Rule::R20, 400, "GET /a%00b HTTP/1.1"),
    ] {
        let request = format!("{line}\r\nHost: a\r\n\r\n");
        let (answer, received, count) = local(attack(&request, rule)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{line}: {answer}");
        assert_eq!((received.as_str(), count), ("", 1), "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn limits_are_answered_and_reach_no_backend() {
    let long = |len: usize| "a".repeat(len);
    for (status, request) in [
        (414, format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", long(8192))),
        (431, format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", long(33_000))),
        (431, format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(100))),
    ] {
        let (answer, received, count) = local(attack(&request, Rule::R18)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert_eq!((received.as_str(), count), ("", 1));
    }
}

/// A body that breaks a rule after good bytes: the backend has a torn request, and nothing after.
#[tokio::test(start_paused = true)]
async fn bodies_that_break_a_rule_are_torn_off() {
    for (rule, body) in [
        (Rule::R05, "5\r\nhello0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n"),
        (Rule::R05, "5 \r\nhello\r\n0\r\n\r\n"),
        (Rule::R05, "\r\n"),
        (Rule::R05, "fffffffffffffffff\r\n"),
        (Rule::R06, "5\nhello\r\n0\r\n\r\n"),
        (Rule::R06, "0\r\n\n"),
        (Rule::R06, "5;a\nGET /evil HTTP/1.1\r\n"),
        (Rule::R07, "0\r\n Evil: x\r\n\r\n"),
    ] {
        let request =
            format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        let (answer, received, count) = local(attack(&request, rule)).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{body:?}: {answer}");
        assert!(!received.contains("evil") && !received.ends_with("0\r\n\r\n"), "{received}");
        assert_eq!(count, 1, "{body:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn r13_the_body_of_a_get_is_forwarded_as_a_body() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 33\r\n\r\n\
                   GET /evil HTTP/1.1\r\nHost: a\r\n\r\nab";
    let (_, received, _) = local(attack(request, Rule::R13)).await;
    assert_eq!(
        received,
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 33\r\n\r\n\
         GET /evil HTTP/1.1\r\nHost: a\r\n\r\nab"
    );
}
