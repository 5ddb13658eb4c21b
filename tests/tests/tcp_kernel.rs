//! The TCP endpoint and the kernel's, as peers: over a TUN, with a link in between that delays, loses,
//! reorders and doubles packets. Each conversation is held four times: for both families, and opened by
//! either.
//!
//! Where TUNs are not to be had the tests say `SKIP`; with `BALUN_REQUIRE_TUN=1` they fail instead.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::future::poll_fn;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream as KernelStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use balun::link::{Impairment, Settings};
use netstack::dev::Namespace;
use netstack::tcp::{Endpoint, EndpointConfig, Stack, TcpStream};
use netstack::wire::{Family, Headers};
use netstack::{Instant, Packet};
use nix::sys::socket::{setsockopt, sockopt};
use tests::pattern::Pattern;
use tests::rig::Failure;
use tests::rig::end::End;
use tests::rig::kernel::Kernel;
use tests::rig::pump::Pump;
use tests::rig::scenario::{Who, address};
use tests::rig::wire::Wire;
use tests::topology::FAMILIES;
use tests::watchdog::Watchdog;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use tokio::task::{JoinHandle, LocalSet, yield_now};

const LENGTH: usize = 300_000;
const PORT: u16 = 4_000;
/// Of our connections, in each direction.
const BUFFER: usize = 64 << 10;
/// One conversation, with retransmissions after seconds.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long a peer with a closed window is left alone: some of its probes.
const CLOSED: Duration = Duration::from_millis(900);

/// Our stack with its tasks, at an end of the link.
struct Tasks {
    stack: Stack,
    runtime: Runtime,
    local: LocalSet,
    address: std::net::IpAddr,
}

impl End for Tasks {
    fn receive(&mut self, now: Instant, packet: &mut Packet) -> Result<(), Failure> {
        let headers = Headers::parse(packet).unwrap();
        self.stack.with(|endpoint| endpoint.handle_packet(now, packet, &headers, 0));
        Ok(())
    }

    fn transmit(&mut self, now: Instant, packet: &mut Packet) -> Result<bool, Failure> {
        Ok(self.stack.with(|endpoint| endpoint.poll_transmit(now, packet)))
    }

    fn turn(&mut self, now: Instant) -> Result<(), Failure> {
        self.stack.with(|endpoint| endpoint.handle_timeout(now));
        self.local.block_on(&self.runtime, yield_now());
        Ok(())
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.stack.with(|endpoint| endpoint.poll_timeout())
    }

    fn owns(&self, address: std::net::IpAddr) -> bool {
        address == self.address
    }
}

/// A link of 4 ms that does everything that links do.
fn bad() -> Impairment {
    Impairment { loss: 10_000, reorder: 30_000, duplicate: 10_000, ..clean() }
}

fn clean() -> Impairment {
    Impairment { delay: Duration::from_millis(2), mtu: 1_500, ..Impairment::default() }
}

/// Holds the conversation of `ours` and `kernel` in each of the four ways.
fn converse<O>(link: Impairment, ours: O, kernel: fn(KernelStream) -> io::Result<()>)
where
    O: AsyncFn(Stack, TcpStream) -> io::Result<()> + Copy + 'static,
{
    let _watchdog = Watchdog::new("a conversation", 5 * PATIENCE);
    for family in FAMILIES {
        for opener in [Who::Ours, Who::Linux] {
            let what = format!("{family:?}, opened by {opener:?}");
            let Some((namespace, end)) = kernel_end(family) else { return };
            let (said, theirs) = meet(link, (family, opener), (namespace, end), ours, kernel);
            assert!(said.is_ok() && theirs.is_ok(), "{what}: ours {said:?}, kernel {theirs:?}");
        }
    }
}

fn kernel_end(family: Family) -> Option<(Namespace, Kernel)> {
    match Kernel::make(address(family, 2)) {
        Ok(made) => Some(made),
        Err(Failure::Lacking(why)) => {
            let required = std::env::var_os("BALUN_REQUIRE_TUN").is_some_and(|value| value == "1");
            assert!(!required, "TUNs are required: {why}");
            eprintln!("SKIP {why}");
            None
        }
        Err(Failure::Because(why)) => panic!("{why}"),
    }
}

