//! The cache as its manual has it: what is asked, what the backend says, what the client gets.

use std::cell::Cell;

use super::*;
use crate::http1::head::{self, Strictness};
use crate::limits::{CACHE_VARIANTS, CACHE_WAITING};

/// A cache, and a clock that a test moves.
struct World {
    cache: Rc<Cache>,
    now: Rc<Cell<Time>>,
}

/// Sun, 06 Nov 1994 08:49:37 GMT.
const START: Time = Time::from_secs(784_111_777);
const WAY: Way = Way { secure: false, space: 0, authorised: false, waited: false };

impl World {
    fn new() -> Self {
        Self::with(Policy::new(1 << 20))
    }

    fn with(policy: Policy) -> Self {
        let now = Rc::new(Cell::new(START));
        let clock = Rc::clone(&now);
        Self { cache: Cache::new(policy, 7, Rc::new(move || clock.get())), now }
    }

    fn wait(&self, seconds: u64) {
        self.now.set(self.now.get() + Duration::from_secs(seconds));
    }

    fn judge(&self, request: &str, way: Way) -> Judgement {
        let (line, fields) = request.split_once('\n').unwrap_or((request, ""));
        let host =
            if fields.lines().any(|line| line.starts_with("Host:")) { "" } else { "Host: a.lab\n" };
        let fields = if fields.is_empty() || fields.ends_with('\n') {
            fields.to_owned()
        } else {
            format!("{fields}\n")
        };
        let text = format!("{line} HTTP/1.1\n{host}{fields}\n").replace('\n', "\r\n");
        let mut slots = head::slots();
        let head = head::parse_request(text.as_bytes(), &mut slots, Strictness::default()).unwrap();
        self.cache.judge(&head, way)
    }

    fn fetch(&self, request: &str) -> Box<Fetch> {
        match self.judge(request, WAY) {
            Judgement::Fetch(fetch) => fetch,
            other => panic!("{request}: {other:?}"),
        }
    }

    /// Status, head and body of the answer from memory.
    fn hit(&self, request: &str) -> (u16, String, String) {
        match self.judge(request, WAY) {
            Judgement::Answer(given) => told(&given),
            other => panic!("{request}: {other:?}"),
        }
    }

    fn is_hit(&self, request: &str) -> bool {
        matches!(self.judge(request, WAY), Judgement::Answer(_))
    }

    /// Has `request` fetched, and `answer` given to it: a status, lines of fields.
    fn get(&self, request: &str, answer: &str) {
        reply(&mut self.fetch(request), answer, "0123456789");
    }
}

/// Shows `fetch` an answer to its end. What the client gets in its place, if so.
fn reply(fetch: &mut Fetch, answer: &str, body: &str) -> Option<(u16, String, String)> {
    let (status, fields) = answer.split_once('\n').unwrap_or((answer, ""));
    let fields = if fields.is_empty() || fields.ends_with('\n') {
        fields.to_owned()
    } else {
        format!("{fields}\n")
    };
    let length =
        if status == "304" { String::new() } else { format!("Content-Length: {}\n", body.len()) };
    let text = format!("HTTP/1.1 {status} X\n{fields}{length}\n").replace('\n', "\r\n");
    let mut slots = head::slots();
    let head = head::parse_response(text.as_bytes(), &mut slots, &Method::GET).unwrap();
    match fetch.answered(&head) {
        Step::Deliver => {
            fetch.body(body.as_bytes());
            fetch.finish();
            None
        }
        Step::Instead(given) => Some(told(&given)),
    }
}

fn told(given: &Given) -> (u16, String, String) {
    let text = String::from_utf8(given.head.clone()).unwrap();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    (status, text, String::from_utf8(given.body.to_vec()).unwrap())
}

fn conditions(fetch: &Fetch) -> Vec<(&'static str, String)> {
    let (_, added) = fetch.conditions();
    added
        .into_iter()
        .map(|(name, value)| (name, String::from_utf8(value.into()).unwrap()))
        .collect()
}

