//! The tables against the whole proxy, in virtual time: whole messages at once, and then a few bytes at
//! a time.

use std::cell::RefCell;
use std::rc::Rc;

use l7::http1::head::Strictness;
use l7::http1::proof::{self, Body, Chunks};
use l7::http1::reject::Rule;
use l7::{Config, Forwarded};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, split};
use tokio::task::spawn_local;
use tokio::time::Instant;

use super::text::{Kind, Probe, Verdict, probes};
use crate::harness::*;

/// Behind every probe, and answered only if what stood before it was good.
const NEXT: &str = "GET /next HTTP/1.1\r\nHost: next\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// Ways to cut messages up, besides not at all.
const SEEDS: u64 = 2;

/// Holds every row of a rule's table against the proxy.
pub(super) async fn run(rule: Rule) {
    for probe in probes(rule).iter().filter(|probe| !probe.has("head")) {
        for seed in 0..=SEEDS {
            match probe.kind {
                Kind::Request => local(request(probe, seed)).await,
                Kind::Response => local(response(probe, seed)).await,
            }
        }
    }
}

fn config(probe: &Probe) -> Config {
    Config {
        forwarded: match probe.option("forwarded") {
            Some("append") => Forwarded::Append,
            Some("replace") => Forwarded::Replace,
            _ => Forwarded::Hide,
        },
        strictness: Strictness { strict_host: probe.option("strict-host") != Some("off") },
        websocket: probe.option("websocket") != Some("off"),
        smuggling_proof: true,
        max_body: probe.option("max-body").map(|limit| limit.parse().unwrap()),
        ..Config::default()
    }
}

/// What all connections to a backend said, and how many whole requests that was.
#[derive(Default)]
struct Heard {
    bytes: Vec<u8>,
    whole: usize,
}

async fn request(probe: &Probe, seed: u64) {
    let place = format!("{} seed {seed}", probe.place);
    let heard = Rc::new(RefCell::new(Heard::default()));
    let log = Rc::clone(&heard);
    let network = Network::new([serves(move |stream, _| listen(stream, Rc::clone(&log)))]);
    network.seed.set(seed);
    let service = network.service(config(probe));
    let began = Instant::now();
    let answer = talk(&network, &service, &[&probe.bytes, NEXT.as_bytes()].concat()).await;
    let elapsed = began.elapsed();
    tokio::task::yield_now().await;
    let heard = heard.borrow();
    let answers = answer.matches("HTTP/1.1 ").count();
    match &probe.verdict {
        Verdict::Refused(rule, status) => {
            assert!(elapsed < service.config().timeouts.head, "{place}: closed at once");
            let good = answer.matches(" 200 OK\r\n").count();
            assert_eq!(good, heard.whole, "{place}: {answer}");
            assert_eq!(answers, good + 1, "{place}: one error, and then nothing: {answer}");
            let refusal = answer.find(&format!("HTTP/1.1 {status} ")).expect(&place);
            assert!(answer[refusal..].contains("\r\nConnection: close\r\n"), "{place}: {answer}");
            assert!(answer.contains(&format!("\n{rule}: ")), "{place}: {answer}");
            assert_eq!(service.stats().rejected(*rule), 1, "{place}");
            assert_eq!(service.stats().rejected_total(), 1, "{place}");
            let seen = heard.bytes.escape_ascii().to_string();
            assert!(!seen.contains("evil") && !seen.contains("/next"), "{place}: {seen}");
            // What breaks in its body may have begun to leave; never what breaks in its head.
            let begun = service.stats().requests.get() as usize;
            assert!(begun == heard.whole || begun == heard.whole + 1, "{place}");
            if begun == heard.whole && begun == 0 {
                assert_eq!(seen, "", "{place}");
            }
        }
        Verdict::Sent(expected) | Verdict::Last(expected) => {
            let persists = matches!(probe.verdict, Verdict::Sent(_));
            let next = if persists { NEXT.as_bytes() } else { b"" };
            let whole = count_messages(expected) + usize::from(persists);
            // Cut up, chunks are others; what they say is not.
            if seed == 0 || !chunked(expected) {
                let found = heard.bytes.escape_ascii().to_string();
                let next = match config(probe).forwarded {
                    Forwarded::Hide => next.escape_ascii().to_string(),
                    _ => found.find("GET /next").map_or("", |at| &found[at..]).to_owned(),
                };
                assert_eq!(found, format!("{}{next}", expected.escape_ascii()), "{place}");
            }
            assert_eq!(heard.whole, whole, "{place}");
            assert_eq!(answers, whole, "{place}: {answer}");
            assert_eq!(answer.matches(" 200 OK\r\n").count(), whole, "{place}: {answer}");
            assert_eq!(service.stats().rejected_total(), 0, "{place}");
        }
        verdict => panic!("{place}: {verdict:?}"),
    }
}

fn chunked(bytes: &[u8]) -> bool {
    bytes.windows(9).any(|window| window == b": chunked")
}

/// How many requests `bytes` are.
fn count_messages(bytes: &[u8]) -> usize {
    let (mut rest, mut count) = (bytes, 0);
    while let Some(end) = message_end(rest) {
        count += 1;
        rest = &rest[end..];
    }
    assert_eq!(rest, b"");
    count
}