/// Joins both ends, lets them talk, and says how it ended for each.
fn meet<O>(
    link: Impairment,
    (family, opener): (Family, Who),
    (namespace, end): (Namespace, Kernel),
    ours: O,
    kernel: fn(KernelStream) -> io::Result<()>,
) -> (io::Result<()>, io::Result<()>)
where
    O: AsyncFn(Stack, TcpStream) -> io::Result<()> + Copy + 'static,
{
    let (own, theirs) = (address(family, 1).0, address(family, 2).0);
    let to = SocketAddr::new(theirs, PORT);
    // Before our SYN may arrive.
    let listener = namespace.run(|| TcpListener::bind(to)).unwrap().unwrap();
    let kernel = namespace.spawn_thread("kernel", move || {
        let stream = match opener {
            Who::Linux => KernelStream::connect_timeout(&SocketAddr::new(own, PORT), PATIENCE)?,
            Who::Ours => listener.accept()?.0,
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        kernel(stream)
    });
    let kernel = kernel.unwrap();
    let (send_buffer, receive_buffer) = (BUFFER, BUFFER);
    let config = EndpointConfig { send_buffer, receive_buffer, ..EndpointConfig::new([7, 7]) };
    let stack = Stack::new(Endpoint::new(config));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let tasks = LocalSet::new();
    let handle = stack.clone();
    let said: JoinHandle<io::Result<()>> = tasks.spawn_local(async move {
        let stream = match opener {
            Who::Linux => handle.accept().await.0,
            Who::Ours => handle.connect(SocketAddr::new(own, 0), to).await?,
        };
        ours(handle, stream).await
    });
    let far = Tasks { stack, runtime, local: tasks, address: own };
    let mut pump = Pump::new(Box::new(far), Wire::new(Settings::both(link), 5));
    pump.wired(Box::new(end));
    let ended = pump.run(PATIENCE, |_| said.is_finished() && kernel.is_finished()).unwrap();
    assert!(ended, "{family:?}, {opener:?}: ours {}, kernel {}", said.is_finished(), {
        kernel.is_finished()
    });
    let waiting = tokio::runtime::Builder::new_current_thread().build().unwrap();
    (waiting.block_on(said).unwrap(), kernel.join().unwrap().unwrap())
}

/// Reads the run of `salt` to its end, and the end of the stream.
async fn take(stream: &mut (impl AsyncReadExt + Unpin), salt: u64, len: usize) -> io::Result<()> {
    let (mut pattern, mut buffer) = (Pattern::new(salt), vec![0; 10_000]);
    loop {
        let count = stream.read(&mut buffer).await?;
        pattern.check(&buffer[..count]).map_err(|at| wrong(format!("byte {at}")))?;
        if count == 0 {
            return at_end(&pattern, len);
        }
    }
}

/// As [`take`], by the kernel.
fn kernel_take(stream: &mut KernelStream, salt: u64, len: usize) -> io::Result<()> {
    let (mut pattern, mut buffer) = (Pattern::new(salt), vec![0; 10_000]);
    loop {
        let count = stream.read(&mut buffer)?;
        pattern.check(&buffer[..count]).map_err(|at| wrong(format!("byte {at}")))?;
        if count == 0 {
            return at_end(&pattern, len);
        }
    }
}

fn at_end(pattern: &Pattern, len: usize) -> io::Result<()> {
    if pattern.position() == len as u64 {
        return Ok(());
    }
    Err(wrong(format!("an end after {} of {len} bytes", pattern.position())))
}

fn wrong(what: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

/// Waits until `so`, while the endpoint lives on.
async fn until(mut so: impl FnMut() -> bool) {
    poll_fn(|cx| {
        if so() {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

async fn pass(stack: &Stack, time: Duration) {
    let end = stack.with(|endpoint| endpoint.now()) + time;
    until(|| stack.with(|endpoint| endpoint.now()) >= end).await;
}

#[test]
fn bytes_arrive_in_both_directions_at_once() {
    let ours = async |_, stream: TcpStream| {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let write = async {
            writer.write_all(&Pattern::bytes(1, LENGTH)).await?;
            writer.shutdown().await
        };
        tokio::try_join!(write, take(&mut reader, 2, LENGTH)).map(drop)
    };
    converse(bad(), ours, |mut stream| {
        let mut writer = stream.try_clone()?;
        std::thread::scope(|scope| {
            let write = scope.spawn(move || {
                writer.write_all(&Pattern::bytes(2, LENGTH))?;
                writer.shutdown(Shutdown::Write)
            });
            kernel_take(&mut stream, 1, LENGTH)?;
            write.join().unwrap()
        })
    });
}

#[test]
fn an_answer_comes_after_the_kernel_is_done_writing() {
    let ours = async |_, mut stream: TcpStream| {
        take(&mut stream, 3, 5_000).await?;
        stream.write_all(&Pattern::bytes(4, LENGTH)).await?;
        stream.shutdown().await
    };
    converse(bad(), ours, |mut stream| {
        stream.write_all(&Pattern::bytes(3, 5_000))?;
        stream.shutdown(Shutdown::Write)?;
        kernel_take(&mut stream, 4, LENGTH)
    });
}

#[test]
fn an_answer_comes_after_we_are_done_writing() {
    let ours = async |_, mut stream: TcpStream| {
        stream.write_all(&Pattern::bytes(5, 5_000)).await?;
        stream.shutdown().await?;
        take(&mut stream, 6, LENGTH).await
    };
    converse(bad(), ours, |mut stream| {
        kernel_take(&mut stream, 5, 5_000)?;
        stream.write_all(&Pattern::bytes(6, LENGTH))
    });
}

#[test]
fn a_reset_by_the_kernel_is_heard() {
    let ours = async |_, mut stream: TcpStream| {
        stream.write_all(b"x").await?;
        match stream.read(&mut [0; 10]).await {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
            other => Err(wrong(format!("{other:?}"))),
        }
    };
    converse(clean(), ours, |mut stream| {
        stream.read_exact(&mut [0])?;
        setsockopt(&stream, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 })?;
        Ok(())
    });
}

#[test]
fn a_reset_by_us_is_heard() {
    let ours = async |_, mut stream: TcpStream| {
        stream.read_exact(&mut [0]).await?;
        stream.abort();
        Ok(())
    };
    converse(clean(), ours, |mut stream| {
        stream.write_all(b"x")?;
        match stream.read(&mut [0; 10]) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
            other => Err(wrong(format!("{other:?}"))),
        }
    });
}

#[test]
fn bytes_that_we_leave_unread_reset_the_kernel() {
    let ours = async |_, mut stream: TcpStream| stream.read_exact(&mut [0; 10]).await.map(drop);
    converse(clean(), ours, |mut stream| {
        stream.write_all(&[0; 5_000])?;
        match stream.read(&mut [0; 10]) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
            other => Err(wrong(format!("{other:?}"))),
        }
    });
}

#[test]
fn both_may_close_at_once() {
    // What each writes arrives when both have closed: the link is long.
    let slow = Impairment { delay: Duration::from_millis(30), ..bad() };
    let ours = async |_, mut stream: TcpStream| {
        stream.write_all(&Pattern::bytes(7, 3_000)).await?;
        stream.shutdown().await?;
        take(&mut stream, 8, 3_000).await
    };
    converse(slow, ours, |mut stream| {
        stream.write_all(&Pattern::bytes(8, 3_000))?;
        stream.shutdown(Shutdown::Write)?;
        kernel_take(&mut stream, 7, 3_000)
    });
}

#[test]
fn a_byte_at_a_time_is_a_stream_too() {
    const FEW: usize = 2_000;
    let ours = async |_, stream: TcpStream| {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let write = async {
            for byte in Pattern::bytes(9, FEW) {
                writer.write_all(&[byte]).await?;
                yield_now().await;
            }
            writer.shutdown().await
        };
        tokio::try_join!(write, take(&mut reader, 10, FEW)).map(drop)
    };
    converse(bad(), ours, |mut stream| {
        stream.set_nodelay(true)?;
        for byte in Pattern::bytes(10, FEW) {
            stream.write_all(&[byte])?;
        }
        stream.shutdown(Shutdown::Write)?;
        kernel_take(&mut stream, 9, FEW)
    });
}

#[test]
fn our_window_closes_and_opens_again() {
    let ours = async |stack: Stack, mut stream: TcpStream| {
        let id = stream.id();
        // The kernel cannot send more than some windows' worth; what is in the last one is small.
        until(|| stack.with(|endpoint| endpoint.recv_queue(id)) >= BUFFER * 3 / 4).await;
        pass(&stack, CLOSED).await;
        take(&mut stream, 11, LENGTH).await
    };
    converse(bad(), ours, |mut stream| {
        stream.write_all(&Pattern::bytes(11, LENGTH))?;
        stream.shutdown(Shutdown::Write)
    });
}

#[test]
fn the_kernels_window_closes_and_opens_again() {
    /// More than the kernel buffers while nobody reads.
    const MUCH: usize = 1_000_000;
    /// Tests of this process that wait for it: one, which holds its conversations in turn.
    static STUCK: AtomicBool = AtomicBool::new(false);
    let ours = async |stack: Stack, mut stream: TcpStream| {
        let id = stream.id();
        let watch = async {
            let mut before = None;
            loop {
                pass(&stack, CLOSED).await;
                let queued = stack.with(|endpoint| endpoint.send_queue(id));
                if queued > 0 && before == Some(queued) {
                    STUCK.store(true, Ordering::Relaxed);
                    return Ok(());
                }
                before = Some(queued);
            }
        };
        let write = async {
            stream.write_all(&Pattern::bytes(12, MUCH)).await?;
            stream.shutdown().await
        };
        let done = tokio::try_join!(write, watch).map(drop);
        STUCK.store(false, Ordering::Relaxed);
        done
    };
    converse(bad(), ours, |mut stream| {
        setsockopt(&stream, sockopt::RcvBuf, &20_000)?;
        while !STUCK.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        kernel_take(&mut stream, 12, MUCH)
    });
}
