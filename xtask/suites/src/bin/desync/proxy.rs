//! A proxy within this process, its client, and its backend.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use l7::http1::proof::{Body, Chunks, reader};
use l7::upstream::{Balance, Connect};
use l7::{Config, Forwarded, Service};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::task::{LocalSet, spawn_local};

/// What became of a request.
pub struct Seen {
    /// All that reached the backend.
    pub forwarded: Vec<u8>,
    /// The status of the proxy's own answer, if it gave one.
    pub refused: Option<u16>,
    /// Why, in its words.
    pub detail: String,
    /// Its answer said that the connection ends.
    pub closed: bool,
    pub answers: usize,
}

const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: next\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const PIPE: usize = 64 * 1024;

type Heard = Rc<RefCell<Vec<u8>>>;

/// Sends `request`, and a good one behind it.
pub fn run(request: &[u8]) -> Seen {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    LocalSet::new().block_on(&runtime, talk(request))
}

async fn talk(request: &[u8]) -> Seen {
    let heard = Heard::default();
    let config = Config { forwarded: Forwarded::Hide, smuggling_proof: true, ..Config::default() };
    let balance = Rc::new(One(backend()));
    let service = Rc::new(Service::new(Pipe(Rc::clone(&heard)), balance, config));
    let (near, far) = duplex(PIPE);
    spawn_local(l7::serve(far, ([10, 1, 0, 5], 40_000).into(), backend(), false, service));
    let (mut reader, mut writer) = split(near);
    let bytes = [request, NEXT].concat();
    let sender = spawn_local(async move {
        let _ = writer.write_all(&bytes).await;
        std::future::pending::<()>().await;
    });
    let mut answer = Vec::new();
    let _ = reader.read_to_end(&mut answer).await;
    sender.abort();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let refused = answer.starts_with("HTTP/1.1 ") && !answer.starts_with("HTTP/1.1 200 ");
    Seen {
        forwarded: heard.take(),
        refused: answer.get(9..12).filter(|_| refused).and_then(|status| status.parse().ok()),
        detail: answer.lines().last().unwrap_or_default().to_owned(),
        closed: answer.contains("\r\nConnection: close\r\n"),
        answers: answer.matches("HTTP/1.1 ").count(),
    }
}

fn backend() -> SocketAddr {
    ([10, 2, 0, 11], 80).into()
}

struct One(SocketAddr);

impl Balance for One {
    fn choose(&self, _: SocketAddr, skip: &[usize]) -> Option<(usize, SocketAddr)> {
        skip.is_empty().then_some((0, self.0))
    }

    fn failed(&self, _: usize) {}

    fn succeeded(&self, _: usize) {}
}

struct Pipe(Heard);

impl Connect for Pipe {
    type Stream = DuplexStream;

    async fn connect(&self, _: SocketAddr) -> io::Result<DuplexStream> {
        let (near, far) = duplex(PIPE);
        spawn_local(answer(far, Rc::clone(&self.0)));
        Ok(near)
    }
}

/// Answers whole requests, as the second reader sees them.
async fn answer(mut stream: DuplexStream, heard: Heard) {
    let mut buffer = Vec::new();
    loop {
        while let Some(end) = message_end(&buffer) {
            let head = if buffer.starts_with(b"HEAD ") { &OK[..OK.len() - 2] } else { OK };
            buffer.drain(..end);
            if stream.write_all(head).await.is_err() {
                return;
            }
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(count) => {
                heard.borrow_mut().extend_from_slice(&piece[..count]);
                buffer.extend_from_slice(&piece[..count]);
            }
        }
    }
}

/// Where the first request of `bytes` ends, if all of it is here.
pub fn message_end(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let rest = &bytes[head..];
    match reader::request(&bytes[..head]).expect("the second reader understands").body {
        Body::None => Some(head),
        Body::Length(length) => (rest.len() as u64 >= length).then(|| head + length as usize),
        Body::Chunked => {
            let mut chunks = Chunks::default();
            let end = chunks.read(rest).expect("our own chunks");
            chunks.is_end().then_some(head + end)
        }
        Body::Close => None,
    }
}
