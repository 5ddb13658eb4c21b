//! A simulated network to try balun in.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use balun::lab::client::Dial;
use balun::plan::Plan;
use balun::sim::{self, Host, Impairment, Link, Network, SimDial};
use l7::divert::Proxy;
use nat::rng::mix;
use netstack::tcp::TcpStream;
use netstack::wire::Family;
use tokio::io::{AsyncReadExt, BufReader};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::http;
use crate::ledger::Ledger;
use crate::topology::{self, Mode, PROXIED, PROXYING, WEB, client, vip};
use crate::transfer::{self, Job, Order, wrong};
use crate::watchdog::Watchdog;

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Fixes every random choice.
    pub seed: u64,
    /// The addresses in use.
    pub family: Family,
    /// What every link does.
    pub impairment: Impairment,
    /// What the client's link does besides: this chance, in a million, that it flips a bit. One link
    /// only, for flips on two may cancel out in the checksum that NAT leaves to the ends.
    pub corrupt: u32,
    /// How many backends there are.
    pub backends: u8,
}

impl Scenario {
    /// Two backends behind links of 1 ms that do no harm.
    pub fn new(seed: u64, family: Family) -> Self {
        let impairment = Impairment { delay: Duration::from_millis(1), ..Impairment::default() };
        Self { seed, family, impairment, corrupt: 0, backends: 2 }
    }
}

/// The network of a scenario.
#[derive(Debug)]
pub struct Bench {
    /// Hosts, links and the balancer; its invariants are checked at each step.
    pub network: Network<Proxy>,
    /// What the backends saw.
    pub ledger: Ledger,
    scenario: Scenario,
    dial: SimDial,
}

/// Runs `work` on the network of `scenario`, on virtual time. If it fails, the scenario is printed with
/// the way to repeat it.
///
/// # Panics
/// If `work` does, or no runtime can be made.
pub fn simulate<T>(scenario: Scenario, what: &str, work: impl AsyncFnOnce(&mut Bench) -> T) -> T {
    simulate_with(scenario, what, |_| {}, work)
}

/// Runs as [`simulate`], with a balancer whose plan was changed by `adjust`.
///
/// # Panics
/// As [`simulate`].
pub fn simulate_with<T>(
    scenario: Scenario,
    what: &str,
    adjust: impl FnOnce(&mut Plan),
    work: impl AsyncFnOnce(&mut Bench) -> T,
) -> T {
    let _note = OnFailure(format!(
        "failed: {what}, {scenario:?}\nrepeat with BALUN_SEED={}",
        scenario.seed
    ));
    let _watchdog = Watchdog::new(format!("{what}, {scenario:?}"), Duration::from_mins(2));
    let run = async {
        let mut bench = Bench::new(scenario, adjust);
        work(&mut bench).await
    };
    sim::run(run).unwrap_or_else(|e| panic!("no runtime: {e}"))
}

struct OnFailure(String);

impl Drop for OnFailure {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}

/// The seeds to try: `BALUN_SEED` if it is set, else `count` of them.
///
/// # Panics
/// If `BALUN_SEED` is no number.
pub fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("BALUN_SEED") {
        Ok(seed) => vec![seed.parse().unwrap_or_else(|e| panic!("BALUN_SEED={seed}: {e}"))],
        Err(_) => (1..=count).collect(),
    }
}

impl Bench {
    fn new(scenario: Scenario, adjust: impl FnOnce(&mut Plan)) -> Self {
        let Scenario { seed, family, impairment, corrupt, backends } = scenario;
        let mut plan = topology::plan(backends, seed, &[], None);
        adjust(&mut plan);
        let (balancer, _) = plan.assemble().unwrap_or_else(|e| panic!("{e}"));
        let ledger = Ledger::default();
        let mut hosts = vec![Host::client(client(family), mix(seed ^ 0x14))];
        for i in 0..backends {
            let (address, seed) = (topology::backend(family, i), mix(seed ^ (0x1e + u64::from(i))));
            hosts.push(Host::serving(address, acceptor(usize::from(i), &ledger), seed));
        }
        let links = (0..=u64::from(backends)).map(|i| {
            let corrupt = if i == 0 { corrupt } else { 0 };
            Link::new(Impairment { corrupt, ..impairment }, mix(seed ^ (0x3c + i)))
        });
        let dial = hosts[0].dial();
        let mut network = Network::new(balancer, hosts, links.collect());
        network.check_invariants = true;
        Self { network, ledger, scenario, dial }
    }

    /// A way to connect from the client.
    pub fn dial(&self) -> SimDial {
        self.dial.clone()
    }

