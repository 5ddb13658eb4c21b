//! Answers that are kept, through the whole proxy: HTTP/1 and HTTP/2, one fetch for many, stale answers.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use l7::cache::{Cache, Cached, Outcome, Policy};
use l7::route::{Action, Route, Routes};
use l7::{Config, Service};
use tokio::io::AsyncWriteExt;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use crate::h2_harness::{connect, get, receive};
use crate::harness::*;

/// A service whose backend gives the answers of a script, in turn, and then the last again.
struct World {
    service: Rc<Service<Connector>>,
    cache: Rc<Cache>,
    /// The heads that the backend got.
    heads: Rc<RefCell<Vec<String>>>,
}

/// What a backend does with a request.
#[derive(Clone, Copy)]
enum Act {
    /// Answers so, after a time.
    Answer(u64, &'static str),
    /// Ends the connection.
    Close,
}

/// One route, for all.
fn routes(cached: Cached) -> Routes {
    Routes::new(vec![Route::new(Action::To(0))], None).with_caches(vec![Some(cached)])
}

impl World {
    fn new(script: Vec<Act>) -> Self {
        Self::with(Policy::new(1 << 20), script)
    }

    fn with(policy: Policy, script: Vec<Act>) -> Self {
        let (heads, next) = (Rc::<RefCell<Vec<String>>>::default(), Rc::new(Cell::new(0)));
        let seen = Rc::clone(&heads);
        let backend = serves(move |mut stream, _| {
            let (seen, next, script) = (Rc::clone(&seen), Rc::clone(&next), script.clone());
            async move {
                while let Some((head, _)) = read_request(&mut stream).await {
                    seen.borrow_mut().push(head);
                    let turn = next.replace(next.get() + 1).min(script.len() - 1);
                    let Act::Answer(wait, answer) = script[turn] else { return };
                    sleep(Duration::from_millis(wait)).await;
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            }
        });
        let network = Network::new([backend]);
        let begin = Instant::now();
        let clock = move || Duration::from_secs(784_111_777) + begin.elapsed();
        let cache = Cache::new(policy, 7, Rc::new(clock));
        let cached = Cached { cache: Rc::clone(&cache), route: 0, authorised: false };
        let config = crate::h2_harness::config();
        let service = Service::new(network.connector(), network.balance(), config);
        let service = Rc::new(service.with_routes(routes(cached)));
        Self { service, cache, heads }
    }

    async fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1|Host: a.lab")).await
    }

    async fn ask(&self, request: &str) -> String {
        ask(&self.service, &format!("{}\r\n\r\n", request.replace('|', "\r\n"))).await
    }

