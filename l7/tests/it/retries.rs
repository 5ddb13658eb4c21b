//! Requests sent again, and requests sent twice: when, to whom, how often.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use http::StatusCode;
use l7::upstream::{BudgetLimits, Retry};
use l7::{Config, Forwarded};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

use crate::harness::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy";

fn retry() -> Retry {
    let statuses = vec![StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE];
    Retry { times: 1, statuses, ..Retry::default() }
}

fn config(retry: Retry) -> Config {
    Config { forwarded: Forwarded::Hide, retry, ..Config::default() }
}

#[tokio::test(start_paused = true)]
async fn a_status_that_counts_as_a_failure_leads_to_another_backend() {
    local(async {
        let network = Network::new([answers(BUSY), answers(OK)]);
        let service = network.service(config(retry()));
        assert_eq!(ask(&service, GET).await, OK);
        let stats = service.stats();
        assert_eq!(stats.retries.get(), 1);
        assert_eq!(service.requests_by_backend(), [1, 1]);
        assert_eq!((stats.responses[1].get(), stats.responses[4].get()), (1, 0));
        assert!(network.failed.borrow().is_empty(), "it did answer");
        assert_eq!(network.released.get(), network.chosen.get());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn other_statuses_and_other_services_are_left_alone() {
    local(async {
        let broken = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
        let service = Network::new([answers(broken), answers(OK)]).service(config(retry()));
        assert_eq!(ask(&service, GET).await, broken);
        let plain = config(Retry::default());
        let service = Network::new([answers(BUSY), answers(OK)]).service(plain);
        assert_eq!(ask(&service, GET).await, BUSY);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_last_answer_there_is_goes_to_the_client() {
    local(async {
        // No other backend; and no further try.
        for backends in [vec![answers(BUSY)], vec![answers(BUSY); 5]] {
            let most = backends.len().min(2);
            let network = Network::new(backends);
            let service = network.service(config(retry()));
            assert_eq!(ask(&service, GET).await, BUSY);
            assert_eq!(network.connects.borrow().len(), most);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_done_twice_is_not_sent_twice() {
    for request in [
        "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
        "PATCH / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
        // It might be, but its body is not kept.
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
    ] {
        local(async {
            let service = Network::new([answers(BUSY), answers(OK)]).service(config(retry()));
            let answer = ask(&service, request).await;
            assert!(answer.starts_with("HTTP/1.1 503 "), "{request}: {answer}");
            assert_eq!(service.stats().retries.get(), 0);
        })
        .await;
    }
}

/// A backend that writes down the bodies it gets.
fn keeps(bodies: &Rc<RefCell<Vec<Vec<u8>>>>, response: &'static str) -> Backend {
    let bodies = Rc::clone(bodies);
    serves(move |mut stream, _| {
        let bodies = Rc::clone(&bodies);
        async move {
            while let Some((_, body)) = read_request(&mut stream).await {
                bodies.borrow_mut().push(body);
                if stream.write_all(response.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_kept_is_sent_again_whole() {
    let chunked = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5;x=y\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    let length = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world";
    for request in [chunked, length] {
        for seed in 0..20 {
            local(async {
                let bodies = Rc::default();
                let network = Network::new([keeps(&bodies, BUSY), keeps(&bodies, OK)]);
                network.seed.set(seed);
                let service = network.service(config(Retry { body: 4096, ..retry() }));
                assert_eq!(ask(&service, &format!("{request}{GET}")).await, OK.repeat(2));
                let expected: [&[u8]; 3] = [b"hello world", b"hello world", b""];
                assert_eq!(bodies.borrow()[..2], expected[..2]);
                assert!(bodies.borrow()[2..].iter().all(Vec::is_empty));
            })
            .await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_too_long_to_be_kept_is_sent_once() {
    for (limit, status) in [(11, "200"), (10, "503")] {
        local(async {
            let bodies = Rc::default();
            let network = Network::new([keeps(&bodies, BUSY), keeps(&bodies, OK)]);
            let service = network.service(config(Retry { body: limit, ..retry() }));
            let request = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world";
            let answer = ask(&service, request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{limit}: {answer}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_try_that_takes_too_long_or_ends_without_an_answer_is_followed_by_another() {
    local(async {
        let silent = serves(|mut stream, _| async move { while !ended(&mut stream).await {} });
        let closes = serves(|mut stream, _| async move {
            read_request(&mut stream).await;
        });
        let network = Network::new([silent, closes, answers(OK)]);
        let timeout = Some(Duration::from_secs(1));
        let service = network.service(config(Retry { times: 2, timeout, ..retry() }));
        let began = Instant::now();
        assert_eq!(ask(&service, GET).await, OK);
        assert_eq!(began.elapsed().as_secs(), 1);
        assert_eq!(service.stats().retries.get(), 2);
        assert_eq!(*network.failed.borrow(), [0, 1]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_last_try_has_all_the_time_of_the_service() {
    local(async {
        let slow = serves(|mut stream, _| async move {
            read_request(&mut stream).await;
            sleep(Duration::from_secs(5)).await;
            let _ = stream.write_all(OK.as_bytes()).await;
        });
        let network = Network::new([slow.clone(), slow]);
        let timeout = Some(Duration::from_secs(1));
        let service = network.service(config(Retry { timeout, ..retry() }));
        let began = Instant::now();
        assert_eq!(ask(&service, GET).await, OK);
        assert_eq!(began.elapsed().as_secs(), 6);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn after_the_first_byte_of_an_answer_nothing_is_sent_again() {
    for start in ["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "HTTP/1.1 503 Bu"] {
        local(async {
            let cut = serves(move |mut stream, _| async move {
                read_request(&mut stream).await;
                stream.write_all(start.as_bytes()).await.unwrap();
            });
            let service = Network::new([cut, answers(OK)]).service(config(retry()));
            let answer = ask(&service, GET).await;
            assert!(!answer.contains("ok"), "{answer}");
            assert_eq!(service.stats().retries.get(), 0);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_budget_keeps_retries_from_making_an_outage_worse() {
    local(async {
        let network = Network::new(vec![answers(BUSY); 4]);
        let budget = BudgetLimits { percent: 20, per_second: 0 };
        let retry = Retry { times: 3, budget, ..retry() };
        let service = network.service(config(retry));
        for _ in 0..200 {
            assert_eq!(ask(&service, GET).await, BUSY);
        }
        let sent: u64 = service.requests_by_backend().iter().sum();
        assert_eq!(sent, 240, "a fifth more than there were requests");
    })
    .await;
}

fn hedging() -> Config {
    let hedge_after = Some(Duration::from_millis(50));
    Config { hedge_after, ..config(Retry::default()) }
}

/// A backend that answers so late, and says when its connection ends before that.
fn late(milliseconds: u64, gone: &Rc<RefCell<Vec<u64>>>) -> Backend {
    let gone = Rc::clone(gone);
    serves(move |mut stream, _| {
        let gone = Rc::clone(&gone);
        async move {
            while read_request(&mut stream).await.is_some() {
                tokio::select! {
                    () = sleep(Duration::from_millis(milliseconds)) => {}
                    _ = ended(&mut stream) => {
                        gone.borrow_mut().push(milliseconds);
                        return;
                    }
                }
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_second_backend_is_asked_when_the_first_is_late_and_the_first_answer_counts() {
    for (first, second, answered, lost) in
        [(40, 0, 40, None), (500, 100, 150, Some(500)), (100, 500, 100, Some(500))]
    {
        local(async {
            let gone = Rc::default();
            let network = Network::new([late(first, &gone), late(second, &gone)]);
            let service = network.service(hedging());
            let began = Instant::now();
            assert_eq!(ask(&service, GET).await, OK);
            assert_eq!(began.elapsed().as_millis(), answered);
            assert_eq!(service.stats().hedges.get(), u64::from(lost.is_some()));
            sleep(Duration::from_millis(1)).await;
            assert_eq!(*gone.borrow(), lost.into_iter().collect::<Vec<_>>(), "cancelled");
            assert_eq!(network.released.get(), network.chosen.get());
            assert!(network.failed.borrow().is_empty(), "to be late is no failure");
            let kept = service.idle_connections(0) + service.idle_connections(1);
            assert_eq!(kept, 1, "the winner's connection");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn only_safe_requests_without_a_body_are_sent_twice_and_within_the_budget() {
    let slow = || late(200, &Rc::default());
    for request in [
        "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
        "DELETE / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
    ] {
        local(async {
            let service = Network::new([slow(), slow()]).service(hedging());
            assert_eq!(ask(&service, request).await, OK);
            assert_eq!(service.stats().hedges.get(), 0, "{request}");
        })
        .await;
    }
    local(async {
        let budget = BudgetLimits { percent: 10, per_second: 0 };
        let config = Config { retry: Retry { budget, ..Retry::default() }, ..hedging() };
        let service = Network::new([slow(), slow()]).service(config);
        for _ in 0..100 {
            assert_eq!(ask(&service, GET).await, OK);
        }
        let hedges = service.stats().hedges.get();
        assert!((5..=10).contains(&hedges), "{hedges} of 100");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_fails_leaves_the_request_to_the_other() {
    let closes = |after| {
        serves(move |mut stream, _| async move {
            read_request(&mut stream).await;
            sleep(Duration::from_millis(after)).await;
        })
    };
    let gone = Rc::default();
    for (first, second) in [
        (closes(80), late(100, &gone)),
        (late(200, &gone), closes(10)),
        (late(200, &gone), Backend::Refuses),
        (late(200, &gone), Backend::Hangs),
    ] {
        local(async {
            let service = Network::new([first, second]).service(hedging());
            assert_eq!(ask(&service, GET).await, OK);
            assert_eq!(service.stats().hedges.get(), 1);
        })
        .await;
    }
    local(async {
        let network = Network::new([closes(80), closes(80)]);
        let service = network.service(hedging());
        let answer = ask(&service, GET).await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        let mut failed = network.failed.borrow().clone();
        failed.sort_unstable();
        assert_eq!(failed, [0, 1]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn two_silent_backends_are_a_504_and_both_are_freed() {
    local(async {
        let gone = Rc::default();
        let network = Network::new([late(1_000_000, &gone), late(1_000_001, &gone)]);
        let service = network.service(hedging());
        let began = Instant::now();
        let answer = ask(&service, GET).await;
        assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
        assert_eq!(began.elapsed(), service.config().timeouts.response);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(gone.borrow().len(), 2);
        assert_eq!(network.released.get(), 2);
    })
    .await;
}
