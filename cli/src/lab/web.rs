//! The built-in web server: it says who it is.
//!
//! `GET /` answers with the server's name, `GET /bytes/N` with N bytes, `GET /request` and what begins so
//! with the head that came; `GET /fresh/N` says that its answer is fresh for N seconds, and validates it;
//! `POST` echoes the body's length. Every answer carries `X-Backend`. Over any stream: a kernel socket, or
//! one of ours.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The longest `/bytes/N`: it is built in memory.
pub const MAX_BYTES: usize = 16 << 20;

/// The entity tag of what is fresh for a while.
const FRESH_TAG: &str = "\"fresh\"";

/// Serves the connections of `listener` until the task is dropped. Must run on a `LocalSet`.
///
/// # Errors
/// The listener is gone.
pub async fn serve(listener: TcpListener, name: Rc<str>) -> io::Result<()> {
    // Dropped with this future, and its connections with it: a killed server leaves none behind.
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        // An answer is one write; waiting to fill a segment would only delay it.
        stream.set_nodelay(true)?;
        connections.spawn_local(serve_connection(stream, Rc::clone(&name)));
        while connections.try_join_next().is_some() {}
    }
}

/// Serves one connection until it closes.
pub async fn serve_connection<S>(stream: S, name: Rc<str>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let answer = service_fn(move |request| {
        let name = Rc::clone(&name);
        async move { Ok::<_, Infallible>(answer(request, &name).await) }
    });
    // A client that goes away mid-request is its own affair.
    let _ = hyper::server::conn::http1::Builder::new()
        // It would be the machine's own, and a simulation's packets would differ from run to run.
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

async fn answer(request: Request<Incoming>, name: &str) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let fresh = path.strip_prefix("/fresh/").and_then(|path| path.split('/').next()?.parse().ok());
    let fresh: Option<u32> = fresh.filter(|_| request.method() == Method::GET);
    let known = request.headers().get(IF_NONE_MATCH).is_some_and(|tag| tag == FRESH_TAG);
    let (status, body) = if request.method() == Method::POST {
        match read_all(request.into_body()).await {
            Ok(len) => (StatusCode::OK, format!("{name} took {len} bytes\n").into()),
            Err(_) => (StatusCode::BAD_REQUEST, Bytes::new()),
        }
    } else if let Some(n) = path.strip_prefix("/bytes/") {
        match n.parse() {
            Ok(n) if n <= MAX_BYTES => (StatusCode::OK, pattern(n)),
            _ => (StatusCode::NOT_FOUND, Bytes::new()),
        }
    } else if path.starts_with("/request") {
        (StatusCode::OK, head(&request).into())
    } else {
        (StatusCode::OK, format!("hello from {name}\n").into())
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    if let Some(seconds) = fresh {
        if known {
            response = Response::new(Full::default());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let fields = response.headers_mut();
        if let Ok(value) = format!("max-age={seconds}").parse() {
            fields.insert(CACHE_CONTROL, value);
        }
        fields.insert(ETAG, HeaderValue::from_static(FRESH_TAG));
        fields.insert("surrogate-key", HeaderValue::from_static("all fresh"));
    }
    if let Ok(value) = name.parse() {
        response.headers_mut().insert("x-backend", value);
    }
    response
}

/// The head of a request, a line for each field.
fn head<B>(request: &Request<B>) -> String {
    let mut text = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        let _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
    text
}

async fn read_all(mut body: Incoming) -> Result<usize, hyper::Error> {
    let mut len = 0;
    while let Some(frame) = body.frame().await {
        len += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(len)
}

/// The bytes of `/bytes/N`: they repeat every 251, a prime, so that a shifted block shows.
pub fn pattern(len: usize) -> Bytes {
    (0..len).map(|i| (i % 251) as u8).collect()
}
