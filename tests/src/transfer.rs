//! A protocol that moves bytes both ways and tells each end whether they were right.
//!
//! The client opens with a header that says how many bytes go each way, by which salt, and in which
//! order the sides speak. Then both send their [`Pattern`]s and shut down for writing; each checks what
//! it reads, to the end of the stream.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};

use crate::pattern::Pattern;

/// Who speaks when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Both at once.
    Duplex,
    /// The server begins when it has seen the end of the client's bytes: the client half-closes.
    ClientFirst,
    /// The client begins when it has seen the end of the server's bytes: the server half-closes.
    ServerFirst,
}

/// What to transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// Bytes to the server.
    pub upload: u64,
    /// Bytes to the client.
    pub download: u64,
    /// Makes the bytes differ from those of other jobs.
    pub salt: u64,
    /// Who speaks when.
    pub order: Order,
}

/// Bytes that a client opens with.
pub const HEADER: usize = 25;
const PIECE: usize = 16 << 10;

impl Job {
    /// What a client opens with.
    pub fn header(self) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        for (at, value) in [(0, self.upload), (8, self.download), (16, self.salt)] {
            header[at..at + 8].copy_from_slice(&value.to_be_bytes());
        }
        header[24] = self.order as u8;
        header
    }

    fn decode(header: [u8; HEADER]) -> io::Result<Self> {
        let field = |at: usize| {
            header[at..at + 8].iter().fold(0, |value, &byte| value << 8 | u64::from(byte))
        };
        let order = match header[24] {
            0 => Order::Duplex,
            1 => Order::ClientFirst,
            2 => Order::ServerFirst,
            other => return Err(wrong(format!("order {other}"))),
        };
        Ok(Self { upload: field(0), download: field(8), salt: field(16), order })
    }

    const fn up(self) -> (u64, u64) {
        (self.salt, self.upload)
    }

    const fn down(self) -> (u64, u64) {
        (!self.salt, self.download)
    }
}

/// An error of kind `InvalidData`: a byte was not as it should be.
pub fn wrong(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Serves one connection; how many bytes the client sent.
///
/// # Errors
/// What the stream says, or `InvalidData` if a byte was wrong or the end came too early or late.
pub async fn serve<S: AsyncRead + AsyncWrite>(stream: S) -> io::Result<u64> {
    let (mut reader, mut writer) = split(stream);
    let mut header = [0; HEADER];
    reader.read_exact(&mut header).await?;
    let job = Job::decode(header)?;
    match job.order {
        Order::Duplex => {
            tokio::try_join!(receive(&mut reader, job.up()), send(&mut writer, job.down()))?;
        }
        Order::ClientFirst => {
            receive(&mut reader, job.up()).await?;
            send(&mut writer, job.down()).await?;
        }
        Order::ServerFirst => {
            send(&mut writer, job.down()).await?;
            receive(&mut reader, job.up()).await?;
        }
    }
    Ok(job.upload)
}

/// Does `job` over a fresh connection.
///
/// # Errors
/// As [`serve`].
pub async fn run<S: AsyncRead + AsyncWrite>(stream: S, job: Job) -> io::Result<()> {
    let (mut reader, mut writer) = split(stream);
    writer.write_all(&job.header()).await?;
    match job.order {
        Order::Duplex => {
            tokio::try_join!(send(&mut writer, job.up()), receive(&mut reader, job.down()))?;
        }
        Order::ClientFirst => {
            send(&mut writer, job.up()).await?;
            receive(&mut reader, job.down()).await?;
        }
        Order::ServerFirst => {
            receive(&mut reader, job.down()).await?;
            send(&mut writer, job.up()).await?;
        }
    }
    Ok(())
}

/// Begins `job`, sends `part` bytes of its upload and leaves it at that.
///
/// # Errors
/// What the stream says.
pub async fn begin<S: AsyncWrite + Unpin>(stream: &mut S, job: Job, part: usize) -> io::Result<()> {
    stream.write_all(&job.header()).await?;
    stream.write_all(&Pattern::bytes(job.salt, part)).await
}

async fn send<W: AsyncWrite + Unpin>(writer: &mut W, (salt, len): (u64, u64)) -> io::Result<()> {
    write_pattern(writer, &mut Pattern::new(salt), len).await?;
    writer.shutdown().await
}

/// Writes the next `len` bytes of `pattern`.
///
/// # Errors
/// What the stream says.
pub async fn write_pattern<W: AsyncWrite + Unpin>(
    writer: &mut W,
    pattern: &mut Pattern,
    len: u64,
) -> io::Result<()> {
    let end = pattern.position() + len;
    let mut piece = vec![0; PIECE.min(len as usize)];
    while pattern.position() < end {
        let n = piece.len().min((end - pattern.position()) as usize);
        pattern.fill(&mut piece[..n]);
        writer.write_all(&piece[..n]).await?;
    }
    Ok(())
}

async fn receive<R: AsyncRead + Unpin>(reader: &mut R, (salt, len): (u64, u64)) -> io::Result<()> {
    let mut pattern = Pattern::new(salt);
    let mut piece = vec![0; PIECE];
    loop {
        let n = reader.read(&mut piece).await?;
        if n == 0 {
            break;
        }
        pattern.check(&piece[..n]).map_err(|at| wrong(format!("byte {at} of {len}")))?;
    }
    if pattern.position() == len {
        Ok(())
    } else {
        Err(wrong(format!("{} bytes instead of {len}", pattern.position())))
    }
}
