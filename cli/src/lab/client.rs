//! Clients that ask a web service again and again and keep count of who answered.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};

/// How a client reaches a service: by kernel sockets, or by those of a simulated host.
pub trait Dial {
    /// An established connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;

    /// Connects to `to`.
    fn dial(&self, to: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>>;
}

/// Kernel sockets of the calling thread's namespace.
#[derive(Clone, Copy, Debug)]
pub struct Kernel;

impl Dial for Kernel {
    type Stream = tokio::net::TcpStream;

    async fn dial(&self, to: SocketAddr) -> io::Result<Self::Stream> {
        let stream = tokio::net::TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Requests per connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// A connection for each request: what shows balancing by connection.
    Never,
    /// One connection for as long as it lives: what shows balancing by request.
    Always,
}

/// What clients saw of one service.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Answers by the backend that gave them.
    pub by_backend: BTreeMap<String, u64>,
    /// Requests that failed, with when and how.
    pub errors: Vec<(Instant, String)>,
}

impl Tally {
    /// Answers of all backends.
    pub fn answers(&self) -> u64 {
        self.by_backend.values().sum()
    }
}

/// Errors kept for the report; more are only a sign that all fail.
const MAX_ERRORS: usize = 10_000;
/// A request that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// One client's plan.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The service.
    pub to: SocketAddr,
    /// Requests per connection.
    pub reuse: Reuse,
    /// Pause between two requests.
    pub pace: Duration,
}

/// Asks by `plan` until the task is dropped, counting in `tally`. Must run on a `LocalSet`.
pub async fn run<D: Dial>(dial: D, plan: Plan, tally: Arc<Mutex<Tally>>) {
    let mut connection = None;
    loop {
        let outcome = timeout(PATIENCE, ask(&dial, &plan, &mut connection)).await;
        let outcome = outcome.unwrap_or_else(|_| Err("timed out".to_owned()));
        if outcome.is_err() || plan.reuse == Reuse::Never {
            connection = None;
        }
        record(&tally, outcome);
        tokio::time::sleep(plan.pace).await;
    }
}

fn record(tally: &Mutex<Tally>, outcome: Result<String, String>) {
    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    match outcome {
        Ok(backend) => *tally.by_backend.entry(backend).or_default() += 1,
        Err(error) if tally.errors.len() < MAX_ERRORS => {
            tally.errors.push((Instant::now(), error));
        }
        Err(_) => {}
    }
}

type Connection = SendRequest<Empty<Bytes>>;

async fn ask<D: Dial>(
    dial: &D,
    plan: &Plan,
    connection: &mut Option<Connection>,
) -> Result<String, String> {
    let text = |error: &dyn std::error::Error| match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    if connection.as_ref().is_none_or(SendRequest::is_closed) {
        let stream = dial.dial(plan.to).await.map_err(|e| format!("connect: {e}"))?;
        let (sender, driver) = handshake(TokioIo::new(stream)).await.map_err(|e| text(&e))?;
        tokio::task::spawn_local(async move {
            let _ = driver.await;
        });
        *connection = Some(sender);
    }
    let Some(sender) = connection.as_mut() else { return Err("no connection".to_owned()) };
    let request = Request::get("/")
        .header("host", plan.to.to_string())
        .body(Empty::new())
        .map_err(|e| text(&e))?;
    let response = sender.send_request(request).await.map_err(|e| text(&e))?;
    let (head, body) = response.into_parts();
    body.collect().await.map_err(|e| text(&e))?;
    if head.status != StatusCode::OK {
        return Err(format!("status {}", head.status));
    }
    let backend = head.headers.get("x-backend").and_then(|name| name.to_str().ok());
    backend.map(str::to_owned).ok_or_else(|| "an answer of no backend".to_owned())
}
