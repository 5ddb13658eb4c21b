//! What a capture of one request holds: exactly its packets, on both legs.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as it does")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use balun::capture::transaction::{
    Recorder, RequestPattern, StatusPattern, TransactionOptions, Wanted,
};
use balun::capture::{Options, Origin, Ring, Tap, Tapped as _, Target, Trigger};
use balun::lab::client::Dial;
use balun::plan::Plan;
use netstack::Packet;
use netstack::dev::CaptureReader;
use netstack::dev::pcapng::{Direction, Run};
use netstack::wire::text::Line;
use netstack::wire::{Family, Headers, Tcp};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tests::bench::{Bench, Scenario, simulate, simulate_with};
use tests::topology::{self, Certificate, Mode, vip};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

const LIMIT: Duration = Duration::from_secs(30);

/// What the client asks for. The backends answer `/1/2/LEN` with `LEN` bytes, and all else with 404.
fn get(path: &str, id: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: site.test\r\nX-Request-Id: {id}\r\n\r\n")
}

/// Sends requests over one connection, each after the answer to the one before.
async fn ask(dial: impl Dial, requests: Vec<String>) {
    let mut stream = dial.dial(vip(Family::V4, Mode::Http.web_port())).await.unwrap();
    for request in requests {
        stream.write_all(request.as_bytes()).await.unwrap();
        read_answer(&mut stream).await;
    }
    stream.shutdown().await.unwrap();
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

/// Reads an answer whose head says how long its body is.
async fn read_answer(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(text).unwrap();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().unwrap())
    });
    stream.read_exact(&mut vec![0; length.unwrap()]).await.unwrap();
    head
}

fn wanted(request: &str) -> Wanted {
    Wanted { request: RequestPattern::parse(request).unwrap(), ..Wanted::default() }
}

fn options(folder: &Path, wanted: Wanted) -> TransactionOptions {
    let folder = folder.to_owned();
    TransactionOptions { wanted, every: 1, count: 10, memory: 1 << 20, keys: false, folder }
}

fn recorder(options: TransactionOptions) -> Recorder {
    Recorder::start(options, origin()).unwrap()
}

fn origin() -> Origin {
    Origin {
        run: Run { seed: 1, config: String::new() },
        legs: vec!["client".into(), "web1".into(), "web2".into()],
        epoch: Duration::ZERO,
    }
}

/// Runs clients, each on a connection of its own, and gives the files of the requests that are wanted.
fn capture(
    options: TransactionOptions,
    clients: Vec<Vec<String>>,
    after: Duration,
) -> Vec<PathBuf> {
    simulate(Scenario::new(1, Family::V4), "a captured request", async |bench: &mut Bench| {
        bench.network.add_recorder(recorder(options)).unwrap();
        let results = clients.into_iter().map(|requests| {
            let dial = bench.dial();
            bench.spawn(ask(dial, requests))
        });
        let results = results.collect();
        bench.finish(LIMIT, results).await;
        bench.pass(after).await;
        let report = bench.network.end_taps().remove(0);
        assert_eq!(report.error, None);
        report.files
    })
}

/// A packet of a file.
#[derive(Debug)]
struct Seen {
    leg: String,
    inbound: bool,
    line: String,
    payload: String,
    bytes: usize,
}

impl Seen {
    /// Its leg, its way, its flags, and whether it carries data.
    fn shape(&self) -> String {
        let flags = self.line.split(' ').nth(4).unwrap();
        let way = if self.inbound { "in" } else { "out" };
        let data = if self.payload.is_empty() { "" } else { " data" };
        format!("{} {way} {flags}{data}", self.leg)
    }
}

fn read(path: &Path) -> Vec<Seen> {
    let mut reader = CaptureReader::open(path).unwrap();
    let mut packet = Packet::max_sized();
    let mut all = Vec::new();
    while let Some(captured) = reader.read(&mut packet).unwrap() {
        let headers = Headers::parse(&packet).unwrap();
        let tcp = Tcp::new_checked(&packet.data()[headers.l4()..]).unwrap();
        all.push(Seen {
            leg: reader.interface_name(captured.interface).to_owned(),
            inbound: captured.direction == Some(Direction::Inbound),
            line: Line::of(&packet).to_string(),
            payload: String::from_utf8_lossy(tcp.payload()).into_owned(),
            bytes: tcp.payload().len(),
        });
    }
    all
}

