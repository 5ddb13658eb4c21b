//! Rules, limits and authentication, as clients of HTTP/1 and HTTP/2 meet them.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};
use l7::Service;
use l7::access::list::Networks;
use l7::access::pattern::{Case, Patterns};
use l7::access::{Action as Rulings, Listed, Rule, Rules};
use l7::admission::{Admission, Conditions, Hashing, WallClock};
use l7::auth::api_key::ApiKeys;
use l7::auth::basic::Users;
use l7::auth::{Auth, Method};
use l7::http1::withheld::Withheld;
use l7::limit::{AtOnceConfig, Key, Limit, LimitConfig};
use l7::renewed::Renewed;
use l7::route::{Action, Route, Routes};
use l7::upstream::QueueLimits;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::task::{spawn_local, yield_now};
use tokio::time::sleep;

use crate::h2_harness::{connect, get, receive};
use crate::harness::*;

/// A backend that answers with the head that it got.
fn mirror() -> Backend {
    serves(|mut stream, _| async move {
        while let Some((head, _)) = read_request(&mut stream).await {
            let length = head.len();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{head}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
}

fn admission(rules: Vec<Rule>, conditions: Conditions) -> Admission {
    let tells: Vec<_> = conditions.auth.iter().flat_map(|auth| auth.tells()).collect();
    Admission {
        rules: Rules::new(rules),
        withheld: Withheld::new(tells),
        routes: vec![conditions],
        clock: WallClock::starting(Duration::from_hours(500_000)),
        hashing: Rc::new(Hashing::default()),
    }
}

type Connected = Rc<Service<Connector>>;

/// A service with one route, for all requests.
fn service(network: &Rc<Network>, admission: Admission) -> Connected {
    let config = crate::h2_harness::config();
    let service = Service::new(network.connector(), network.balance(), config);
    let routes = Routes::new(vec![Route::new(Action::To(0))], None);
    Rc::new(service.with_routes(routes).with_admission(Some(admission)))
}

fn limit(rate: Option<(u32, u32)>, at_once: Option<AtOnceConfig>, key: Key) -> Rc<Limit> {
    let rate = rate.map(|(count, burst)| nat::Rate { count, per: Duration::from_secs(1), burst });
    let config = LimitConfig { name: "api".to_owned(), key, rate, at_once, keys: 64, tell: true };
    Rc::new(Limit::new(&config, 1))
}

fn basic() -> Rc<Auth> {
    let hash = bcrypt::hash_with_result("secret", 4).unwrap().to_string();
    let users = Users::parse(format!("alice:{hash}").as_bytes()).unwrap();
    let method = Method::Basic { users: Arc::new(Renewed::new(users)), remember: 60 };
    Rc::new(Auth::new("team".to_owned(), "x-auth-user".to_owned(), method, 1))
}

const ALICE: &str = "Authorization: Basic YWxpY2U6c2VjcmV0\r\n";

async fn send(stream: &mut DuplexStream, fields: &str) -> (u16, String, String) {
    let request = format!("GET /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let head = read_head(stream).await.unwrap();
    let body = read_body(stream, &head).await;
    (head[9..12].parse().unwrap(), head, String::from_utf8(body).unwrap())
}

fn ended(service: &Connected, name: &str) -> u64 {
    service.stats().ends.iter().find(|(end, _)| *end == name).map_or(0, |(_, count)| count)
}

#[tokio::test(start_paused = true)]
async fn a_rule_denies_before_anything_is_asked_of_a_backend() {
    local(async {
        let network = Network::new([mirror()]);
        let paths = Patterns::parse(b"/x", Case::Counts).unwrap();
        let office = Networks::parse(b"10.1.0.0/16").unwrap();
        let rule = Rule {
            clients: Some(Listed { inline: office, file: None }),
            paths: Some(Listed { inline: paths, file: None }),
            ..Rule::all(Rulings::Deny(StatusCode::NOT_FOUND))
        };
        let service = service(&network, admission(vec![rule], Conditions::default()));
        let mut stream = client(&service);
        let (status, head, body) = send(&mut stream, "").await;
        assert_eq!(status, 404);
        assert_eq!(field(&head, "Cache-Control"), Some("no-store"));
        assert_eq!(body, "404 Not Found\nthis request is not allowed\n");
        // The connection lives on, and what no rule denies passes.
        stream.write_all(b"GET /y HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert!(read_head(&mut stream).await.unwrap().starts_with("HTTP/1.1 200 "));
        assert_eq!(*network.connects.borrow(), [0]);
        assert_eq!(ended(&service, "denied"), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_too_often_is_told_when_to_come_back() {
    local(async {
        let network = Network::new([mirror()]);
        let limits = vec![limit(Some((2, 2)), None, Key::default())];
        let service = service(&network, admission(Vec::new(), Conditions { limits, auth: None }));
        let mut stream = client(&service);
        let (status, head, _) = send(&mut stream, "").await;
        assert_eq!((status, field(&head, "RateLimit")), (200, Some("\"api\";r=1;t=1")));
        assert_eq!(send(&mut stream, "").await.0, 200);
        let (status, head, body) = send(&mut stream, "").await;
        assert_eq!(status, 429);
        assert_eq!(field(&head, "RateLimit-Policy"), Some("\"api\";q=2;w=1"));
        assert_eq!(field(&head, "RateLimit"), Some("\"api\";r=0;t=1"));
        assert_eq!(field(&head, "Retry-After"), Some("1"));
        assert_eq!(body, "429 Too Many Requests\ntoo many requests in a time\n");
        sleep(Duration::from_millis(500)).await;
        assert_eq!(send(&mut stream, "").await.0, 200);
        assert_eq!(send(&mut stream, "").await.0, 429);
        assert_eq!(ended(&service, "limited"), 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn requests_wait_for_a_place_in_order_and_not_for_ever() {
    local(async {
        // Backends that answer after three seconds.
        let slow = serves(|mut stream, _| async move {
            while read_request(&mut stream).await.is_some() {
                sleep(Duration::from_secs(3)).await;
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            }
        });
        let network = Network::new([slow]);
        let queue = Some(QueueLimits { size: 2, timeout: Duration::from_secs(4) });
        let at_once = limit(None, Some(AtOnceConfig { most: 1, queue }), Key::Route);
        let conditions = Conditions { limits: vec![Rc::clone(&at_once)], auth: None };
        let service = service(&network, admission(Vec::new(), conditions));
        let asked = |fields: &'static str| {
            let mut stream = client(&service);
            let task = spawn_local(async move { send(&mut stream, fields).await });
            async move { task.await.unwrap() }
        };
        let start = tokio::time::Instant::now();
        let (first, second, third) = (asked(""), asked(""), asked(""));
        for _ in 0..10 {
            yield_now().await;
        }
        // The queue is full.
        let (status, head, body) = asked("").await;
        assert_eq!((status, field(&head, "Retry-After")), (429, Some("1")));
        assert_eq!(body, "429 Too Many Requests\ntoo many requests at once\n");
        assert_eq!(first.await.0, 200);
        let (status, _, body) = third.await;
        assert_eq!((status, start.elapsed().as_secs()), (429, 4));
        assert_eq!(body, "429 Too Many Requests\nno place became free in time\n");
        assert_eq!((second.await.0, start.elapsed().as_secs()), (200, 6));
        assert_eq!(at_once.at_once().unwrap().counts(), (0, 0), "every place is given back");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_the_queue_makes_room() {
    local(async {
        let hang =
            serves(
                |mut stream, _| async move { while read_request(&mut stream).await.is_some() {} },
            );
        let network = Network::new([hang]);
        let queue = Some(QueueLimits { size: 9, timeout: Duration::from_secs(40) });
        let at_once = limit(None, Some(AtOnceConfig { most: 1, queue }), Key::Route);
        let conditions = Conditions { limits: vec![Rc::clone(&at_once)], auth: None };
        let service = service(&network, admission(Vec::new(), conditions));
        let mut sender = connect(client(&service)).await;
        let mut open = async || {
            let stream = sender.send_request(get("/"), true).unwrap();
            sleep(Duration::from_millis(1)).await;
            stream
        };
        let (served, waits) = (open().await, open().await);
        assert_eq!(at_once.at_once().unwrap().counts(), (1, 1));
        drop(waits);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(at_once.at_once().unwrap().counts(), (1, 0));
        drop(served);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(at_once.at_once().unwrap().counts(), (0, 0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_password_lets_in_and_the_backend_learns_the_name_from_us_alone() {
    local(async {
        let network = Network::new([mirror()]);
        let conditions = Conditions { limits: Vec::new(), auth: Some(basic()) };
        let service = service(&network, admission(Vec::new(), conditions));
        let mut stream = client(&service);
        let (status, head, body) = send(&mut stream, "X-Auth-User: root\r\n").await;
        assert_eq!(status, 401);
        let challenge = "Basic realm=\"team\", charset=\"UTF-8\"";
        assert_eq!(field(&head, "WWW-Authenticate"), Some(challenge));
        assert_eq!(body, "401 Unauthorized\nwho you are is not known\n");
        assert!(network.connects.borrow().is_empty());
        for _ in 0..2 {
            let fields = format!("x-auth-user: root\r\nX_Auth_User: root\r\n{ALICE}");
            let (status, _, body) = send(&mut stream, &fields).await;
            assert_eq!(status, 200);
            assert_eq!(field(&body, "x-auth-user"), Some("alice"));
            assert!(!body.contains("root"), "{body}");
        }
        assert_eq!(ended(&service, "unauthenticated"), 1);
    })
    .await;
}

/// The bytes of the answers are the same, so that nobody learns who there is.
#[tokio::test(start_paused = true)]
async fn a_wrong_password_and_a_stranger_get_the_same_answer() {
    local(async {
        let conditions = Conditions { limits: Vec::new(), auth: Some(basic()) };
        let network = Network::new([mirror()]);
        let service = service(&network, admission(Vec::new(), conditions));
        let mut answers = Vec::new();
        for credentials in ["YWxpY2U6d3Jvbmc=", "bWFsbG9yeTp3cm9uZw==", "bWFsbG9yeTpzZWNyZXQ=", "!"]
        {
            let fields = format!("Authorization: Basic {credentials}\r\n");
            answers.push(send(&mut client(&service), &fields).await);
        }
        assert_eq!(answers[0].0, 401);
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn fields_that_name_clients_are_taken_away_on_every_route() {
    local(async {
        let network = Network::new([mirror()]);
        let mut admission = admission(Vec::new(), Conditions::default());
        admission.withheld = Withheld::new(["x-auth-user"]);
        let service = service(&network, admission);
        let fields = "X-Auth-User: root\r\nX.Auth.User: root\r\nX-Auth-Users: two\r\n";
        let (_, _, body) = send(&mut client(&service), fields).await;
        assert!(!body.contains("root") && body.contains("X-Auth-Users: two"), "{body}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn each_identity_has_a_limit_of_its_own() {
    local(async {
        let digest = |key: &str| {
            let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
            hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
        };
        let file = format!("a:{}\na2:{}\nb:{}\n", digest("k1"), digest("k2"), digest("k3"));
        let keys = ApiKeys::parse(file.replace("a2", "a").as_bytes(), 1).unwrap();
        let keys = Arc::new(Renewed::new(keys));
        let method = Method::ApiKeys { keys, header: "x-api-key".to_owned() };
        let auth = Auth::new("callers".to_owned(), "x-auth-user".to_owned(), method, 1);
        let limits = vec![limit(Some((1, 1)), None, Key::Identity)];
        let conditions = Conditions { limits, auth: Some(Rc::new(auth)) };
        let network = Network::new([mirror()]);
        let service = service(&network, admission(Vec::new(), conditions));
        let mut stream = client(&service);
        let mut ask = async |key: &str| send(&mut stream, &format!("X-Api-Key: {key}\r\n")).await.0;
        assert_eq!(ask("k1").await, 200);
        assert_eq!(ask("k2").await, 429, "two keys of one name");
        assert_eq!(ask("k3").await, 200);
        assert_eq!(ask("k4").await, 401, "a stranger uses up nobody's tokens");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn clients_of_http2_are_judged_alike() {
    local(async {
        let network = Network::new([mirror()]);
        let limits = vec![limit(Some((1, 2)), None, Key::default())];
        let conditions = Conditions { limits, auth: Some(basic()) };
        let service = service(&network, admission(Vec::new(), conditions));
        let mut sender = connect(client(&service)).await;
        let (answer, _) = sender.send_request(get("/"), true).unwrap();
        let (head, body, _) = receive(answer).await.unwrap();
        assert_eq!(head.status(), 401);
        assert_eq!(head.headers()["www-authenticate"], "Basic realm=\"team\", charset=\"UTF-8\"");
        assert_eq!(body, "401 Unauthorized\nwho you are is not known\n");
        let request = Request::get("http://a.lab/").header("x-auth-user", "root");
        let request = request.header("authorization", "Basic YWxpY2U6c2VjcmV0");
        let (answer, _) = sender.send_request(request.body(()).unwrap(), true).unwrap();
        let (head, body, _) = receive(answer).await.unwrap();
        assert_eq!(
            (head.status(), &head.headers()["ratelimit"]),
            (StatusCode::OK, &http::HeaderValue::from_static("\"api\";r=0;t=2"))
        );
        assert!(body.contains("x-auth-user: alice\r\n") && !body.contains("root"), "{body}");
        let (answer, _) = sender.send_request(get("/"), true).unwrap();
        let (head, ..) = receive(answer).await.unwrap();
        assert_eq!(
            (head.status(), head.headers()["retry-after"].to_str().unwrap()),
            (StatusCode::TOO_MANY_REQUESTS, "1")
        );
    })
    .await;
}

/// `hide`: the backend learns nothing of the client, the client nothing of the backend.
#[tokio::test(start_paused = true)]
async fn whoever_hides_lets_nothing_pass_that_says_it() {
    local(async {
        let tells = serves(|mut stream, _| async move {
            while let Some((head, _)) = read_request(&mut stream).await {
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nServer: secret/1\r\nVia: 1.1 secret\r\n\
                     X-A: b\r\nContent-Length: {}\r\n\r\n{head}",
                    head.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let network = Network::new([tells]);
        let service = network.service(crate::h2_harness::config());
        let fields = "X-Forwarded-For: 192.0.2.66\r\nForwarded: for=192.0.2.66\r\nVia: 1.1 x\r\n\
                      X-Real-IP: 192.0.2.66\r\nTrue-Client-IP: 192.0.2.66\r\n\
                      CF_Connecting_IP: 192.0.2.66\r\nX-Forwarded-Proto: x\r\nX-C: d\r\n";
        let (status, head, body) = send(&mut client(&service), fields).await;
        assert_eq!(status, 200);
        assert_eq!(
            head,
            "HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 48\r\n\r\n"
                .replace("48", &body.len().to_string())
        );
        assert_eq!(body, "GET /x HTTP/1.1\r\nHost: a\r\nX-C: d\r\n\r\n");
        let mut sender = connect(client(&service)).await;
        let (answer, _) = sender.send_request(get("/"), true).unwrap();
        let (head, ..) = receive(answer).await.unwrap();
        assert_eq!(head.headers().keys().collect::<Vec<_>>(), ["x-a", "content-length"]);
    })
    .await;
}

/// A backend that joins trailer fields to the head would take them for ours.
#[tokio::test(start_paused = true)]
async fn nobody_is_named_by_a_trailer() {
    local(async {
        let shows = serves(|mut stream, _| async move {
            let head = read_head(&mut stream).await.unwrap();
            let mut body = Vec::new();
            while !body.ends_with(b"0\r\n\r\n") {
                body.push(tokio::io::AsyncReadExt::read_u8(&mut stream).await.unwrap());
            }
            assert!(head.contains("Transfer-Encoding: chunked"), "{head}");
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        });
        let network = Network::new([shows]);
        let mut admission = admission(Vec::new(), Conditions::default());
        admission.withheld = Withheld::new(["x-auth-user"]);
        let service = service(&network, admission);
        let mut stream = client(&service);
        let request = "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\
                       Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Auth-User: root\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        assert!(read_head(&mut stream).await.unwrap().starts_with("HTTP/1.1 200 "));
    })
    .await;
}
