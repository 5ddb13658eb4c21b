//! Probes that take a connection: an HTTP request, a call of gRPC's health service, or a connect by
//! sockets of the host.
//!
//! The engine decides when a backend is asked and what follows; here is how. A probe has its time
//! limit from whoever awaits it, by dropping the future, which resets its connection.

mod grpc;

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;

use http::{Method, StatusCode};
use nat::health::{Change, Failure, Outcome};
use nat::{PanicChange, Pool, PoolId};
use tokio::io::{AsyncRead, AsyncWriteExt};

use crate::balance::PoolBalance;
use crate::buffer::Buffer;
use crate::http1::body::Decoder;
use crate::http1::framing::Framing;
use crate::http1::head;
use crate::http1::reject::Reject;
use crate::http1::scan::Scanner;
use crate::limits::{INTERIM_RESPONSES, PROBE_BODY};
use crate::upstream::{self, Connect};

pub use grpc::{GrpcProbe, grpc};

/// Asks the backend at an address, and says whether it is well.
pub type Prober = Rc<dyn Fn(SocketAddr) -> Pin<Box<dyn Future<Output = Outcome>>>>;

/// What a [`Proxy`](crate::divert::Proxy) needs for the checks of backends.
#[derive(Default)]
pub struct Checks {
    /// How the backends of each pool are asked, in the order of the engine's pools; none where the
    /// engine asks by itself.
    pub probers: Vec<Option<Prober>>,
    /// The services' own copies of pools, which are told what becomes of their backends.
    pub balances: Vec<(PoolId, Rc<PoolBalance>)>,
    /// Told of each change, with the engine's pool.
    pub observer: Option<Observer>,
    /// Told of each pool that begins or ceases to panic.
    pub panic_observer: Option<PanicObserver>,
}

/// Hears of each backend whose state has changed.
pub type Observer = Rc<dyn Fn(&Change, &Pool)>;

/// Hears of each pool that begins or ceases to believe in the health of its backends.
pub type PanicObserver = Rc<dyn Fn(&PanicChange, &Pool)>;

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checks").field("balances", &self.balances).finish_non_exhaustive()
    }
}

/// A GET, answered by a status from 200 to 399 and the whole of a body that is not too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    /// The target, with its first slash.
    pub path: String,
    /// The `Host`; none is the backend's address and port.
    pub host: Option<String>,
}

/// Asks by HTTP over connections of `connect`.
pub fn http<C: Connect>(connect: C, probe: HttpProbe) -> Prober {
    let shared = Rc::new((connect, probe));
    Rc::new(move |backend| {
        let shared = Rc::clone(&shared);
        Box::pin(async move { outcome(ask(&shared.0, &shared.1, backend).await) })
    })
}

/// Asks by connecting, and resets the connection.
pub fn tcp<C: Connect>(connect: C) -> Prober {
    let connect = Rc::new(connect);
    Rc::new(move |backend| {
        let connect = Rc::clone(&connect);
        Box::pin(async move {
            outcome(connect.connect(backend).await.map(drop).map_err(|e| failure(&e)))
        })
    })
}

fn outcome(result: Result<(), Failure>) -> Outcome {
    result.map_or_else(Outcome::Failed, |()| Outcome::Passed)
}

fn failure(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Failure::Refused,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Failure::Unreachable,
        io::ErrorKind::TimedOut => Failure::TimedOut,
        _ => Failure::Answer(error.to_string()),
    }
}

async fn ask<C: Connect>(
    connect: &C,
    probe: &HttpProbe,
    backend: SocketAddr,
) -> Result<(), Failure> {
    let stream = connect.connect(backend).await.map_err(|e| failure(&e))?;
    let mut stream = connect.secure(backend, stream).await.map_err(|e| failure(&e))?;
    let host = probe.host.clone().unwrap_or_else(|| backend.to_string());
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: balun-health\r\nConnection: close\r\n\r\n",
        probe.path
    );
    stream.write_all(request.as_bytes()).await.map_err(|e| failure(&e))?;
    stream.flush().await.map_err(|e| failure(&e))?;
    let mut buffer = Buffer::new();
    let (status, framing) = read_head(&mut stream, &mut buffer).await?;
    if !status.is_success() && !status.is_redirection() {
        return Err(Failure::Answer(format!("HTTP status {}", status.as_u16())));
    }
    read_body(&mut stream, &mut buffer, framing).await?;
    upstream::close(stream);
    Ok(())
}

/// Reads up to the end of the final response's head.
async fn read_head<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut Buffer,
) -> Result<(StatusCode, Framing), Failure> {
    for _ in 0..=INTERIM_RESPONSES {
        let mut scanner = Scanner::default();
        let extent = loop {
            if let Some(extent) = scanner.scan(buffer.filled()).map_err(not_http)? {
                break extent;
            }
            if fill(stream, buffer).await? == 0 {
                return Err(Failure::Answer("closed without an answer".to_owned()));
            }
        };
        if extent.start > 0 {
            return Err(Failure::Answer("an empty line before the head".to_owned()));
        }
        let bytes = buffer.filled().get(..extent.end).unwrap_or_default();
        let mut slots = head::slots();
        let head = head::parse_response(bytes, &mut slots, &Method::GET).map_err(not_http)?;
        let (status, framing) = (head.status, head.framing);
        buffer.consume(extent.end);
        // 101 was not asked for: it counts as the final answer, and no good one.
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok((status, framing));
        }
    }
    Err(Failure::Answer("too many interim responses".to_owned()))
}

