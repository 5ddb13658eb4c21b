//! A network of pipes: backends are functions over streams, and no time passes that a test does not
//! wait for.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use l7::upstream::{Balance, Connect};
use l7::{Config, Service};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};
use tokio::task::{LocalSet, spawn_local};

pub(crate) const PIPE: usize = 4096;

/// Runs a test within a `LocalSet`.
pub(crate) async fn local<T>(test: impl Future<Output = T>) -> T {
    LocalSet::new().run_until(test).await
}

type Task = Pin<Box<dyn Future<Output = ()>>>;
type Handler = Rc<dyn Fn(Ragged, usize) -> Task>;

/// What a backend's address leads to.
#[derive(Clone)]
pub(crate) enum Backend {
    /// Each connection, with its number, is given to the function.
    Serves(Handler),
    Refuses,
    /// Connecting never ends.
    Hangs,
}

pub(crate) fn serves<F: Future<Output = ()> + 'static>(
    handler: impl Fn(Ragged, usize) -> F + 'static,
) -> Backend {
    Backend::Serves(Rc::new(move |stream, number| Box::pin(handler(stream, number))))
}

/// A backend that answers every request with the same bytes and keeps its connections.
pub(crate) fn answers(response: &'static str) -> Backend {
    serves(move |mut stream, _| async move {
        while read_request(&mut stream).await.is_some() {
            if stream.write_all(response.as_bytes()).await.is_err() {
                return;
            }
        }
    })
}

/// All backends, their connections, and what the balancer was told.
#[derive(Default)]
pub(crate) struct Network {
    pub(crate) backends: RefCell<Vec<Backend>>,
    pub(crate) connects: RefCell<Vec<usize>>,
    pub(crate) failed: RefCell<Vec<usize>>,
    pub(crate) succeeded: RefCell<Vec<usize>>,
    pub(crate) chosen: Cell<usize>,
    /// How often backends were out, each of them.
    pub(crate) outages: Cell<u32>,
    pub(crate) released: Cell<usize>,
    /// Seed of the splits at every stream; zero for none.
    pub(crate) seed: Cell<u64>,
    next: Cell<usize>,
}

pub(crate) struct Connector(Rc<Network>);
struct RoundRobin(Rc<Network>);

impl Connect for Connector {
    type Stream = Ragged;

    async fn connect(&self, backend: SocketAddr) -> io::Result<Ragged> {
        let index = usize::from(backend.port());
        let found = self.0.backends.borrow().get(index).cloned();
        match found {
            Some(Backend::Serves(handler)) => {
                let (near, far) = duplex(PIPE);
                self.0.connects.borrow_mut().push(index);
                let number = self.0.connects.borrow().len() - 1;
                spawn_local(handler(self.0.ragged(far), number));
                Ok(self.0.ragged(near))
            }
            Some(Backend::Hangs) => std::future::pending().await,
            Some(Backend::Refuses) | None => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }
}

impl Balance for RoundRobin {
    fn choose(&self, _: SocketAddr, skip: &[usize]) -> Option<(usize, SocketAddr)> {
        let count = self.0.backends.borrow().len();
        let next = self.0.next.get();
        let index = (next..next + count).map(|n| n % count).find(|n| !skip.contains(n))?;
        self.0.next.set(index + 1);
        self.0.chosen.set(self.0.chosen.get() + 1);
        Some((index, SocketAddr::from(([10, 2, 0, 11], index as u16))))
    }

    fn prefer(&self, backend: usize) -> Option<(usize, SocketAddr)> {
        self.0.chosen.set(self.0.chosen.get() + 1);
        Some((backend, SocketAddr::from(([10, 2, 0, 11], backend as u16))))
    }

    fn failed(&self, backend: usize) {
        self.0.failed.borrow_mut().push(backend);
    }

    fn succeeded(&self, backend: usize) {
        self.0.succeeded.borrow_mut().push(backend);
    }

    fn outages(&self, _: usize) -> u32 {
        self.0.outages.get()
    }

    fn released(&self, _: usize) {
        self.0.released.set(self.0.released.get() + 1);
    }
}

impl Network {
    pub(crate) fn new(backends: impl Into<Vec<Backend>>) -> Rc<Self> {
        Rc::new(Self { backends: RefCell::new(backends.into()), ..Self::default() })
    }

    pub(crate) fn connector(self: &Rc<Self>) -> Connector {
        Connector(Rc::clone(self))
    }

    pub(crate) fn balance(self: &Rc<Self>) -> Rc<dyn Balance> {
        Rc::new(RoundRobin(Rc::clone(self)))
    }