const HOUR: &str = "200\nCache-Control: max-age=3600\n";

/// RFC 9111 section 4: a fresh answer is used again, with its age, until it is stale.
#[test]
fn a_fresh_answer_is_used_again() {
    let world = World::new();
    world.get("GET /a", "200\nCache-Control: max-age=60\nX-Made: once\nAge: 5\nConnection: close, x-hop\nX-Hop: 1\n");
    world.wait(10);
    let (status, head, body) = world.hit("GET /a");
    assert_eq!((status, &*body), (200, "0123456789"));
    assert!(head.contains("X-Made: once\r\n") && head.contains("\r\nAge: 15\r\n"), "{head}");
    assert!(head.contains("Cache-Status: balun; hit; ttl=45\r\n"), "{head}");
    assert!(head.contains("Content-Length: 10\r\n") && !head.contains("X-Hop"), "{head}");
    assert_eq!(head.matches("Age").count(), 1);
    world.wait(45);
    assert!(!world.is_hit("GET /a"));
    assert_eq!(world.cache.stats().get(Outcome::Hit), 1);
}

/// The key is scheme, host and target; a route's answers are its own.
#[test]
fn the_key_is_what_is_asked_for() {
    let world = World::new();
    world.get("GET /a?x=1", HOUR);
    assert!(world.is_hit("GET /a?x=1") && world.is_hit("GET /a?x=1\nHost: A.LAB\n"));
    assert!(world.is_hit("GET http://a.lab/a?x=1"), "the absolute form is the same");
    for request in [
        "GET /a",
        "GET /a?x=2",
        "GET /A?x=1",
        "GET /a?x=1\nHost: b.lab\n",
        "GET /a?x=1\nHost: a.lab:81\n",
    ] {
        assert!(!world.is_hit(request), "{request}");
    }
    for way in [Way { secure: true, ..WAY }, Way { space: 1, ..WAY }] {
        assert!(matches!(world.judge("GET /a?x=1", way), Judgement::Fetch(_)), "{way:?}");
    }
}

/// Nothing is kept, and nothing given, where a backend might read another request than we do.
#[test]
fn caches_are_not_poisoned() {
    for request in [
        "GET /static%2faccount",
        "GET /static%5Caccount",
        "GET /a;x",
        "GET /a\nContent-Length: 1\n",
        "GET /a\nHost: A.lab\n",
        "GET /a\nRange: bytes=0-1\nIf-Match: \"x\"\n",
    ] {
        let world = World::new();
        world.get(request, HOUR);
        assert_eq!(world.cache.stats().stored.get(), 0, "{request}");
    }
    let world = World::new();
    world.get("GET /\nX-Forwarded-Host: evil.lab\n", HOUR);
    assert!(!world.is_hit("GET /"), "made for another host by a field that is in no Vary");
    assert!(world.is_hit("GET /\nX-Forwarded-Host: evil.lab\n"));
}

