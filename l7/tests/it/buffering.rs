//! Whole messages in memory: a slow client does not hold a backend.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use l7::buffering::{Buffering, Hoard};
use l7::log::End;
use l7::{Config, Service};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use crate::h2_harness;
use crate::harness::*;

const LIMIT: usize = 300_000;

fn buffering(request: bool, response: bool) -> Config {
    let buffering = Buffering { request, response, limit: LIMIT };
    Config { buffering, ..Config::default() }
}

/// What a backend got, and how long it took it to get that.
type Seen = Rc<RefCell<Vec<(String, usize, Duration)>>>;

/// A backend that takes requests down and answers each with the length of its body.
fn takes_down(seen: &Seen) -> Backend {
    let seen = Rc::clone(seen);
    serves(move |mut stream, _| {
        let seen = Rc::clone(&seen);
        async move {
            while let Some(head) = read_head(&mut stream).await {
                let since = Instant::now();
                let body = read_body(&mut stream, &head).await;
                seen.borrow_mut().push((head, body.len(), since.elapsed()));
                let text = body.len().to_string();
                let answer =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
}

/// A backend that answers each request with so many bytes, as fast as they are taken.
fn gives(bytes: usize) -> Backend {
    serves(move |mut stream, _| async move {
        while read_request(&mut stream).await.is_some() {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n");
            if stream.write_all(head.as_bytes()).await.is_err()
                || stream.write_all(&pattern(bytes, 7)).await.is_err()
            {
                return;
            }
        }
    })
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_backend_is_chosen_when_the_request_is_here_as_a_whole() {
    local(async {
        let seen = Seen::default();
        let network = Network::new([takes_down(&seen)]);
        let service = network.service(buffering(true, false));
        let mut stream = client(&service);
        let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..100 {
            sleep(Duration::from_secs(30)).await;
            assert_eq!(network.chosen.get(), 0, "no backend waits with us");
            stream.write_all(&[7; 2000]).await.unwrap();
        }
        expect(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n200000").await;
        let (_, length, took) = seen.borrow()[0].clone();
        assert_eq!((length, took), (200_000, Duration::ZERO));

        // What follows on the connection has not been taken for a part of it.
        let next = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
        stream.write_all(format!("{next}{next}").as_bytes()).await.unwrap();
        for _ in 0..2 {
            expect(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n3").await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn chunks_and_trailers_pass_as_they_do_without() {
    for seed in 0..20 {
        local(async move {
            let seen = Seen::default();
            let network = Network::new([takes_down(&seen)]);
            network.seed.set(seed);
            let service = network.service(buffering(true, true));
            let request = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nX-Sum: 7\r\n\r\n";
            let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
            let answer = ask(&service, &format!("{request}{get}")).await;
            let expected = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n11\
                HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n0";
            assert_eq!(answer, expected, "seed {seed}");
            assert_eq!(seen.borrow()[0].1, 11);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_longer_than_the_limit_is_too_long() {
    for (framing, body, refused) in [
        (format!("Content-Length: {LIMIT}"), LIMIT, false),
        (format!("Content-Length: {}", LIMIT + 1), 0, true),
        ("Transfer-Encoding: chunked".to_owned(), LIMIT, true),
    ] {
        local(async move {
            let seen = Seen::default();
            let network = Network::new([takes_down(&seen)]);
            let service = network.service(buffering(true, false));
            let mut stream = client(&service);
            let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            if framing.starts_with("Transfer") {
                // The size line is of the body on the wire, and makes it too long.
                let _ = stream.write_all(format!("{body:x}\r\n").as_bytes()).await;
            }
            let _ = stream.write_all(&vec![7; body]).await;
            let head = read_head(&mut stream).await.unwrap();
            assert_eq!(head.starts_with("HTTP/1.1 413 "), refused, "{framing}: {head}");
            assert_eq!(network.chosen.get(), usize::from(!refused));
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_to_be_asked_is_asked_by_us() {
    local(async {
        let seen = Seen::default();
        let network = Network::new([takes_down(&seen)]);
        let service = network.service(buffering(true, false));
        let mut stream = client(&service);
        let head =
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        expect(&mut stream, "HTTP/1.1 100 Continue\r\n\r\n").await;
        stream.write_all(b"hello").await.unwrap();
        expect(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n5").await;
        let head = seen.borrow()[0].0.clone();
        assert_eq!(field(&head, "Expect"), None, "{head}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_costs_no_backend() {
    for (leaves, end) in [(true, End::ClientGone), (false, End::ClientTimeout)] {
        local(async move {
            let network = Network::new([answers("never asked")]);
            let service = network.service(buffering(true, false));
            let mut stream = client(&service);
            let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel";
            stream.write_all(head).await.unwrap();
            sleep(Duration::from_secs(59)).await;
            if leaves {
                drop(stream);
            } else {
                let head = read_head(&mut stream).await.unwrap();
                assert!(head.starts_with("HTTP/1.1 408 "), "{head}");
            }
            sleep(Duration::from_secs(9)).await;
            assert_eq!((network.chosen.get(), service.stats().ends.get(end)), (0, 1));
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_is_free_when_its_answer_is_here_however_slow_the_client() {
    local(async {
        let network = Network::new([gives(250_000)]);
        let service = network.service(buffering(false, true));
        let mut stream = client(&service);
        stream.write_all(GET).await.unwrap();
        sleep(Duration::from_millis(1)).await;
        assert_eq!((service.idle_connections(0), network.released.get()), (1, 1));
        let mut other = client(&service);
        other.write_all(GET).await.unwrap();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(network.connects.borrow().len(), 1, "it has served another meanwhile");

        let head = read_head(&mut stream).await.unwrap();
        assert_eq!(field(&head, "Content-Length"), Some("250000"));
        let mut body = Vec::new();
        while body.len() < 250_000 {
            sleep(Duration::from_secs(30)).await;
            let mut some = vec![0; 5000];
            stream.read_exact(&mut some).await.unwrap();
            body.append(&mut some);
        }
        assert!(body == pattern(250_000, 7));
        stream.write_all(GET).await.unwrap();
        assert!(read_head(&mut stream).await.is_some(), "the connection goes on");
        assert_eq!(service.stats().ends.get(End::Ok), 1, "the other has not read its answer");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_streamed() {
    for (limit, hoard) in [(LIMIT, 1 << 30), (1 << 30, 100_000)] {
        local(async move {
            let network = Network::new([gives(400_000)]);
            let buffering = Buffering { request: false, response: true, limit };
            let config = Config { buffering, ..Config::default() };
            let service = Service::new(network.connector(), network.balance(), config);
            let service = Rc::new(service.with_hoard(Hoard::new(hoard)));
            let mut stream = client(&service);
            stream.write_all(GET).await.unwrap();
            sleep(Duration::from_secs(1)).await;
            assert_eq!(service.idle_connections(0), 0, "the backend waits");
            let head = read_head(&mut stream).await.unwrap();
            assert!(read_body(&mut stream, &head).await == pattern(400_000, 7));
            sleep(Duration::from_secs(1)).await;
            assert_eq!(service.idle_connections(0), 1);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn room_that_was_set_aside_comes_back() {
    local(async {
        let (network, hoard) = (Network::new([gives(250_000)]), Hoard::new(1 << 20));
        let config = buffering(true, true);
        let service = Service::new(network.connector(), network.balance(), config);
        let service = Rc::new(service.with_hoard(Rc::clone(&hoard)));
        let mut streams: Vec<_> = (0..3).map(|_| client(&service)).collect();
        for stream in &mut streams {
            stream.write_all(GET).await.unwrap();
        }
        sleep(Duration::from_secs(1)).await;
        assert_eq!(hoard.used(), 3 * (250_000 - 65_536));
        let head = read_head(&mut streams[0]).await.unwrap();
        read_body(&mut streams[0], &head).await;
        streams.pop();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(hoard.used(), 250_000 - 65_536, "one has read, one has left");
        sleep(Duration::from_secs(70)).await;
        assert_eq!(hoard.used(), 0, "one has not read for too long");
        assert_eq!(service.stats().ends.get(End::ClientTimeout), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_of_http2_is_asked_for_its_body_before_a_backend_is_chosen() {
    local(async {
        let seen = Seen::default();
        let network = Network::new([takes_down(&seen)]);
        let buffering = buffering(true, true).buffering;
        let service = network.service(Config { buffering, ..h2_harness::config() });
        let mut sender = h2_harness::connect(client(&service)).await;
        let mut request = h2_harness::post("/");
        request.headers_mut().insert("expect", "100-continue".parse().unwrap());
        let (mut answer, mut body) = sender.send_request(request, false).unwrap();
        let proceed = std::future::poll_fn(|cx| answer.poll_informational(cx)).await;
        assert_eq!(proceed.unwrap().unwrap().status(), 100);
        for _ in 0..100 {
            sleep(Duration::from_secs(30)).await;
            assert_eq!(network.chosen.get(), 0, "no backend waits with us");
            body.send_data(vec![7; 2000].into(), false).unwrap();
        }
        body.send_data(vec![].into(), true).unwrap();
        assert_eq!(h2_harness::receive(answer).await.unwrap().1, "200000");
        let (head, length, took) = seen.borrow()[0].clone();
        assert_eq!((length, took), (200_000, Duration::ZERO));
        assert_eq!(field(&head, "expect"), None);

        let mut request = h2_harness::post("/");
        request.headers_mut().insert("content-length", (LIMIT + 1).into());
        let (answer, _body) = sender.send_request(request, false).unwrap();
        assert_eq!(h2_harness::receive(answer).await.unwrap().0.status(), 413);
        assert_eq!(service.stats().ends.get(End::Ok), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_of_http2_holds_no_backend() {
    local(async {
        let network = Network::new([gives(250_000)]);
        let buffering = buffering(false, true).buffering;
        let service = network.service(Config { buffering, ..h2_harness::config() });
        let mut sender = h2_harness::connect(client(&service)).await;
        let first = sender.send_request(h2_harness::get("/"), true).unwrap().0;
        sleep(Duration::from_secs(1)).await;
        // The backend is free: its one connection serves the next.
        let second = sender.send_request(h2_harness::get("/"), true).unwrap().0;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(service.stats().upstream_reuses.get(), 1);
        let whole = String::from_utf8_lossy(&pattern(250_000, 7)).into_owned();
        // They share the connection's window: who reads but one waits for ever.
        let (first, second) = tokio::join!(h2_harness::receive(first), h2_harness::receive(second));
        assert_eq!((first.unwrap().1 == whole, second.unwrap().1 == whole), (true, true));
    })
    .await;
}
