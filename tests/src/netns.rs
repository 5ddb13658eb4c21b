//! The network of [`topology`] for real: TUNs in private namespaces, kernel sockets
//! at both ends, and balun's runtime between them on a thread of its own.

use std::fmt::Display;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use balun::plan::Plan;
use balun::runtime::{Clock, Leg, Runtime};
use nat::stats::Stats;
use netstack::LegId;
use netstack::dev::{Interface, Namespace, NamespaceError};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinSet, LocalSet};

use crate::ledger::Ledger;
use crate::topology::{self, BYTES, Certificate, ECHO, WEB};
use crate::{http, transfer};

/// How long a client may take for one thing.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Namespaces, servers and the balancer. Dropping it ends them all.
#[derive(Debug)]
pub struct World {
    /// Where clients live.
    pub client: Namespace,
    /// What the servers saw.
    pub ledger: Ledger,
    backends: Vec<Backend>,
    balancer: Option<Balancer>,
}

#[derive(Debug)]
struct Balancer {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<io::Result<Stats>>,
}

/// The servers in one namespace.
#[derive(Debug)]
struct Backend {
    namespace: Namespace,
    index: usize,
    servers: Option<Servers>,
}

#[derive(Debug)]
struct Servers {
    stop: Option<oneshot::Sender<()>>,
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<(), NamespaceError>>>,
}

impl World {
    /// Makes the network with this many backends; nothing, said aloud, where TUNs are not to be had.
    ///
    /// # Panics
    /// If something else fails, or TUNs are not to be had although `BALUN_REQUIRE_TUN=1`.
    pub fn make(backends: u8, certificate: Option<&Certificate>) -> Option<Self> {
        Self::make_with(backends, certificate, |_| ())
    }

    /// As [`make`](Self::make), of a plan that `change` has changed.
    ///
    /// # Panics
    /// As [`make`](Self::make).
    pub fn make_with(
        backends: u8,
        certificate: Option<&Certificate>,
        change: impl FnOnce(&mut Plan),
    ) -> Option<Self> {
        let namespaces =
            (0..=backends).map(|_| Namespace::create()).collect::<Result<Vec<_>, NamespaceError>>();
        let mut namespaces = match namespaces {
            Ok(namespaces) => namespaces,
            Err(error) if error.is_environment() => return skip(&error),
            Err(error) => panic!("{error}"),
        };
        let netns: Vec<_> =
            namespaces.iter().map(|n| n.path().to_string_lossy().into_owned()).collect();
        let mut plan = topology::plan(backends, 1, &netns, certificate);
        change(&mut plan);
        let mut tuns = Vec::new();
        for leg in &plan.legs {
            match leg.open() {
                Ok(tun) => tuns.push(tun),
                Err(error) if error.is_environment() => return skip(&error),
                Err(error) => panic!("{error}"),
            }
        }
        let client = namespaces.remove(0);
        let ledger = Ledger::default();
        let mut backends: Vec<_> = (0..).zip(namespaces).map(|(i, n)| Backend::new(n, i)).collect();
        for backend in &mut backends {
            backend.start(&ledger);
        }
        Some(Self { client, ledger, backends, balancer: Some(Balancer::start(plan, tuns)) })
    }

    /// Runs `curl` with these arguments in the client's namespace, for at most [`PATIENCE`].
    ///
    /// # Panics
    /// If there is no curl.
    pub fn curl(&self, arguments: &[&str]) -> Output {
        let patience = PATIENCE.as_secs().to_string();
        self.client
            .run(|| {
                Command::new("curl")
                    .args(["-q", "-sS", "-g", "--noproxy", "*", "--max-time", &patience])
                    .args(arguments)
                    .env_clear()
                    .output()
            })
            .unwrap_or_else(|e| panic!("{e}"))
            .unwrap_or_else(|e| panic!("curl: {e}"))
    }

    /// Runs `work` on a thread in the client's namespace.
    ///
    /// # Panics
    /// If `work` does.
    pub fn as_client<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.client.run(work).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Runs `work` on a tokio runtime in the client's namespace, for at most [`PATIENCE`].
    ///
    /// # Errors
    /// What `work` says, or `TimedOut`.
    pub fn as_async_client<T: Send>(
        &self,
        work: impl AsyncFnOnce() -> io::Result<T> + Send,
    ) -> io::Result<T> {
        self.as_client(|| {
            let work = async { tokio::time::timeout(PATIENCE, work()).await };
            runtime()?.block_on(work).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        })
    }

    /// Ends the servers of a backend and their connections, as the end of their process would.
    pub fn kill(&mut self, backend: usize) {
        if let Some(backend) = self.backends.get_mut(backend) {
            backend.kill();
        }
    }

    /// Starts the servers of a backend again.
    ///
    /// # Panics
    /// If they cannot be.
    pub fn revive(&mut self, backend: usize) {
        if let Some(backend) = self.backends.get_mut(backend) {
            backend.start(&self.ledger);
        }
    }