/// RFC 9111 section 3: what may be kept.
#[test]
fn what_is_kept() {
    let fresh = "Cache-Control: max-age=60\n";
    let old = "Last-Modified: Sun, 06 Nov 1994 08:00:00 GMT\n";
    for (answer, kept) in [
        (format!("200\n{fresh}"), true),
        (format!("599\n{fresh}"), true),
        (format!("500\n{fresh}"), true),
        (format!("206\n{fresh}Content-Range: bytes 0-9/20\n"), false),
        ("200\n".to_owned(), false),
        ("200\nCache-Control: no-store, max-age=60\n".to_owned(), false),
        ("200\nCache-Control: private, max-age=60\n".to_owned(), false),
        ("200\nCache-Control: max-age=0\n".to_owned(), false),
        (format!("200\n{fresh}Age: 60\n"), false),
        (format!("200\n{fresh}Age: x\n"), true),
        (format!("200\n{fresh}Age: 0, 60\n"), true),
        (format!("200\n{fresh}Vary: *\n"), false),
        (format!("200\n{fresh}Vary: a, *\n"), false),
        ("200\nExpires: Sun, 06 Nov 1994 08:50:37 GMT\n".to_owned(), true),
        ("200\nExpires: Sun, 06 Nov 1994 08:50:37 GMT\nExpires: 0\n".to_owned(), false),
        ("200\nExpires: 0\n".to_owned(), false),
        (format!("200\n{old}"), true),
        (format!("404\n{old}"), true),
        (format!("403\n{old}"), false),
        (format!("599\n{old}"), false),
        (format!("599\n{old}Cache-Control: public\n"), true),
        // Section 5.2.2.3: who knows the status may keep it all the same.
        ("200\nCache-Control: must-understand, no-store, max-age=60\n".to_owned(), true),
        ("599\nCache-Control: must-understand, no-store, max-age=60\n".to_owned(), false),
        // A cookie is not for everybody.
        (format!("200\n{fresh}Set-Cookie: a=b\n"), false),
        ("200\nCache-Control: max-age=60, no-cache=set-cookie\nSet-Cookie: a=b\n".to_owned(), true),
    ] {
        let world = World::new();
        world.get("GET /a", &answer);
        assert_eq!(world.is_hit("GET /a"), kept, "{answer}");
    }
    let mut policy = Policy::new(1 << 20);
    policy.cookies = true;
    let world = World::with(policy);
    world.get("GET /a", &format!("200\n{fresh}Set-Cookie: a=b\n"));
    assert!(world.hit("GET /a").1.contains("Set-Cookie: a=b\r\n"));
}

/// RFC 9111 section 3.5: an answer to who is authorised is for others only if it says so, and who is
/// authorised gets no other.
#[test]
fn authorised_requests_are_apart() {
    let authorised = "GET /a\nAuthorization: Basic eDp5\n";
    for (answer, shared) in [
        (HOUR, false),
        ("200\nCache-Control: max-age=60, public\n", true),
        ("200\nCache-Control: max-age=60, must-revalidate\n", true),
        ("200\nCache-Control: s-maxage=60\n", true),
        ("200\nCache-Control: max-age=60, proxy-revalidate\n", false),
    ] {
        let world = World::new();
        world.get(authorised, answer);
        assert_eq!(world.is_hit("GET /a"), shared, "{answer}");
        let world = World::new();
        world.get("GET /a", answer);
        assert_eq!(world.is_hit(authorised), shared, "{answer}");
        let by_route = Way { authorised: true, ..WAY };
        assert_eq!(matches!(world.judge("GET /a", by_route), Judgement::Answer(_)), shared);
    }
}

/// RFC 9111 section 4.3: what is stale is asked for again with its validators, and freshened by 304.
#[test]
fn stale_answers_are_validated() {
    let world = World::new();
    world.get("GET /a", "200\nCache-Control: max-age=60\nETag: \"1\"\nX-A: old\nX-B: stays\nContent-Encoding: identity\nLast-Modified: Sun, 06 Nov 1994 08:00:00 GMT\n");
    world.wait(60);
    let mut fetch = world.fetch("GET /a\nIf-None-Match: \"other\"\n");
    assert_eq!(
        conditions(&fetch),
        [
            ("If-None-Match", "\"1\"".to_owned()),
            ("If-Modified-Since", "Sun, 06 Nov 1994 08:00:00 GMT".to_owned()),
        ]
    );
    let given = reply(
        &mut fetch,
        "304\nETag: \"1\"\nX-A: new\nCache-Control: max-age=30\nContent-Encoding: br\nContent-Length: 99\n",
        "",
    );
    let (status, head, body) = given.unwrap();
    assert_eq!((status, &*body), (200, "0123456789"), "the client's own tag does not match");
    for line in [
        "X-A: new",
        "X-B: stays",
        "Content-Encoding: identity",
        "Cache-Status: balun; fwd=stale; fwd-status=304; ttl=30",
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} in {head}");
    }
    world.wait(29);
    assert!(world.hit("GET /a").1.contains("X-A: new\r\n"));
    world.wait(1);
    let mut fetch = world.fetch("GET /a\nIf-None-Match: \"1\"\n");
    assert_eq!(reply(&mut fetch, "304", "").unwrap().0, 304, "what the client has is still good");
    // Section 4.3.4: a 304 of another answer changes nothing.
    world.wait(60);
    let mut fetch = world.fetch("GET /a");
    assert!(
        reply(&mut fetch, "304\nETag: \"2\"\nX-A: wrong\n", "").unwrap().1.contains("X-A: new")
    );
    // Another answer takes its place.
    let mut fetch = world.fetch("GET /a");
    assert_eq!(reply(&mut fetch, "200\nCache-Control: max-age=60\n", "other"), None);
    assert_eq!(world.hit("GET /a").2, "other");
}

