//! Health checks of simulated servers, on virtual time.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as it does")]

use std::io::{self, ErrorKind};
use std::time::Duration;

use balun::lab::client::Dial;
use balun::plan::{Ask, Plan, ProbePlan, Upstream};
use balun::sim::SimDial;
use l7::health::HttpProbe;
use nat::health::Admin;
use nat::{BackendId, BackendState, HealthConfig, Pool, PoolId, Probe};
use netstack::wire::Family;
use tests::bench::{Bench, Scenario, simulate_with};
use tests::http::{self, Framing, Request};
use tests::topology::{FAMILIES, Mode, WEB, vip};
use tokio::io::BufReader;

const EVERY: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_millis(500);
const FALL: u32 = 3;
const RISE: u32 = 2;
const LIMIT: Duration = Duration::from_mins(1);
const MODES: [Mode; 2] = [Mode::Http, Mode::Full];

/// Checks the web servers: over HTTP, or by connecting.
fn checks(plan: &mut Plan, path: Option<&str>) {
    for pool in &mut plan.engine.pools {
        let web = pool.backends[0].address.port() == WEB;
        let probe = if path.is_some() { Probe::External } else { Probe::Tcp };
        pool.initial = if web { BackendState::Starting } else { BackendState::Ready };
        pool.health = web.then(|| HealthConfig::new(probe));
        let http = |path: &str| Ask::Http(HttpProbe { path: path.to_owned(), host: None });
        let ask = path.map_or(Ask::Connect, http);
        let probe = ProbePlan { ask, upstream: Upstream::Userspace };
        plan.probes.push((web && path.is_some()).then_some(probe));
    }
}

async fn ask(dial: SimDial, family: Family, mode: Mode) -> io::Result<usize> {
    let to = vip(family, mode.web_port());
    let mut stream = BufReader::new(dial.dial(to).await?);
    let request = Request { upload: 0, framing: Framing::Length, download: 100, salt: 2 };
    http::ask(&mut stream, "a", request).await.map(|answer| answer.backend)
}

/// Asks once; says which backend answered.
async fn once(bench: &mut Bench, family: Family, mode: Mode) -> io::Result<usize> {
    let asked = ask(bench.dial(), family, mode);
    let asked = bench.spawn(asked);
    bench.finish(LIMIT, vec![asked]).await.remove(0)
}

/// Asks by a new connection every 50 ms for a while; every request must be answered. Who answered.
async fn asked_for(bench: &mut Bench, family: Family, mode: Mode, time: Duration) -> Vec<usize> {
    let dial = bench.dial();
    let client = bench.spawn(async move {
        let mut who = Vec::new();
        for _ in 0..time.as_millis() / 50 {
            who.push(ask(dial.clone(), family, mode).await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        who
    });
    let who = bench.finish(LIMIT, vec![client]).await.remove(0);
    who.into_iter().map(|answer| answer.unwrap()).collect()
}

fn pool_of(bench: &Bench, family: Family) -> PoolId {
    let name = format!("{family:?}-{WEB}");
    let pools = bench.network.balancer.engine.pools();
    PoolId(pools.iter().position(|pool| pool.name() == name).unwrap() as u16)
}

fn states(bench: &Bench, family: Family) -> Vec<BackendState> {
    let pool = &bench.network.balancer.engine.pools()[usize::from(pool_of(bench, family).0)];
    pool.backends().iter().map(|backend| backend.state).collect()
}

#[test]
fn a_dead_server_is_out_and_back_and_no_request_fails() {
    for path in [Some("/0/0/0"), None] {
        for (family, mode) in FAMILIES.into_iter().flat_map(|f| MODES.map(|m| (f, m))) {
            let what = format!("{mode:?}, checked by {path:?}");
            simulate_with(
                Scenario::new(1, family),
                &what,
                |plan| checks(plan, path),
                async |bench| {
                    bench.pass(EVERY).await;
                    assert_eq!(states(bench, family), [BackendState::Ready; 2]);

                    bench.network.host_mut(1).unwrap().kill();
                    let found = EVERY * 11 / 10 * FALL + TIMEOUT;
                    asked_for(bench, family, mode, found).await;
                    assert_eq!(states(bench, family), [BackendState::Down, BackendState::Ready]);
                    let who = asked_for(bench, family, mode, EVERY).await;
                    assert!(who.iter().all(|&backend| backend == 1), "{who:?}");

                    bench.network.host_mut(1).unwrap().revive();
                    asked_for(bench, family, mode, EVERY * 11 / 10 * (RISE + 1)).await;
                    assert_eq!(states(bench, family), [BackendState::Ready; 2]);
                    // What its refusals taught may keep it out a little longer.
                    bench.pass(LIMIT).await;
                    let who = asked_for(bench, family, mode, EVERY).await;
                    assert!(who.contains(&0), "{who:?}");
                },
            );
        }
    }
}

#[test]
fn nobody_is_served_before_the_first_success() {
    for (family, mode) in FAMILIES.into_iter().flat_map(|f| MODES.map(|m| (f, m))) {
        let adjust = |plan: &mut Plan| checks(plan, Some("/0/0/0"));
        simulate_with(Scenario::new(1, family), "all dead at first", adjust, async |bench| {
            for host in [1, 2] {
                bench.network.host_mut(host).unwrap().kill();
            }
            let wanted = match mode {
                Mode::Http => ErrorKind::InvalidData,
                _ => ErrorKind::ConnectionRefused,
            };
            for _ in 0..5 {
                let error = once(bench, family, mode).await.unwrap_err();
                assert_eq!(error.kind(), wanted, "{error}");
                assert!(mode != Mode::Http || error.to_string().contains(" 503 "), "{error}");
                bench.pass(EVERY).await;
            }
            let sent: u64 = bench
                .network
                .balancer
                .engine
                .pools()
                .iter()
                .flat_map(Pool::backends)
                .map(|backend| backend.flows)
                .sum();
            assert_eq!(sent, 0, "no client was sent to a backend");
            for host in [1, 2] {
                bench.network.host_mut(host).unwrap().revive();
            }
            bench.pass(EVERY * 11 / 10 * (RISE + 1)).await;
            once(bench, family, mode).await.unwrap();
        });
    }
}

#[test]
fn a_server_that_answers_with_an_error_is_not_well() {
    let adjust = |plan: &mut Plan| checks(plan, Some("/none"));
    simulate_with(Scenario::new(1, Family::V4), "404", adjust, async |bench| {
        bench.pass(EVERY * 5).await;
        assert_eq!(states(bench, Family::V4), [BackendState::Down; 2]);
        once(bench, Family::V4, Mode::Http).await.unwrap_err();
    });
}

#[test]
fn an_operator_is_heard_by_every_service_of_the_pool() {
    for (family, mode) in FAMILIES.into_iter().flat_map(|f| MODES.map(|m| (f, m))) {
        let adjust = |plan: &mut Plan| checks(plan, None);
        simulate_with(Scenario::new(1, family), "drain", adjust, async |bench| {
            bench.pass(EVERY).await;
            for (admin, expected) in [(Admin::Drain, vec![1]), (Admin::Ready, vec![0, 1])] {
                let (now, pool) = (bench.network.now(), pool_of(bench, family));
                let engine = &mut bench.network.balancer.engine;
                engine.set_admin(now, pool, BackendId(0), admin);
                let mut who = asked_for(bench, family, mode, EVERY).await;
                who.sort_unstable();
                who.dedup();
                assert_eq!(who, expected, "{admin:?}");
            }
        });
    }
}