    /// Runs `work` on a thread in a backend's namespace.
    ///
    /// # Panics
    /// If `work` does, or there is no such backend.
    pub fn as_backend<T: Send>(&self, backend: usize, work: impl FnOnce() -> T + Send) -> T {
        self.backends[backend].namespace.run(work).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Runs `ip` with these words in a backend's namespace.
    ///
    /// # Panics
    /// If it fails.
    pub fn ip(&self, backend: usize, words: &str) {
        let run = || Command::new("ip").args(words.split(' ')).env_clear().output();
        let output = self.as_backend(backend, run).unwrap_or_else(|e| panic!("ip: {e}"));
        assert!(output.status.success(), "ip {words}: {output:?}");
    }

    /// Stops the balancer; its counters.
    ///
    /// # Panics
    /// If it had failed.
    pub fn stop(&mut self) -> Stats {
        let Some(Balancer { stop, thread }) = self.balancer.take() else {
            panic!("the balancer was stopped before");
        };
        // One that has ended by itself says why when it is joined.
        let _ = stop.send(());
        let stats = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        stats.unwrap_or_else(|e| panic!("the balancer: {e}"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.balancer.is_some() && !std::thread::panicking() {
            self.stop();
        }
        self.backends.iter_mut().for_each(Backend::kill);
    }
}

fn skip<T>(why: &dyn Display) -> Option<T> {
    let required = std::env::var_os("BALUN_REQUIRE_TUN").is_some_and(|value| value == "1");
    assert!(!required, "TUNs are required: {why}");
    eprintln!("SKIP {why}");
    None
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

impl Balancer {
    fn start(plan: Plan, tuns: Vec<Interface>) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            runtime()?.block_on(async {
                let legs = (0..).zip(tuns).map(|(id, tun)| Leg::new(LegId(id), tun));
                let legs = legs.collect::<io::Result<Vec<_>>>()?;
                let (balancer, _) = plan.assemble().map_err(io::Error::other)?;
                let mut runtime = Runtime::new(balancer, legs, Clock::start());
                // An error means that the other end is gone, which is the end too.
                runtime.run(async { drop(stopped.await) }).await?;
                let engine = &runtime.balancer_mut().engine;
                engine.assert_consistent();
                Ok(engine.stats().clone())
            })
        });
        Self { stop, thread }
    }
}

impl Backend {
    const fn new(namespace: Namespace, index: usize) -> Self {
        Self { namespace, index, servers: None }
    }

    fn start(&mut self, ledger: &Ledger) {
        let (namespace, index) = (&self.namespace, self.index);
        let any = |port| SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        let bind = || {
            let listen = |port| {
                let listener = std::net::TcpListener::bind(any(port))?;
                listener.set_nonblocking(true)?;
                Ok::<_, io::Error>(listener)
            };
            Ok::<_, io::Error>((listen(WEB)?, listen(BYTES)?, UdpSocket::bind(any(ECHO))?))
        };
        let sockets = namespace.run(bind).unwrap_or_else(|e| panic!("{e}"));
        let (web, bytes, datagrams) = sockets.unwrap_or_else(|e| panic!("{e}"));
        let (stop, stopped) = oneshot::channel::<()>();
        let ended = Arc::new(AtomicBool::new(false));
        let (ledger, flag) = (ledger.clone(), Arc::clone(&ended));
        let streams = namespace.spawn_thread("streams", move || {
            let Ok(runtime) = runtime() else { return };
            LocalSet::new().block_on(&runtime, async {
                tokio::select! {
                    _ = stopped => {}
                    result = serve(web, bytes, index, ledger) => eprintln!("server: {result:?}"),
                }
            });
        });
        let echo = namespace.spawn_thread("echo", move || echo(&datagrams, &flag));
        let threads = [streams, echo].map(|thread| thread.unwrap_or_else(|e| panic!("{e}")));
        self.servers = Some(Servers { stop: Some(stop), ended, threads: threads.into() });
    }

    fn kill(&mut self) {
        let Some(mut servers) = self.servers.take() else { return };
        servers.stop = None;
        servers.ended.store(true, Ordering::Relaxed);
        for thread in servers.threads.drain(..) {
            // Its panic has been printed.
            let _ = thread.join();
        }
    }
}

async fn serve(
    web: std::net::TcpListener,
    bytes: std::net::TcpListener,
    index: usize,
    ledger: Ledger,
) -> io::Result<()> {
    let (web, bytes) = (TcpListener::from_std(web)?, TcpListener::from_std(bytes)?);
    // Dropped with this future, and its connections with it.
    let mut connections = JoinSet::new();
    loop {
        let ledger = ledger.clone();
        tokio::select! {
            accepted = web.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                connections.spawn_local(http::serve(stream, index, ledger));
            }
            accepted = bytes.accept() => {
                let (stream, _) = accepted?;
                connections.spawn_local(async move {
                    ledger.note(index, &transfer::serve(stream).await);
                });
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Sends datagrams back until `ended`.
fn echo(socket: &UdpSocket, ended: &AtomicBool) {
    let mut datagram = vec![0; 65_535];
    if socket.set_read_timeout(Some(Duration::from_millis(50))).is_err() {
        return;
    }
    while !ended.load(Ordering::Relaxed) {
        if let Ok((len, from)) = socket.recv_from(&mut datagram) {
            // A lost answer is the client's to notice.
            let _ = socket.send_to(&datagram[..len], from);
        }
    }
}
