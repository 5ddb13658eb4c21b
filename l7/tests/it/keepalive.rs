//! Connections: kept, reused, lost and replaced.

use l7::{Config, Forwarded};
use tokio::io::AsyncWriteExt;

use crate::harness::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn plain() -> Config {
    Config { forwarded: Forwarded::Hide, ..Config::default() }
}

#[tokio::test(start_paused = true)]
async fn requests_are_balanced_one_by_one_over_kept_connections() {
    local(async {
        let network = Network::new([answers(OK), answers(OK)]);
        let service = network.service(plain());
        let mut stream = client(&service);
        for _ in 0..10 {
            stream.write_all(GET.as_bytes()).await.unwrap();
            expect(&mut stream, OK).await;
        }
        let stats = service.stats();
        assert_eq!(service.requests_by_backend(), [5, 5]);
        assert_eq!((stats.upstream_connects.get(), stats.upstream_reuses.get()), (2, 8));
        assert_eq!((stats.requests.get(), stats.responses[1].get()), (10, 10));
        assert_eq!((stats.bytes_up.get(), stats.bytes_down.get()), (0, 20));
        assert_eq!(network.succeeded.borrow().len(), 10);
        assert_eq!(network.released.get(), 10);
        assert_eq!((service.idle_connections(0), service.idle_connections(1)), (1, 1));
    })
    .await;
}

