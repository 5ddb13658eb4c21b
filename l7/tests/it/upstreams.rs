//! Connections and places at backends: kept ready, waited for, given back.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use l7::balance::PoolBalance;
use l7::tls::names::Names;
use l7::upstream::{Balance, PoolLimits, QueueLimits, keep_warm};
use l7::{Config, Forwarded, Service, SpliceService, Target, Timeouts, splice};
use nat::{BackendConfig, BackendId, BackendState, Pool, PoolConfig};
use netstack::tcp::{Endpoint, EndpointConfig, Stack};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use crate::harness::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const SECOND: Duration = Duration::from_secs(1);

/// A balancer over as many backends of the harness, each of which takes `most` requests at once.
fn balance(backends: u16, most: Option<u32>, queue: Option<QueueLimits>) -> Rc<PoolBalance> {
    let backends = (0..backends).map(|n| {
        let config = BackendConfig::new(format!("web{n}"), ([10, 2, 0, 11], n).into());
        BackendConfig { max_connections: most, ..config }
    });
    let pool = Pool::new(PoolConfig::new("web", backends.collect()), 1);
    let stack = Stack::new(Endpoint::new(EndpointConfig::new([1, 2])));
    Rc::new(PoolBalance::new(pool, stack).with_queue(queue))
}

fn service(
    network: &Rc<Network>,
    balance: &Rc<PoolBalance>,
    pool: PoolLimits,
) -> Rc<Service<Connector>> {
    let config = Config { forwarded: Forwarded::Hide, pool, ..Config::default() };
    Rc::new(Service::new(network.connector(), Rc::clone(balance) as _, config))
}

fn timeouts() -> Timeouts {
    Timeouts { connect: SECOND, ..Timeouts::default() }
}

/// Keeps the service's connections warm.
fn warm(network: &Rc<Network>, service: &Rc<Service<Connector>>) {
    let pool = Rc::downgrade(service.pool());
    spawn_local(keep_warm(network.connector(), pool, timeouts()));
}

fn eight() -> PoolLimits {
    PoolLimits { warm: 8, ..PoolLimits::default() }
}

