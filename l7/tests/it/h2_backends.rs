//! Backends of HTTP/2, for clients of either version.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use l7::Config;
use l7::http1::reject::Rule;
use tokio::io::AsyncWriteExt;
use tokio::task::{spawn_local, yield_now};

use crate::h2_harness::*;
use crate::harness::*;

/// Takes clients of both versions, and has backends of HTTP/2.
fn multiplexed() -> Config {
    Config { http2_backends: true, ..config() }
}

async fn settle() {
    for _ in 0..2000 {
        yield_now().await;
    }
}

/// A backend of HTTP/2 that gives each request to `handler`, and takes `most` at once.
fn serves_h2<F: Future<Output = ()> + 'static>(
    most: u32,
    handler: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + 'static,
) -> Backend {
    let handler = Rc::new(handler);
    serves(move |stream, _| {
        let handler = Rc::clone(&handler);
        async move {
            let mut builder = h2::server::Builder::new();
            builder.max_concurrent_streams(most);
            let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
            while let Some(Ok((request, respond))) = connection.accept().await {
                spawn_local(handler(request, respond));
            }
        }
    })
}

async fn read(body: &mut RecvStream) -> (Vec<u8>, Option<HeaderMap>) {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        bytes.extend_from_slice(&data);
    }
    (bytes, body.trailers().await.unwrap())
}

async fn write(stream: &mut h2::SendStream<Bytes>, mut data: Bytes) {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let room = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await.unwrap().unwrap();
        stream.send_data(data.split_to(room.min(data.len())), false).unwrap();
    }
}