/// RFC 9110 section 13 and RFC 9111 section 4.3.2: a client that has the answer is told so.
#[test]
fn clients_that_have_the_answer_get_304() {
    let world = World::new();
    world.get("GET /a", "200\nCache-Control: max-age=60\nETag: W/\"1\"\nX-A: 1\nContent-Type: a/b\nLast-Modified: Sun, 06 Nov 1994 08:00:00 GMT\n");
    world.get("GET /404", "404\nCache-Control: max-age=60\nETag: \"1\"\n");
    for (condition, status) in [
        ("If-None-Match: W/\"1\"", 304),
        ("If-None-Match: \"1\"", 304),
        ("If-None-Match: \"0\", \"1\", \"2\"", 304),
        ("If-None-Match: *", 304),
        ("If-None-Match: \"2\"", 200),
        ("If-Modified-Since: Sun, 06 Nov 1994 08:00:00 GMT", 304),
        ("If-Modified-Since: Sunday, 06-Nov-94 08:00:01 GMT", 304),
        ("If-Modified-Since: Sun, 06 Nov 1994 07:59:59 GMT", 200),
        ("If-Modified-Since: yesterday", 200),
        // Section 13.2.2: tags come first.
        ("If-None-Match: \"2\"\nIf-Modified-Since: Sun, 06 Nov 1994 08:00:00 GMT", 200),
    ] {
        let (found, head, body) = world.hit(&format!("GET /a\n{condition}\n"));
        assert_eq!((found, body.is_empty()), (status, status == 304), "{condition}");
        if status == 304 {
            assert!(head.contains("ETag: W/\"1\"\r\n") && head.contains("Age: 0\r\n"), "{head}");
            assert!(!head.contains("Content-") && !head.contains("X-A"), "{head}");
        }
    }
    assert_eq!(world.hit("GET /404\nIf-None-Match: \"1\"\n").0, 404, "section 13.2.1");
}

/// RFC 9110 section 14 and RFC 9111 section 3.3: parts and heads come out of whole answers.
#[test]
fn ranges_and_heads_come_out_of_whole_answers() {
    let world = World::new();
    world.get("GET /a", "200\nCache-Control: max-age=60\nETag: \"1\"\nLast-Modified: Sun, 06 Nov 1994 08:00:00 GMT\nDate: Sun, 06 Nov 1994 08:49:37 GMT\n");
    let (status, head, body) = world.hit("GET /a\nRange: bytes=2-4\n");
    assert_eq!((status, &*body), (206, "234"));
    assert!(
        head.contains("Content-Range: bytes 2-4/10\r\nAge: 0\r\n")
            && head.contains("Content-Length: 3\r\n")
    );
    let (status, head, body) = world.hit("GET /a\nRange: bytes=10-\n");
    assert_eq!((status, &*body), (416, ""));
    assert!(head.contains("Content-Range: bytes */10\r\n"), "{head}");
    for (condition, status) in [
        ("\"1\"", 206),
        ("\"2\"", 200),
        ("W/\"1\"", 200),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 206),
        ("Sun, 06 Nov 1994 08:00:01 GMT", 200),
    ] {
        let request = format!("GET /a\nRange: bytes=2-4\nIf-Range: {condition}\n");
        assert_eq!(world.hit(&request).0, status, "{condition}");
    }
    let (status, head, body) = world.hit("HEAD /a\nRange: bytes=2-4\n");
    assert_eq!((status, &*body), (200, ""));
    assert!(head.contains("Content-Length: 10\r\n"), "{head}");
    // A part is not kept, and an answer to HEAD neither.
    world.get(
        "GET /b\nRange: bytes=0-9\n",
        "206\nCache-Control: max-age=60\nContent-Range: bytes 0-9/20\n",
    );
    world.get("HEAD /c", HOUR);
    assert!(!world.is_hit("GET /b") && !world.is_hit("GET /c"));
}