    pub(crate) fn service(self: &Rc<Self>, config: Config) -> Rc<Service<Connector>> {
        Rc::new(Service::new(self.connector(), self.balance(), config))
    }

    pub(crate) fn ragged(&self, stream: DuplexStream) -> Ragged {
        let seed = self.seed.get();
        if seed != 0 {
            self.seed.set(split_mix(seed).max(1));
        }
        Ragged { stream, seed }
    }
}

pub(crate) fn peer() -> SocketAddr {
    ([10, 1, 0, 5], 40_000).into()
}

pub(crate) fn local_address() -> SocketAddr {
    ([10, 99, 0, 2], 80).into()
}

/// A client's connection to `service`.
pub(crate) fn client(service: &Rc<Service<Connector>>) -> DuplexStream {
    let (near, far) = duplex(PIPE);
    spawn_local(l7::serve(far, peer(), local_address(), false, Rc::clone(service)));
    near
}

/// Sends `request`, closes the sending side, and reads all that is answered.
pub(crate) async fn ask(service: &Rc<Service<Connector>>, request: &str) -> String {
    let mut stream = client(service);
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    read_all(&mut stream).await
}

pub(crate) async fn read_all(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads exactly as many bytes as `expected` has and compares.
pub(crate) async fn expect(stream: &mut (impl AsyncRead + Unpin), expected: &str) {
    let mut bytes = vec![0; expected.len()];
    let mut have = 0;
    while have < bytes.len() {
        match stream.read(&mut bytes[have..]).await.unwrap() {
            0 => break,
            count => have += count,
        }
    }
    assert_eq!(String::from_utf8_lossy(&bytes[..have]), expected);
}

/// Whether the stream has ended.
pub(crate) async fn ended(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    matches!(stream.read(&mut [0; 1]).await, Ok(0) | Err(_))
}

/// Reads a head, byte for byte so that nothing more is taken; none at the stream's end.
pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return None,
        }
    }
    Some(String::from_utf8(head).unwrap())
}

pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// Reads a body in the framing that `head` declares.
pub(crate) async fn read_body(stream: &mut (impl AsyncRead + Unpin), head: &str) -> Vec<u8> {
    let mut body = Vec::new();
    if field(head, "Transfer-Encoding").is_some() {
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.push(stream.read_u8().await.unwrap());
            }
            let text = std::str::from_utf8(&line).unwrap().trim_end();
            let size = usize::from_str_radix(text, 16).expect("our own chunk sizes are plain");
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk).await.unwrap();
            assert!(chunk.ends_with(b"\r\n"));
            if size == 0 {
                return body;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }
    if let Some(length) = field(head, "Content-Length") {
        body.resize(length.parse().unwrap(), 0);
        stream.read_exact(&mut body).await.unwrap();
    } else if head.starts_with("HTTP/") && field(head, "Connection") == Some("close") {
        stream.read_to_end(&mut body).await.unwrap();
    }
    body
}

/// Reads a whole request: its head and its body.
pub(crate) async fn read_request(
    stream: &mut (impl AsyncRead + Unpin),
) -> Option<(String, Vec<u8>)> {
    let head = read_head(stream).await?;
    let body = read_body(stream, &head).await;
    Some((head, body))
}

/// A stream that gives and takes a few bytes at a time, and sometimes none, by its seed.
pub(crate) struct Ragged {
    stream: DuplexStream,
    seed: u64,
}

impl Ragged {
    pub(crate) fn new(stream: DuplexStream, seed: u64) -> Self {
        Self { stream, seed }
    }

    /// How many bytes to move, at most `most`; zero to move none now.
    fn portion(&mut self, most: usize) -> usize {
        if self.seed == 0 {
            return most;
        }
        self.seed = split_mix(self.seed).max(1);
        match self.seed >> 60 {
            0..=2 => 0,
            3..=6 => most.min(1),
            7..=12 => most.min(1 + (self.seed >> 40) as usize % 50),
            _ => most,
        }
    }
}

impl AsyncRead for Ragged {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let portion = this.portion(buf.remaining());
        if portion == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(portion));
        let result = Pin::new(&mut this.stream).poll_read(cx, &mut part);
        let count = part.filled().len();
        buf.advance(count);
        result
    }
}

impl AsyncWrite for Ragged {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let portion = this.portion(data.len());
        if portion == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut this.stream).poll_write(cx, &data[..portion])
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// One step of `SplitMix64`: the next state, which is also random enough as a value.
pub(crate) const fn split_mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// `len` bytes that tell their place.
pub(crate) fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let step = |()| {
        state = split_mix(state);
        (state >> 32) as u8
    };
    std::iter::repeat_n((), len).map(step).collect()
}
