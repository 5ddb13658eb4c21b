//! A small HTTP/1.1 server and client whose bodies are [`Pattern`]s.
//!
//! Unlike a real server's, its answers hold nothing of the day they were given on, so that runs can be
//! compared byte by byte. `/UP/DOWN/LEN` means: the request's body is the pattern of salt `UP`; answer
//! with `LEN` bytes of that of salt `DOWN`, in chunks if `DOWN` is odd. `X-Matched` says how many bytes
//! of the request were right, `X-Backend` who answered.

use std::io;

use tokio::io::BufReader;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt,
};

use crate::ledger::Ledger;
use crate::pattern::Pattern;
use crate::transfer::{write_pattern, wrong};

/// The longest head that either side reads.
const MAX_HEAD: u64 = 16 << 10;
const CHUNK: u64 = 10_007;

/// How a body's end is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Content-Length.
    Length,
    /// Transfer-Encoding: chunked.
    Chunked,
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Bytes of its body; with none it is a GET, else a POST.
    pub upload: u64,
    /// How the end of its body is told.
    pub framing: Framing,
    /// Bytes of the answer's body.
    pub download: u64,
    /// Makes its bytes differ from those of others.
    pub salt: u64,
}

/// A good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who gave it.
    pub backend: usize,
    /// The connection can take another request.
    pub keep: bool,
}

/// Serves requests until the client ends; each is noted in `ledger`.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, backend: usize, ledger: Ledger) {
    let mut stream = BufReader::new(stream);
    loop {
        match serve_one(&mut stream, backend).await {
            Ok(Some(matched)) => ledger.note(backend, &Ok(matched)),
            Ok(None) => return,
            Err(error) => return ledger.note(backend, &Err(error)),
        }
    }
}

async fn serve_one<S>(stream: &mut BufReader<S>, backend: usize) -> io::Result<Option<u64>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some(head) = read_head(stream).await? else { return Ok(None) };
    let path = head.start.split(' ').nth(1).unwrap_or_default();
    let mut numbers = path.split('/').skip(1).map(str::parse::<u64>);
    let (Some(Ok(up)), Some(Ok(down)), Some(Ok(len))) =
        (numbers.next(), numbers.next(), numbers.next())
    else {
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await?;
        return Ok(Some(0));
    };
    if head.field("expect").is_some() {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let framing = head.framing()?.unwrap_or(Body::Length(0));
    let matched = read_body(stream, framing, &mut Pattern::new(up)).await?;

    let framing = if down % 2 == 1 { Framing::Chunked } else { Framing::Length };
    let about = format!("X-Matched: {matched}\r\nX-Backend: {backend}\r\n");
    let head = format!("HTTP/1.1 200 OK\r\n{about}{}\r\n", framing.field(len));
    stream.write_all(head.as_bytes()).await?;
    write_body(stream, framing, &mut Pattern::new(down), len).await?;
    stream.flush().await?;
    Ok(Some(matched))
}

/// Makes one request over `stream` and checks the answer, to the last byte.
///
/// # Errors
/// What the stream says, or `InvalidData` if the answer is no 200 or a byte of it is wrong.
pub async fn ask<S>(stream: &mut BufReader<S>, host: &str, request: Request) -> io::Result<Answer>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Request { upload, framing, download, salt } = request;
    let (method, field) = match upload {
        0 => ("GET", String::new()),
        _ => ("POST", framing.field(upload)),
    };
    let path = format!("/{salt}/{}/{download}", salt ^ 1 << 40);
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{field}\r\n");
    stream.write_all(head.as_bytes()).await?;
    if upload > 0 {
        write_body(stream, framing, &mut Pattern::new(salt), upload).await?;
    }
    let head = read_head(stream).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    if !head.start.starts_with("HTTP/1.1 200 ") {
        return Err(wrong(head.start));
    }
    let body = head.framing()?.ok_or_else(|| wrong("a body without framing".into()))?;
    let got = read_body(stream, body, &mut Pattern::new(salt ^ 1 << 40)).await?;
    let matched = head.number("x-matched")?;
    if (got, matched) != (download, upload) {
        return Err(wrong(format!("{got} of {download} down, {matched} of {upload} up")));
    }
    let keep = head.field("connection").is_none_or(|value| !value.eq_ignore_ascii_case("close"));
    Ok(Answer { backend: head.number("x-backend")? as usize, keep })
}

impl Framing {
    fn field(self, len: u64) -> String {
        match self {
            Self::Length => format!("Content-Length: {len}\r\n"),
            Self::Chunked => "Transfer-Encoding: chunked\r\n".into(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Body {
    Length(u64),
    Chunked,
}

struct Head {
    start: String,
    fields: Vec<(String, String)>,
}

impl Head {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str) -> io::Result<u64> {
        let value = self.field(name).and_then(|value| value.parse().ok());
        value.ok_or_else(|| wrong(format!("no {name}")))
    }

    fn framing(&self) -> io::Result<Option<Body>> {
        if self.field("transfer-encoding").is_some() {
            return Ok(Some(Body::Chunked));
        }
        match self.field("content-length") {
            None => Ok(None),
            Some(_) => self.number("content-length").map(|len| Some(Body::Length(len))),
        }
    }
}

/// The next head; nothing if the stream ends before it.
async fn read_head<R: AsyncBufRead + Unpin>(stream: &mut R) -> io::Result<Option<Head>> {
    let mut stream = stream.take(MAX_HEAD);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return if lines.is_empty() {
                Ok(None)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let mut lines = lines.into_iter();
    let start = lines.next().unwrap_or_default();
    let fields = lines
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        })
        .collect();
    Ok(Some(Head { start, fields }))
}

/// Reads a body that must be `pattern`; how long it was.
async fn read_body<R: AsyncBufRead + Unpin>(
    stream: &mut R,
    body: Body,
    pattern: &mut Pattern,
) -> io::Result<u64> {
    match body {
        Body::Length(len) => read_exactly(stream, len, pattern).await?,
        Body::Chunked => loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let len = u64::from_str_radix(line.trim_end(), 16).map_err(|_| wrong(line))?;
            read_exactly(stream, len, pattern).await?;
            let mut end = [0; 2];
            stream.read_exact(&mut end).await?;
            if end != *b"\r\n" {
                return Err(wrong("no line end after a chunk".into()));
            }
            if len == 0 {
                break;
            }
        },
    }
    Ok(pattern.position())
}

async fn read_exactly<R: AsyncBufRead + Unpin>(
    stream: &mut R,
    len: u64,
    pattern: &mut Pattern,
) -> io::Result<()> {
    let end = pattern.position() + len;
    while pattern.position() < end {
        let bytes = stream.fill_buf().await?;
        if bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let n = bytes.len().min((end - pattern.position()) as usize);
        pattern.check(&bytes[..n]).map_err(|at| wrong(format!("byte {at} of a body")))?;
        stream.consume(n);
    }
    Ok(())
}

async fn write_body<W: AsyncWrite + Unpin>(
    stream: &mut W,
    framing: Framing,
    pattern: &mut Pattern,
    len: u64,
) -> io::Result<()> {
    if framing == Framing::Length {
        return write_pattern(stream, pattern, len).await;
    }
    let end = pattern.position() + len;
    while pattern.position() < end {
        let n = CHUNK.min(end - pattern.position());
        stream.write_all(format!("{n:x}\r\n").as_bytes()).await?;
        write_pattern(stream, pattern, n).await?;
        stream.write_all(b"\r\n").await?;
    }
    stream.write_all(b"0\r\n\r\n").await
}