/// Reads a body to its end, or until it is too long to be waited for.
async fn read_body<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut Buffer,
    framing: Framing,
) -> Result<(), Failure> {
    let mut decoder = Decoder::new(framing);
    let mut total = 0;
    while !decoder.is_end() && total <= PROBE_BODY {
        let decoded = decoder.decode(buffer.filled()).map_err(not_http)?;
        total += decoded.consumed;
        buffer.consume(decoded.consumed);
        let stuck = decoded.consumed == 0 || buffer.is_empty();
        if stuck && !decoder.is_end() && fill(stream, buffer).await? == 0 && !decoder.close() {
            return Err(Failure::Answer("the body was cut off".to_owned()));
        }
    }
    Ok(())
}

async fn fill<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut Buffer) -> Result<usize, Failure> {
    poll_fn(|cx| buffer.poll_fill(cx, stream)).await.map_err(|e| failure(&e))
}

fn not_http(reject: Reject) -> Failure {
    Failure::Answer(format!("not HTTP: {}", reject.detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};

    /// A server that answers with what it was given, and keeps what it was asked.
    struct Canned {
        answer: Vec<u8>,
        asked: Rc<RefCell<Vec<u8>>>,
    }

    impl Connect for Canned {
        type Stream = DuplexStream;

        async fn connect(&self, _: SocketAddr) -> io::Result<DuplexStream> {
            let (near, mut far) = duplex(1024);
            let (answer, asked) = (self.answer.clone(), Rc::clone(&self.asked));
            tokio::task::spawn_local(async move {
                let mut bytes = [0; 1024];
                let count = far.read(&mut bytes).await.unwrap_or(0);
                asked.borrow_mut().extend(&bytes[..count]);
                let _ = far.write_all(&answer).await;
            });
            Ok(near)
        }
    }

    async fn asked(answer: &[u8], host: Option<&str>) -> (Outcome, String) {
        let asked = Rc::new(RefCell::new(Vec::new()));
        let canned = Canned { answer: answer.to_vec(), asked: Rc::clone(&asked) };
        let probe = HttpProbe { path: "/up?deep=1".into(), host: host.map(str::to_owned) };
        let prober = http(canned, probe);
        let run = prober("[fd02::11]:8080".parse().unwrap());
        let outcome = tokio::task::LocalSet::new().run_until(run).await;
        let asked = String::from_utf8(asked.borrow().clone()).unwrap();
        (outcome, asked)
    }

    #[tokio::test]
    async fn the_request_names_the_backend_or_the_host_that_was_set() {
        let ok = b"HTTP/1.1 204 No Content\r\n\r\n";
        for (host, named) in [(None, "[fd02::11]:8080"), (Some("www.test"), "www.test")] {
            let (outcome, request) = asked(ok, host).await;
            assert_eq!(outcome, Outcome::Passed);
            assert_eq!(
                request,
                format!(
                    "GET /up?deep=1 HTTP/1.1\r\nHost: {named}\r\n\
                     User-Agent: balun-health\r\nConnection: close\r\n\r\n"
                )
            );
        }
    }

    #[tokio::test]
    async fn a_good_answer_is_2xx_or_3xx_and_whole() {
        let long = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &vec![b'x'; 2 * PROBE_BODY]].concat();
        let endless = [&b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"[..], &long].concat();
        for good in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"[..],
            b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
            b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            &long,
            &endless,
        ] {
            let (outcome, _) = asked(good, None).await;
            assert_eq!(outcome, Outcome::Passed, "{}", String::from_utf8_lossy(good));
        }
    }

    #[tokio::test]
    async fn any_other_answer_fails_and_says_how() {
        let interim = b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(INTERIM_RESPONSES as usize + 1);
        for (bad, how) in [
            (&b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"[..], "HTTP status 503"),
            (b"HTTP/1.1 404 Not Found\r\n\r\n", "HTTP status 404"),
            (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "HTTP status 101"),
            (b"SSH-2.0-x\r\n\r\n", "not HTTP"),
            (b"HTTP/1.1 200 OK\n\n", "not HTTP: bare LF"),
            (b"", "closed without an answer"),
            (b"HTTP/1.1 200 OK\r\n", "closed without an answer"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", "cut off"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "cut off"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "not HTTP"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "not HTTP"),
            (&interim, "too many interim"),
        ] {
            let (outcome, _) = asked(bad, None).await;
            let Outcome::Failed(failure) = outcome else {
                panic!("passed: {}", String::from_utf8_lossy(bad));
            };
            assert!(failure.to_string().contains(how), "{failure}, not {how}");
        }
    }
}