/// RFC 5861 section 3: a stale answer is given while it is validated, by one request for all.
#[test]
fn stale_while_revalidate() {
    let world = World::new();
    world.get("GET /a", "200\nCache-Control: max-age=60, stale-while-revalidate=30\nETag: \"1\"\n");
    world.wait(70);
    let Judgement::Answer(given) = world.judge("GET /a\nRange: bytes=0-0\n", WAY) else { panic!() };
    assert!(told(&given).1.contains("hit; ttl=-10"));
    let mut refresh = given.refresh.unwrap();
    let (removed, added) = refresh.conditions();
    assert!(removed.contains(&"Range") && added.len() == 1 && refresh.is_background());
    let Judgement::Answer(second) = world.judge("GET /a", WAY) else { panic!() };
    assert!(second.refresh.is_none(), "one at a time");
    reply(&mut refresh, "200\nCache-Control: max-age=60\n", "new");
    assert_eq!(world.hit("GET /a").2, "new");
    // Beyond the time, or forbidden, it is validated first.
    for (directives, wait) in
        [("", 91), (", must-revalidate", 70), (", s-maxage=60", 70), (", no-cache", 1)]
    {
        world.get("GET /b", &format!("200\nETag: \"1\"\nCache-Control: max-age=60, stale-while-revalidate=30{directives}\n"));
        world.wait(wait);
        assert!(!world.is_hit("GET /b"), "{directives}");
        world.cache.purge_all();
    }
    assert_eq!(world.cache.stats().get(Outcome::Stale), 2);
}

/// No more validations run in the background than the limit says; beyond, stale answers are given all
/// the same.
#[test]
fn validations_in_the_background_are_bounded() {
    let world = World::new();
    let all: Vec<_> = (0..=CACHE_REFRESHES).map(|index| format!("GET /{index}")).collect();
    for request in &all {
        world.get(request, "200\nCache-Control: max-age=1, stale-while-revalidate=60\n");
    }
    world.wait(2);
    let refresh = |request: &String| match world.judge(request, WAY) {
        Judgement::Answer(given) => given.refresh,
        other => panic!("{other:?}"),
    };
    let mut running: Vec<_> = all.iter().map(refresh).collect();
    assert_eq!(running.iter().flatten().count(), CACHE_REFRESHES);
    running.clear();
    assert!(refresh(&all[CACHE_REFRESHES]).is_some());
}

/// RFC 5861 section 4: a stale answer takes the place of a failure.
#[test]
fn stale_if_error() {
    let world = World::new();
    world.get("GET /a", "200\nCache-Control: max-age=60, stale-if-error=30\n");
    world.wait(70);
    let (status, head, _) = reply(&mut world.fetch("GET /a"), "503\n", "sorry").unwrap();
    assert!(
        status == 200 && head.contains("balun; hit; fwd=stale; fwd-status=503; ttl=-10"),
        "{head}"
    );
    assert_eq!(told(&world.fetch("GET /a").failed().unwrap()).0, 200, "no answer at all");
    assert_eq!(reply(&mut world.fetch("GET /a"), "404\n", ""), None, "an answer is no failure");
    world.wait(20);
    assert!(world.fetch("GET /a").failed().is_none(), "too stale");
    for directives in ["must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache"] {
        let world = World::new();
        world.get(
            "GET /a",
            &format!(
                "200\nETag: \"1\"\nCache-Control: max-age=60, stale-if-error=60, {directives}\n"
            ),
        );
        world.wait(70);
        assert!(world.fetch("GET /a").failed().is_none(), "{directives}");
    }
}