/// A backend whose connections each answer one request, and then nothing more, nor end.
fn falls_silent() -> Backend {
    serves(|mut stream, _| async move {
        read_request(&mut stream).await;
        stream.write_all(OK.as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    })
}

#[tokio::test(start_paused = true)]
async fn connections_from_before_a_backend_was_out_are_not_used_again() {
    local(async {
        let network = Network::new([falls_silent()]);
        let service = network.service(plain());
        let mut stream = client(&service);
        stream.write_all(GET.as_bytes()).await.unwrap();
        expect(&mut stream, OK).await;
        assert_eq!(service.idle_connections(0), 1);
        // A check takes the backend out, and brings it back.
        network.outages.set(1);
        let asked = tokio::time::Instant::now();
        stream.write_all(GET.as_bytes()).await.unwrap();
        expect(&mut stream, OK).await;
        assert!(asked.elapsed() < std::time::Duration::from_secs(1), "not after 60 s with 504");
        let stats = service.stats();
        assert_eq!((stats.upstream_connects.get(), stats.upstream_reuses.get()), (2, 0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn when_a_backend_is_out_its_idle_connections_go() {
    local(async {
        let slow = serves(|mut stream, _| async move {
            while read_request(&mut stream).await.is_some() {
                tokio::time::sleep(std::time::Duration::from_secs(5)).await;
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        });
        let network = Network::new([slow]);
        let service = network.service(plain());
        let mut first = client(&service);
        first.write_all(GET.as_bytes()).await.unwrap();
        expect(&mut first, OK).await;
        assert_eq!(service.idle_connections(0), 1);
        network.outages.set(1);
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
        assert_eq!(service.idle_connections(0), 0, "without a request");
        // One that is in use meanwhile is not kept, but serves its request.
        first.write_all(GET.as_bytes()).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        network.outages.set(2);
        expect(&mut first, OK).await;
        assert_eq!(service.idle_connections(0), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn r14_pipelined_requests_are_answered_in_order() {
    local(async {
        let backend = serves(|mut stream, _| async move {
            while let Some((head, _)) = read_request(&mut stream).await {
                let path = head.split(' ').nth(1).unwrap().to_owned();
                let answer =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let service = Network::new([backend.clone(), backend]).service(plain());
        let request = |number| format!("GET /{number:02} HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = |number| format!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n/{number:02}");
        let requests: Vec<_> = (0..40).map(request).collect();
        let expected: Vec<_> = (0..40).map(answer).collect();
        assert_eq!(ask(&service, &requests.concat()).await, expected.concat());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn r14_what_follows_an_error_is_not_served() {
    local(async {
        let service = Network::new([answers(OK)]).service(plain());
        let answer = ask(&service, &format!("{GET}GET /\n\r\n\r\n{GET}{GET}")).await;
        assert_eq!(answer.matches("HTTP/1.1 200").count(), 1);
        assert_eq!(answer.matches("HTTP/1.1 400").count(), 1);
        assert_eq!(service.stats().requests.get(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn clients_of_either_version_close_as_they_ask() {
    local(async {
        let service = Network::new([answers(OK)]).service(plain());
        let mut stream = client(&service);
        stream.write_all(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await.unwrap();
        expect(
            &mut stream,
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok",
        )
        .await;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        expect(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            .await;
        assert!(ended(&mut stream).await);
        let mut stream = client(&service);
        let close = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(close.as_bytes()).await.unwrap();
        let answer = read_all(&mut stream).await;
        assert_eq!(answer, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        assert_eq!(service.stats().upstream_connects.get(), 1, "the backend's side is kept");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_connection_leads_to_the_next_backend() {
    local(async {
        let network = Network::new([Backend::Refuses, Backend::Hangs, answers(OK)]);
        let service = network.service(plain());
        let began = tokio::time::Instant::now();
        assert_eq!(ask(&service, GET).await, OK);
        assert_eq!(began.elapsed(), service.config().timeouts.connect);
        assert_eq!(*network.failed.borrow(), [0, 1]);
        assert_eq!(*network.succeeded.borrow(), [2]);
        assert_eq!(service.requests_by_backend(), [0, 0, 1]);
        assert_eq!(service.stats().upstream_failures.get(), 2);
        assert_eq!(network.released.get(), 3);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_a_backend_the_answer_says_why_and_the_connection_stays() {
    for (backends, status) in [
        (vec![], "503 Service Unavailable"),
        (vec![Backend::Refuses], "502 Bad Gateway"),
        (vec![Backend::Hangs], "504 Gateway Timeout"),
        (vec![Backend::Refuses; 9], "502 Bad Gateway"),
    ] {
        local(async {
            let network = Network::new(backends);
            let service = network.service(plain());
            let answer = ask(&service, &GET.repeat(2)).await;
            assert_eq!(answer.matches(&format!("HTTP/1.1 {status}\r\n")).count(), 2, "{answer}");
            assert!(network.failed.borrow().len() <= 2 * l7::limits::BACKEND_ATTEMPTS);
            let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nGET /";
            let answer = ask(&service, post).await;
            assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
            assert!(answer.contains("\r\nConnection: close\r\n"));
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_our_own_to_head_has_no_body() {
    local(async {
        let service = Network::new([]).service(plain());
        let answer = ask(&service, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    })
    .await;
}

/// A backend that answers `good` requests on its first connection and then closes on the next one
/// without a word; later connections answer.
fn forgetful(good: usize) -> Backend {
    serves(move |mut stream, number| async move {
        let mut served = 0;
        while read_request(&mut stream).await.is_some() {
            if number == 0 && served == good {
                return;
            }
            served += 1;
            stream.write_all(OK.as_bytes()).await.unwrap();
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_safe_request_met_by_a_closing_connection_is_sent_again_once() {
    local(async {
        let network = Network::new([forgetful(1)]);
        let service = network.service(plain());
        assert_eq!(ask(&service, &GET.repeat(2)).await, OK.repeat(2));
        let stats = service.stats();
        assert_eq!((stats.retries.get(), stats.upstream_connects.get()), (1, 2));
        assert!(network.failed.borrow().is_empty(), "closing a kept connection is no failure");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_may_have_effects_is_not() {
    for second in [
        "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
    ] {
        local(async {
            let service = Network::new([forgetful(1)]).service(plain());
            let answer = ask(&service, &format!("{GET}{second}")).await;
            assert!(answer.starts_with(OK));
            assert!(answer.contains("HTTP/1.1 502 Bad Gateway"), "{answer}");
            assert_eq!(service.stats().retries.get(), 0);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_fresh_connection_that_closes_is_a_failure_and_not_retried() {
    local(async {
        let network = Network::new([forgetful(0)]);
        let service = network.service(plain());
        let answer = ask(&service, GET).await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        assert_eq!(*network.failed.borrow(), [0]);
        assert_eq!(service.stats().retries.get(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn r16_bytes_after_a_response_never_reach_the_next_request() {
    local(async {
        let backend = serves(|mut stream, number| async move {
            while read_request(&mut stream).await.is_some() {
                stream.write_all(OK.as_bytes()).await.unwrap();
                if number == 0 {
                    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
                    let _ = stream.write_all(evil.as_bytes()).await;
                }
            }
        });
        let network = Network::new([backend]);
        let service = network.service(plain());
        let mut stream = client(&service);
        for _ in 0..3 {
            stream.write_all(GET.as_bytes()).await.unwrap();
            expect(&mut stream, OK).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(network.connects.borrow().len(), 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_says_close_is_not_kept() {
    local(async {
        let closes = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
        let old = "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok";
        for response in [closes, old] {
            let network = Network::new([answers(response)]);
            let service = network.service(plain());
            assert_eq!(ask(&service, &GET.repeat(3)).await, OK.repeat(3));
            assert_eq!(network.connects.borrow().len(), 3);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_frees_the_backend() {
    local(async {
        let network = Network::new([serves(|mut stream, _| async move {
            read_request(&mut stream).await;
            // Never answers; ends when the proxy drops the connection.
            while !ended(&mut stream).await {}
        })]);
        let service = network.service(plain());
        let mut stream = client(&service);
        stream
            .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx")
            .await
            .unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        drop(stream);
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        assert_eq!(network.released.get(), 1);
        assert_eq!(service.stats().aborted.get(), 1);
    })
    .await;
}
