//! Clients of HTTP/2 and backends of HTTP/1: what each gets of the other.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use l7::http1::reject::Rule;
use l7::{Config, Forwarded};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::yield_now;

use crate::h2_harness::*;
use crate::harness::*;

/// A backend that answers with the head that it got, and its body.
fn mirror() -> Backend {
    serves(|mut stream, _| async move {
        while let Some((head, body)) = read_request(&mut stream).await {
            let length = head.len() + body.len();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{head}");
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.write_all(&body).await.unwrap();
        }
    })
}

#[tokio::test(start_paused = true)]
async fn requests_of_one_connection_are_forwarded_each_on_its_own() {
    local(async {
        let network = Network::new([mirror(), mirror()]);
        let service = network.service(Config { forwarded: Forwarded::Append, ..config() });
        let mut sender = connect(client(&service)).await;
        for path in ["/one", "/two?x=y"] {
            let request = Request::get(format!("http://a.lab{path}")).header("x-a", "b");
            let (answer, _) = sender.send_request(request.body(()).unwrap(), true).unwrap();
            let (head, body, _) = receive(answer).await.unwrap();
            assert_eq!(head.status(), 200);
            assert_eq!(
                body,
                format!(
                    "GET {path} HTTP/1.1\r\nhost: a.lab\r\nx-a: b\r\nX-Forwarded-For: 10.1.0.5\r\n\
                     X-Forwarded-Proto: http\r\nX-Forwarded-Host: a.lab\r\nVia: 2.0 balun\r\n\r\n"
                )
            );
        }
        assert_eq!(*network.connects.borrow(), [0, 1], "each is balanced");
        assert_eq!(service.stats().requests.get(), 2);
        assert_eq!((service.idle_connections(0), service.idle_connections(1)), (1, 1));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_goes_up_in_chunks_or_with_its_length() {
    local(async {
        let service = Network::new([mirror()]).service(config());
        let mut sender = connect(client(&service)).await;
        let (answer, mut body) = sender.send_request(post("/"), false).unwrap();
        body.send_data(Bytes::from_static(b"abc"), false).unwrap();
        body.send_data(Bytes::from_static(b"def"), true).unwrap();
        let (_, text, _) = receive(answer).await.unwrap();
        assert_eq!(
            text,
            "POST / HTTP/1.1\r\nhost: a.lab\r\nTransfer-Encoding: chunked\r\n\r\nabcdef"
        );
        let mut request = post("/");
        request.headers_mut().insert("content-length", 3.into());
        let (answer, mut body) = sender.send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(b"abc"), true).unwrap();
        let (_, text, _) = receive(answer).await.unwrap();
        assert_eq!(text, "POST / HTTP/1.1\r\nhost: a.lab\r\nContent-Length: 3\r\n\r\nabc");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn large_bodies_pass_whole_both_ways_over_ragged_streams() {
    local(async {
        for seed in 1..6 {
            let network = Network::new([mirror(), mirror()]);
            network.seed.set(seed);
            let service = network.service(config());
            let mut sender = connect(client(&service)).await;
            let body = pattern(300_000, seed).iter().map(|b| b'a' + b % 26).collect::<Vec<_>>();
            let (answer, mut upload) = sender.send_request(post("/"), false).unwrap();
            let data = Bytes::from(body.clone());
            tokio::task::spawn_local(async move {
                upload.send_data(data, true).unwrap();
            });
            let (_, text, _) = receive(answer).await.unwrap();
            let (_, got) = text.split_once("\r\n\r\n").unwrap();
            assert!(got.as_bytes() == body, "seed {seed}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn trailers_pass_both_ways() {
    local(async {
        let backend = serves(|mut stream, _| async move {
            let head = read_head(&mut stream).await.unwrap();
            let mut raw = String::new();
            while !raw.ends_with("\r\n\r\n") {
                raw.push(char::from(stream.read_u8().await.unwrap()));
            }
            assert_eq!(raw, "2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n");
            assert_eq!(field(&head, "TE"), Some("trailers"));
            let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                          2\r\nho\r\n0\r\nX-Sum: 2\r\nHost: evil\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        let service = Network::new([backend]).service(config());
        let mut sender = connect(client(&service)).await;
        let mut request = post("/");
        request.headers_mut().insert("te", "trailers".parse().unwrap());
        let (answer, mut body) = sender.send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(b"hi"), false).unwrap();
        let trailers = [("x-sum", "1"), ("authorization", "x")];
        let trailers = trailers.map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()));
        body.send_trailers(HeaderMap::from_iter(trailers)).unwrap();
        let (_, text, trailers) = receive(answer).await.unwrap();
        assert_eq!(text, "ho");
        let trailers = trailers.unwrap();
        assert_eq!(trailers.len(), 1);
        assert_eq!(trailers["x-sum"], "2");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn answers_without_a_body_end_with_their_head() {
    local(async {
        let backend = answers("HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n");
        let service = Network::new([backend]).service(config());
        let mut sender = connect(client(&service)).await;
        let (answer, _) = sender.send_request(get("/"), true).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(
            (answer.status(), answer.body().is_end_stream()),
            (StatusCode::NO_CONTENT, true)
        );
        let service = Network::new([answers("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")])
            .service(config());
        let mut sender = connect(client(&service)).await;
        let request = Request::head("http://a.lab/").body(()).unwrap();
        let answer = sender.send_request(request, true).unwrap().0.await.unwrap();
        assert_eq!(answer.headers()["content-length"], "5");
        assert!(answer.body().is_end_stream());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn interim_answers_pass_and_a_body_waits_for_100() {
    local(async {
        let backend = serves(|mut stream, _| async move {
            let head = read_head(&mut stream).await.unwrap();
            assert_eq!(field(&head, "expect"), Some("100-continue"));
            let early = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
            stream.write_all(early.as_bytes()).await.unwrap();
            let body = read_body(&mut stream, &head).await;
            assert_eq!(body, b"late");
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        });
        let service = Network::new([backend]).service(config());
        let mut sender = connect(client(&service)).await;
        let mut request = post("/");
        request.headers_mut().insert("expect", "100-continue".parse().unwrap());
        let (mut answer, mut body) = sender.send_request(request, false).unwrap();
        let hints = std::future::poll_fn(|cx| answer.poll_informational(cx)).await;
        let hints = hints.unwrap().unwrap();
        assert_eq!(
            (hints.status().as_u16(), &hints.headers()["link"]),
            (103, &"x".parse().unwrap())
        );
        let proceed = std::future::poll_fn(|cx| answer.poll_informational(cx)).await;
        assert_eq!(proceed.unwrap().unwrap().status(), 100);
        body.send_data(Bytes::from_static(b"late"), true).unwrap();
        assert_eq!(receive(answer).await.unwrap().0.status(), 200);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn r17_a_malformed_request_is_answered_and_reaches_nobody() {
    local(async {
        let network = Network::new([mirror()]);
        let service = network.service(config());
        let mut sender = connect(client(&service)).await;
        let mut request = get("/");
        request.headers_mut().insert("host", "b.lab".parse().unwrap());
        let (answer, _) = sender.send_request(request, true).unwrap();
        let (head, body, _) = receive(answer).await.unwrap();
        assert_eq!(head.status(), 400);
        assert_eq!(body, "400 Bad Request\nr17: host is not :authority\n");
        assert_eq!(service.stats().rejected(Rule::R17), 1);
        let (answer, _) = sender.send_request(get("/a%00"), true).unwrap();
        assert_eq!(receive(answer).await.unwrap().0.status(), 400, "R20 as in HTTP/1");
        assert!(network.connects.borrow().is_empty());
        let (answer, _) = sender.send_request(get("/"), true).unwrap();
        assert_eq!(receive(answer).await.unwrap().0.status(), 200, "the connection lives on");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn r17_a_body_that_is_not_as_long_as_declared_never_completes_upstream() {
    local(async {
        for data in [b"abc".as_slice(), b"abcdefg"] {
            let network = Network::new([serves(|mut stream, _| async move {
                let mut got = Vec::new();
                stream.read_to_end(&mut got).await.unwrap();
                let text = String::from_utf8(got).unwrap();
                assert!(!text.ends_with("abcde"), "{text}");
            })]);
            let service = network.service(config());
            let mut raw = Raw::open(client(&service)).await;
            let head = block(&[
                (":method", "POST"),
                (":scheme", "http"),
                (":authority", "a.lab"),
                (":path", "/"),
                ("content-length", "5"),
            ]);
            raw.send(HEADERS, END_HEADERS, 1, &head).await;
            while network.connects.borrow().is_empty() {
                yield_now().await;
            }
            raw.send(DATA, END_STREAM, 1, data).await;
            let reset = loop {
                match raw.receive().await.unwrap() {
                    frame if frame.kind == RST_STREAM => break frame,
                    frame => assert_ne!((frame.kind, frame.stream), (HEADERS, 1)),
                }
            };
            assert_eq!((reset.stream, reset.payload[3]), (1, 1), "PROTOCOL_ERROR");
            assert_eq!(service.idle_connections(0), 0);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn errors_of_our_own_are_pages_or_the_status_of_a_call() {
    local(async {
        let service = Network::new([Backend::Refuses]).service(config());
        let mut sender = connect(client(&service)).await;
        let (answer, _) = sender.send_request(get("/"), true).unwrap();
        let (head, body, _) = receive(answer).await.unwrap();
        assert_eq!(head.status(), 502);
        assert_eq!(body, "502 Bad Gateway\nno backend could be reached\n");
        let mut call = post("/s/M");
        call.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        let (answer, _) = sender.send_request(call, true).unwrap();
        let (head, body, _) = receive(answer).await.unwrap();
        assert_eq!((head.status(), body.as_str()), (StatusCode::OK, ""));
        assert_eq!(head.headers()["grpc-status"], "14");
        assert_eq!(head.headers()["grpc-message"], "no backend could be reached");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_at_its_deadline_and_its_backend_is_freed() {
    local(async {
        let network = Network::new([serves(|mut stream, _| async move {
            read_request(&mut stream).await.unwrap();
            assert!(ended(&mut stream).await);
        })]);
        let service = network.service(config());
        let mut sender = connect(client(&service)).await;
        let mut call = post("/s/M");
        call.headers_mut().insert("content-type", "application/grpc+proto".parse().unwrap());
        call.headers_mut().insert("grpc-timeout", "250m".parse().unwrap());
        let before = tokio::time::Instant::now();
        let (answer, _) = sender.send_request(call, true).unwrap();
        let (head, ..) = receive(answer).await.unwrap();
        assert_eq!(head.headers()["grpc-status"], "4");
        assert_eq!(before.elapsed(), Duration::from_millis(250));
        assert_eq!(network.released.get(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_cut_off_is_a_reset_and_never_looks_complete() {
    local(async {
        let service = Network::new([serves(|mut stream, _| async move {
            read_request(&mut stream).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").await.unwrap();
        })])
        .service(config());
        let mut sender = connect(client(&service)).await;
        let (answer, _) = sender.send_request(get("/"), true).unwrap();
        let error = receive(answer).await.unwrap_err();
        assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_the_key_the_preface_is_a_request_of_an_unknown_version() {
    local(async {
        let service = Network::new([mirror()]).service(Config::default());
        let answer = ask(&service, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 505 "), "{answer}");
        let both = Network::new([mirror()]).service(config());
        let answer = ask(&both, "PRINT / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "HTTP/1 beside it: {answer}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn plain_connect_is_refused() {
    local(async {
        let service = Network::new([mirror()]).service(config());
        let mut sender = connect(client(&service)).await;
        let request = Request::builder().method(Method::CONNECT).uri("a.lab:443").body(()).unwrap();
        let (answer, _) = sender.send_request(request, true).unwrap();
        let (head, ..) = receive(answer).await.unwrap();
        assert_eq!(head.status(), 405);
        assert!(head.headers().contains_key("allow"));
    })
    .await;
}