#[tokio::test(start_paused = true)]
async fn warm_connections_are_there_before_the_first_request_and_are_replaced() {
    local(async {
        let network = Network::new([answers(OK), answers(OK)]);
        let service = service(&network, &balance(2, None, None), eight());
        warm(&network, &service);
        sleep(SECOND).await;
        assert_eq!((service.idle_connections(0), service.idle_connections(1)), (8, 8));
        assert_eq!(ask(&service, GET).await, OK);
        let stats = service.stats();
        assert_eq!((stats.upstream_reuses.get(), stats.upstream_connects.get()), (1, 0));
        // At their age they go, and others come.
        sleep(PoolLimits::default().idle_lifetime * 3).await;
        assert_eq!((service.idle_connections(0), service.idle_connections(1)), (8, 8));
        assert!(network.connects.borrow().len() > 16);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn warm_connections_are_made_no_faster_than_in_about_a_second() {
    local(async {
        let network = Network::new([answers(OK)]);
        let limits = PoolLimits { warm: 100, ..PoolLimits::default() };
        let service = service(&network, &balance(1, None, None), limits);
        warm(&network, &service);
        let mut before = 0;
        for _ in 0..10 {
            sleep(l7::limits::WARM_INTERVAL).await;
            let now = service.idle_connections(0);
            assert!(now - before <= 20, "{before}, then {now}");
            before = now;
        }
        assert_eq!(before, 100);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_a_backend_is_warmed_again_and_until_then_hardly_asked() {
    local(async {
        let network = Network::new([answers(OK)]);
        let balance = balance(1, None, None);
        let service = service(&network, &balance, eight());
        warm(&network, &service);
        sleep(SECOND).await;
        balance.set_state(BackendId(0), BackendState::Down);
        sleep(2 * SECOND).await;
        assert_eq!(service.idle_connections(0), 0, "none is kept, and none is made");
        balance.set_state(BackendId(0), BackendState::Ready);
        sleep(SECOND).await;
        assert_eq!(service.idle_connections(0), 8);
        // Nobody has noticed yet that this one is dead.
        network.backends.borrow_mut()[0] = Backend::Hangs;
        balance.set_state(BackendId(0), BackendState::Down);
        balance.set_state(BackendId(0), BackendState::Ready);
        sleep(60 * SECOND).await;
        network.backends.borrow_mut()[0] = answers(OK);
        let before = network.connects.borrow().len();
        sleep(35 * SECOND).await;
        assert_eq!(service.idle_connections(0), 8);
        assert!(network.connects.borrow().len() - before >= 8);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn services_that_share_a_pool_share_its_idle_connections() {
    local(async {
        let network = Network::new([answers(OK)]);
        let balance = balance(1, None, None);
        let first = service(&network, &balance, PoolLimits::default());
        let config = Config { forwarded: Forwarded::Hide, ..Config::default() };
        let second = Service::new(network.connector(), Rc::clone(&balance) as _, config)
            .with_pool(Rc::clone(first.pool()));
        let second = Rc::new(second);
        assert_eq!(ask(&first, GET).await, OK);
        assert_eq!(ask(&second, GET).await, OK);
        assert_eq!(network.connects.borrow().len(), 1);
        assert_eq!(second.stats().upstream_reuses.get(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn mode_tcp_uses_warm_connections_and_passes_on_what_their_backend_said() {
    local(async {
        let greets = serves(|mut stream, number| async move {
            stream.write_all(format!("220 {number}\r\n").as_bytes()).await.unwrap();
            while !ended(&mut stream).await {}
        });
        let network = Network::new([greets]);
        let balance: Rc<dyn Balance> = balance(1, None, None);
        let pool = l7::upstream::Pool::greeting(eight(), Rc::clone(&balance));
        spawn_local(keep_warm(network.connector(), Rc::downgrade(&pool), timeouts()));
        sleep(3 * SECOND).await;
        let before = network.connects.borrow().len();
        assert_eq!(before, 8);
        let target = Target::new(network.connector(), balance).with_pool(pool);
        let (target, names) = (Some(Rc::new(target)), Names::default());
        let service = Rc::new(SpliceService::by_name(target, names, Timeouts::default()));
        let (mut near, far) = duplex(PIPE);
        spawn_local(splice(far, peer(), local_address(), Rc::clone(&service)));
        expect(&mut near, "220 7\r\n").await;
        assert_eq!(service.stats().upstream_connects.get(), 1);
        assert_eq!(network.connects.borrow().len(), before, "none was made for it");
        sleep(SECOND).await;
        assert_eq!(network.connects.borrow().len(), before + 1, "it has been replaced");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_drains_finishes_what_it_has_and_keeps_no_connection() {
    local(async {
        let slow = serves(|mut stream, _| async move {
            while read_request(&mut stream).await.is_some() {
                sleep(5 * SECOND).await;
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        });
        let network = Network::new([slow, answers(OK)]);
        let balance = balance(2, None, None);
        let service = service(&network, &balance, PoolLimits { warm: 1, ..eight() });
        warm(&network, &service);
        sleep(SECOND).await;
        let mut first = client(&service);
        first.write_all(GET.as_bytes()).await.unwrap();
        sleep(SECOND).await;
        balance.set_state(BackendId(0), BackendState::Drain);
        sleep(2 * SECOND).await;
        assert_eq!(service.idle_connections(0), 0, "warm ones are closed, and not replaced");
        for _ in 0..4 {
            assert_eq!(ask(&service, GET).await, OK);
        }
        assert_eq!(service.requests_by_backend(), [1, 4], "no new request goes there");
        expect(&mut first, OK).await;
        assert_eq!(service.idle_connections(0), 0, "nor is that kept which had a request");
    })
    .await;
}

/// A backend that answers each request after as many seconds as its path says.
fn takes_its_time() -> Backend {
    serves(|mut stream, _| async move {
        while let Some((head, _)) = read_request(&mut stream).await {
            let seconds = head.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
            sleep(Duration::from_secs(seconds)).await;
            if stream.write_all(OK.as_bytes()).await.is_err() {
                return;
            }
        }
    })
}

async fn send(service: &Rc<Service<Connector>>, seconds: u32) -> DuplexStream {
    let mut stream = client(service);
    let request = format!("GET /{seconds} HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    stream
}

fn queue(size: usize, seconds: u64) -> QueueLimits {
    QueueLimits { size, timeout: Duration::from_secs(seconds) }
}

#[tokio::test(start_paused = true)]
async fn without_a_queue_a_full_pool_refuses_at_once_and_says_so() {
    local(async {
        let network = Network::new([takes_its_time()]);
        let balance = balance(1, Some(1), None);
        let service = service(&network, &balance, PoolLimits::default());
        let mut first = send(&service, 3).await;
        let refused = ask(&service, GET).await;
        assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
        assert!(refused.contains("every backend is at its limit"), "{refused}");
        expect(&mut first, OK).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_does_not_answer_gets_no_more_connects_than_may_be_pending() {
    local(async {
        let network = Network::new([Backend::Hangs]);
        let balance = balance(1, None, Some(queue(10, 60)));
        let balance = Rc::new((*balance).clone().with_max_connecting(Some(2)));
        let service = service(&network, &balance, PoolLimits::default());
        let mut pending = Vec::new();
        for _ in 0..2 {
            pending.push(send(&service, 0).await);
        }
        let began = Instant::now();
        let refused = ask(&service, GET).await;
        assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
        assert!(refused.contains("too many connections to backends are pending"), "{refused}");
        assert_eq!(began.elapsed(), Duration::ZERO, "at once");
        for mut stream in pending {
            let head = read_head(&mut stream).await.unwrap();
            assert!(head.starts_with("HTTP/1.1 504 "), "{head}");
        }
        network.backends.borrow_mut()[0] = answers(OK);
        assert_eq!(ask(&service, GET).await, OK, "their time is over");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn requests_wait_in_order_until_a_backend_is_free() {
    local(async {
        let network = Network::new([takes_its_time(), takes_its_time()]);
        let balance = balance(2, Some(1), Some(queue(10, 60)));
        let service = service(&network, &balance, PoolLimits::default());
        let began = Instant::now();
        let done = Rc::new(Cell::new(0));
        let mut tasks = Vec::new();
        for number in 0..6 {
            let (mut stream, done) = (send(&service, 2).await, Rc::clone(&done));
            tasks.push(spawn_local(async move {
                expect(&mut stream, OK).await;
                assert_eq!(done.replace(done.get() + 1), number, "in order");
                began.elapsed().as_secs()
            }));
        }
        assert_eq!(balance.queue().unwrap().len(), 4);
        let mut ends = Vec::new();
        for task in tasks {
            ends.push(task.await.unwrap());
        }
        assert_eq!(ends, [2, 2, 4, 4, 6, 6], "two at a time");
        assert_eq!(service.requests_by_backend(), [3, 3]);
        assert_eq!(network.connects.borrow().len(), 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_or_finds_the_queue_full_gets_503_with_the_reason() {
    local(async {
        let network = Network::new([takes_its_time()]);
        let balance = balance(1, Some(1), Some(queue(1, 2)));
        let service = service(&network, &balance, PoolLimits::default());
        let mut first = send(&service, 9).await;
        let began = Instant::now();
        let mut waits = send(&service, 9).await;
        let full = ask(&service, GET).await;
        assert!(full.starts_with("HTTP/1.1 503 "), "{full}");
        assert!(full.contains("the queue for a backend is full"), "{full}");
        let head = read_head(&mut waits).await.unwrap();
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        let body = String::from_utf8(read_body(&mut waits, &head).await).unwrap();
        assert!(body.contains("no backend became free in time"), "{body}");
        assert_eq!(began.elapsed().as_secs(), 2);
        assert!(balance.queue().unwrap().is_empty());
        expect(&mut first, OK).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_gives_its_place_in_the_queue_back() {
    local(async {
        let network = Network::new([takes_its_time()]);
        let balance = balance(1, Some(1), Some(queue(2, 60)));
        let service = service(&network, &balance, PoolLimits::default());
        let mut first = send(&service, 3).await;
        let leaves = reset_by_peer(&service);
        sleep(Duration::from_millis(1)).await;
        let mut last = send(&service, 1).await;
        assert_eq!(balance.queue().unwrap().len(), 2);
        leaves.abort();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(balance.queue().unwrap().len(), 1);
        expect(&mut first, OK).await;
        expect(&mut last, OK).await;
        assert_eq!(service.requests_by_backend(), [2]);
    })
    .await;
}

/// A client whose connection ends as its task is aborted, as that of one that resets does.
fn reset_by_peer(service: &Rc<Service<Connector>>) -> tokio::task::JoinHandle<()> {
    let (mut near, far) = duplex(PIPE);
    let service = Rc::clone(service);
    spawn_local(async move {
        near.write_all(GET.as_bytes()).await.unwrap();
        l7::serve(far, peer(), local_address(), false, service).await;
    })
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_comes_back_serves_those_who_wait() {
    local(async {
        let network = Network::new([takes_its_time(), takes_its_time()]);
        let balance = balance(2, Some(1), Some(queue(10, 60)));
        let service = service(&network, &balance, PoolLimits::default());
        balance.set_state(BackendId(1), BackendState::Down);
        let first = send(&service, 30).await;
        let mut waits = send(&service, 0).await;
        let began = Instant::now();
        sleep(SECOND).await;
        balance.set_state(BackendId(1), BackendState::Ready);
        expect(&mut waits, OK).await;
        assert_eq!(began.elapsed().as_secs(), 1);
        drop(first);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn connections_of_mode_tcp_wait_too() {
    local(async {
        let echo = serves(|mut stream, _| async move {
            let mut byte = [0];
            while stream.read_exact(&mut byte).await.is_ok() {
                stream.write_all(&byte).await.unwrap();
            }
        });
        let network = Network::new([echo]);
        let balance: Rc<dyn Balance> = balance(1, Some(1), Some(queue(1, 5)));
        let service = SpliceService::new(network.connector(), balance, Timeouts::default());
        let service = Rc::new(service);
        let connect = |service: &Rc<SpliceService<Connector>>| {
            let (near, far) = duplex(PIPE);
            spawn_local(splice(far, peer(), local_address(), Rc::clone(service)));
            near
        };
        let mut first = connect(&service);
        first.write_all(b"a").await.unwrap();
        expect(&mut first, "a").await;
        let mut second = connect(&service);
        second.write_all(b"b").await.unwrap();
        sleep(SECOND).await;
        let mut third = connect(&service);
        assert!(ended(&mut third).await, "there is no room for it");
        assert_eq!(service.stats().refused.get(), 1);
        drop(first);
        expect(&mut second, "b").await;
    })
    .await;
}

#[test]
fn addresses_of_the_harness_are_backends() {
    let backends = balance(2, None, None).serving();
    let address = |n| SocketAddr::from(([10, 2, 0, 11], n));
    assert_eq!(backends, [(0, address(0)), (1, address(1))]);
}