/// Sends `bytes` and reads to the end, without ever ending its own side.
async fn talk(network: &Rc<Network>, service: &Rc<l7::Service<Connector>>, bytes: &[u8]) -> String {
    let (near, far) = duplex(PIPE);
    let far = network.ragged(far);
    spawn_local(l7::serve(far, peer(), local_address(), false, Rc::clone(service)));
    let (mut reader, mut writer) = split(near);
    let bytes = bytes.to_vec();
    let sender = spawn_local(async move {
        let _ = writer.write_all(&bytes).await;
        std::future::pending::<()>().await;
    });
    let answer = read_all(&mut reader).await;
    sender.abort();
    answer
}

/// A backend that reads with the second reader, and answers every whole request.
async fn listen(mut stream: Ragged, heard: Rc<RefCell<Heard>>) {
    let mut buffer = Vec::new();
    loop {
        while let Some(end) = message_end(&buffer) {
            let to_head = buffer.starts_with(b"HEAD ");
            heard.borrow_mut().whole += 1;
            buffer.drain(..end);
            let answer = if to_head { &OK[..OK.len() - 2] } else { OK };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
        let mut piece = [0; 1024];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(count) => {
                heard.borrow_mut().bytes.extend_from_slice(&piece[..count]);
                buffer.extend_from_slice(&piece[..count]);
            }
        }
    }
}

/// Where the first request of `bytes` ends, if all of it is there.
fn message_end(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let read = proof::reader::request(&bytes[..head]).expect("the second reader understands");
    let rest = &bytes[head..];
    match read.body {
        Body::None => Some(head),
        Body::Length(length) => (rest.len() as u64 >= length).then(|| head + length as usize),
        Body::Chunked => {
            let mut chunks = Chunks::default();
            let end = chunks.read(rest).expect("our own chunks");
            chunks.is_end().then_some(head + end)
        }
        Body::Close => panic!("a request has an end"),
    }
}

/// A backend whose first answer is the probe's, and whose later ones are good.
fn says(probe: &Probe) -> Backend {
    let (bytes, closes) = (probe.bytes.clone(), probe.has("closes"));
    serves(move |mut stream, number| {
        let bytes = bytes.clone();
        async move {
            let mut first = number == 0;
            while let Some(head) = read_head(&mut stream).await {
                let answer = if first { bytes.as_slice() } else { OK.as_bytes() };
                assert_eq!(head.contains("/next"), !first);
                if stream.write_all(answer).await.is_err() || (first && closes) {
                    return;
                }
                first = false;
            }
        }
    })
}

async fn response(probe: &Probe, seed: u64) {
    // Whether stray bytes are there in time to be noticed is then a matter of the seed.
    if seed > 0 && matches!(probe.verdict, Verdict::Last(_)) {
        return;
    }
    let place = format!("{} seed {seed}", probe.place);
    let network = Network::new([says(probe)]);
    network.seed.set(seed);
    let service = network.service(config(probe));
    let ask = match probe.option("to") {
        Some("HEAD") => "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
        Some("1.0") => "GET / HTTP/1.0\r\n\r\n",
        Some("trailers") => "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n",
        Some("websocket") => {
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        }
        _ => "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    };
    let old = probe.option("to") == Some("1.0");
    let answer = talk(&network, &service, &[ask, NEXT].concat().into_bytes()).await;
    let connects = network.connects.borrow().len();
    match &probe.verdict {
        Verdict::Sent(expected) | Verdict::Last(expected) => {
            let kept = matches!(probe.verdict, Verdict::Sent(_));
            let expected = String::from_utf8_lossy(expected).into_owned();
            let expected = if old { expected } else { expected + OK };
            if seed == 0 || !expected.contains(": chunked") {
                assert_eq!(answer, expected, "{place}");
            }
            assert_eq!(connects, if kept || old { 1 } else { 2 }, "{place}");
            let reused = service.stats().upstream_reuses.get();
            assert_eq!(reused, u64::from(kept && !old), "{place}");
        }
        Verdict::Tunnel(expected) => {
            // The next request is the tunnel's, and the backend's to answer.
            assert_eq!(answer, format!("{}{OK}", String::from_utf8_lossy(expected)), "{place}");
            assert_eq!((connects, service.stats().tunnels.get()), (1, 1), "{place}");
        }
        Verdict::Torn => {
            assert!(
                !answer.ends_with("\r\n0\r\n\r\n") && !answer.contains(OK),
                "{place}: {answer}"
            );
            assert_eq!((connects, service.stats().aborted.get()), (1, 1), "{place}");
            assert_eq!(service.idle_connections(0), 0, "{place}");
        }
        Verdict::Refused(rule, status) => {
            let refusal = answer.find(&format!("HTTP/1.1 {status} ")).expect(&place);
            let interim = answer[..refusal].replace("HTTP/1.1 1", "");
            assert!(!interim.contains("HTTP/1.1"), "{place}: {answer}");
            assert!(answer.ends_with(OK), "{place}: the next is answered by another: {answer}");
            assert_eq!(connects, 2, "{place}");
            let cut_off = probe.has("closes") && *rule == Rule::R16;
            assert!(service.stats().rejected(*rule) == 1 || cut_off, "{place}");
            assert_eq!(*network.failed.borrow(), [0], "{place}");
        }
    }
}
