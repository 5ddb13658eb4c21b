//! The access log: how requests end, and what is told of them.

use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use l7::identity::{Naming, RequestId};
use l7::log::{AccessLog, End, Format, Names, Sink};
use l7::{Config, Service, SpliceService};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use crate::h2_harness;
use crate::harness::*;

/// Keeps lines in memory. Its clock is that of the test.
#[derive(Debug)]
struct Memory {
    start: Instant,
    lines: Mutex<Vec<u8>>,
    /// Takes nothing.
    is_stuck: Mutex<bool>,
    lost: Mutex<u64>,
}

impl Sink for Memory {
    fn now(&self) -> Duration {
        Duration::from_secs(1_795_301_810) + self.start.elapsed()
    }

    fn take(&self, lines: &mut Vec<u8>) {
        if !*self.is_stuck.lock().unwrap() {
            self.lines.lock().unwrap().append(lines);
        }
    }

    fn take_last(&self, lines: Vec<u8>) {
        self.lines.lock().unwrap().extend(lines);
    }

    fn lost(&self, lines: u64) {
        *self.lost.lock().unwrap() += lines;
    }
}

impl Memory {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            lines: Mutex::default(),
            is_stuck: Mutex::default(),
            lost: Mutex::default(),
        })
    }

    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.lines.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

fn access_log(format: &str, sink: &Arc<Memory>) -> Rc<AccessLog> {
    // The harness counts backends by their ports.
    let backend = |n: u16| (([10, 2, 0, 11], n).into(), format!("web{}", n + 1));
    let names = Names::new("site".into(), vec![backend(0), backend(1)]);
    let format = match format {
        "json" => Format::json(),
        own => Format::parse(own).unwrap(),
    };
    Rc::new(AccessLog::new(format, names, Arc::clone(sink) as Arc<dyn Sink>))
}

/// A service that logs so.
fn logging(network: &Rc<Network>, config: Config, log: Rc<AccessLog>) -> Rc<Service<Connector>> {
    Rc::new(Service::new(network.connector(), network.balance(), config).with_log(Some(log)))
}

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const GET: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";

/// What the log says, and which ends were counted, after a client sent `request`, waited, and left.
async fn told(backends: Vec<Backend>, config: Config, request: &str, wait: u64) -> String {
    let request = request.to_owned();
    local(async move {
        let (network, sink) = (Network::new(backends), Memory::new());
        let log = access_log("{line} {status} {backend} {attempts} {end} {rule}", &sink);
        let service = logging(&network, config, log);
        let mut stream = client(&service);
        stream.write_all(request.as_bytes()).await.unwrap();
        sleep(Duration::from_secs(wait)).await;
        drop(stream);
        sleep(Duration::from_secs(200)).await;
        let counted = service.stats().ends.iter().filter(|(_, count)| *count > 0);
        let counted: Vec<_> = counted.map(|(name, count)| format!("{name} {count}")).collect();
        format!("{} [{}]", sink.lines().join(" | "), counted.join(", "))
    })
    .await
}

/// A backend that takes a request and says no more.
fn hangs() -> Backend {
    stalls_after("")
}

/// A backend that takes a request, says that and no more.
fn stalls_after(text: &'static str) -> Backend {
    serves(move |mut stream, _| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(text.as_bytes()).await;
        std::future::pending::<()>().await;
    })
}

/// A backend that takes a request, says that and leaves.
fn says(text: &'static str) -> Backend {
    serves(move |mut stream, _| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(text.as_bytes()).await;
    })
}

/// Half an answer.
const HALF: &str = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal";

