//! What a table of routes costs a request: with ten routes, and with ten thousand.
//!
//! `cargo bench -p l7 --bench routes`

#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up has nothing to say")]

use std::net::{IpAddr, Ipv4Addr};

use criterion::{Criterion, criterion_group, criterion_main};
use l7::http1::head::{self, Strictness};
use l7::route::{Action, Ask, HostPattern, PathPattern, Route, Routes};

/// Hosts by tens, each with paths of its own.
fn routes(count: u32) -> Routes {
    let route = |n: u32| {
        let mut route = Route::new(Action::To(0));
        route.condition.hosts.push(HostPattern::new(&format!("h{}.lab", n / 10)));
        let path = match n % 3 {
            0 => format!("/v{n}/*"),
            1 => format!("/users/{{id}}/v{n}"),
            _ => format!("/v{n}"),
        };
        route.condition.path = Some(PathPattern::parse(&path).expect("a path"));
        route
    };
    Routes::new((0..count).map(route).collect(), None)
}

fn requests(count: u32) -> Vec<String> {
    // Ten requests, spread over all routes: what they touch fits the caches, as what is busy does.
    let request = |n: u32| {
        let path = match n % 3 {
            0 => format!("/v{n}/a/b"),
            1 => format!("/users/17/v{n}"),
            _ => format!("/v{n}"),
        };
        format!(
            "GET {path}?page=2 HTTP/1.1\r\nHost: h{}.lab\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n",
            n / 10
        )
    };
    (0..10).map(|at| request(at * (count / 10).max(1))).collect()
}

fn find(c: &mut Criterion) {
    let mut group = c.benchmark_group("routes");
    for count in [10, 10_000] {
        let (routes, requests) = (routes(count), requests(count));
        group.bench_function(format!("{count}: a head is parsed and routed"), |b| {
            let mut next = requests.iter().cycle();
            b.iter(|| {
                let text = next.next().expect("it cycles");
                let mut slots = head::slots();
                let head = head::parse_request(text.as_bytes(), &mut slots, Strictness::default());
                let head = head.expect("a good request");
                let ask = Ask::new(&head, IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
                routes.find(&ask).expect("a route")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, find);
criterion_main!(benches);
