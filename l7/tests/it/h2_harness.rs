//! Clients of HTTP/2: one by the `h2` crate, and one that writes frames as it likes.

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response};
use l7::{Config, Http2};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, split,
};
use tokio::task::spawn_local;

/// A service that takes HTTP/2 in clear text.
pub(crate) fn config() -> Config {
    let http2 = Http2 { prior_knowledge: true, ..Http2::default() };
    Config { http2, forwarded: l7::Forwarded::Hide, ..Config::default() }
}

/// A connection of the `h2` crate's client over `stream`.
pub(crate) async fn connect(stream: DuplexStream) -> SendRequest<Bytes> {
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    spawn_local(async move {
        // Tests look at streams; how the connection ends is theirs to find out.
        let _ = connection.await;
    });
    sender.ready().await.unwrap()
}

pub(crate) fn get(path: &str) -> Request<()> {
    Request::get(format!("http://a.lab{path}")).body(()).unwrap()
}

pub(crate) fn post(path: &str) -> Request<()> {
    Request::post(format!("http://a.lab{path}")).body(()).unwrap()
}

/// A whole answer: its head, its body as text and its trailers.
pub(crate) async fn receive(
    response: h2::client::ResponseFuture,
) -> Result<(Response<()>, String, Option<HeaderMap>), h2::Error> {
    let (parts, mut body) = response.await?.into_parts();
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len()).unwrap();
        bytes.extend_from_slice(&data);
    }
    let trailers = body.trailers().await?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok((Response::from_parts(parts, ()), text, trailers))
}

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const ENHANCE_YOUR_CALM: u8 = 11;

/// A client that writes and reads its frames by itself.
pub(crate) struct Raw<S = DuplexStream> {
    stream: S,
}

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Raw {
    /// Sends the preface and empty settings.
    pub(crate) async fn open(mut stream: DuplexStream) -> Self {
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut raw = Self { stream };
        raw.send(SETTINGS, 0, 0, b"").await;
        raw
    }

    /// Both directions apart.
    pub(crate) fn split(self) -> (Raw<ReadHalf<DuplexStream>>, Raw<WriteHalf<DuplexStream>>) {
        let (reader, writer) = split(self.stream);
        (Raw { stream: reader }, Raw { stream: writer })
    }
}

impl<S: AsyncWrite + Unpin> Raw<S> {
    /// A backend's end of a connection, after the preface.
    pub(crate) fn over(stream: S) -> Self {
        Self { stream }
    }

    /// Sends a frame; false if the connection takes no more.
    pub(crate) async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend_from_slice(&[kind, flags]);
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame).await.is_ok()
    }
}

impl<S: AsyncRead + Unpin> Raw<S> {
    pub(crate) async fn receive(&mut self) -> Option<Frame> {
        let mut header = [0; 9];
        self.stream.read_exact(&mut header).await.ok()?;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
        Some(Frame { kind: header[3], flags: header[4], stream, payload })
    }

    /// The reason of the GOAWAY that ends the connection, and nothing if there was none.
    pub(crate) async fn reason(&mut self) -> Option<u8> {
        let mut reason = None;
        while let Some(frame) = self.receive().await {
            if frame.kind == GOAWAY {
                reason = frame.payload.get(7).copied();
            }
        }
        reason
    }
}

/// Fields as a header block: literals that enter no table.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            block.push(text.len() as u8);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// The header block of a GET.
pub(crate) fn get_block(path: &str) -> Vec<u8> {
    block(&[(":method", "GET"), (":scheme", "http"), (":authority", "a.lab"), (":path", path)])
}
