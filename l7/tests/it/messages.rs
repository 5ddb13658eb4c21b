//! Single messages: what the backend sees of a request and the client of a response.

use http::Method;
use l7::http1::reject::Rule;
use l7::{Config, Forwarded};
use tokio::io::AsyncWriteExt;

use crate::harness::*;

fn plain() -> Config {
    Config { forwarded: Forwarded::Hide, ..Config::default() }
}

/// The answer to `request` from a backend that sends `response` and closes.
async fn through(request: &'static str, response: &'static str) -> String {
    let backend = serves(move |mut stream, _| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(response.as_bytes()).await;
    });
    let network = Network::new([backend]);
    let answer = ask(&network.service(plain()), request).await;
    assert_eq!(network.chosen.get(), network.released.get(), "every turn ends");
    answer
}

#[tokio::test(start_paused = true)]
async fn responses_in_every_framing_for_either_version() {
    const NEW: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const OLD: &str = "GET / HTTP/1.0\r\n\r\n";
    const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    for (request, response, expected) in [
        (
            NEW,
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        ),
        (
            NEW,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        (
            NEW,
            "HTTP/1.0 200 OK\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        (OLD, "HTTP/1.0 200 OK\r\n\r\nhello", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"),
        (
            OLD,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
        ),
        (
            HEAD,
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        ),
        (
            NEW,
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        ),
        (NEW, "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"),
        (
            NEW,
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            OLD,
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        ),
    ] {
        assert_eq!(local(through(request, response)).await, expected, "{response:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn r16_what_is_no_response_becomes_502() {
    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "SSH-2.0-OpenSSH\r\n\r\n",
        "",
    ] {
        let answer = local(through(GET, response)).await;
        assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{response:?}: {answer}");
    }
    let hints = "HTTP/1.1 103 Early Hints\r\n\r\n";
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    for (count, status) in [(8, "HTTP/1.1 200 OK"), (9, "HTTP/1.1 502 Bad Gateway")] {
        let response: &'static str = Box::leak((hints.repeat(count) + last).into_boxed_str());
        let answer = local(through(GET, response)).await;
        assert!(answer.contains(status), "r18: {count} interim responses: {answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn r16_a_truncated_response_is_cut_off_and_not_ended() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (response, expected) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello".to_owned(),
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello".to_owned(),
        ),
        (format!("{CHUNKED}5\r\nhello\r\n"), format!("{CHUNKED}5\r\nhello\r\n")),
        (format!("{CHUNKED}5\r\nhello\r\n0\r\n"), format!("{CHUNKED}5\r\nhello\r\n")),
        // The fault is met before the first byte leaves.
        (format!("{CHUNKED}5\r\nhello\r\nzz\r\n"), String::new()),
    ] {
        let response: &'static str = Box::leak(response.into_boxed_str());
        let answer = local(through("GET / HTTP/1.1\r\nHost: a\r\n\r\n", response)).await;
        assert_eq!(answer, expected, "{response:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_backend_sees_our_framing_and_who_asks() {
    local(async {
        let backend = serves(|mut stream, _| async move {
            let (head, body) = read_request(&mut stream).await.unwrap();
            let text = format!("{head}{}", String::from_utf8(body).unwrap());
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        let service = Network::new([backend]).service(Config::default());
        let answer = ask(
            &service,
            "POST http://a.lab/x/../y?z HTTP/1.1\r\nHost: a.lab\r\nConnection: close, X-Mine\r\n\
             X-Mine: 1\r\nTransfer-Encoding: chunked\r\nAccept: */*\r\n\r\n\
             3;ext\r\nabc\r\n2\r\nde\r\n0\r\nHost: evil\r\n\r\n",
        )
        .await;
        let (_, seen) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(
            seen,
            "POST /y?z HTTP/1.1\r\nHost: a.lab\r\nAccept: */*\r\nTransfer-Encoding: chunked\r\n\
             X-Forwarded-For: 10.1.0.5\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a.lab\r\n\
             Via: 1.1 balun\r\n\r\nabcde"
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn r12_the_body_waits_for_100_and_goes_unsent_after_a_refusal() {
    local(async {
        let backend = serves(|mut stream, number| async move {
            let head = read_head(&mut stream).await.unwrap();
            assert_eq!(field(&head, "Expect"), Some("100-continue"));
            if number == 0 {
                stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
                assert_eq!(read_body(&mut stream, &head).await, b"hello");
                stream
                    .write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
                    .await
                    .unwrap();
                assert!(ended(&mut stream).await);
            } else {
                let refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
                stream.write_all(refusal).await.unwrap();
                assert!(ended(&mut stream).await, "R15: no byte of the body, and no reuse");
            }
        });
        let network = Network::new([backend]);
        // Let nothing idle, so that the second request is a second connection.
        let mut config = plain();
        config.pool.idle_per_backend = 0;
        let service = network.service(config);
        let head =
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
        let mut stream = client(&service);
        stream.write_all(head.as_bytes()).await.unwrap();
        expect(&mut stream, "HTTP/1.1 100 Continue\r\n\r\n").await;
        stream.write_all(b"hello").await.unwrap();
        expect(&mut stream, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").await;
        stream.write_all(head.as_bytes()).await.unwrap();
        let refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        expect(&mut stream, refusal).await;
        assert!(ended(&mut stream).await);
        assert_eq!(network.connects.borrow().len(), 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn r12_a_backend_that_never_says_100_gets_the_body_after_a_while() {
    local(async {
        let network = Network::new([answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")]);
        let service = network.service(plain());
        let began = tokio::time::Instant::now();
        let answer = ask(
            &service,
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert_eq!(began.elapsed(), service.config().timeouts.expect);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn r15_an_early_answer_is_delivered_and_neither_connection_is_used_again() {
    local(async {
        let backend = serves(|mut stream, _| async move {
            let head = read_head(&mut stream).await.unwrap();
            assert!(head.starts_with("POST"));
            stream
                .write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
                .await
                .unwrap();
            while !ended(&mut stream).await {}
        });
        let network = Network::new([backend]);
        let service = network.service(plain());
        let mut stream = client(&service);
        stream
            .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\npart")
            .await
            .unwrap();
        expect(
            &mut stream,
            "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig",
        )
        .await;
        // What still comes is read and forgotten, never taken for a request.
        stream.write_all(b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert!(ended(&mut stream).await);
        assert_eq!(service.idle_connections(0), 0);
        assert_eq!(service.stats().requests.get(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn r11_a_websocket_becomes_a_tunnel_with_bytes_sent_early_in_both_directions() {
    local(async {
        let backend = serves(|mut stream, _| async move {
            let head = read_head(&mut stream).await.unwrap();
            assert_eq!(field(&head, "Upgrade"), Some("websocket"));
            stream
                .write_all(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                      Connection: Upgrade\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nframe-b",
                )
                .await
                .unwrap();
            expect(&mut stream, "frame-c").await;
            stream.write_all(b"frame-d").await.unwrap();
            assert!(ended(&mut stream).await);
        });
        let service = Network::new([backend]).service(plain());
        let mut stream = client(&service);
        stream
            .write_all(
                b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nframe-c",
            )
            .await
            .unwrap();
        let head = read_head(&mut stream).await.unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        expect(&mut stream, "frame-bframe-d").await;
        stream.shutdown().await.unwrap();
        assert!(ended(&mut stream).await);
        assert_eq!(service.stats().tunnels.get(), 1);
        assert_eq!(service.stats().aborted.get(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn r11_a_wrong_accept_is_no_upgrade() {
    const ASK: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let wrong = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n";
    let answer = local(through(ASK, wrong)).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    let declined = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(local(through(ASK, declined)).await, declined);
}

#[tokio::test(start_paused = true)]
async fn r05_bodies_stop_at_the_configured_limit() {
    local(async {
        let network = Network::new([answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")]);
        let service = network.service(Config { max_body: Some(20), ..plain() });
        let post = |framing: &str, body: &str| {
            format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{body}")
        };
        for (framing, body, status) in [
            ("Content-Length: 20", "x".repeat(20), 200),
            ("Content-Length: 21", "x".repeat(21), 413),
            // On the wire: 5 + 10 + 5 bytes, then one more.
            ("Transfer-Encoding: chunked", "A\r\n0123456789\r\n0\r\n\r\n".into(), 200),
            ("Transfer-Encoding: chunked", "A;\r\n0123456789\r\n0\r\n\r\n".into(), 413),
        ] {
            let answer = ask(&service, &post(framing, &body)).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{framing} {answer}");
        }
        assert_eq!(service.stats().rejected(Rule::R05), 2);
    })
    .await;
}

#[test]
fn methods_that_may_be_sent_again_are_those_of_rfc_9110() {
    // RFC 9110 section 9.2.2; the proxy asks the same question of `http`.
    for (method, expected) in [
        (Method::GET, true),
        (Method::PUT, true),
        (Method::DELETE, true),
        (Method::POST, false),
        (Method::PATCH, false),
    ] {
        assert_eq!(method.is_idempotent(), expected);
    }
}
