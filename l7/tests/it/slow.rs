//! Slow clients and slow backends: every wait ends.

use std::time::Duration;

use l7::{Config, Forwarded};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use crate::harness::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn plain() -> Config {
    Config { forwarded: Forwarded::Hide, ..Config::default() }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_without_a_word() {
    local(async {
        let service = Network::new([answers(OK)]).service(plain());
        let idle = service.config().timeouts.idle;
        let mut stream = client(&service);
        let began = Instant::now();
        assert_eq!(read_all(&mut stream).await, "");
        assert_eq!(began.elapsed(), idle);

        let mut stream = client(&service);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        expect(&mut stream, OK).await;
        let began = Instant::now();
        assert_eq!(read_all(&mut stream).await, "");
        assert_eq!(began.elapsed(), idle);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_head_that_drips_is_refused_at_its_time() {
    local(async {
        let service = Network::new([answers(OK)]).service(plain());
        let mut stream = client(&service);
        let began = Instant::now();
        for byte in b"GET / HTTP/1.1\r\nX: " {
            if stream.write_all(&[*byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_secs(1)).await;
        }
        assert!(began.elapsed() >= service.config().timeouts.head);
        let answer = read_all(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
        assert_eq!(service.stats().requests.get(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_is_refused_and_one_that_drips_is_not() {
    local(async {
        let network = Network::new([answers(OK)]);
        let service = network.service(plain());
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
        let mut stream = client(&service);
        stream.write_all(head).await.unwrap();
        let began = Instant::now();
        for byte in b"hello" {
            sleep(service.config().timeouts.response / 2).await;
            stream.write_all(&[*byte]).await.unwrap();
        }
        expect(&mut stream, OK).await;
        assert!(began.elapsed() > service.config().timeouts.response);
        stream.write_all(head).await.unwrap();
        let answer = read_all(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(network.failed.borrow().is_empty(), "not the backend's fault");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_never_answers_is_a_504() {
    local(async {
        let silent = serves(|mut stream, _| async move { while !ended(&mut stream).await {} });
        let network = Network::new([silent]);
        let service = network.service(plain());
        let began = Instant::now();
        let answer = ask(&service, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"), "{answer}");
        assert_eq!(began.elapsed(), service.config().timeouts.response);
        assert_eq!(*network.failed.borrow(), [0]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_response_that_stops_is_cut_off() {
    local(async {
        let backend = serves(|mut stream, _| async move {
            read_request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").await.unwrap();
            while !ended(&mut stream).await {}
        });
        let service = Network::new([backend]).service(plain());
        let began = Instant::now();
        let answer = ask(&service, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(answer.ends_with("\r\n\r\nhalf"), "{answer}");
        assert_eq!(began.elapsed(), service.config().timeouts.body);
        assert_eq!(service.stats().aborted.get(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_holds_its_backend_back_and_is_cut_off() {
    local(async {
        let backend = serves(|mut stream, _| async move {
            read_request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            let mut sent = 0;
            while stream.write_all(&[0; 1024]).await.is_ok() {
                sent += 1024;
                assert!(sent < 3 * l7::limits::BUFFER_MAX, "buffers are bounded");
            }
        });
        let service = Network::new([backend]).service(plain());
        let mut stream = client(&service);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        sleep(service.config().timeouts.body + Duration::from_secs(1)).await;
        assert_eq!(service.stats().aborted.get(), 1);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.len() <= PIPE);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn lingering_ends_by_itself() {
    local(async {
        let service = Network::new([answers(OK)]).service(plain());
        let mut stream = client(&service);
        stream.write_all(b"BAD\r\n\r\n").await.unwrap();
        let head = read_head(&mut stream).await.unwrap();
        assert!(head.starts_with("HTTP/1.1 400 "));
        sleep(l7::limits::LINGER_TIME * 2).await;
        assert!(stream.write_all(b"x").await.is_err(), "the connection is gone");
    })
    .await;
}