/// Answers with what it got: a line of the head, the body, and the trailers back.
async fn mirror(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let (parts, mut body) = request.into_parts();
    let (bytes, trailers) = read(&mut body).await;
    let fields: Vec<_> = parts
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()))
        .collect();
    let text = format!("{} {}\n{}", parts.method, parts.uri, fields.concat());
    let mut answer = Response::new(());
    if parts.uri.path() == "/length" {
        let length = text.len() + bytes.len();
        answer.headers_mut().insert("content-length", length.into());
    }
    let mut stream = respond.send_response(answer, false).unwrap();
    write(&mut stream, Bytes::from([text.into_bytes(), bytes].concat())).await;
    match trailers {
        Some(trailers) => stream.send_trailers(trailers).unwrap(),
        None => stream.send_data(Bytes::new(), true).unwrap(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_of_http_1_gets_what_a_backend_of_http_2_says() {
    local(async {
        let service = Network::new([serves_h2(100, mirror)]).service(multiplexed());
        let get = "GET /length HTTP/1.1\r\nHost: a.lab\r\nX-A: b\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n";
        let answer = ask(&service, get).await;
        assert_eq!(
            answer,
            "HTTP/1.1 200 OK\r\nContent-Length: 31\r\n\r\nGET http://a.lab/length\nx-a: b\n"
        );
        let post = "POST / HTTP/1.1\r\nHost: a.lab\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n\
                    3\r\nabc\r\n0\r\nX-Sum: 1\r\nHost: evil\r\n\r\n";
        let answer = ask(&service, post).await;
        assert!(answer.ends_with("\r\nx-sum: 1\r\n\r\n"), "{answer}");
        assert!(answer.contains("te: trailers\nabc\r\n0\r\n"), "{answer}");
        let old = ask(&service, "GET / HTTP/1.0\r\nHost: a.lab\r\n\r\n").await;
        assert_eq!(old, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nGET http://a.lab/\n");
        let head = ask(&service, "HEAD /length HTTP/1.1\r\nHost: a.lab\r\n\r\n").await;
        assert!(head.ends_with("\r\n\r\n") && head.contains("Content-Length: "), "{head}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn bodies_of_all_sizes_pass_between_both_versions_byte_for_byte() {
    local(async {
        for seed in 1..6 {
            let network = Network::new([serves_h2(100, mirror)]);
            network.seed.set(seed);
            let service = network.service(multiplexed());
            for size in [0, 1, 16_384, 70_000, 300_001] {
                let body = pattern(size, seed);
                let mut stream = client(&service);
                let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
                let request = [head.as_bytes(), &body].concat();
                let (mut reader, mut writer) = tokio::io::split(stream);
                spawn_local(async move { writer.write_all(&request).await.unwrap() });
                let head = read_head(&mut reader).await.unwrap();
                let answer = read_body(&mut reader, &head).await;
                assert!(answer.ends_with(&body), "seed {seed}, {size} bytes");
                stream = client(&service);
                let mut sender = connect(stream).await;
                let (answer, mut up) = sender.send_request(post("/length"), false).unwrap();
                let data =
                    Bytes::from(body.iter().map(|byte| b'a' + byte % 26).collect::<Vec<_>>());
                up.send_data(data.clone(), true).unwrap();
                let (_, text, _) = receive(answer).await.unwrap();
                assert!(text.as_bytes().ends_with(&data), "seed {seed}, {size} bytes, HTTP/2");
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn requests_share_connections_as_far_as_the_backend_allows() {
    local(async {
        let slow = |request: Request<RecvStream>, respond| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            mirror(request, respond).await;
        };
        for (most, connections) in [(100, 1), (4, 3)] {
            let network = Network::new([serves_h2(most, slow)]);
            let service = network.service(multiplexed());
            let mut sender = connect(client(&service)).await;
            // The first tells how many the backend takes.
            receive(sender.send_request(get("/"), true).unwrap().0).await.unwrap();
            let answers: Vec<_> =
                (0..12).map(|_| sender.send_request(get("/"), true).unwrap().0).collect();
            for answer in answers {
                assert_eq!(receive(answer).await.unwrap().0.status(), 200);
            }
            assert_eq!(network.connects.borrow().len(), connections, "{most} at once");
            assert_eq!(service.multiplexed_connections(0), connections);
            tokio::time::sleep(service.config().pool.idle_lifetime * 3).await;
            assert_eq!(service.multiplexed_connections(0), 0, "idle ones are closed");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_stream_is_sent_again_whatever_its_method() {
    local(async {
        let count = Rc::new(Cell::new(0));
        let seen = Rc::clone(&count);
        let backend = serves_h2(100, move |request, mut respond: SendResponse<Bytes>| {
            let number = seen.replace(seen.get() + 1);
            async move {
                if number == 0 {
                    respond.send_reset(Reason::REFUSED_STREAM);
                } else {
                    mirror(request, respond).await;
                }
            }
        });
        let service = Network::new([backend]).service(multiplexed());
        let answer = ask(&service, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!((count.get(), service.stats().retries.get()), (2, 1));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_reset_for_another_reason_is_not_sent_again() {
    local(async {
        let backend = serves_h2(100, |_, mut respond: SendResponse<Bytes>| async move {
            respond.send_reset(Reason::INTERNAL_ERROR);
        });
        let network = Network::new([backend]);
        let service = network.service(multiplexed());
        let answer = ask(&service, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        assert_eq!(service.stats().retries.get(), 0);
        assert_eq!(*network.failed.borrow(), [0]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_goaway_passes_over_is_sent_again_elsewhere() {
    local(async {
        // The first connection serves one request and says GOAWAY as the second arrives.
        let backend = serves(|mut stream, number| async move {
            if number > 0 {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    spawn_local(mirror(request, respond));
                }
                return;
            }
            // By hand: empty settings, their acknowledgment, 200 for stream 1, GOAWAY after it.
            let mut preface = [0; 24];
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut preface).await.unwrap();
            let mut raw = Raw::over(stream);
            raw.send(SETTINGS, 0, 0, b"").await;
            while let Some(frame) = raw.receive().await {
                match (frame.kind, frame.stream) {
                    (SETTINGS, _) if frame.flags == 0 => {
                        raw.send(SETTINGS, 1, 0, b"").await;
                    }
                    (HEADERS, 1) => {
                        raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &[0x88]).await;
                    }
                    (HEADERS, _) => {
                        raw.send(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]).await;
                    }
                    _ => {}
                }
            }
        });
        let network = Network::new([backend]);
        let service = network.service(multiplexed());
        let mut sender = connect(client(&service)).await;
        let (answer, _) = sender.send_request(post("/"), true).unwrap();
        assert_eq!(receive(answer).await.unwrap().0.status(), 200);
        let (answer, _) = sender.send_request(post("/"), true).unwrap();
        let (head, text, _) = receive(answer).await.unwrap();
        assert_eq!((head.status().as_u16(), text.as_str()), (200, "POST http://a.lab/\n"));
        assert_eq!(network.connects.borrow().len(), 2);
        assert!(network.failed.borrow().is_empty(), "nobody is to blame");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn r17_answers_that_http_1_could_not_carry_are_502() {
    local(async {
        let backend = serves_h2(100, |_, mut respond: SendResponse<Bytes>| async move {
            let answer = Response::builder().header("x-a", " b").body(()).unwrap();
            respond.send_response(answer, true).unwrap();
        });
        let service = Network::new([backend]).service(multiplexed());
        let answer = ask(&service, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        assert_eq!(service.stats().rejected(Rule::R17), 1);
        let garbage = answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let service = Network::new([garbage]).service(multiplexed());
        let answer = ask(&service, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "a backend of HTTP/1: {answer}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_holds_back_a_backend_of_http_2() {
    local(async {
        let sent = Rc::new(Cell::new(0));
        let count = Rc::clone(&sent);
        let backend = serves_h2(100, move |_, mut respond: SendResponse<Bytes>| {
            let count = Rc::clone(&count);
            async move {
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                while count.get() < 5_000_000 {
                    write(&mut stream, Bytes::from(vec![b'x'; 1000])).await;
                    count.set(count.get() + 1000);
                }
                stream.send_data(Bytes::new(), true).unwrap();
            }
        });
        let service = Network::new([backend]).service(multiplexed());
        let mut stream = client(&service);
        stream.write_all(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n").await.unwrap();
        settle().await;
        let most = l7::limits::H2_STREAM_WINDOW as usize + 2 * l7::limits::BUFFER_MAX + PIPE;
        assert!(sent.get() <= most, "{} of at most {most}", sent.get());
        let answer = read_all(&mut stream).await;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(body.len(), 5_000_000);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_was_out_gets_no_request_on_an_old_connection() {
    local(async {
        let network = Network::new([serves_h2(100, mirror)]);
        let service = network.service(multiplexed());
        for outages in [0, 0, 1] {
            network.outages.set(outages);
            let answer = ask(&service, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
        assert_eq!(network.connects.borrow().len(), 2);
        let silent = Network::new([serves_h2(100, |_, respond| async move {
            tokio::time::sleep(Duration::from_hours(1)).await;
            drop(respond);
        })]);
        let service = silent.service(multiplexed());
        let answer = ask(&service, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
        assert_eq!(service.multiplexed_connections(0), 0, "a silent connection is left");
    })
    .await;
}

/// A message of gRPC: not compressed, its length, itself.
fn message(text: &str) -> Bytes {
    let length = (text.len() as u32).to_be_bytes();
    Bytes::from([&[0], length.as_slice(), text.as_bytes()].concat())
}

fn grpc(path: &str) -> Request<()> {
    let mut call = post(path);
    call.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    call.headers_mut().insert("te", "trailers".parse().unwrap());
    call
}

fn status(code: &'static str) -> HeaderMap {
    HeaderMap::from_iter([("grpc-status".parse().unwrap(), code.parse().unwrap())])
}

/// A gRPC server: echoes each message as it comes, fails at once, or never answers.
fn calls(log: Rc<RefCell<Vec<String>>>) -> Backend {
    serves_h2(100, move |request, mut respond: SendResponse<Bytes>| {
        let log = Rc::clone(&log);
        async move {
            let (parts, mut body) = request.into_parts();
            assert_eq!(parts.headers["te"], "trailers");
            let mut head = Response::new(());
            head.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
            match parts.uri.path() {
                "/echo" => {
                    let mut stream = respond.send_response(head, false).unwrap();
                    while let Some(data) = body.data().await {
                        let Ok(data) = data else {
                            return log.borrow_mut().push("cancelled".to_owned());
                        };
                        body.flow_control().release_capacity(data.len()).unwrap();
                        stream.send_data(data, false).unwrap();
                    }
                    stream.send_trailers(status("0")).unwrap();
                }
                "/fails" => {
                    head.headers_mut().extend(status("5"));
                    respond.send_response(head, true).unwrap();
                }
                _ => {
                    let reason = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
                    log.borrow_mut().push(format!("{:?}", reason.unwrap()));
                }
            }
        }
    })
}

#[tokio::test(start_paused = true)]
async fn grpc_calls_stream_both_ways_message_by_message() {
    local(async {
        let log = Rc::default();
        let service = Network::new([calls(Rc::clone(&log))]).service(multiplexed());
        let mut sender = connect(client(&service)).await;
        let (answer, mut up) = sender.send_request(grpc("/echo"), false).unwrap();
        up.send_data(message("one"), false).unwrap();
        let (parts, mut down) = answer.await.unwrap().into_parts();
        assert_eq!(parts.headers["content-type"], "application/grpc");
        for text in ["one", "two", "three"] {
            if text != "one" {
                up.send_data(message(text), false).unwrap();
            }
            assert_eq!(
                down.data().await.unwrap().unwrap(),
                message(text),
                "before the next is sent"
            );
        }
        up.send_data(Bytes::new(), true).unwrap();
        let (rest, trailers) = read(&mut down).await;
        assert!(rest.is_empty());
        assert_eq!(trailers.unwrap()["grpc-status"], "0");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn grpc_an_answer_of_trailers_only_stays_one() {
    local(async {
        let service = Network::new([calls(Rc::default())]).service(multiplexed());
        let mut sender = connect(client(&service)).await;
        let (answer, _) = sender.send_request(grpc("/fails"), true).unwrap();
        let answer = answer.await.unwrap();
        assert!(answer.body().is_end_stream());
        assert_eq!(answer.headers()["grpc-status"], "5");
        assert!(!answer.headers().contains_key("content-length"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn grpc_a_call_that_is_cancelled_or_too_late_is_cancelled_at_its_backend() {
    local(async {
        let log: Rc<RefCell<Vec<String>>> = Rc::default();
        let network = Network::new([calls(Rc::clone(&log))]);
        let service = network.service(multiplexed());
        let mut sender = connect(client(&service)).await;
        let (_answer, mut up) = sender.send_request(grpc("/echo"), false).unwrap();
        settle().await;
        up.send_reset(Reason::CANCEL);
        settle().await;
        assert_eq!(*log.borrow(), ["cancelled"]);
        let mut call = grpc("/hangs");
        call.headers_mut().insert("grpc-timeout", "2S".parse().unwrap());
        let (answer, _) = sender.send_request(call, true).unwrap();
        let (head, ..) = receive(answer).await.unwrap();
        assert_eq!(head.headers()["grpc-status"], "4");
        settle().await;
        assert_eq!(*log.borrow(), ["cancelled", "CANCEL"]);
        assert_eq!(network.released.get(), 2);
        assert_eq!(service.multiplexed_connections(0), 1, "the connection goes on");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn grpc_errors_of_ours_have_a_status() {
    local(async {
        let service = Network::new([Backend::Refuses]).service(multiplexed());
        let mut sender = connect(client(&service)).await;
        let (answer, _) = sender.send_request(grpc("/echo"), true).unwrap();
        let (head, ..) = receive(answer).await.unwrap();
        assert_eq!(
            (head.status().as_u16(), &head.headers()["grpc-status"]),
            (200, &"14".parse().unwrap())
        );
    })
    .await;
}