/// RFC 9111 section 5.2.1: clients may ask for less.
#[test]
fn clients_say_what_they_take() {
    let world = World::new();
    world.get("GET /a", "200\nCache-Control: max-age=60\n");
    world.wait(30);
    let hits = |directives: &str| world.is_hit(&format!("GET /a\nCache-Control: {directives}\n"));
    assert!(!hits("no-cache") && !hits("max-age=0") && !hits("max-age=29") && hits("max-age=30"));
    assert!(!hits("min-fresh=30") && hits("min-fresh=29") && hits("no-store"));
    assert!(!world.is_hit("GET /a\nPragma: no-cache\n"));
    world.wait(40);
    assert!(!hits("max-stale=9") && hits("max-stale=10") && hits("max-stale"));
    let judged = world.judge("GET /b\nCache-Control: only-if-cached\n", WAY);
    assert!(matches!(judged, Judgement::Unavailable));
    world.get("GET /b\nCache-Control: no-store\n", HOUR);
    assert!(!world.is_hit("GET /b"));
    let mut policy = Policy::new(1 << 20);
    policy.obeys_clients = false;
    let world = World::with(policy);
    world.get("GET /a", HOUR);
    assert!(world.is_hit("GET /a\nCache-Control: no-cache\n"), "they may not, if so configured");
}

/// One fetch for many who wait; if its answer proves not to be kept, they are fetched by themselves.
#[tokio::test(start_paused = true)]
async fn requests_for_the_same_are_collapsed() {
    let world = World::new();
    let mut first = world.fetch("GET /a");
    let waits = |world: &World| match world.judge("GET /a", WAY) {
        Judgement::Wait(waiting) => waiting,
        other => panic!("{other:?}"),
    };
    let waiting = waits(&world);
    reply(&mut first, HOUR, "new");
    waiting.wait().await;
    assert_eq!(world.hit("GET /a").2, "new");
    world.cache.purge_all();
    // Not kept: all go, and for a while nobody waits.
    let mut first = world.fetch("GET /a");
    let waiting = waits(&world);
    reply(&mut first, "200\nCache-Control: no-store\n", "");
    waiting.wait().await;
    let _second = world.fetch("GET /a");
    let _third = world.fetch("GET /a");
    // A fetch that is given up lets go who waits.
    world.wait(10);
    let first = world.fetch("GET /a");
    let waiting = waits(&world);
    drop(first);
    waiting.wait().await;
    // One that takes too long does not hold others.
    let _first = world.fetch("GET /a");
    waits(&world).wait().await;
    let waited = Way { waited: true, ..WAY };
    assert!(matches!(world.judge("GET /a", waited), Judgement::Fetch(_)), "nobody waits twice");
    // At the bound, further ones are fetched.
    let all: Vec<_> = (0..CACHE_WAITING).map(|_| waits(&world)).collect();
    assert!(matches!(world.judge("GET /a", WAY), Judgement::Fetch(_)));
    drop(all);
    waits(&world);
}

