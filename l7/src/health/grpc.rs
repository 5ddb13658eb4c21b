//! The health service of gRPC (`grpc.health.v1.Health/Check`), over HTTP/2 with prior knowledge.
//!
//! Its two messages have one field each, so they are written and read here by hand.

use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use h2::client::SendRequest;
use http::{HeaderMap, Request, StatusCode};
use nat::health::Failure;

use super::{Prober, failure, outcome};
use crate::limits::PROBE_BODY;
use crate::upstream::Connect;

/// Bytes before each message: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// Bytes of the answer's fields.
const FIELDS: u32 = 16 << 10;
/// `ServingStatus` in the order of its numbers.
const STATUSES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
const SERVING: u64 = 1;

/// A call of the health service, answered by `SERVING`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrpcProbe {
    /// The service that is asked for; none is the server as a whole.
    pub service: Option<String>,
    /// The `:authority`; none is the backend's address and port.
    pub host: Option<String>,
}

/// Asks by gRPC over connections of `connect`.
pub fn grpc<C: Connect>(connect: C, probe: GrpcProbe) -> Prober {
    let shared = Rc::new((connect, probe));
    Rc::new(move |backend| {
        let shared = Rc::clone(&shared);
        Box::pin(async move { outcome(check(&shared.0, &shared.1, backend).await) })
    })
}

async fn check<C: Connect>(
    connect: &C,
    probe: &GrpcProbe,
    backend: SocketAddr,
) -> Result<(), Failure> {
    let stream = connect.connect(backend).await.map_err(|e| failure(&e))?;
    let mut builder = h2::client::Builder::new();
    builder.enable_push(false).max_header_list_size(FIELDS);
    let (sender, connection) = builder.handshake(stream).await.map_err(|e| not_http2(&e))?;
    let (mut connection, mut asked) = (pin!(connection), pin!(ask(sender, probe, backend)));
    let result = tokio::select! {
        biased;
        result = asked.as_mut() => result,
        // The answer may have come before the end.
        _ = connection.as_mut() => return asked.await,
    };
    // With nobody left to ask, it says so and ends.
    let _ = connection.poll(&mut Context::from_waker(Waker::noop()));
    result
}

