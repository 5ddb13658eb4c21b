//! Peers that cut off, flood, stall or babble: each is answered, within a bound in time and memory.
//!
//! Slow heads and bodies are in `slow.rs`, what breaks a rule is in `rules`, what comes early or stays away
//! in `messages.rs` and `keepalive.rs`.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use l7::http1::reject::Rule;
use l7::limits::{
    BUFFER_MAX, BUFFER_START, EARLY_BYTES, HEAD_BYTES, LINGER_BYTES, TARGET_BYTES, TRAILER_BYTES,
};
use l7::{Config, Forwarded};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use crate::harness::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn plain() -> Config {
    Config { forwarded: Forwarded::Hide, ..Config::default() }
}

/// A backend that takes connections and neither reads, speaks nor ends.
fn stone() -> Backend {
    serves(|stream, _| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
}

/// Writes `piece` again and again until that fails, or is refused for `patience`; how many bytes went.
async fn flood(writer: &mut (impl AsyncWrite + Unpin), piece: &[u8], patience: Duration) -> usize {
    let mut sent = 0;
    while let Ok(Ok(())) = tokio::time::timeout(patience, writer.write_all(piece)).await {
        sent += piece.len();
        assert!(sent < 64 << 20, "there is no bound");
    }
    sent
}

#[tokio::test(start_paused = true)]
async fn a_client_that_ends_within_a_head_is_told_and_one_that_ends_between_heads_is_not() {
    for (bytes, refused) in [
        ("G", true),
        ("GET / HTTP/1.1\r\n", true),
        ("GET / HTTP/1.1\r\nHost: a\r\n", true),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r", true),
        ("", false),
        ("\r\n", false),
    ] {
        local(async {
            let network = Network::new([answers(OK)]);
            let service = network.service(plain());
            let began = Instant::now();
            for before in ["", GET] {
                let answer = ask(&service, &format!("{before}{bytes}")).await;
                let last = answer.strip_prefix(OK).unwrap_or(&answer);
                if refused {
                    assert!(last.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{bytes:?} {answer}");
                    assert!(last.ends_with("\nr06: the head was cut off\n"), "{bytes:?} {answer}");
                } else {
                    assert_eq!(last, "", "{bytes:?}");
                }
            }
            assert_eq!(began.elapsed(), Duration::ZERO, "at once");
            assert_eq!(service.stats().rejected(Rule::R06), u64::from(refused) * 2);
            assert_eq!(service.stats().requests.get(), 1, "only what was whole");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_ends_within_a_body_is_told_and_no_backend_takes_it_for_whole() {
    for (framing, body) in [
        ("Content-Length: 5", "hell"),
        ("Content-Length: 5", ""),
        ("Transfer-Encoding: chunked", ""),
        ("Transfer-Encoding: chunked", "5\r\nhell"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\nA: b"),
    ] {
        local(async {
            let whole = Rc::new(Cell::new(true));
            let seen = Rc::clone(&whole);
            let backend = serves(move |mut stream, _| {
                let seen = Rc::clone(&seen);
                async move {
                    let text = read_all(&mut stream).await;
                    seen.set(text.ends_with("hello") || text.ends_with("\r\n0\r\n\r\n"));
                }
            });
            let network = Network::new([backend]);
            let service = network.service(plain());
            let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{body}");
            let answer = ask(&service, &request).await;
            assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{body:?}: {answer}");
            assert!(answer.ends_with("\nr05: the request body was cut off\n"), "{answer}");
            tokio::task::yield_now().await;
            assert!(!whole.get(), "{body:?}");
            assert!(network.failed.borrow().is_empty(), "not the backend's fault");
            assert_eq!(service.idle_connections(0), 0, "R15");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn floods_within_a_request_are_refused_and_then_read_for_a_moment_only() {
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let length = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: x\r\n\r\n";
    for (begin, piece, status, bound) in [
        ("GET / HTTP/1.1\r\n", "X: y\r\n", 431, HEAD_BYTES),
        ("GET / HTTP/1.1\r\nX: ", "yyyyyyyy", 431, HEAD_BYTES),
        ("GET / HTTP/1.1\r\n", "yyyyyyyy", 431, HEAD_BYTES),
        ("GET /", "aaaaaaaa", 414, HEAD_BYTES),
        ("", "aaaaaaaa", 414, HEAD_BYTES),
        ("", "\r\n\r\n\r\n\r\n", 400, HEAD_BYTES),
        (chunked, "00000000", 400, BUFFER_START),
        (&format!("{chunked}5;"), "eeeeeeee", 400, BUFFER_START),
        (&format!("{chunked}0\r\n"), "A: b\r\n", 431, TRAILER_BYTES + BUFFER_START),
        (&format!("{chunked}0\r\nA: "), "bbbbbbbb", 431, TRAILER_BYTES + BUFFER_START),
        (length, "xxxxxxxx", 417, BUFFER_START),
    ] {
        local(async {
            let service = Network::new([stone()]).service(plain());
            let (mut reader, mut writer) = split(client(&service));
            let began = Instant::now();
            let begin = begin.to_owned();
            let sender = spawn_local(async move {
                writer.write_all(begin.as_bytes()).await.unwrap();
                let whole = flood(&mut writer, piece.as_bytes(), Duration::from_mins(1)).await;
                begin.len() + whole
            });
            let answer = read_all(&mut reader).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{piece:?}: {answer}");
            let sent = sender.await.unwrap();
            let bound = bound + LINGER_BYTES + BUFFER_MAX + 2 * PIPE;
            assert!(sent <= bound, "{piece:?}: {sent} bytes were taken, {bound} may be");
            assert!(began.elapsed() <= l7::limits::LINGER_TIME, "{piece:?}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_floods_while_a_backend_thinks_is_not_read() {
    local(async {
        let service = Network::new([stone()]).service(plain());
        let (mut reader, mut writer) = split(client(&service));
        writer.write_all(GET.as_bytes()).await.unwrap();
        let sent = flood(&mut writer, &[b'x'; 64], Duration::from_secs(1)).await;
        assert!(sent <= 2 * EARLY_BYTES + PIPE, "{sent}");
        let rest = vec![b'x'; TARGET_BYTES];
        let (answer, _) = tokio::join!(read_all(&mut reader), writer.write_all(&rest));
        assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
        assert!(answer.contains("HTTP/1.1 414 "), "and then what was sent is judged: {answer}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_told_to_go_on_and_does_not_is_refused() {
    local(async {
        let backend = serves(|mut stream, _| async move {
            read_head(&mut stream).await.unwrap();
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
            assert!(ended(&mut stream).await);
        });
        let network = Network::new([backend]);
        let service = network.service(plain());
        let mut stream = client(&service);
        let began = Instant::now();
        stream
            .write_all(
                b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
            )
            .await
            .unwrap();
        let answer = read_all(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 408 "), "{answer}");
        assert_eq!(began.elapsed(), service.config().timeouts.response);
        assert!(network.failed.borrow().is_empty(), "not the backend's fault");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_drips_its_head_is_a_504_at_its_time() {
    local(async {
        let backend = serves(|mut stream, _| async move {
            read_request(&mut stream).await;
            for byte in b"HTTP/1.1 200 OK\r\nX: ".iter().chain([b'y'].iter().cycle()) {
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
                sleep(Duration::from_secs(5)).await;
            }
        });
        let network = Network::new([backend]);
        let service = network.service(plain());
        let began = Instant::now();
        let answer = ask(&service, GET).await;
        assert!(answer.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"), "{answer}");
        assert_eq!(began.elapsed(), service.config().timeouts.response);
        assert_eq!(*network.failed.borrow(), [0]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_does_not_read_is_a_504_and_holds_its_client_back() {
    local(async {
        let network = Network::new([stone()]);
        let service = network.service(plain());
        let (mut reader, mut writer) = split(client(&service));
        let began = Instant::now();
        writer
            .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n")
            .await
            .unwrap();
        let patience = Duration::from_secs(1);
        let sent = flood(&mut writer, &[b'x'; 1024], patience).await;
        assert!(sent <= 2 * BUFFER_MAX + 2 * PIPE, "{sent}");
        let answer = read_all(&mut reader).await;
        assert!(
            answer.starts_with("HTTP/1.1 504 Gateway Timeout\r\nConnection: close\r\n"),
            "{answer}"
        );
        assert!(began.elapsed() <= service.config().timeouts.response + patience);
        assert_eq!(*network.failed.borrow(), [0]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_babbles_is_a_502_and_is_not_read_on() {
    for (begin, piece) in [
        ("HTTP/1.1 200 OK\r\n", "X: y\r\n"),
        ("HTTP/1.1 200 ", "OKOKOKOK"),
        ("HTTP/1.1 200 OK\r\nX: ", "yyyyyyyy"),
        ("", "HTTP/1.1 103 Early Hints\r\n\r\n"),
        ("", "\0\0\0\0"),
        ("", "\r\n"),
    ] {
        local(async {
            let sent = Rc::new(Cell::new(0));
            let count = Rc::clone(&sent);
            let backend = serves(move |mut stream, _| {
                let count = Rc::clone(&count);
                async move {
                    read_request(&mut stream).await;
                    let _ = stream.write_all(begin.as_bytes()).await;
                    count.set(flood(&mut stream, piece.as_bytes(), Duration::from_mins(1)).await);
                }
            });
            let network = Network::new([backend]);
            let service = network.service(plain());
            let mut stream = client(&service);
            stream.write_all(GET.as_bytes()).await.unwrap();
            let answer = read_all(&mut stream).await;
            let last = answer.replace("HTTP/1.1 103 Early Hints\r\n\r\n", "");
            assert!(last.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{begin}{piece}: {answer}");
            assert_eq!(last.matches("HTTP/1.1").count(), 1, "{answer}");
            assert!(sent.get() <= BUFFER_MAX + 2 * PIPE, "{begin}{piece}: {}", sent.get());
            assert_eq!(service.stats().rejected_total(), 1);
            assert_eq!(*network.failed.borrow(), [0]);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_answers_early_and_closes_is_heard() {
    local(async {
        // It reads the head alone, answers, and closes with the client's body unread.
        let backend = serves(|mut stream, _| async move {
            read_head(&mut stream).await;
            let _ = stream
                .write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
                .await;
        });
        let network = Network::new([backend]);
        let service = network.service(plain());
        let (mut reader, mut writer) = split(client(&service));
        writer
            .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
            .await
            .unwrap();
        let sender =
            spawn_local(
                async move { flood(&mut writer, &[b'x'; 1000], Duration::from_mins(1)).await },
            );
        let answer = read_all(&mut reader).await;
        assert_eq!(
            answer,
            "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig"
        );
        let sent = sender.await.unwrap();
        assert!(sent <= LINGER_BYTES + 2 * BUFFER_MAX + 3 * PIPE, "{sent}");
        assert_eq!(service.idle_connections(0), 0);
        assert!(network.failed.borrow().is_empty(), "it answered");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_through_which_nothing_moves_ends() {
    local(async {
        let backend = serves(|mut stream, _| async move {
            read_head(&mut stream).await.unwrap();
            stream
                .write_all(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                      Connection: Upgrade\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
                )
                .await
                .unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let service = Network::new([backend]).service(plain());
        let mut stream = client(&service);
        stream
            .write_all(
                b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            )
            .await
            .unwrap();
        read_head(&mut stream).await.unwrap();
        let began = Instant::now();
        assert!(ended(&mut stream).await);
        assert_eq!(began.elapsed(), service.config().timeouts.tunnel);
        assert_eq!(service.stats().aborted.get(), 1);
    })
    .await;
}