    /// Starts a task of the client.
    ///
    /// # Panics
    /// Never: host 0 is the client.
    pub fn spawn<T: 'static>(
        &mut self,
        work: impl Future<Output = T> + 'static,
    ) -> oneshot::Receiver<T> {
        let (done, result) = oneshot::channel();
        if let Some(client) = self.network.host_mut(0) {
            client.spawn(async {
                // Who does not wait for the result does not want it.
                let _ = done.send(work.await);
            });
        }
        result
    }

    /// Starts a transfer through the service of `mode`; in mode `http` it is two requests on one
    /// connection, which between them move what the job says.
    pub fn start(&mut self, mode: Mode, job: Job) -> oneshot::Receiver<io::Result<()>> {
        let (dial, family) = (self.dial(), self.scenario.family);
        self.spawn(async move {
            if mode == Mode::Http {
                return requests(dial, vip(family, mode.web_port()), job).await;
            }
            let stream = dial.dial(vip(family, mode.bytes_port())).await?;
            transfer::run(stream, job).await
        })
    }

    /// Starts a transfer through the service that announces clients by a PROXY header.
    pub fn start_proxied(&mut self, job: Job) -> oneshot::Receiver<io::Result<()>> {
        let (dial, family) = (self.dial(), self.scenario.family);
        self.spawn(async move {
            let stream = dial.dial(vip(family, PROXYING)).await?;
            transfer::run(stream, job).await
        })
    }

    /// Lets the network live until all of `results` are there, for at most `limit` of virtual time.
    ///
    /// # Panics
    /// If the time is over, or a task panicked.
    pub async fn finish<T>(
        &mut self,
        limit: Duration,
        results: Vec<oneshot::Receiver<T>>,
    ) -> Vec<T> {
        let all = async {
            let mut done = Vec::new();
            for result in results {
                done.push(result.await.unwrap_or_else(|_| panic!("a task panicked")));
            }
            done
        };
        let done = self.network.run_until(timeout(limit, all)).await;
        done.unwrap_or_else(|_| panic!("not done after {limit:?} of virtual time"))
    }

    /// Lets the network live for a while.
    pub async fn pass(&mut self, time: Duration) {
        self.network.run_until(tokio::time::sleep(time)).await;
    }
}

/// Does `job` as HTTP: half of it by each of two requests, on one connection if that may be.
async fn requests(dial: SimDial, to: SocketAddr, job: Job) -> io::Result<()> {
    let framings = match job.order {
        Order::ClientFirst => [http::Framing::Length; 2],
        _ => [http::Framing::Chunked, http::Framing::Length],
    };
    let half = |n: u64| [n / 2, n.div_ceil(2)];
    let halves = half(job.upload).into_iter().zip(half(job.download));
    let mut stream = BufReader::new(dial.dial(to).await?);
    for ((upload, download), (framing, salt)) in halves.zip(framings.into_iter().zip(job.salt..)) {
        let request = http::Request { upload, framing, download, salt };
        let answer = http::ask(&mut stream, &to.to_string(), request).await?;
        if !answer.keep {
            return Err(wrong("a connection that was not kept".into()));
        }
    }
    Ok(())
}

/// Serves a connection that begins with a PROXY header, version 2: it must name the client, and the
/// service that it came to.
async fn serve_proxied(mut stream: TcpStream) -> io::Result<u64> {
    let mut start = [0; 16];
    stream.read_exact(&mut start).await?;
    let mut addresses = vec![0; usize::from(start[15])];
    stream.read_exact(&mut addresses).await?;
    let (family, octets) = match (start, addresses.len()) {
        ([13, 10, 13, 10, 0, 13, 10, b'Q', b'U', b'I', b'T', 10, 0x21, 0x11, 0, _], 12) => {
            (Family::V4, 4)
        }
        ([13, 10, 13, 10, 0, 13, 10, b'Q', b'U', b'I', b'T', 10, 0x21, 0x21, 0, _], 36) => {
            (Family::V6, 16)
        }
        _ => return Err(wrong(format!("not a header: {start:x?}"))),
    };
    let (ends, ports) = addresses.split_at(2 * octets);
    let expected = [client(family), vip(family, 0).ip()].map(|ip| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    });
    if ends != expected.concat() || ports[2..] != PROXYING.to_be_bytes() {
        return Err(wrong(format!("somebody else's header: {addresses:x?}")));
    }
    transfer::serve(stream).await
}

fn acceptor(backend: usize, ledger: &Ledger) -> l7::divert::Acceptor {
    let ledger = ledger.clone();
    Rc::new(move |stream: TcpStream, _, local: SocketAddr| {
        let ledger = ledger.clone();
        tokio::task::spawn_local(async move {
            match local.port() {
                WEB => http::serve(stream, backend, ledger).await,
                PROXIED => ledger.note(backend, &serve_proxied(stream).await),
                _ => ledger.note(backend, &transfer::serve(stream).await),
            }
        });
    })
}