async fn ask(
    sender: SendRequest<Bytes>,
    probe: &GrpcProbe,
    backend: SocketAddr,
) -> Result<(), Failure> {
    let mut sender = sender.ready().await.map_err(|e| not_http2(&e))?;
    let host = probe.host.clone().unwrap_or_else(|| backend.to_string());
    let request = Request::post(format!("http://{host}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "balun-health")
        .body(())
        .map_err(|error| Failure::Answer(error.to_string()))?;
    let (response, mut body) = sender.send_request(request, false).map_err(|e| not_http2(&e))?;
    let message = message(probe.service.as_deref().unwrap_or_default());
    body.send_data(message, true).map_err(|e| not_http2(&e))?;
    let (head, mut body) = response.await.map_err(|e| not_http2(&e))?.into_parts();
    if head.status != StatusCode::OK {
        return Err(Failure::Answer(format!("HTTP status {}", head.status.as_u16())));
    }
    let kind = head.headers.get("content-type").map_or(&b""[..], |kind| kind.as_bytes());
    if !kind.starts_with(b"application/grpc") {
        return Err(Failure::Answer("not gRPC".to_owned()));
    }
    // A call that fails at once has its status among the fields of the head, and nothing else.
    call_status(&head.headers).unwrap_or(Ok(()))?;
    let answer = read(&mut body).await?;
    let trailers = body.trailers().await.map_err(|e| not_http2(&e))?.unwrap_or_default();
    let status = call_status(&trailers).or_else(|| call_status(&head.headers));
    status.unwrap_or_else(|| Err(Failure::Answer("a call without a status".to_owned())))?;
    match serving_status(&answer) {
        Some(SERVING) => Ok(()),
        Some(other) => {
            let name = usize::try_from(other).ok().and_then(|n| STATUSES.get(n).copied());
            Err(Failure::Answer(format!("says {}", name.unwrap_or("an unknown status"))))
        }
        None => Err(Failure::Answer("not an answer of the health service".to_owned())),
    }
}

/// What the call came to, if `fields` say.
fn call_status(fields: &HeaderMap) -> Option<Result<(), Failure>> {
    let status = fields.get("grpc-status")?.as_bytes();
    Some(match status {
        b"0" => Ok(()),
        b"12" => Err(Failure::Answer("has no health service (gRPC status 12)".to_owned())),
        other => Err(Failure::Answer(format!("gRPC status {}", String::from_utf8_lossy(other)))),
    })
}

async fn read(body: &mut RecvStream) -> Result<Bytes, Failure> {
    let mut bytes = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(|e| not_http2(&e))?;
        if bytes.len() + data.len() > PROBE_BODY {
            return Err(Failure::Answer("too long an answer".to_owned()));
        }
        let _ = body.flow_control().release_capacity(data.len());
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

/// A `HealthCheckRequest` with its prefix.
fn message(service: &str) -> Bytes {
    let mut field = Vec::new();
    if !service.is_empty() {
        // Field 1, of a length.
        field.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            field.push(length as u8 | 0x80);
            length >>= 7;
        }
        field.push(length as u8);
        field.extend_from_slice(service.as_bytes());
    }
    let mut bytes = vec![0];
    bytes.extend_from_slice(&(field.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&field);
    bytes.into()
}

/// The status in a `HealthCheckResponse` with its prefix; zero stands for one that is not written.
fn serving_status(bytes: &[u8]) -> Option<u64> {
    let (prefix, mut fields) = bytes.split_at_checked(PREFIX)?;
    let (compressed, length) = prefix.split_first()?;
    let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
    if *compressed != 0 || length != fields.len() {
        return None;
    }
    let mut status = 0;
    while !fields.is_empty() {
        let key = varint(&mut fields)?;
        match key & 7 {
            0 => {
                let value = varint(&mut fields)?;
                if key >> 3 == 1 {
                    status = value;
                }
            }
            1 => fields = fields.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut fields)?).ok()?;
                fields = fields.get(length..)?;
            }
            5 => fields = fields.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

/// The number of variable length at the front.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn not_http2(error: &h2::Error) -> Failure {
    match error.get_io() {
        Some(error) => failure(error),
        None => Failure::Answer(format!("not HTTP/2: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use nat::health::Outcome;
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    /// What a server says: the fields of its head, the message, the fields of its trailers.
    #[derive(Clone, Default)]
    struct Says {
        status: u16,
        head: &'static [(&'static str, &'static str)],
        message: Vec<u8>,
        trailers: Option<&'static [(&'static str, &'static str)]>,
    }

    const GRPC: &[(&str, &str)] = &[("content-type", "application/grpc")];
    const FINE: Option<&[(&str, &str)]> = Some(&[("grpc-status", "0")]);

    /// A server of one call, that keeps what it was asked.
    struct Server {
        says: Says,
        asked: Rc<std::cell::RefCell<Vec<String>>>,
    }

    fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let each = fields.iter().map(|(name, value)| {
            (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
        });
        each.collect()
    }

    async fn serve(far: DuplexStream, says: Says, asked: Rc<std::cell::RefCell<Vec<String>>>) {
        let mut connection = h2::server::handshake(far).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let (head, mut body) = request.into_parts();
            let Says { status, head: with, message, trailers } = says.clone();
            let asked = Rc::clone(&asked);
            tokio::task::spawn_local(async move {
                let mut bytes = Vec::new();
                while let Some(data) = body.data().await {
                    bytes.extend_from_slice(&data.unwrap());
                }
                let te = head.headers.get("te").unwrap().to_str().unwrap();
                asked.borrow_mut().push(format!("{} {} {te} {bytes:?}", head.method, head.uri));
                let mut response = http::Response::new(());
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                *response.headers_mut() = fields(with);
                let ends = message.is_empty() && trailers.is_none();
                let mut stream = respond.send_response(response, ends).unwrap();
                if !message.is_empty() {
                    stream.send_data(message.into(), trailers.is_none()).unwrap();
                }
                if let Some(trailers) = trailers {
                    stream.send_trailers(fields(trailers)).unwrap();
                }
            });
        }
    }

    impl Connect for Server {
        type Stream = DuplexStream;

        async fn connect(&self, _: SocketAddr) -> io::Result<DuplexStream> {
            let (near, mut far) = duplex(4096);
            let (says, asked) = (self.says.clone(), Rc::clone(&self.asked));
            tokio::task::spawn_local(async move {
                if says.status == 0 {
                    let _ = far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
                    return;
                }
                serve(far, says, asked).await;
            });
            Ok(near)
        }
    }

    async fn asked(says: Says, probe: GrpcProbe) -> (Outcome, Vec<String>) {
        let asked = Rc::default();
        let prober = grpc(Server { says, asked: Rc::clone(&asked) }, probe);
        let run = prober("[fd02::11]:50051".parse().unwrap());
        let outcome = tokio::task::LocalSet::new().run_until(run).await;
        (outcome, asked.take())
    }

    fn says(message: &[u8]) -> Says {
        let mut bytes = vec![0, 0, 0, 0, message.len() as u8];
        bytes.extend_from_slice(message);
        Says { status: 200, head: GRPC, message: bytes, trailers: FINE }
    }

    #[tokio::test]
    async fn a_server_that_serves_is_well_and_is_asked_for_what_was_named() {
        let serving = says(&[0x08, 1]);
        let (outcome, request) = asked(serving.clone(), GrpcProbe::default()).await;
        assert_eq!(outcome, Outcome::Passed);
        let path = "/grpc.health.v1.Health/Check";
        let bare = format!("POST http://[fd02::11]:50051{path} trailers [0, 0, 0, 0, 0]");
        assert_eq!(request, [bare]);
        let probe = GrpcProbe { service: Some("a.B".to_owned()), host: Some("api.lab".to_owned()) };
        let (outcome, request) = asked(serving, probe).await;
        assert_eq!(outcome, Outcome::Passed);
        let body = "[0, 0, 0, 0, 5, 10, 3, 97, 46, 66]";
        assert_eq!(request, [format!("POST http://api.lab{path} trailers {body}")]);
    }

    #[tokio::test]
    async fn fields_that_are_not_known_are_skipped() {
        let more = [0x12, 2, 9, 9, 0x19, 1, 2, 3, 4, 5, 6, 7, 8, 0x25, 1, 2, 3, 4, 0x30, 0x80, 1];
        let message = [&more[..], &[0x08, 1], &more].concat();
        let (outcome, _) = asked(says(&message), GrpcProbe::default()).await;
        assert_eq!(outcome, Outcome::Passed);
    }

    #[tokio::test]
    async fn any_other_answer_fails_and_says_how() {
        let serving = || says(&[0x08, 1]);
        let text: &'static [_] = &[("content-type", "text/plain")];
        let missing: &'static [_] = &[("content-type", "application/grpc"), ("grpc-status", "12")];
        let compressed = Says { message: vec![1, 0, 0, 0, 2, 8, 1], ..serving() };
        for (says, how) in [
            (says(&[0x08, 2]), "says NOT_SERVING"),
            (says(&[0x08, 3]), "says SERVICE_UNKNOWN"),
            (says(&[0x08, 77]), "says an unknown status"),
            (says(&[]), "says UNKNOWN"),
            (says(&[0x08]), "not an answer of the health service"),
            (says(&[0x0b]), "not an answer of the health service"),
            (says(&[0x0a, 200, 1]), "not an answer of the health service"),
            (compressed, "not an answer of the health service"),
            (Says { message: Vec::new(), ..serving() }, "not an answer of the health service"),
            (Says { message: vec![b'x'; 2 * PROBE_BODY], ..serving() }, "too long an answer"),
            (Says { status: 503, ..serving() }, "HTTP status 503"),
            (Says { head: text, ..serving() }, "not gRPC"),
            (Says { trailers: None, ..serving() }, "a call without a status"),
            (Says { trailers: Some(&[("grpc-status", "5")]), ..serving() }, "gRPC status 5"),
            (
                Says { head: missing, message: Vec::new(), trailers: None, ..serving() },
                "has no health service",
            ),
            (Says::default(), "not HTTP/2"),
        ] {
            let (outcome, _) = asked(says, GrpcProbe::default()).await;
            let Outcome::Failed(failure) = outcome else { panic!("passed, not {how}") };
            assert!(failure.to_string().contains(how), "{failure}, not {how}");
        }
    }

    #[test]
    fn a_long_name_has_a_long_length() {
        let bytes = message(&"x".repeat(300));
        assert_eq!(bytes[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 2]);
    }
}
