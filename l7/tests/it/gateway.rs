//! Routes that do more than lead somewhere: CORS, faults on purpose, pages for errors.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use l7::persistence::{Cookie, Persistence};
use l7::route::{Abort, Action, Cors, Fault, MILLION, PathPattern, Route, Routes};
use l7::{Config, Destination, ErrorPage, Service};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use crate::h2_harness::{config, connect, get, receive};
use crate::harness::*;

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\
                      Access-Control-Allow-Origin: http://backend\r\n\r\nhi";

fn service(route: Route, backend: Backend, config: Config) -> Rc<Service<Connector>> {
    let network = Network::new([backend]);
    let service = Service::new(network.connector(), network.balance(), config);
    Rc::new(service.with_routes(Routes::new(vec![route], None)))
}

async fn asked(service: &Rc<Service<Connector>>, request: &str) -> String {
    ask(service, &format!("{}\r\n\r\n", request.replace('|', "\r\n"))).await
}

#[tokio::test(start_paused = true)]
async fn scripts_of_allowed_origins_may_read_answers() {
    local(async {
        let mut route = Route::new(Action::To(0));
        route.condition.methods = vec![Method::GET, Method::PUT];
        route.condition.preflights = true;
        route.cors = Some(Box::new(Cors {
            origins: vec!["https://www.lab".into()],
            methods: vec![Method::GET, Method::PUT],
            headers: vec!["x-team".into()],
            expose: vec!["x-total".into()],
            credentials: true,
            max_age: Some(Duration::from_mins(10)),
        }));
        let service = service(route, answers(ANSWER), config());
        for (request, expected) in [
            (
                "GET / HTTP/1.1|Host: a|Origin: https://www.lab",
                "HTTP/1.1 200 OK|Vary: Origin|Access-Control-Allow-Origin: https://www.lab|\
                 Access-Control-Allow-Credentials: true|Access-Control-Expose-Headers: x-total|\
                 Content-Length: 2||hi",
            ),
            (
                "GET / HTTP/1.1|Host: a|Origin: https://evil.lab",
                "HTTP/1.1 200 OK|Vary: Origin|Content-Length: 2||hi",
            ),
            (
                "OPTIONS / HTTP/1.1|Host: a|Origin: https://www.lab|Access-Control-Request-Method: PUT",
                "HTTP/1.1 204 No Content|Vary: Origin, Access-Control-Request-Method, \
                 Access-Control-Request-Headers|Access-Control-Allow-Origin: https://www.lab|\
                 Access-Control-Allow-Credentials: true|Access-Control-Allow-Methods: GET, PUT|\
                 Access-Control-Allow-Headers: x-team|Access-Control-Max-Age: 600||",
            ),
            (
                "OPTIONS / HTTP/1.1|Host: a|Origin: https://evil.lab|Access-Control-Request-Method: PUT",
                "HTTP/1.1 204 No Content|Vary: Origin, Access-Control-Request-Method, \
                 Access-Control-Request-Headers||",
            ),
        ] {
            assert_eq!(asked(&service, request).await.replace("\r\n", "|"), expected, "{request}");
        }
        // Neither a preflight for another method nor any other OPTIONS is this route's.
        for request in [
            "OPTIONS / HTTP/1.1|Host: a|Origin: https://www.lab|Access-Control-Request-Method: DELETE",
            "OPTIONS / HTTP/1.1|Host: a",
        ] {
            assert!(asked(&service, request).await.starts_with("HTTP/1.1 200"), "{request}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn any_origin_may_be_allowed_where_nothing_is_secret() {
    local(async {
        let mut route = Route::new(Action::To(0));
        let origins = vec!["*".into()];
        route.cors = Some(Box::new(Cors { origins, ..Cors::default() }));
        let service = service(route, answers(ANSWER), config());
        let answer = asked(&service, "GET / HTTP/1.1|Host: a|Origin: https://x.lab").await;
        assert_eq!(field(&answer, "Access-Control-Allow-Origin"), Some("*"));
        assert_eq!(field(&answer, "Vary"), None);
        let answer = asked(
            &service,
            "OPTIONS / HTTP/1.1|Host: a|Origin: https://x.lab|Access-Control-Request-Method: PATCH|\
             Access-Control-Request-Headers: x-a, x-b",
        )
        .await;
        assert_eq!(field(&answer, "Access-Control-Allow-Methods"), Some("PATCH"));
        assert_eq!(field(&answer, "Access-Control-Allow-Headers"), Some("x-a, x-b"));
    })
    .await;
}

fn faulty(share: u32, delay: Option<Duration>, abort: Option<Abort>) -> Route {
    let mut route = Route::new(Action::To(0));
    route.condition.path = Some(PathPattern::parse("/").unwrap());
    route.fault = Some(Box::new(Fault { share, delay, abort }));
    route
}

#[tokio::test(start_paused = true)]
async fn requests_wait_and_fail_on_purpose() {
    const GET: &str = "GET / HTTP/1.1|Host: a";
    local(async {
        let wait = Some(Duration::from_millis(300));
        let late = service(faulty(MILLION, wait, None), answers(ANSWER), config());
        let began = Instant::now();
        assert!(asked(&late, GET).await.ends_with("hi"));
        assert_eq!(began.elapsed(), Duration::from_millis(300));
        let mut sender = connect(client(&late)).await;
        let (answer, _) = sender.send_request(get("/"), true).unwrap();
        assert_eq!(receive(answer).await.unwrap().0.status(), 200);
        assert_eq!(began.elapsed(), Duration::from_millis(600));

        let status = Abort::Status(StatusCode::SERVICE_UNAVAILABLE);
        let fails = service(faulty(MILLION, wait, Some(status)), answers(ANSWER), config());
        assert!(asked(&fails, GET).await.starts_with("HTTP/1.1 503 "));
        assert_eq!(began.elapsed(), Duration::from_millis(900));

        let resets = service(faulty(MILLION, None, Some(Abort::Reset)), answers(ANSWER), config());
        assert_eq!(asked(&resets, GET).await, "");
        let mut sender = connect(client(&resets)).await;
        let (answer, _) = sender.send_request(get("/"), true).unwrap();
        assert!(receive(answer).await.unwrap_err().is_reset());
        let (answer, _) = sender.send_request(get("/else"), true).unwrap();
        assert!(receive(answer).await.is_ok(), "its connection goes on");
        let ends = resets.stats().ends.iter().filter(|(_, count)| *count > 0);
        assert_eq!(ends.collect::<Vec<_>>(), [("ok", 1), ("fault", 2)]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_fault_has_its_share_and_a_client_that_leaves_waits_no_longer() {
    local(async {
        let status = Abort::Status(StatusCode::SERVICE_UNAVAILABLE);
        let some = service(faulty(MILLION / 4, None, Some(status)), answers(ANSWER), config());
        for _ in 0..400 {
            asked(&some, "GET / HTTP/1.1|Host: a").await;
        }
        let failed = some.stats().responses[4].get();
        assert!((70..130).contains(&failed), "{failed} of 400");

        let hour = Some(Duration::from_hours(1));
        let late = service(faulty(MILLION, hour, None), answers(ANSWER), config());
        let mut sender = connect(client(&late)).await;
        let (answer, mut stream) = sender.send_request(get("/"), true).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        stream.send_reset(h2::Reason::CANCEL);
        assert!(receive(answer).await.is_err());
        tokio::time::sleep(Duration::from_secs(1)).await;
        let ends = late.stats().ends.iter().filter(|(_, count)| *count > 0);
        assert_eq!(ends.collect::<Vec<_>>(), [("client-gone", 1)]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn errors_of_ours_look_as_they_should() {
    local(async {
        let page = |statuses, text: &'static str| ErrorPage {
            statuses,
            kind: "text/html".to_owned(),
            body: Bytes::from_static(text.as_bytes()),
        };
        let pages = vec![page(502..=502, "<p>broken"), page(500..=599, "<p>sorry")];
        let network = Network::new([Backend::Refuses]);
        let service = network.service(Config { pages: pages.clone(), ..config() });
        let mut stream = client(&service);
        for (method, body) in [("GET", "<p>broken"), ("HEAD", ""), ("GET", "<p>broken")] {
            let request = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let head =
                "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 9\r\n\r\n";
            expect(&mut stream, &format!("{head}{body}")).await;
        }
        let none = Network::new([]).service(Config { pages, ..config() });
        let mut sender = connect(client(&none)).await;
        let (answer, _) = sender.send_request(get("/"), true).unwrap();
        let (head, body, _) = receive(answer).await.unwrap();
        assert_eq!((head.status().as_u16(), &*body), (503, "<p>sorry"));
        assert_eq!(head.headers()["content-type"], "text/html");
        // What a backend says is its own.
        let own = answers("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\nme");
        let service = Network::new([own]).service(none.config().clone());
        assert!(ask(&service, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.ends_with("me"));
    })
    .await;
}

/// Backends that answer with their number.
fn numbered(count: usize) -> Rc<Network> {
    let backends: Vec<_> = (0..count)
        .map(|n| {
            serves(move |mut stream, _| async move {
                while read_request(&mut stream).await.is_some() {
                    let text = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{n}");
                    stream.write_all(text.as_bytes()).await.unwrap();
                }
            })
        })
        .collect();
    Network::new(backends)
}

#[tokio::test(start_paused = true)]
async fn a_client_stays_with_its_backend_and_gets_another_when_that_is_gone() {
    local(async {
        let network = numbered(3);
        let names = ["a", "b", "c"];
        let cookie = Cookie::new("AT", b"a key", ("web", names), "; Path=/", false);
        let to = Destination::new(network.connector(), network.balance(), Config::default().pool);
        let to = to.with_persistence(Some(Persistence::Cookie(cookie)));
        let service = Rc::new(Service::over(to, config()));
        let first = asked(&service, "GET / HTTP/1.1|Host: a").await;
        let code = field(&first, "Set-Cookie").unwrap().split(';').next().unwrap().to_owned();
        let request = format!("GET / HTTP/1.1|Host: a|Cookie: {code}");
        for _ in 0..5 {
            let again = asked(&service, &request).await;
            assert_eq!((&again[again.len() - 1..], field(&again, "Set-Cookie")), ("0", None));
        }
        assert_eq!(service.requests_by_backend(), [6]);
        // Over HTTP/2 too.
        let mut sender = connect(client(&service)).await;
        let mut h2_request = get("/");
        h2_request.headers_mut().insert("cookie", code.parse().unwrap());
        let (answer, _) = sender.send_request(h2_request, true).unwrap();
        let (head, body, _) = receive(answer).await.unwrap();
        assert_eq!((&*body, head.headers().get("set-cookie")), ("0", None));
        // Its backend is gone: another one has it from then on.
        network.backends.borrow_mut()[0] = Backend::Refuses;
        network.outages.set(1);
        let moved = asked(&service, &request).await;
        let new = field(&moved, "Set-Cookie").unwrap().split(';').next().unwrap();
        assert_ne!(new, code);
        let at = moved[moved.len() - 1..].to_owned();
        let again = asked(&service, &format!("GET / HTTP/1.1|Host: a|Cookie: {new}")).await;
        assert_eq!((&again[again.len() - 1..], field(&again, "Set-Cookie")), (&*at, None));
        assert_eq!(network.chosen.get(), network.released.get(), "every turn ends");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn copies_go_to_another_pool_and_their_answers_nowhere() {
    local(async {
        let (real, shadow) = (numbered(1), numbered(2));
        let mut service = Service::new(real.connector(), real.balance(), config());
        let limits = Config::default().pool;
        let other = Destination::new(shadow.connector(), shadow.balance(), limits);
        let to = service.add(other).unwrap();
        let mut route = Route::new(Action::To(0));
        route.mirror = Some((to, MILLION));
        let service = Rc::new(service.with_routes(Routes::new(vec![route], None)));
        for _ in 0..4 {
            let answer = asked(&service, "GET / HTTP/1.1|Host: a").await;
            assert!(answer.ends_with("\r\n\r\n0"), "{answer}");
        }
        let mut sender = connect(client(&service)).await;
        let (answer, _) = sender.send_request(get("/"), true).unwrap();
        assert_eq!(receive(answer).await.unwrap().1, "0");
        // One with a body is not copied.
        asked(&service, "POST / HTTP/1.1|Host: a|Content-Length: 0").await;
        asked(&service, "POST / HTTP/1.1|Host: a|Content-Length: 2||hi").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(service.destination(to).requests_by_backend().iter().sum::<u64>(), 6);
        assert_eq!(service.requests_by_backend(), [7]);
        assert_eq!((service.stats().requests.get(), service.mirrored().requests.get()), (7, 6));
        assert_eq!(service.stats().responses[1].get(), 7);
        // A pool that hangs, or is not there, costs nobody anything.
        *shadow.backends.borrow_mut() = vec![Backend::Hangs, Backend::Refuses];
        shadow.outages.set(1);
        for _ in 0..4 {
            let began = Instant::now();
            assert!(asked(&service, "GET / HTTP/1.1|Host: a").await.ends_with('0'));
            assert_eq!(began.elapsed(), Duration::ZERO);
        }
    })
    .await;
}