/// RFC 9111 section 4.4: a change removes what is kept of what it changed, and of what it names.
#[test]
fn unsafe_methods_invalidate() {
    let world = World::new();
    for method in ["POST", "PUT", "DELETE", "M-SEARCH", "PATCH"] {
        world.cache.purge_all();
        for path in ["/d/a", "/d/b", "/d/c?x", "/e"] {
            world.get(&format!("GET {path}"), HOUR);
        }
        reply(&mut world.fetch(&format!("{method} /d/a")), "500\n", "");
        assert!(world.is_hit("GET /d/a"), "it failed");
        let others =
            "Location: b\nContent-Location: http://A.lab/d/c?x#y\nLocation: http://b.lab/e\n";
        reply(&mut world.fetch(&format!("{method} /d/a")), &format!("201\n{others}"), "");
        for (path, kept) in [("/d/a", false), ("/d/b", false), ("/d/c?x", false), ("/e", true)] {
            assert_eq!(world.is_hit(&format!("GET {path}")), kept, "{method} {path}");
        }
    }
    reply(&mut world.fetch("OPTIONS /e"), "200\n", "");
    assert!(world.is_hit("GET /e"), "OPTIONS is safe");
}

/// What is on its way while it is changed or purged is old, and is not kept.
#[test]
fn what_was_asked_for_before_a_removal_is_not_kept() {
    let removals: [fn(&World); 4] = [
        |world| drop(reply(&mut world.fetch("POST /a"), "200\n", "")),
        |world| assert_eq!(world.cache.purge(b"http://a.lab/a"), 0),
        |world| assert_eq!(world.cache.purge_prefix(b"http://a.lab/"), 0),
        |world| assert_eq!(world.cache.purge_all(), 0),
    ];
    for remove in removals {
        let world = World::new();
        let (mut early, mut other) = (world.fetch("GET /a"), world.fetch("GET /other"));
        remove(&world);
        reply(&mut early, HOUR, "old");
        reply(&mut other, HOUR, "");
        assert!(!world.is_hit("GET /a"));
        world.get("GET /a", HOUR);
        assert!(world.is_hit("GET /a"));
    }
}

/// Purges by URL, by its beginning, and by what backends tag answers with.
#[test]
fn purges() {
    let world = World::new();
    world.get("GET /p/a", "200\nCache-Control: max-age=60\nVary: X\nSurrogate-Key: one two\n");
    world.get(
        "GET /p/a\nX: 1\n",
        "200\nCache-Control: max-age=60\nVary: X\nCache-Tag: two, three\n",
    );
    world.get("GET /p/b", HOUR);
    world.get("GET /", HOUR);
    assert_eq!(world.cache.resources(), 3);
    assert_eq!(world.cache.purge(b"http://a.lab/nothing"), 0);
    assert_eq!(world.cache.purge_tag(b"on"), 0);
    assert_eq!(world.cache.purge_tag(b"one"), 1);
    assert!(!world.is_hit("GET /p/a") && world.is_hit("GET /p/a\nX: 1\n"));
    assert_eq!(world.cache.purge_tag(b"three"), 1);
    assert_eq!(world.cache.purge(b"HTTP://A.lab"), 1);
    world.get("GET /p/a", HOUR);
    assert_eq!(world.cache.purge_prefix(b"http://A.lab/p/"), 2);
    assert_eq!((world.cache.resources(), world.cache.weight()), (0, 0));
    assert_eq!(world.cache.stats().purged.get(), 5);
}