/// The request lines of a file.
fn requests(seen: &[Seen]) -> Vec<&str> {
    let heads = seen.iter().filter(|seen| seen.payload.starts_with("GET "));
    heads.map(|seen| seen.payload.split(" HTTP").next().unwrap()).collect()
}

#[test]
fn a_request_alone_on_its_connection_is_there_from_syn_to_the_last_ack() {
    let folder = tempfile::tempdir().unwrap();
    let clients = vec![vec![get("/1/2/5", "only")], vec![get("/other", "x"); 3]];
    let files = capture(options(folder.path(), wanted("/1/*")), clients, LIMIT);
    assert_eq!(files, [folder.path().join("only.pcapng")]);
    let seen = read(&files[0]);
    let side = |leg: &str| -> Vec<_> {
        let seen = seen.iter().filter(|seen| seen.leg.starts_with(leg)).map(Seen::shape);
        seen.map(|shape| shape.split_once(' ').unwrap().1.to_owned()).collect()
    };
    assert_eq!(
        side("client"),
        [
            "in S",
            "out S.",
            "in .",
            "in P. data",
            "out .",
            "out P. data",
            "in .",
            "in F.",
            "out F.",
            "in .",
        ],
        "{seen:#?}"
    );
    // The connection to the backend lives on.
    let to_backend = ["out S", "in S.", "out P. data", "in .", "in P. data", "out ."];
    assert_eq!(side("web"), to_backend, "{seen:#?}");
    assert_eq!(requests(&seen), ["GET /1/2/5"; 2]);
}

#[test]
fn a_request_on_a_kept_connection_is_its_own_bytes_and_their_acknowledgments() {
    let folder = tempfile::tempdir().unwrap();
    let all = ["/a", "/b", "/1/2/30000", "/d"].map(|path| get(path, &path[1..2]));
    let files = capture(options(folder.path(), wanted("GET /1/*")), vec![all.to_vec()], LIMIT);
    let seen = read(&files[0]);
    assert_eq!(requests(&seen), ["GET /1/2/30000"; 2], "{seen:#?}");
    assert!(!seen.iter().any(|seen| seen.line.contains(" S")), "{seen:#?}");
    assert!(!seen.iter().any(|seen| seen.line.contains(" F")), "{seen:#?}");
    // All of the answer is there, on both legs.
    for (leg, inbound) in [("client", false), ("web", true)] {
        let packets = seen.iter().filter(|s| s.leg.starts_with(leg) && s.inbound == inbound);
        let bytes: usize = packets.map(|seen| seen.bytes).sum();
        assert!(bytes > 30_000, "{leg}: {bytes}");
    }
    let text: String = seen.iter().map(|seen| seen.payload.as_str()).collect();
    assert!(!text.contains("404"), "an answer to another request");
}

#[test]
fn each_request_has_a_file_and_no_packet_is_in_two() {
    let folder = tempfile::tempdir().unwrap();
    let of = |who: &str| (0..4).map(|n| get("/x", &format!("{who}{n}"))).collect::<Vec<_>>();
    let options = options(folder.path(), Wanted::default());
    let files = capture(options, vec![of("a"), of("b")], LIMIT);
    assert_eq!(files.len(), 8);
    let mut all = Vec::new();
    for file in &files {
        let seen = read(file);
        assert_eq!(requests(&seen).len(), 2, "{}: {seen:#?}", file.display());
        all.extend(
            seen.into_iter().map(|seen| format!("{} {} {}", seen.leg, seen.inbound, seen.line)),
        );
    }
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count);
}

