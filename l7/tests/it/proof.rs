//! The second reading of what is sent to a backend.

use std::cell::RefCell;
use std::rc::Rc;

use l7::http1::reject::Rule;
use l7::{Config, Forwarded};

use crate::harness::*;

/// What the client and the backend get, and how often R04 was counted, if our own name in `Via` breaks the
/// head: nothing that a client sends is known to.
async fn with_a_name_that_smuggles(smuggling_proof: bool) -> (String, String, u64) {
    let seen = Rc::new(RefCell::new(String::new()));
    let log = Rc::clone(&seen);
    let backend = serves(move |mut stream, _| {
        let log = Rc::clone(&log);
        async move {
            let text = read_all(&mut stream).await;
            log.borrow_mut().push_str(&text);
        }
    });
    let service = Network::new([backend]).service(Config {
        forwarded: Forwarded::Replace,
        name: "balun\r\nContent-Length: 36".to_owned(),
        smuggling_proof,
        ..Config::default()
    });
    let answer = ask(&service, &"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2)).await;
    tokio::task::yield_now().await;
    let count = service.stats().rejected(Rule::R04);
    (answer, seen.take(), count)
}

#[tokio::test(start_paused = true)]
async fn r04_a_head_that_says_anything_else_is_not_sent() {
    local(async {
        let (answer, seen, count) = with_a_name_that_smuggles(true).await;
        assert!(
            answer.starts_with("HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\n"),
            "{answer}"
        );
        assert!(answer.ends_with("\nr04: another end of the body than was meant\n"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert_eq!((seen.as_str(), count), ("", 1));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn r04_without_the_second_reading_it_would_be() {
    local(async {
        let (_, seen, count) = with_a_name_that_smuggles(false).await;
        assert!(seen.contains("\r\nVia: 1.1 balun\r\nContent-Length: 36\r\n\r\n"), "{seen}");
        assert_eq!(count, 0);
    })
    .await;
}