/// Limits: of all, of one answer, of answers of one URL, of what arrives at once.
#[test]
fn limits() {
    let mut policy = Policy::new(100_000);
    policy.greatest = 10_000;
    let world = World::with(policy);
    let body = "x".repeat(10_000);
    reply(&mut world.fetch("GET /great"), HOUR, &body);
    assert!(world.is_hit("GET /great"));
    reply(&mut world.fetch("GET /greater"), HOUR, &"x".repeat(10_001));
    assert!(!world.is_hit("GET /greater"));
    let chunked =
        "HTTP/1.1 200 X\r\nCache-Control: max-age=9\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut slots = head::slots();
    let head = head::parse_response(chunked.as_bytes(), &mut slots, &Method::GET).unwrap();
    let mut fetch = world.fetch("GET /chunked");
    fetch.answered(&head);
    fetch.body(body.as_bytes());
    fetch.body(b"x");
    fetch.finish();
    assert!(!world.is_hit("GET /chunked"), "its length was not known before");
    for index in 0..50 {
        reply(&mut world.fetch(&format!("GET /{index}")), HOUR, &body);
        assert!(world.cache.weight() <= 100_000);
    }
    assert!(world.cache.resources() > 5);
    // A quarter of the memory may arrive at once.
    let mut arriving: Vec<_> =
        (0..3).map(|index| world.fetch(&format!("GET /new{index}"))).collect();
    let text = "HTTP/1.1 200 X\r\nCache-Control: max-age=9\r\nContent-Length: 10000\r\n\r\n";
    let mut slots = head::slots();
    let head = head::parse_response(text.as_bytes(), &mut slots, &Method::GET).unwrap();
    for fetch in &mut arriving {
        fetch.answered(&head);
    }
    let stored: Vec<_> =
        arriving.iter().map(|fetch| fetch.cache_status().contains("stored")).collect();
    assert_eq!(stored, [true, true, false]);
    drop(arriving);
    assert_eq!(world.cache.inner.borrow().arriving, 0);
    let world = World::new();
    for index in 0..=CACHE_VARIANTS {
        world.get(&format!("GET /a\nX: {index}\n"), "200\nCache-Control: max-age=60\nVary: x\n");
    }
    assert!(
        !world.is_hit("GET /a\nX: 0\n") && world.is_hit(&format!("GET /a\nX: {CACHE_VARIANTS}\n"))
    );
}

/// An answer that ends early is not kept.
#[test]
fn what_is_cut_off_is_not_kept() {
    let world = World::new();
    let text = "HTTP/1.1 200 X\r\nCache-Control: max-age=9\r\nContent-Length: 10\r\n\r\n";
    let mut slots = head::slots();
    let head = head::parse_response(text.as_bytes(), &mut slots, &Method::GET).unwrap();
    let mut fetch = world.fetch("GET /a");
    fetch.answered(&head);
    fetch.body(b"12345");
    drop(fetch);
    assert!(!world.is_hit("GET /a"));
    assert_eq!(world.cache.stats().unstored.get(), 1);
}

/// Refusals that say nothing of it are kept for a while, if so configured.
#[test]
fn negative_caching() {
    let mut policy = Policy::new(1 << 20);
    policy.negative = Duration::from_secs(5);
    let world = World::with(policy);
    for (status, kept) in
        [("404", true), ("410", true), ("403", false), ("500", false), ("200", false)]
    {
        world.get(&format!("GET /{status}"), &format!("{status}\n"));
        assert_eq!(world.is_hit(&format!("GET /{status}")), kept, "{status}");
    }
    world.wait(5);
    assert!(!world.is_hit("GET /404"));
}

/// RFC 9211: what the cache did is told.
#[test]
fn cache_status_tells_what_was_done() {
    let world = World::new();
    let status = |request: &str, answer: &str| {
        let mut fetch = world.fetch(request);
        let mut slots = head::slots();
        let text = format!("HTTP/1.1 {answer}\n\n").replace('\n', "\r\n");
        let head = head::parse_response(text.as_bytes(), &mut slots, &Method::GET).unwrap();
        fetch.answered(&head);
        fetch.cache_status()
    };
    let fresh = "200 X\nCache-Control: max-age=60\nVary: x\nContent-Length: 0";
    assert_eq!(status("GET /a", fresh), "balun; fwd=uri-miss; stored");
    assert_eq!(status("GET /a", "200 X\nContent-Length: 0"), "balun; fwd=uri-miss");
    assert_eq!(status("POST /a", "200 X\nContent-Length: 0"), "balun; fwd=method");
    assert_eq!(status("GET /a;b", fresh), "balun; fwd=bypass");
    world.get("GET /b", "200\nCache-Control: max-age=60\nVary: x\n");
    assert_eq!(status("GET /b\nX: 1\n", fresh), "balun; fwd=vary-miss; stored");
    world.wait(60);
    assert_eq!(status("GET /b", fresh), "balun; fwd=stale; stored");
}