#[test]
fn status_time_and_number_say_which() {
    let run = |change: fn(&mut TransactionOptions)| {
        let folder = tempfile::tempdir().unwrap();
        let mut options = options(folder.path(), Wanted::default());
        change(&mut options);
        let paths = ["/1/2/5", "/a", "/b", "/c"];
        let requests = paths.iter().zip(1..).map(|(path, n)| get(path, &format!("r{n}")));
        let files = capture(options, vec![requests.collect()], LIMIT);
        let names = files.iter().map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(run(|o| o.wanted.status = StatusPattern::parse("2xx")), ["r1"]);
    assert_eq!(run(|o| o.wanted.status = StatusPattern::parse("5xx")), [""; 0]);
    // For the first of each backend a connection is made: two ways of 1 ms each more.
    assert_eq!(run(|o| o.wanted.slow = Some(Duration::from_millis(4))), ["r1", "r2"]);
    assert_eq!(run(|o| o.count = 2), ["r1", "r2"]);
    assert_eq!(run(|o| o.every = 2), ["r1", "r3"]);
    assert_eq!(run(|o| o.wanted.service = Some(0)), [""; 0]);
}

/// Runs one client, whose requests follow each other at once, beside a ring that these triggers write;
/// gives the requests in its files.
fn ring(triggers: Vec<Trigger>, paths: &[&str]) -> Vec<Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let target = Target::File(folder.path().join("ring.pcapng"));
    let length = Duration::from_secs(10);
    let ring = Some(Ring { length, memory: 1 << 20, triggers, files: 10 });
    let tap = Tap::start(target, Options { ring, ..Options::default() }, origin()).unwrap();
    let requests = paths.iter().map(|path| get(path, "x")).collect();
    simulate(Scenario::new(1, Family::V4), "a ring of requests", async |bench: &mut Bench| {
        bench.network.add_tap(tap).unwrap();
        let dial = bench.dial();
        let client = bench.spawn(ask(dial, requests));
        bench.finish(LIMIT, vec![client]).await;
        bench.pass(LIMIT).await;
        let report = bench.network.end_taps().remove(0);
        assert_eq!(report.error, None);
        let all = report.files.iter().map(|file| read(file));
        all.map(|seen| requests_of_client(&seen)).collect()
    })
}

fn requests_of_client(seen: &[Seen]) -> Vec<String> {
    let client = seen.iter().filter(|seen| seen.leg == "client");
    let heads = client.filter_map(|seen| Some(seen.payload.split_once(" HTTP")?.0.to_owned()));
    heads.filter(|head| head.starts_with("GET ")).collect()
}

#[test]
fn a_ring_is_written_when_a_request_is_answered_in_a_certain_way() {
    let status = |text| vec![Trigger::Status(StatusPattern::parse(text).unwrap())];
    let paths = ["/1/2/5", "/a"];
    // The ring holds what came before the trigger, and what came within a second after it.
    let all = vec![vec!["GET /1/2/5".to_owned(), "GET /a".to_owned()]];
    assert_eq!(ring(status("4xx"), &paths), all);
    assert_eq!(ring(status("200"), &paths), all);
    assert_eq!(ring(status("5xx"), &paths), [[""; 0]; 0]);
}

#[test]
fn a_ring_is_written_when_a_request_is_slow() {
    let slow = |millis| vec![Trigger::Slow(Duration::from_millis(millis))];
    // The first request of a connection to a backend takes 4 ms of the links, none takes 40.
    assert_eq!(ring(slow(4), &["/1/2/5"]), [["GET /1/2/5"]]);
    assert_eq!(ring(slow(40), &["/1/2/5"]), [[""; 0]; 0]);
}

#[test]
fn a_5xx_of_our_own_writes_the_ring_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ring.pcapng");
    let triggers = vec![Trigger::Status(StatusPattern::parse("5xx").unwrap())];
    let ring = Some(Ring { length: LIMIT, memory: 1 << 20, triggers, files: 1 });
    let tap = Tap::start(Target::File(path), Options { ring, ..Options::default() }, origin());
    simulate(Scenario::new(1, Family::V4), "no backend", async |bench: &mut Bench| {
        bench.network.add_tap(tap.unwrap()).unwrap();
        bench.network.host_mut(1).unwrap().kill();
        bench.network.host_mut(2).unwrap().kill();
        let dial = bench.dial();
        let client = bench.spawn(ask(dial, vec![get("/a", "x")]));
        bench.finish(LIMIT, vec![client]).await;
        bench.pass(LIMIT).await;
        let files = bench.network.end_taps().remove(0).files;
        let answers = read(&files[0]).iter().any(|seen| seen.payload.starts_with("HTTP/1.1 50"));
        assert!(answers);
    });
}

#[test]
fn a_name_that_a_client_gives_twice_overwrites_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let requests = vec![get("/a", "same"), get("/b", "same"), get("/c", "../up")];
    let files = capture(options(folder.path(), Wanted::default()), vec![requests], LIMIT);
    let names: Vec<_> = files.iter().map(|f| f.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names[..2], ["same.pcapng", "same-2.pcapng"]);
    // A name that is no name of a file is not taken; ours are hexadecimal.
    assert_eq!(names[2].len(), "0123456789abcdef0123456789abcdef.pcapng".len(), "{names:?}");
}

