//! The kernel's TCP: a namespace with a TUN in it, and threads with sockets.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant as Clock};

use netstack::dev::{Device, Namespace, NamespaceError, Received, Transmitted, Tun, TunConfig};
use netstack::{Instant, Packet};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::Pid;

use super::end::End;
use super::{Algorithm, BUFFER, Failure};

/// How long a call of a socket may block before its thread looks whether it is to end.
const GLANCE: Duration = Duration::from_millis(50);
/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a receiver lets bytes come together: little against its buffer.
const NAP: Duration = Duration::from_micros(200);
/// What an application reads or writes at once.
const CHUNK: usize = 256 << 10;

/// A kernel's stack at an end of a link, by its TUN.
#[derive(Debug)]
pub struct Kernel {
    tun: Tun,
    /// The prefix that is its own.
    prefix: (IpAddr, u8),
}

impl Kernel {
    /// Makes a namespace with a TUN, all that is not `own` routed into it.
    ///
    /// # Errors
    /// [`Failure::Lacking`] where that is not allowed.
    pub fn make(own: (IpAddr, u8)) -> Result<(Namespace, Self), Failure> {
        let lacking = |error: &NamespaceError| Failure::Lacking(error.to_string());
        let namespace = Namespace::create().map_err(|error| lacking(&error))?;
        namespace.run(settle).map_err(|error| lacking(&error))??;
        let mut config = TunConfig::new("link");
        config.addresses = vec![own];
        config.default_route = true;
        let mut queues = Tun::open_in(&namespace, &config)
            .map_err(|error| Failure::Lacking(error.to_string()))?;
        let tun = queues.pop().ok_or_else(|| Failure::because("a TUN without a queue"))?;
        Ok((namespace, Self { tun, prefix: own }))
    }
}

impl End for Kernel {
    fn receive(&mut self, _: Instant, packet: &mut Packet) -> Result<(), Failure> {
        match self.tun.transmit(packet) {
            // A TUN that has no room drops, as a card does.
            Ok(Transmitted::Sent | Transmitted::WouldBlock | Transmitted::Dropped(_)) => Ok(()),
            Err(error) => Err(Failure::because(format!("write to TUN: {error}"))),
        }
    }