    /// How many requests came to the backend.
    fn fetched(&self) -> usize {
        self.heads.borrow().len()
    }
}

const FRESH: Act = Act::Answer(
    0,
    "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: \"1\"\r\nContent-Length: 10\r\n\r\n0123456789",
);
const UNCHANGED: Act = Act::Answer(
    0,
    "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nCache-Control: max-age=60\r\nX-New: 1\r\n\r\n",
);

#[tokio::test(start_paused = true)]
async fn a_kept_answer_is_given_in_every_version() {
    local(async {
        let chunked = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n";
        for script in [FRESH, Act::Answer(0, chunked)] {
            let world = World::new(vec![script]);
            let first = world.get("/a").await;
            assert!(first.contains("Cache-Status: balun; fwd=uri-miss; stored\r\n"), "{first}");
            sleep(Duration::from_secs(5)).await;
            let again = world.get("/a").await;
            for part in ["HTTP/1.1 200 OK\r\n", "Age: 5\r\n", "balun; hit; ttl=55\r\n", "Content-Length: 10\r\n", "\r\n\r\n0123456789"] {
                assert!(again.contains(part), "{part:?} in {again}");
            }
            let part = world.ask("GET /a HTTP/1.1|Host: a.lab|Range: bytes=2-3").await;
            assert!(part.starts_with("HTTP/1.1 206 ") && part.ends_with("\r\n\r\n23"), "{part}");
            let head = world.ask("HEAD /a HTTP/1.1|Host: a.lab").await;
            assert!(head.contains("Content-Length: 10\r\n") && head.ends_with("\r\n\r\n"), "{head}");
            let mut requests = connect(client(&world.service)).await;
            let (response, _) = requests.send_request(get("/a"), true).unwrap();
            let (answer, body, _) = receive(response).await.unwrap();
            assert_eq!((answer.status().as_u16(), &*body), (200, "0123456789"));
            assert_eq!(answer.headers()["age"], "5");
            assert_eq!(world.fetched(), 1);
            assert_eq!(world.cache.stats().get(Outcome::Hit), 4);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_serves_hits_and_misses() {
    local(async {
        let world = World::new(vec![FRESH]);
        let mut stream = client(&world.service);
        for (path, fetched) in [("/a", 1), ("/a", 1), ("/b", 2), ("/a", 2)] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: a.lab\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let head = read_head(&mut stream).await.unwrap();
            assert_eq!(read_body(&mut stream, &head).await, b"0123456789");
            assert_eq!(world.fetched(), fetched, "{path}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_is_validated_and_given_again() {
    local(async {
        let world = World::new(vec![FRESH, UNCHANGED, FRESH]);
        world.get("/a").await;
        sleep(Duration::from_mins(1)).await;
        let answer = world.ask("GET /a HTTP/1.1|Host: a.lab|If-None-Match: \"9\"").await;
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("0123456789"),
            "{answer}"
        );
        assert!(answer.contains("X-New: 1\r\n") && answer.contains("fwd=stale; fwd-status=304"));
        let head = world.heads.borrow()[1].clone();
        assert!(head.contains("If-None-Match: \"1\"\r\n") && !head.contains("\"9\""), "{head}");
        assert!(world.get("/a").await.contains("balun; hit"));
        let answer = world.ask("GET /a HTTP/1.1|Host: a.lab|If-None-Match: \"1\"").await;
        assert!(answer.starts_with("HTTP/1.1 304 "), "{answer}");
        assert_eq!(world.fetched(), 2);
        assert_eq!(world.service.idle_connections(0), 1, "the connection is kept");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn many_wait_for_one_fetch() {
    local(async {
        let slow = Act::Answer(
            500,
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 3\r\n\r\nabc",
        );
        let world = Rc::new(World::new(vec![slow]));
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let world = Rc::clone(&world);
                spawn_local(async move { world.get("/a").await })
            })
            .collect();
        for task in tasks {
            assert!(task.await.unwrap().ends_with("\r\n\r\nabc"));
        }
        assert_eq!(world.fetched(), 1);
        assert_eq!(world.cache.stats().collapsed.get(), 19);
        // If it proves not to be for all, each is fetched by itself, and at once.
        let own = Act::Answer(
            500,
            "HTTP/1.1 200 OK\r\nCache-Control: private\r\nContent-Length: 1\r\n\r\nx",
        );
        let world = Rc::new(World::new(vec![own]));
        let begin = Instant::now();
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let world = Rc::clone(&world);
                spawn_local(async move { world.get("/a").await })
            })
            .collect();
        for task in tasks {
            assert!(task.await.unwrap().ends_with("\r\n\r\nx"));
        }
        assert_eq!((world.fetched(), begin.elapsed().as_millis()), (20, 1000));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_is_given_while_it_is_validated() {
    local(async {
        let first = Act::Answer(
            0,
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=60, stale-while-revalidate=60\r\nETag: \"1\"\r\nContent-Length: 3\r\n\r\nold",
        );
        let second = Act::Answer(
            300,
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 3\r\n\r\nnew",
        );
        let world = World::new(vec![first, second]);
        world.get("/a").await;
        sleep(Duration::from_secs(70)).await;
        let begin = Instant::now();
        for _ in 0..3 {
            assert!(world.get("/a").await.ends_with("old"));
        }
        assert_eq!(begin.elapsed(), Duration::ZERO);
        sleep(Duration::from_millis(400)).await;
        assert!(world.get("/a").await.ends_with("new"));
        assert_eq!(world.fetched(), 2, "one validation for all");
        assert!(world.heads.borrow()[1].contains("If-None-Match: \"1\"\r\n"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_takes_the_place_of_a_failure() {
    local(async {
        let first = Act::Answer(
            0,
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=60, stale-if-error=60\r\nContent-Length: 3\r\n\r\nold",
        );
        let broken = Act::Answer(0, "HTTP/1.1 503 No\r\nContent-Length: 5\r\n\r\nsorry");
        let garbage = Act::Answer(0, "no HTTP\r\n\r\n");
        for failure in [Act::Close, broken, garbage] {
            let world = World::new(vec![first, failure]);
            world.get("/a").await;
            sleep(Duration::from_secs(70)).await;
            let answer = world.get("/a").await;
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("old"), "{answer}");
            sleep(Duration::from_mins(1)).await;
            assert!(world.get("/a").await.starts_with("HTTP/1.1 50"));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_cut_off_is_not_kept() {
    local(async {
        let cut = serves(|mut stream, _| async move {
            read_request(&mut stream).await;
            let head =
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\n01234";
            stream.write_all(head.as_bytes()).await.unwrap();
        });
        let world = World::new(vec![FRESH]);
        // The same cache in front of another backend.
        let network = Network::new([cut]);
        let cached = Cached { cache: Rc::clone(&world.cache), route: 0, authorised: false };
        let service = Service::new(network.connector(), network.balance(), Config::default());
        let service = Rc::new(service.with_routes(routes(cached)));
        ask(&service, "GET /a HTTP/1.1\r\nHost: a.lab\r\n\r\n").await;
        assert_eq!(world.cache.resources(), 0);
        assert_eq!(world.cache.stats().unstored.get(), 1);
        assert!(world.get("/a").await.contains("uri-miss; stored"));
        assert!(world.get("/a").await.contains("hit"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn only_if_cached_is_answered_without_a_backend() {
    local(async {
        let world = World::new(vec![FRESH]);
        let answer = world.ask("GET /a HTTP/1.1|Host: a.lab|Cache-Control: only-if-cached").await;
        assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
        assert_eq!(world.fetched(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_change_removes_what_is_kept() {
    local(async {
        let world = World::new(vec![FRESH]);
        world.get("/a").await;
        world.ask("POST /a HTTP/1.1|Host: a.lab|Content-Length: 0").await;
        assert!(world.get("/a").await.contains("uri-miss"));
        assert_eq!(world.fetched(), 3);
        assert_eq!(world.cache.stats().invalidated.get(), 1);
    })
    .await;
}
