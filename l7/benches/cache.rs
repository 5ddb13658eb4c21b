//! What a request costs that is answered out of the cache, beside one that a backend answers, and one on a
//! route with a cache that keeps nothing.
//!
//! `cargo bench -p l7 --bench cache`. Client and backend are pipes of this process; the work of the backend,
//! which reads a head and writes 1 KiB, is within the figure of what it answers.

#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up has nothing to say")]

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use l7::cache::{Cache, Cached, Policy};
use l7::route::{Action, Route, Routes};
use l7::upstream::{Balance, Connect};
use l7::{Config, Service};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::{LocalSet, spawn_local};

const BODY: usize = 1024;

struct One;

impl Balance for One {
    fn choose(&self, _: SocketAddr, _: &[usize]) -> Option<(usize, SocketAddr)> {
        Some((0, SocketAddr::from(([10, 0, 0, 1], 80))))
    }

    fn failed(&self, _: usize) {}

    fn succeeded(&self, _: usize) {}
}

/// Backends that say how long their answer is fresh, or that it is private.
struct Pipes(&'static str);

impl Connect for Pipes {
    type Stream = DuplexStream;

    async fn connect(&self, _: SocketAddr) -> io::Result<DuplexStream> {
        let (ours, mut theirs) = duplex(16 * 1024);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nCache-Control: {}\r\nETag: \"1\"\r\n\
             Content-Length: {BODY}\r\n\r\n",
            self.0
        );
        let answer = [head.as_bytes(), &[b'x'; BODY]].concat();
        spawn_local(async move {
            let mut buffer = vec![0; 4096];
            // A request is one read here.
            while matches!(theirs.read(&mut buffer).await, Ok(1..)) {
                if theirs.write_all(&answer).await.is_err() {
                    return;
                }
            }
        });
        Ok(ours)
    }
}

fn service(control: &'static str, cached: bool) -> Rc<Service<Pipes>> {
    let clock = Rc::new(|| Duration::from_secs(1_795_301_810));
    let cache = Cache::new(Policy::new(64 << 20), 7, clock);
    let kept = cached.then_some(Cached { cache, route: 0, authorised: false });
    let routes = Routes::new(vec![Route::new(Action::To(0))], None).with_caches(vec![kept]);
    let service = Service::new(Pipes(control), Rc::new(One), Config::default());
    Rc::new(service.with_routes(routes))
}

/// Sends a request and reads its answer, on a connection that is kept.
async fn ask(client: &mut DuplexStream, buffer: &mut Vec<u8>) {
    const REQUEST: &[u8] =
        b"GET /index.html?page=2 HTTP/1.1\r\nHost: site.lab\r\nUser-Agent: bench\r\n\
        Accept: */*\r\nAccept-Encoding: gzip, br\r\nAccept-Language: en\r\n\r\n";
    client.write_all(REQUEST).await.expect("a connection");
    buffer.clear();
    loop {
        client.read_buf(buffer).await.expect("an answer");
        let head = buffer.windows(4).position(|four| four == b"\r\n\r\n");
        if head.is_some_and(|end| buffer.len() >= end + 4 + BODY) {
            return;
        }
    }
}

fn hits(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    let mut group = c.benchmark_group("cache");
    for (name, control, cached) in [
        ("a request is proxied", "max-age=3600", false),
        ("a request is proxied, and its answer not kept", "private", true),
        ("a request is answered from memory", "max-age=3600", true),
    ] {
        group.bench_function(name, |b| {
            b.iter_custom(|count| {
                LocalSet::new().block_on(&runtime, async {
                    let address = SocketAddr::from(([10, 0, 0, 9], 80));
                    let (mut client, server) = duplex(16 * 1024);
                    spawn_local(l7::serve(
                        server,
                        address,
                        address,
                        false,
                        service(control, cached),
                    ));
                    let mut buffer = Vec::with_capacity(4096);
                    ask(&mut client, &mut buffer).await;
                    let begin = tokio::time::Instant::now();
                    for _ in 0..count {
                        ask(&mut client, &mut buffer).await;
                    }
                    begin.elapsed()
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, hits);
criterion_main!(benches);