    fn transmit(&mut self, _: Instant, packet: &mut Packet) -> Result<bool, Failure> {
        match self.tun.receive(packet) {
            Ok(Received::Packet) => Ok(true),
            Ok(_) => Ok(false),
            Err(error) => Err(Failure::because(format!("read from TUN: {error}"))),
        }
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.tun.as_fd())
    }

    fn owns(&self, address: IpAddr) -> bool {
        match (self.prefix, address) {
            ((IpAddr::V4(own), len), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(len);
                (own.to_bits() ^ address.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            ((IpAddr::V6(own), len), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(len);
                (own.to_bits() ^ address.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// Room for as much as [`BUFFER`], and nothing remembered of earlier connections.
fn settle() -> Result<(), Failure> {
    let most = BUFFER;
    let settings = [
        ("tcp_rmem", format!("4096 131072 {most}")),
        ("tcp_wmem", format!("4096 65536 {most}")),
        ("tcp_no_metrics_save", "1".to_owned()),
        ("ip_local_port_range", "1024 65535".to_owned()),
    ];
    for (name, value) in settings {
        let path = format!("/proc/sys/net/ipv4/{name}");
        std::fs::write(&path, value)
            .map_err(|error| Failure::Lacking(format!("{path}: {error}")))?;
    }
    Ok(())
}

/// True if the kernel has the algorithm.
pub fn has(algorithm: Algorithm) -> bool {
    std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control")
        .is_ok_and(|names| names.split_whitespace().any(|name| name == algorithm.name()))
}

/// The processors that were ours when [`take_processor`] was called.
static PROCESSORS: OnceLock<Vec<usize>> = OnceLock::new();

/// Keeps the calling thread, which is to run pumps, to the first of its processors, and those of
/// [`Peers`] that start later to the others: the pump is never where a thread that it wakes would have to
/// wait for it. With one processor, or where that is not allowed, nothing changes.
pub fn take_processor() {
    let Ok(allowed) = sched_getaffinity(Pid::from_raw(0)) else { return };
    let all = (0..CpuSet::count()).filter(|n| allowed.is_set(*n) == Ok(true)).collect();
    if let [first, _, ..] = PROCESSORS.get_or_init(|| all)[..] {
        keep_to(&[first]);
    }
}

fn keep_to(processors: &[usize]) {
    let mut set = CpuSet::new();
    if !processors.is_empty() && processors.iter().all(|cpu| set.set(*cpu).is_ok()) {
        // Where it is not allowed, the kernel's choice serves too.
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
    }
}

/// Threads with kernel sockets. They end, and are waited for, when this is dropped.
#[derive(Debug, Default)]
pub struct Peers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<(), NamespaceError>>>,
}

impl Peers {
    /// Starts a thread in the namespace. What it says when it fails is printed, for the figure that is
    /// missing then needs a reason.
    ///
    /// # Errors
    /// No thread could be had.
    pub fn start(
        &mut self,
        namespace: &Namespace,
        name: &'static str,
        work: impl FnOnce(&AtomicBool) -> io::Result<()> + Send + 'static,
    ) -> Result<(), Failure> {
        let stop = Arc::clone(&self.stop);
        let work = move || {
            keep_to(PROCESSORS.get().and_then(|all| all.get(1..)).unwrap_or_default());
            // A nap is then as long as it says.
            let _ = nix::sys::prctl::set_timerslack(1);
            let result = work(&stop);
            if let Err(error) = result.as_ref()
                && !stop.load(Ordering::Relaxed)
            {
                eprintln!("{name}: {error}");
            }
        };
        let thread = namespace.spawn_thread(name, work).map_err(Failure::because)?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // What it had to say has been printed.
            let _ = thread.join();
        }
    }
}

/// Connects and writes until it is to stop.
///
/// # Errors
/// What the socket says.
pub fn send(to: SocketAddr, algorithm: Algorithm, stop: &AtomicBool) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    prepare(&stream, algorithm)?;
    let chunk = vec![0; CHUNK];
    while !stop.load(Ordering::Relaxed) {
        match stream.write(&chunk) {
            Ok(_) => {}
            Err(error) if is_glance(&error) => {}
            Err(error) => return Err(error),
        }
    }
    // Nothing is to be sent that nobody carries any more.
    setsockopt(&stream, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 })?;
    Ok(())
}

/// Accepts one connection after the other and counts what it reads.
///
/// # Errors
/// What the sockets say.
pub fn receive(listener: &TcpListener, read: &AtomicU64, stop: &AtomicBool) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    while let Some(mut stream) = accept(listener, stop)? {
        stream.set_read_timeout(Some(GLANCE))?;
        while !stop.load(Ordering::Relaxed) {
            match stream.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => {
                    read.fetch_add(count as u64, Ordering::Relaxed);
                    if count < CHUNK / 4 {
                        // A reader that waits is woken, by the pump, for each packet.
                        std::thread::sleep(NAP);
                    }
                }
                Err(error) if is_glance(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Accepts a connection and writes an answer for each request.
///
/// # Errors
/// What the sockets say.
pub fn answer(
    listener: &TcpListener,
    algorithm: Algorithm,
    sizes: (usize, usize),
    stop: &AtomicBool,
) -> io::Result<()> {
    let Some(mut stream) = accept(listener, stop)? else { return Ok(()) };
    prepare(&stream, algorithm)?;
    let (mut request, answer) = (vec![0; sizes.0], vec![0; sizes.1]);
    loop {
        stream.set_write_timeout(Some(PATIENCE))?;
        if !read_whole(&mut stream, &mut request, stop)? {
            return Ok(());
        }
        stream.write_all(&answer)?;
    }
}

/// Connects, asks, waits for the answer, and asks again; how long each answer took goes to `took`.
///
/// # Errors
/// What the socket says.
pub fn ask(
    to: SocketAddr,
    sizes: (usize, usize),
    took: &std::sync::mpsc::Sender<Duration>,
    stop: &AtomicBool,
) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    prepare(&stream, Algorithm::Cubic)?;
    let (request, mut answer) = (vec![0; sizes.0], vec![0; sizes.1]);
    while !stop.load(Ordering::Relaxed) {
        let asked = Clock::now();
        stream.write_all(&request)?;
        if !read_whole(&mut stream, &mut answer, stop)? || took.send(asked.elapsed()).is_err() {
            break;
        }
    }
    Ok(())
}

/// Connects again and again; counts attempts, and those that the peer accepted.
///
/// # Errors
/// None that a peer could cause.
pub fn knock(to: SocketAddr, tried: &AtomicU64, opened: &AtomicU64, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let began = Clock::now();
        tried.fetch_add(1, Ordering::Relaxed);
        if TcpStream::connect_timeout(&to, Duration::from_secs(1)).is_ok() {
            opened.fetch_add(1, Ordering::Relaxed);
        }
        std::thread::sleep(Duration::from_millis(100).saturating_sub(began.elapsed()));
    }
}

fn prepare(stream: &TcpStream, algorithm: Algorithm) -> io::Result<()> {
    setsockopt(stream, sockopt::TcpCongestion, &algorithm.name().into())?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(GLANCE))?;
    stream.set_write_timeout(Some(GLANCE))
}

fn accept(listener: &TcpListener, stop: &AtomicBool) -> io::Result<Option<TcpStream>> {
    while !stop.load(Ordering::Relaxed) {
        let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, GLANCE.as_millis() as u16)? > 0 {
            return listener.accept().map(|(stream, _)| Some(stream));
        }
    }
    Ok(None)
}

/// Fills `bytes`; false if it is to stop, or the peer is gone.
fn read_whole(stream: &mut TcpStream, bytes: &mut [u8], stop: &AtomicBool) -> io::Result<bool> {
    let mut read = 0;
    while read < bytes.len() {
        match stream.read(&mut bytes[read..]) {
            Ok(0) => return Ok(false),
            Ok(count) => read += count,
            Err(error) if is_glance(&error) && !stop.load(Ordering::Relaxed) => {}
            Err(error) if is_glance(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn is_glance(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
