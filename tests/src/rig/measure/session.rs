//! Bytes in one direction: the ends that send and receive them, and how many there were.

use std::cell::Cell;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use netstack::dev::Namespace;
use netstack::wire::Family;
use nix::time::{ClockId, clock_gettime};

use super::super::end::End;
use super::super::kernel::{self, Kernel, Peers};
use super::super::ours::{Application, Ours, config};
use super::super::pump::Pump;
use super::super::scenario::{Path, Who, address};
use super::super::wire::Wire;
use super::super::{Algorithm, Failure};
use super::{Setting, Transfer};

/// How long the first byte may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// Where receivers listen; the second flow of two has the next.
pub(super) const PORT: u16 = 5_001;
/// The host that receives; senders count from the next.
pub(super) const RECEIVER: u8 = 1;

/// Bytes that have been received so far.
#[derive(Clone, Debug)]
pub(super) enum Counter {
    Kernel(Arc<AtomicU64>),
    Ours(Rc<Cell<u64>>),
}

impl Counter {
    pub(super) fn get(&self) -> u64 {
        match self {
            Self::Kernel(read) => read.load(Ordering::Relaxed),
            Self::Ours(read) => read.get(),
        }
    }
}

/// What a transfer came to: goodput in Mbit/s, repeated bytes in percent of those sent, late packets in
/// percent, and what part of a processor the pump took, in percent.
///
/// # Errors
/// [`Failure`]
pub fn goodput(setting: &Setting, transfer: Transfer) -> Result<Vec<f64>, Failure> {
    // Dropped after the pump: what waits for packets is not told before that none will come.
    let mut peers = Peers::default();
    let (far, counter) = receiver(&mut peers, transfer.receiver, setting, PORT)?;
    let mut pump = Pump::new(far, wire(setting.path, setting.seed));
    let near = sender(&mut peers, transfer.sender, setting, 0)?;
    match setting.path {
        Some(_) => pump.wired(near),
        None => pump.direct(near),
    }
    await_first(&mut pump, &counter)?;
    let cpu = processor_time();
    let [mbit] = rates(&mut pump, setting.time, [&counter])?;
    let cpu = processor_time().saturating_sub(cpu).as_secs_f64() / setting.time.as_secs_f64();
    let repeated = pump.there.busiest().repeated_percent();
    Ok(vec![mbit, repeated, pump.lateness.percent(), 100.0 * cpu])
}

/// Two flows from two hosts to one, a kernel, over the same link. The first is of `who`, the second of
/// the kernel: Mbit/s of both, the part of the first in percent, and late packets in percent.
///
/// # Errors
/// [`Failure`]
pub fn share(setting: &Setting, who: Who) -> Result<Vec<f64>, Failure> {
    let mut peers = Peers::default();
    let (namespace, far) = Kernel::make(address(setting.family, RECEIVER))?;
    let counters = [
        listen(&mut peers, &namespace, setting.family, PORT)?,
        listen(&mut peers, &namespace, setting.family, PORT + 1)?,
    ];
    let mut pump = Pump::new(Box::new(far), wire(setting.path, setting.seed));
    for (flow, who) in (0..).zip([who, Who::Linux]) {
        pump.wired(sender(&mut peers, who, setting, flow)?);
    }
    for counter in &counters {
        await_first(&mut pump, counter)?;
    }
    let [first, second] = rates(&mut pump, setting.time, [&counters[0], &counters[1]])?;
    Ok(vec![first, second, 100.0 * first / (first + second), pump.lateness.percent()])
}

pub(super) fn wire(path: Option<Path>, seed: u64) -> Wire {
    Wire::new(path.map(|path| path.settings()).unwrap_or_default(), seed)
}

/// The end that receives, listening on `port`.
pub(super) fn receiver(
    peers: &mut Peers,
    who: Who,
    setting: &Setting,
    port: u16,
) -> Result<(Box<dyn End>, Counter), Failure> {
    let own = address(setting.family, RECEIVER);
    match who {
        Who::Linux => {
            let (namespace, end) = Kernel::make(own)?;
            let counter = listen(peers, &namespace, setting.family, port)?;
            Ok((Box::new(end), counter))
        }
        Who::Ours => {
            let read = Rc::new(Cell::new(0));
            let sink = Application::Sink { ids: Vec::new(), read: Rc::clone(&read) };
            let end = Ours::new(config(setting.algorithm, setting.seed), own.0, sink);
            Ok((Box::new(end), Counter::Ours(read)))
        }
    }
}

/// A thread in the receiver's namespace that counts what it reads.
pub(super) fn listen(
    peers: &mut Peers,
    namespace: &Namespace,
    family: Family,
    port: u16,
) -> Result<Counter, Failure> {
    let listener = bind(namespace, SocketAddr::new(address(family, RECEIVER).0, port))?;
    let read = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&read);
    peers.start(namespace, "receiver", move |stop| kernel::receive(&listener, &count, stop))?;
    Ok(Counter::Kernel(read))
}

pub(super) fn bind(namespace: &Namespace, at: SocketAddr) -> Result<TcpListener, Failure> {
    let bound = namespace.run(|| TcpListener::bind(at)).map_err(Failure::because)?;
    bound.map_err(|error| Failure::because(format!("listen at {at}: {error}")))
}

/// The end that sends flow number `flow`.
pub(super) fn sender(
    peers: &mut Peers,
    who: Who,
    setting: &Setting,
    flow: u8,
) -> Result<Box<dyn End>, Failure> {
    let own = address(setting.family, RECEIVER + 1 + flow);
    let to = SocketAddr::new(address(setting.family, RECEIVER).0, PORT + u16::from(flow));
    let algorithm = setting.algorithm;
    match who {
        Who::Linux => {
            need(algorithm)?;
            let (namespace, end) = Kernel::make(own)?;
            peers.start(&namespace, "sender", move |stop| kernel::send(to, algorithm, stop))?;
            Ok(Box::new(end))
        }
        Who::Ours => {
            let source = Application::Source { remote: to, id: None };
            Ok(Box::new(Ours::new(config(algorithm, setting.seed), own.0, source)))
        }
    }
}

pub(super) fn need(algorithm: Algorithm) -> Result<(), Failure> {
    if kernel::has(algorithm) {
        return Ok(());
    }
    let name = algorithm.name();
    Err(Failure::Lacking(format!("this kernel has no `{name}`: try `modprobe tcp_{name}`")))
}

pub(super) fn await_first(pump: &mut Pump, counter: &Counter) -> Result<(), Failure> {
    if pump.run(PATIENCE, |_| counter.get() > 0)? {
        return Ok(());
    }
    Err(Failure::because(format!("nothing has arrived in {PATIENCE:?}")))
}

/// Mbit/s of each counter, over `time`.
pub(super) fn rates<const N: usize>(
    pump: &mut Pump,
    time: Duration,
    counters: [&Counter; N],
) -> Result<[f64; N], Failure> {
    let (begin, before) = (pump.now(), counters.map(Counter::get));
    pump.run(time, |_| false)?;
    let seconds = (pump.now() - begin).as_secs_f64();
    if pump.wire().overflow() > 0 {
        return Err(Failure::because("more packets on the link than the rig can hold"));
    }
    let mut rates = counters.map(|counter| counter.get() as f64);
    for (rate, before) in rates.iter_mut().zip(before) {
        *rate = (*rate - before as f64) * 8.0 / seconds / 1e6;
    }
    Ok(rates)
}

/// What this thread has had of a processor.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
