//! What a configuration says of connections to backends, in the whole balancer on virtual time.

use std::io;
use std::time::Duration;

use balun::lab::client::Dial;
use balun::plan::{Plan, PoolingPlan};
use balun::sim::SimDial;
use l7::upstream::{PoolLimits, QueueLimits};
use netstack::wire::Family;
use tests::bench::{Bench, Scenario, simulate_with};
use tests::http::{self, Framing, Request};
use tests::topology::{FAMILIES, Mode, WEB, vip};
use tokio::io::BufReader;

const LIMIT: Duration = Duration::from_mins(1);
const CLIENTS: usize = 12;

/// Backends of the web take one request at a time.
fn narrow(plan: &mut Plan, pooling: PoolingPlan) {
    for pool in &mut plan.engine.pools {
        if pool.backends[0].address.port() == WEB {
            pool.backends.iter_mut().for_each(|backend| backend.max_connections = Some(1));
        }
    }
    plan.pooling = vec![pooling; plan.engine.pools.len()];
}

async fn ask(dial: SimDial, family: Family) -> io::Result<usize> {
    let to = vip(family, Mode::Http.web_port());
    let mut stream = BufReader::new(dial.dial(to).await?);
    let request = Request { upload: 0, framing: Framing::Length, download: 20_000, salt: 2 };
    http::ask(&mut stream, "a", request).await.map(|answer| answer.backend)
}

/// As many clients as there are ask at once; how many get an answer of a backend.
async fn answered(bench: &mut Bench, family: Family) -> usize {
    let asks: Vec<_> = (0..CLIENTS).map(|_| ask(bench.dial(), family)).collect();
    let asks = asks.into_iter().map(|ask| bench.spawn(ask)).collect();
    let answers = bench.finish(LIMIT, asks).await;
    answers.iter().filter(|answer| answer.is_ok()).count()
}

#[test]
fn a_queue_serves_whom_a_full_pool_would_refuse() {
    let queue = Some(QueueLimits { size: 100, timeout: LIMIT });
    for family in FAMILIES {
        for (queue, all) in [(None, false), (queue, true)] {
            let pooling = PoolingPlan { queue, ..PoolingPlan::default() };
            let adjust = |plan: &mut Plan| narrow(plan, pooling);
            let what = format!("queue: {queue:?}");
            simulate_with(Scenario::new(1, family), &what, adjust, async |bench| {
                let count = answered(bench, family).await;
                assert_eq!(count == CLIENTS, all, "{count} of {CLIENTS}");
            });
        }
    }
}

#[test]
fn warm_connections_are_there_and_serve() {
    for family in FAMILIES {
        let limits = PoolLimits { warm: 3, ..PoolLimits::default() };
        let pooling = PoolingPlan { limits, ..PoolingPlan::default() };
        let adjust = |plan: &mut Plan| plan.pooling = vec![pooling; plan.engine.pools.len()];
        simulate_with(Scenario::new(1, family), "warm", adjust, async |bench| {
            bench.pass(Duration::from_secs(2)).await;
            let stack = bench.network.balancer.divert.stack();
            let open = stack.with(|endpoint| endpoint.stats().connections);
            assert!(open >= 6, "{open} connections, at least three to each of two servers");
            let asked = bench.spawn(ask(bench.dial(), family));
            bench.finish(LIMIT, vec![asked]).await.remove(0).unwrap();
        });
    }
}