#[test]
fn what_did_not_fit_into_memory_is_said_to_be_missing() {
    let folder = tempfile::tempdir().unwrap();
    let options = TransactionOptions { memory: 8 << 10, ..options(folder.path(), wanted("*")) };
    let files = capture(options, vec![vec![get("/1/2/100000", "big")]], LIMIT);
    let mut reader = CaptureReader::open(&files[0]).unwrap();
    while reader.read(&mut Packet::max_sized()).unwrap().is_some() {}
    let said = &reader.section().comments[1];
    assert!(said.starts_with("request big: GET /1/2/100000 200 in "), "{said}");
    assert!(said.contains("incomplete: "), "{said}");
}

#[test]
fn the_same_run_makes_the_same_bytes() {
    let bytes = || {
        let folder = tempfile::tempdir().unwrap();
        let clients = vec![vec![get("/a", "a"), get("/1/2/99", "")]];
        let files = capture(options(folder.path(), wanted("/1/*")), clients, LIMIT);
        (files[0].file_name().unwrap().to_owned(), std::fs::read(&files[0]).unwrap())
    };
    assert_eq!(bytes(), bytes());
}

fn tshark(file: &Path, filter: &str, field: &str) -> Vec<String> {
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(file).args(["-n", "-Y", filter, "-T", "fields", "-e", field]);
    // Nobody's own settings and keys.
    let home = tempfile::tempdir().unwrap();
    let output = tshark.env("HOME", home.path()).env_remove("XDG_CONFIG_HOME").output().unwrap();
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn lacks_tshark() -> bool {
    let lacks = Command::new("tshark").arg("--version").output().is_err();
    if lacks {
        assert!(std::env::var_os("BALUN_REQUIRE_TUN").is_none(), "tshark is not installed");
        eprintln!("skipped: tshark is not installed");
    }
    lacks
}

/// Captures the first of two requests over TLS of this version.
fn over_tls(folder: &Path, version: &'static SupportedProtocolVersion, keys: bool) -> PathBuf {
    let made = rcgen::generate_simple_self_signed(["site.test".to_owned()]).unwrap();
    let certificate = Certificate { chain: made.cert.pem(), key: made.signing_key.serialize_pem() };
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(&[version]).unwrap();
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));

    let options = TransactionOptions { keys, ..options(folder, wanted("/1/*")) };
    let plan = |plan: &mut Plan| *plan = topology::plan(2, 1, &[], Some(&certificate));
    let scenario = Scenario::new(1, Family::V4);
    simulate_with(scenario, "a captured request over TLS", plan, async |bench| {
        bench.network.add_recorder(recorder(options)).unwrap();
        let dial = bench.dial();
        let result = bench.spawn(async move {
            let stream = dial.dial(vip(Family::V4, topology::TLS)).await.unwrap();
            let name = "site.test".try_into().unwrap();
            let mut stream = connector.connect(name, stream).await.unwrap();
            for request in [get("/1/2/500", "hidden"), get("/next", "next")] {
                stream.write_all(request.as_bytes()).await.unwrap();
                read_answer(&mut stream).await;
            }
        });
        bench.finish(LIMIT, vec![result]).await;
        let mut report = bench.network.end_taps().remove(0);
        assert_eq!(report.files.len(), 1, "{report:?}");
        report.files.remove(0)
    })
}

#[test]
fn with_keys_inside_tshark_reads_a_request_over_tls_without_any_set_up() {
    if lacks_tshark() {
        return;
    }
    for version in rustls::ALL_VERSIONS {
        let folder = tempfile::tempdir().unwrap();
        let file = over_tls(folder.path(), version, true);
        let uris = tshark(&file, "http.request", "http.request.uri");
        assert_eq!(uris, ["/1/2/500"; 2], "{version:?}: on both legs, and no other");
        let decrypted = tshark(&file, "tls && http", "http.response.code");
        assert_eq!(decrypted, ["", "200"], "{version:?}");
    }
}

#[test]
fn without_keys_allowed_there_are_none_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = over_tls(folder.path(), &rustls::version::TLS13, false);
    let bytes = std::fs::read(&file).unwrap();
    let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(!has("CLIENT_TRAFFIC_SECRET_0"));
    assert!(has("GET /1/2/500"), "the backend's leg is plain");
    if !lacks_tshark() {
        assert_eq!(tshark(&file, "tls && http", "http.request.uri"), [""; 0]);
    }
}
