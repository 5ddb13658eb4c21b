//! One node of a running lab: its namespaces, and the pipe to its init.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::IpAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use netstack::dev::{Namespace, NamespaceError};
use nix::sched::{CloneFlags, unshare};
use tokio::sync::mpsc::UnboundedSender;

use super::message::{Ended, Event, Order};
use crate::config::model::{self, Run};

/// The number of a node's own command; others count on from it.
const OWN: u32 = 0;
/// How much longer than its patience an order is waited for.
const GRACE: Duration = Duration::from_secs(2);

/// What a node does.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// Nothing of its own.
    Idle,
    /// It has not said yet that it runs.
    Starting,
    /// A server of ours listens.
    Serving,
    /// Its command runs.
    Running,
    /// Its server failed.
    Failed(String),
    /// Its command has ended.
    Ended(Ended),
}

impl State {
    /// A word for it.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Running => "running",
            Self::Failed(_) => "failed",
            Self::Ended(_) => "ended",
        }
    }
}

/// A node with its processes. They end when it is dropped.
#[derive(Debug)]
pub(super) struct Node {
    /// Its name.
    pub(super) name: String,
    /// Its network.
    pub(super) namespace: Namespace,
    /// Process number of its init.
    pub(super) pid: u32,
    orders: Mutex<Option<ChildStdin>>,
    next: AtomicU32,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<Result<(), NamespaceError>>>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    waiting: Mutex<HashMap<u32, Sender<Ended>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Node {
    /// Starts the init of a node in its namespace, in a PID namespace of its own. Commands run in
    /// `folder`. Each change of the node's state is told to `changed`, with `index`.
    ///
    /// # Errors
    /// The machine allows no PID namespace, or no process.
    pub(super) fn start(
        name: &str,
        namespace: Namespace,
        folder: &Path,
        (index, changed): (usize, UnboundedSender<usize>),
    ) -> io::Result<Self> {
        let (started, start) = channel();
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let folder = folder.to_owned();
        let shared = Arc::new(Shared {
            state: Mutex::new(State::Idle),
            waiting: Mutex::new(HashMap::new()),
        });
        let listener = Arc::clone(&shared);
        // The init dies with the thread that started it: this one, which lives as long as it does.
        let thread = namespace.spawn_thread("node", move || {
            let mut child = match spawn(&folder) {
                Ok(child) => child,
                Err(error) => return drop(started.send(Err(error))),
            };
            let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
                return;
            };
            let pid = child.id();
            if started.send(Ok((pid, stdin))).is_ok() {
                listener.listen(stdout, index, &changed);
            }
            // Its pipe is closed, so that it ends, and whatever it ran with it.
            let _ = child.wait();
        })?;
        let lost = || io::Error::other("its namespace cannot be entered");
        let (pid, stdin) = start.recv().map_err(|_| lost())??;
        Ok(Self {
            name: name.to_owned(),
            namespace,
            pid,
            orders: Mutex::new(Some(stdin)),
            next: AtomicU32::new(OWN + 1),
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// What it does now.
    pub(super) fn state(&self) -> State {
        lock(&self.shared.state).clone()
    }

    /// Starts what the configuration says that it runs.
    ///
    /// # Errors
    /// Its init is gone.
    pub(super) fn run_own(&self, config: &model::Node) -> io::Result<()> {
        let Some(run) = &config.run else { return Ok(()) };
        let addresses: Vec<IpAddr> = config.ips().collect();
        *lock(&self.shared.state) = State::Starting;
        self.order(&match run.clone() {
            Run::Builtin(builtin) => Order::Serve { name: self.name.clone(), addresses, builtin },
            Run::Command(argv) => Order::Run { id: OWN, argv, patience_ms: None },
        })
    }

    /// Runs a command and waits for its end, for at most `patience` and a little.
    ///
    /// # Errors
    /// The init of the node is gone.
    pub(super) fn run(&self, argv: &[String], patience: Duration) -> io::Result<Ended> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let end = self.wait_for(id);
        let patience_ms = Some(patience.as_millis() as u64);
        self.order(&Order::Run { id, argv: argv.to_vec(), patience_ms })?;
        let ended = end.recv_timeout(patience + GRACE);
        lock(&self.shared.waiting).remove(&id);
        ended.map_err(|_| io::Error::other(format!("node `{}` does not answer", self.name)))
    }

    fn wait_for(&self, id: u32) -> Receiver<Ended> {
        let (ended, end) = channel();
        lock(&self.shared.waiting).insert(id, ended);
        end
    }

    fn order(&self, order: &Order) -> io::Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        let mut orders = lock(&self.orders);
        let gone = || io::Error::other(format!("node `{}` is gone", self.name));
        orders.as_mut().ok_or_else(gone)?.write_all(&line)
    }

    /// The PID namespace of its processes.
    ///
    /// # Errors
    /// Its init is gone.
    pub(super) fn pid_namespace(&self) -> io::Result<File> {
        File::open(format!("/proc/{}/ns/pid", self.pid))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        *lock(&self.orders) = None;
        if let Some(thread) = lock(&self.thread).take() {
            // A namespace that it could not enter was missed when it started.
            let _ = thread.join();
        }
    }
}

/// Starts the init. The calling thread's later children would be in its namespace, too.
fn spawn(folder: &Path) -> io::Result<Child> {
    unshare(CloneFlags::CLONE_NEWPID)?;
    Command::new("/proc/self/exe")
        .arg("__lab-init")
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // A Ctrl-C is for the lab, which takes its nodes down in order.
        .process_group(0)
        .spawn()
}

impl Shared {
    /// Notes what the init says until it falls silent.
    fn listen(&self, from: ChildStdout, index: usize, changed: &UnboundedSender<usize>) {
        let mut lines = BufReader::new(from).lines();
        while let Some(Ok(line)) = lines.next() {
            let Ok(event) = serde_json::from_str(&line) else { continue };
            let state = match event {
                Event::Serving => State::Serving,
                Event::Failed(why) => State::Failed(why),
                Event::Started(OWN) => State::Running,
                Event::Started(_) => continue,
                Event::Ended(ended) if ended.id == OWN => State::Ended(ended),
                Event::Ended(ended) => {
                    if let Some(waiting) = lock(&self.waiting).remove(&ended.id) {
                        // Whoever gave up waiting has no use for it.
                        let _ = waiting.send(ended);
                    }
                    continue;
                }
            };
            *lock(&self.state) = state;
            let _ = changed.send(index);
        }
        // Mostly the lab ends, and nobody looks any more.
        *lock(&self.state) = State::Failed("its processes were killed".into());
        let _ = changed.send(index);
    }
}