#[tokio::test(start_paused = true)]
async fn each_way_to_end_has_its_word() {
    let post = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1234";
    for (backends, request, wait, expected) in [
        (vec![answers(HELLO)], GET, 1, "GET /a HTTP/1.1 200 web1 1 ok - [ok 1]"),
        (vec![Backend::Refuses, answers(HELLO)], GET, 1, "GET /a HTTP/1.1 200 web2 2 ok - [ok 1]"),
        (vec![], GET, 1, "GET /a HTTP/1.1 503 - 0 no-backend - [no-backend 1]"),
        (
            vec![Backend::Refuses],
            GET,
            1,
            "GET /a HTTP/1.1 502 web1 1 backend-refused - [backend-refused 1]",
        ),
        (
            vec![Backend::Hangs],
            GET,
            9,
            "GET /a HTTP/1.1 504 web1 1 connect-timeout - [connect-timeout 1]",
        ),
        (vec![says("")], GET, 1, "GET /a HTTP/1.1 502 web1 1 backend-closed - [backend-closed 1]"),
        (
            vec![says("SMTP\r\n\r\n")],
            GET,
            1,
            "GET /a HTTP/1.1 502 web1 1 backend-garbage r16 [backend-garbage 1]",
        ),
        (
            vec![hangs()],
            GET,
            70,
            "GET /a HTTP/1.1 504 web1 1 backend-timeout - [backend-timeout 1]",
        ),
        (vec![says(HALF)], GET, 1, "GET /a HTTP/1.1 200 web1 1 backend-cut - [backend-cut 1]"),
        (
            vec![stalls_after(HALF)],
            GET,
            70,
            "GET /a HTTP/1.1 200 web1 1 backend-timeout - [backend-timeout 1]",
        ),
        (vec![hangs()], post, 1, "POST /a HTTP/1.1 400 web1 1 client-gone - [client-gone 1]"),
        (
            vec![hangs()],
            post,
            70,
            "POST /a HTTP/1.1 408 web1 1 client-timeout - [client-timeout 1]",
        ),
        (vec![hangs()], "GET /a HT", 1, "GET /a HT 400 - 0 client-gone - [client-gone 1]"),
        (vec![hangs()], "GET /a HT", 20, "GET /a HT 408 - 0 client-timeout - [client-timeout 1]"),
        (
            vec![hangs()],
            "GET /a HTTP/1.1\r\n\r\n",
            1,
            "GET /a HTTP/1.1 400 - 0 rejected r09 [rejected 1]",
        ),
        (
            vec![hangs()],
            "GET /\x1b\" HTTP/1.1\nHost: a\r\n\r\n",
            1,
            "GET /\\x1b\\x22 HTTP/1.1 400 - 0 rejected r06 [rejected 1]",
        ),
        (vec![hangs()], "", 1, " []"),
    ] {
        assert_eq!(told(backends, Config::default(), request, wait).await, expected, "{request:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_has_taken_too_long() {
    local(async {
        let network = Network::new([serves(|mut stream, _| async move {
            read_request(&mut stream).await;
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            let _ = stream.write_all(&vec![7; 1_000_000]).await;
        })]);
        let sink = Memory::new();
        let log = access_log("{status} {end} {total_ms}", &sink);
        let service = logging(&network, Config::default(), log);
        let mut stream = client(&service);
        stream.write_all(GET.as_bytes()).await.unwrap();
        sleep(Duration::from_secs(70)).await;
        assert_eq!(sink.lines(), ["200 client-timeout 60000.000"]);
        assert_eq!(service.stats().ends.get(End::ClientTimeout), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_is_one_request_with_all_that_went_through_it() {
    const KEY: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let agrees = || {
        serves(|mut stream, _| async move {
            read_head(&mut stream).await.unwrap();
            let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.read_exact(&mut [0; 4]).await.unwrap();
            stream.write_all(b"pong!").await.unwrap();
            let _ = stream.read(&mut [0; 1]).await;
        })
    };
    for (ends, expected) in [(true, "101 4 5 tunnel"), (false, "101 4 5 tunnel-cut")] {
        local(async move {
            let (network, sink) = (Network::new([agrees()]), Memory::new());
            let log = access_log("{status} {request_body} {response_body} {end}", &sink);
            let service = logging(&network, Config::default(), log);
            let mut stream = client(&service);
            stream.write_all(KEY.as_bytes()).await.unwrap();
            read_head(&mut stream).await.unwrap();
            stream.write_all(b"ping").await.unwrap();
            expect(&mut stream, "pong!").await;
            if ends {
                stream.shutdown().await.unwrap();
            }
            sleep(Duration::from_hours(2)).await;
            assert_eq!(sink.lines(), [expected]);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn phases_tell_where_the_time_went() {
    local(async {
        let network = Network::new([serves(|mut stream, _| async move {
            while read_request(&mut stream).await.is_some() {
                sleep(Duration::from_millis(30)).await;
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").await.unwrap();
                sleep(Duration::from_millis(400)).await;
                stream.write_all(b"hello").await.unwrap();
            }
        })]);
        let sink = Memory::new();
        let log = access_log(
            "{time} {head_ms} {connect_ms} {first_byte_ms} {total_ms} {backend_reused} {response_body}",
            &sink,
        );
        let service = logging(&network, Config::default(), log);
        let mut stream = client(&service);
        for second in ["GET /a HT", "GET /b HT"] {
            sleep(Duration::from_secs(1)).await;
            stream.write_all(second.as_bytes()).await.unwrap();
            sleep(Duration::from_millis(2)).await;
            stream.write_all(b"TP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            let head = read_head(&mut stream).await.unwrap();
            read_body(&mut stream, &head).await;
        }
        sleep(Duration::from_secs(1)).await;
        assert_eq!(
            sink.lines(),
            [
                "2026-11-21T22:56:51.000Z 2.000 0.000 30.000 432.000 false 5",
                "2026-11-21T22:56:52.432Z 2.000 - 30.000 432.000 true 5",
            ]
        );
        // A head that comes at once is no exception: the idle second before it is nobody's.
        stream.write_all(GET.as_bytes()).await.unwrap();
        let head = read_head(&mut stream).await.unwrap();
        read_body(&mut stream, &head).await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(sink.lines()[2], "2026-11-21T22:56:53.864Z 0.000 - 30.000 430.000 true 5");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn lines_come_in_order_and_soon_and_in_batches() {
    local(async {
        let (network, sink) = (Network::new([answers(HELLO)]), Memory::new());
        let service = logging(&network, Config::default(), access_log("{target}", &sink));
        let mut stream = client(&service);
        for target in ["/1", "/2"] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            expect(&mut stream, HELLO).await;
        }
        assert_eq!(sink.lines(), [""; 0], "they wait for each other");
        sleep(Duration::from_millis(60)).await;
        assert_eq!(sink.lines(), ["/1", "/2"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn where_lines_find_no_room_they_are_counted_and_nobody_waits() {
    local(async {
        let (network, sink) = (Network::new([answers(HELLO)]), Memory::new());
        *sink.is_stuck.lock().unwrap() = true;
        let long = "x".repeat(4000);
        let log = access_log(&format!("{{target}} {long}"), &sink);
        let service = logging(&network, Config::default(), Rc::clone(&log));
        let mut stream = client(&service);
        for n in 0..300 {
            let request = format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            expect(&mut stream, HELLO).await;
        }
        let (lines, lost) = (log.lines().get(), log.lost().get());
        assert_eq!((lines + lost, *sink.lost.lock().unwrap()), (300, lost));
        let room = (1 << 20) / 4100..=(1 << 20) / 4000 + 1;
        assert!(room.contains(&lines), "{lines}");
        *sink.is_stuck.lock().unwrap() = false;
        sleep(Duration::from_millis(60)).await;
        assert_eq!(sink.lines().len() as u64, lines);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_request_under_way_when_the_balancer_stops_leaves_a_line() {
    let (sink, network) = (Memory::new(), Network::new([Backend::Hangs]));
    let service =
        logging(&network, Config::default(), access_log("{target} {backend} {end}", &sink));
    local(async {
        let mut stream = client(&service);
        stream.write_all(GET.as_bytes()).await.unwrap();
        sleep(Duration::from_millis(10)).await;
    })
    .await;
    drop(service);
    assert_eq!(sink.lines(), ["/a web1 stopped"]);
}

#[tokio::test(start_paused = true)]
async fn one_name_goes_to_the_backend_and_into_the_log() {
    for (naming, field, kept) in [
        (RequestId::Off, "X-Request-Id: theirs\r\n", Some("theirs")),
        (RequestId::Pass, "X-Request-Id: theirs\r\n", Some("theirs")),
        (RequestId::Pass, "X-Request-Id: not sane\r\n", None),
        (RequestId::Pass, "", None),
        (RequestId::Create, "X-Request-Id: theirs\r\n", None),
    ] {
        local(async move {
            let seen = Rc::new(std::cell::RefCell::new(String::new()));
            let sees = Rc::clone(&seen);
            let network = Network::new([serves(move |mut stream, _| {
                let sees = Rc::clone(&sees);
                async move {
                    *sees.borrow_mut() = read_head(&mut stream).await.unwrap();
                    stream.write_all(HELLO.as_bytes()).await.unwrap();
                }
            })]);
            let sink = Memory::new();
            let config =
                Config { naming: Naming { request_id: naming, trace: true }, ..Config::default() };
            let log = access_log("{request_id} 00-{trace_id}-{span_id}-01", &sink);
            let service = logging(&network, config, log);
            ask(&service, &format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n")).await;
            sleep(Duration::from_secs(1)).await;
            let lines = sink.lines();
            let (id, trace) = lines[0].split_once(' ').unwrap();
            let head = seen.borrow().clone();
            let ids: Vec<_> =
                head.lines().filter(|l| l.to_lowercase().starts_with("x-request-id")).collect();
            assert_eq!(ids.len(), 1, "{head}");
            assert_eq!(
                (
                    super::harness::field(&head, "X-Request-Id"),
                    super::harness::field(&head, "traceparent")
                ),
                (Some(id), Some(trace))
            );
            match kept {
                Some(kept) => assert_eq!(id, kept),
                None => {
                    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
                }
            }
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_of_mode_tcp_has_a_line_too() {
    local(async {
        let echo = serves(|stream, _| async move {
            let (mut read, mut write) = tokio::io::split(stream);
            tokio::io::copy(&mut read, &mut write).await.unwrap();
            write.shutdown().await.unwrap();
        });
        let (network, sink) = (Network::new([Backend::Refuses, echo]), Memory::new());
        let log = access_log(
            "{scheme} {client} {backend} {attempts} {request_body} {response_body} {end}",
            &sink,
        );
        let timeouts = l7::Timeouts::default();
        let service = SpliceService::new(network.connector(), network.balance(), timeouts);
        let service = Rc::new(service.with_log(Some(log)));
        let (mut near, far) = duplex(PIPE);
        spawn_local(l7::splice(far, peer(), local_address(), Rc::clone(&service)));
        near.write_all(b"hello").await.unwrap();
        expect(&mut near, "hello").await;
        near.shutdown().await.unwrap();
        assert!(ended(&mut near).await);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(sink.lines(), ["tcp 10.1.0.5:40000 web2 2 5 5 tunnel"]);
        assert_eq!(service.stats().ends.get(End::Tunnel), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn requests_over_http2_are_told_one_by_one() {
    local(async {
        let (network, sink) = (Network::new([answers(HELLO)]), Memory::new());
        let log = access_log("{line} {version} {status} {received} {end} {rule}", &sink);
        let config = Config { max_body: Some(10), ..h2_harness::config() };
        let service = logging(&network, config, log);
        let mut sender = h2_harness::connect(client(&service)).await;
        let answer = sender.send_request(h2_harness::get("/a"), true).unwrap().0;
        assert_eq!(h2_harness::receive(answer).await.unwrap().1, "hello");
        let mut request = h2_harness::post("/b");
        request.headers_mut().insert("content-length", 11.into());
        let (answer, _body) = sender.send_request(request, false).unwrap();
        assert_eq!(h2_harness::receive(answer).await.unwrap().0.status(), 413);
        sleep(Duration::from_secs(2)).await;
        let lines = sink.lines();
        assert_eq!(lines[0], "GET /a HTTP/2 HTTP/2 200 - ok -");
        assert_eq!(lines[1], "POST /b HTTP/2 HTTP/2 413 - rejected r05");
        assert_eq!(service.stats().ends.get(End::Ok), 1);
    })
    .await;
}
