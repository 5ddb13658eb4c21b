//! The limit on a request as a whole: what it ends, and how.

use std::time::Duration;

use l7::{Config, Forwarded, Timeouts};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

use crate::harness::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const TOTAL: Duration = Duration::from_secs(2);

/// Everything else has longer.
fn config() -> Config {
    let connect = Duration::from_secs(30);
    let timeouts = Timeouts { total: Some(TOTAL), connect, ..Timeouts::default() };
    Config { forwarded: Forwarded::Hide, timeouts, ..Config::default() }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_longer_than_the_total_is_a_504_whatever_it_waits_for() {
    let silent = serves(|mut stream, _| async move { while !ended(&mut stream).await {} });
    for (backend, failed) in [(silent, &[0][..]), (Backend::Hangs, &[])] {
        local(async {
            let network = Network::new([backend]);
            let service = network.service(config());
            let began = Instant::now();
            let answer = ask(&service, GET).await;
            assert!(answer.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"), "{answer}");
            assert_eq!(began.elapsed(), TOTAL);
            // One that had no time to connect has done nothing wrong.
            assert_eq!(*network.failed.borrow(), failed);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_total_cuts_an_answer_that_drips() {
    local(async {
        let drips = serves(|mut stream, _| async move {
            read_request(&mut stream).await;
            let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n").await;
            while sent.is_ok() {
                sleep(Duration::from_millis(900)).await;
                sent = stream.write_all(b"x").await;
            }
        });
        let service = Network::new([drips]).service(config());
        let began = Instant::now();
        let answer = ask(&service, GET).await;
        assert!(answer.ends_with("\r\n\r\nxx"), "{answer}");
        assert_eq!(began.elapsed(), TOTAL);
        assert_eq!(service.stats().aborted.get(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_beyond_the_total_is_a_408() {
    local(async {
        let network = Network::new([answers(OK)]);
        let service = network.service(config());
        let mut stream = client(&service);
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n";
        stream.write_all(head).await.unwrap();
        for _ in 0..4 {
            sleep(TOTAL / 3).await;
            let _ = stream.write_all(b"x").await;
        }
        let answer = read_all(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(network.failed.borrow().is_empty(), "not the backend's fault");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_total_is_of_each_request_and_not_of_the_connection_or_a_tunnel() {
    local(async {
        let upgrades = serves(|mut stream, _| async move {
            while let Some((head, _)) = read_request(&mut stream).await {
                let answer = if field(&head, "Upgrade").is_some() {
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
                } else {
                    OK
                };
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let service = Network::new([upgrades]).service(config());
        let mut stream = client(&service);
        for _ in 0..3 {
            stream.write_all(GET.as_bytes()).await.unwrap();
            expect(&mut stream, OK).await;
            sleep(TOTAL).await;
        }
        let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
                       Sec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(upgrade.as_bytes()).await.unwrap();
        let head = read_head(&mut stream).await.unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        sleep(2 * TOTAL).await;
        stream.write_all(b"still here").await.unwrap();
        sleep(2 * TOTAL).await;
        assert_eq!(service.stats().aborted.get(), 0);
    })
    .await;
}
