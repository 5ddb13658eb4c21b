//! Connections to backends by the host's own sockets.

use std::io;
use std::net::SocketAddr;

use l7::upstream::Connect;
use tokio::net::TcpStream;

/// Connects by sockets of the namespace that the process runs in.
#[derive(Clone, Copy, Debug)]
pub struct KernelConnect;

impl Connect for KernelConnect {
    type Stream = TcpStream;

    async fn connect(&self, backend: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(backend).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
