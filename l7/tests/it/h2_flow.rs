//! Flow control, cancellation and endings of connections of HTTP/2.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::{spawn_local, yield_now};
use tokio::time::Instant;

use crate::h2_harness::*;
use crate::harness::*;

/// Lets everything run until it waits.
async fn settle() {
    for _ in 0..2000 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_holds_back_its_backend_within_bounded_memory() {
    local(async {
        let written = Rc::new(Cell::new(0));
        let count = Rc::clone(&written);
        let network = Network::new([serves(move |mut stream, _| {
            let count = Rc::clone(&count);
            async move {
                read_request(&mut stream).await.unwrap();
                let head = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n";
                stream.write_all(head).await.unwrap();
                while count.get() < 10_000_000 {
                    stream.write_all(&[b'x'; 1000]).await.unwrap();
                    count.set(count.get() + 1000);
                }
            }
        })]);
        let service = network.service(config());
        let mut sender = connect(client(&service)).await;
        let (answer, _) = sender.send_request(get("/"), true).unwrap();
        let mut body = answer.await.unwrap().into_body();
        settle().await;
        // The client's window, what waits to be sent, the exchange's buffers, and two pipes.
        let window = 65_535;
        let most = window + l7::limits::H2_SEND_BUFFER + 2 * l7::limits::BUFFER_MAX + 2 * PIPE;
        let held = written.get();
        assert!(held >= window && held <= most, "{held} of at most {most}");
        let mut got = 0;
        while let Some(data) = body.data().await {
            let count = data.unwrap().len();
            got += count;
            body.flow_control().release_capacity(count).unwrap();
            assert!(written.get() <= got + most);
        }
        assert_eq!(got, 10_000_000);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_backend_holds_back_its_client_and_no_other() {
    local(async {
        let go = Rc::new(tokio::sync::Notify::new());
        let wait = Rc::clone(&go);
        let slow = serves(move |mut stream, _| {
            let wait = Rc::clone(&wait);
            async move {
                let head = read_head(&mut stream).await.unwrap();
                wait.notified().await;
                let body = read_body(&mut stream, &head).await;
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nX-Got: {}\r\nContent-Length: 0\r\n\r\n",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let quick = answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let service = Network::new([slow, quick]).service(config());
        let mut sender = connect(client(&service)).await;
        let (answer, mut body) = sender.send_request(post("/"), false).unwrap();
        let sent = Rc::new(Cell::new(0));
        let count = Rc::clone(&sent);
        spawn_local(async move {
            while count.get() < 3_000_000 {
                body.reserve_capacity(10_000);
                let room = std::future::poll_fn(|cx| body.poll_capacity(cx)).await;
                let room = room.unwrap().unwrap().min(10_000);
                body.send_data(Bytes::from(vec![b'x'; room]), false).unwrap();
                count.set(count.get() + room);
            }
            body.send_data(Bytes::new(), true).unwrap();
        });
        settle().await;
        let window = l7::limits::H2_STREAM_WINDOW as usize;
        let most = window + l7::limits::BUFFER_MAX + 20_000 + 2 * PIPE;
        assert!((window..=most).contains(&sent.get()), "{} of {window}..={most}", sent.get());
        let (other, _) = sender.send_request(get("/"), true).unwrap();
        assert_eq!(receive(other).await.unwrap().0.status(), 200, "another stream is not held up");
        go.notify_one();
        let (head, ..) = receive(answer).await.unwrap();
        assert_eq!(head.headers()["x-got"].to_str().unwrap(), sent.get().to_string());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_stream_frees_its_backend_whatever_it_does() {
    local(async {
        for early in ["", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"] {
            let network = Network::new([serves(move |mut stream, _| async move {
                read_request(&mut stream).await.unwrap();
                stream.write_all(early.as_bytes()).await.unwrap();
                assert!(ended(&mut stream).await);
            })]);
            let service = network.service(config());
            let mut sender = connect(client(&service)).await;
            let (answer, mut stream) = sender.send_request(get("/"), true).unwrap();
            settle().await;
            assert_eq!((network.chosen.get(), network.released.get()), (1, 0));
            stream.send_reset(h2::Reason::CANCEL);
            settle().await;
            assert_eq!(network.released.get(), 1, "{early:?}");
            drop(answer);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn uploads_that_are_given_up_do_not_use_up_the_window_of_the_connection() {
    local(async {
        let network = Network::new([serves(|mut stream, _| async move {
            let head = read_head(&mut stream).await.unwrap();
            if head.starts_with("GET") {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                return stream.write_all(answer).await.unwrap();
            }
            // Answered before the body is read (R15).
            let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            ended(&mut stream).await;
        })]);
        let service = network.service(config());
        let mut sender = connect(client(&service)).await;
        for _ in 0..20 {
            sender = sender.ready().await.unwrap();
            let (answer, mut body) = sender.send_request(post("/"), false).unwrap();
            body.reserve_capacity(200_000);
            body.send_data(Bytes::from(vec![b'x'; 200_000]), false).unwrap();
            let (head, ..) = receive(answer).await.unwrap();
            assert_eq!(head.status(), 403);
            settle().await;
        }
        let (answer, _) = sender.send_request(get("/"), true).unwrap();
        assert_eq!(receive(answer).await.unwrap().0.status(), 200);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_told_to_go_and_closed_in_order() {
    local(async {
        let network = Network::new([answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")]);
        let service = network.service(config());
        let begin = Instant::now();
        let (mut sender, connection) = h2::client::handshake(client(&service)).await.unwrap();
        let connection = spawn_local(connection);
        tokio::time::sleep(Duration::from_secs(40)).await;
        let (answer, _) = sender.send_request(get("/"), true).unwrap();
        receive(answer).await.unwrap();
        connection.await.unwrap().expect("no error: GOAWAY with NO_ERROR");
        assert_eq!(begin.elapsed().as_secs(), 40 + service.config().timeouts.idle.as_secs());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_service_that_drains_ends_connections_after_their_requests() {
    local(async {
        let network = Network::new([serves(|mut stream, _| async move {
            while read_request(&mut stream).await.is_some() {
                tokio::time::sleep(Duration::from_secs(5)).await;
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                stream.write_all(answer).await.unwrap();
            }
        })]);
        let service = network.service(config());
        let (mut sender, connection) = h2::client::handshake(client(&service)).await.unwrap();
        let connection = spawn_local(connection);
        let (answer, _) = sender.send_request(get("/"), true).unwrap();
        let mut old = client(&service);
        old.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        settle().await;
        service.drain();
        settle().await;
        let late = sender.ready().await;
        assert!(late.is_err(), "no new request after GOAWAY");
        assert_eq!(receive(answer).await.unwrap().0.status(), 200);
        connection.await.unwrap().unwrap();
        let head = read_head(&mut old).await.unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let mut new = client(&service);
        new.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let head = read_head(&mut new).await.unwrap();
        assert_eq!(field(&head, "Connection"), Some("close"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_websocket_over_http_2_is_an_upgrade_toward_the_backend() {
    local(async {
        let network = Network::new([serves(|mut stream, _| async move {
            let head = read_head(&mut stream).await.unwrap();
            assert!(head.starts_with("GET /chat HTTP/1.1\r\n"), "{head}");
            assert_eq!(field(&head, "Upgrade"), Some("websocket"));
            assert_eq!(field(&head, "Sec-WebSocket-Version"), Some("13"));
            let key = field(&head, "Sec-WebSocket-Key").unwrap();
            let accept = l7::http1::websocket::accept_for(key.as_bytes()).unwrap();
            let accept = std::str::from_utf8(&accept).unwrap().to_owned();
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\nhello"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            let mut got = [0; 4];
            stream.read_exact(&mut got).await.unwrap();
            stream.write_all(&got).await.unwrap();
            assert!(ended(&mut stream).await, "the client ended");
            stream.shutdown().await.unwrap();
        })]);
        let service = network.service(config());
        let mut sender = connect(client(&service)).await;
        settle().await;
        assert!(sender.is_extended_connect_protocol_enabled());
        let mut request = http::Request::builder()
            .method("CONNECT")
            .uri("http://a.lab/chat")
            .header("sec-websocket-version", "13")
            .body(())
            .unwrap();
        request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
        let (answer, mut up) = sender.send_request(request, false).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["sec-websocket-protocol"], "chat");
        assert!(!answer.headers().contains_key("sec-websocket-accept"));
        up.send_data(Bytes::from_static(b"ping"), false).unwrap();
        let mut down = answer.into_body();
        let mut text = Vec::new();
        while text.len() < 9 {
            text.extend_from_slice(&down.data().await.unwrap().unwrap());
        }
        assert_eq!(text, b"helloping");
        up.send_data(Bytes::new(), true).unwrap();
        let rest = down.data().await;
        assert!(rest.is_none_or(|data| data.unwrap().is_empty()) && down.is_end_stream());
        settle().await;
        assert_eq!(service.stats().tunnels.get(), 1);
        assert_eq!(network.released.get(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn r11_no_tunnel_without_a_valid_101() {
    local(async {
        for (answer, status) in [
            ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 403),
            (
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
                502,
            ),
        ] {
            let service = Network::new([answers(answer)]).service(config());
            let mut sender = connect(client(&service)).await;
            settle().await;
            let mut request = http::Request::builder().method("CONNECT").uri("http://a.lab/chat");
            request = request.header("sec-websocket-version", "13");
            let mut request = request.body(()).unwrap();
            request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
            let (answer, _up) = sender.send_request(request, false).unwrap();
            assert_eq!(receive(answer).await.unwrap().0.status(), status);
            assert_eq!(service.stats().tunnels.get(), 0);
        }
    })
    .await;
}
