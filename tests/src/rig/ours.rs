//! An endpoint of ours with an application, in this process.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use netstack::tcp::{ConnectionId, Endpoint, EndpointConfig, State, StreamError};
use netstack::wire::Headers;
use netstack::{Instant, Packet};

use super::end::End;
use super::{Algorithm, BUFFER, Failure};

/// What an application reads or writes at once.
const CHUNK: usize = 256 << 10;
/// Chunks in a turn: packets of others wait for so long.
const CHUNKS: usize = 2;

/// An endpoint as it is measured.
pub fn config(algorithm: Algorithm, seed: u64) -> EndpointConfig {
    let congestion = match algorithm {
        Algorithm::Cubic => netstack::tcp::Algorithm::Cubic,
        Algorithm::Bbr => netstack::tcp::Algorithm::Bbr,
    };
    EndpointConfig {
        congestion,
        receive_buffer: BUFFER,
        send_buffer: BUFFER,
        ..EndpointConfig::new([seed, 0xba1])
    }
}

/// What the endpoint's connections are for.
#[derive(Debug)]
pub enum Application {
    /// Connects there and writes without end.
    Source {
        /// Whom to write to.
        remote: SocketAddr,
        /// The connection, once it has been begun.
        id: Option<ConnectionId>,
    },
    /// Accepts connections and reads from each.
    Sink {
        /// Those accepted.
        ids: Vec<ConnectionId>,
        /// Bytes read from all of them.
        read: Rc<Cell<u64>>,
    },
    /// Accepts connections and writes an answer for each request.
    Answers {
        /// Connections, with the bytes of a request that have come and those of answers to be written.
        clients: Vec<(ConnectionId, usize, usize)>,
        /// Bytes of a request.
        request: usize,
        /// Bytes of an answer.
        answer: usize,
    },
}

/// An endpoint at an end of a link.
#[derive(Debug)]
pub struct Ours {
    endpoint: Endpoint,
    address: IpAddr,
    application: Application,
    chunk: Vec<u8>,
}

impl Ours {
    /// An endpoint that has this address.
    pub fn new(config: EndpointConfig, address: IpAddr, application: Application) -> Self {
        Self { endpoint: Endpoint::new(config), address, application, chunk: vec![0; CHUNK] }
    }
}

impl End for Ours {
    fn receive(&mut self, now: Instant, packet: &mut Packet) -> Result<(), Failure> {
        if let Ok(headers) = Headers::parse(packet) {
            self.endpoint.handle_packet(now, packet, &headers, 0);
        }
        Ok(())
    }

    fn transmit(&mut self, now: Instant, packet: &mut Packet) -> Result<bool, Failure> {
        Ok(self.endpoint.poll_transmit(now, packet))
    }

    fn turn(&mut self, now: Instant) -> Result<(), Failure> {
        let Self { endpoint, application, chunk, address } = self;
        if endpoint.poll_timeout().is_some_and(|at| at <= now) {
            endpoint.handle_timeout(now);
        }
        let failed = |error: StreamError| Failure::because(format!("our endpoint: {error}"));
        match application {
            Application::Source { remote, id } => {
                let local = SocketAddr::new(*address, 0);
                let id = if let Some(id) = id {
                    id
                } else {
                    let begun = endpoint.connect(now, local, *remote);
                    id.insert(begun.map_err(Failure::because)?)
                };
                write(endpoint, *id, chunk, CHUNKS * CHUNK).map(drop).map_err(failed)
            }
            Application::Sink { ids, read } => {
                ids.extend(accepted(endpoint));
                for &id in &*ids {
                    read.set(read.get() + read_some(endpoint, id, chunk).map_err(failed)? as u64);
                }
                Ok(())
            }
            Application::Answers { clients, request, answer } => {
                clients.extend(accepted(endpoint).map(|id| (id, 0, 0)));
                for (id, come, owed) in clients {
                    *come += read_some(endpoint, *id, chunk).map_err(failed)?;
                    *owed += *come / *request * *answer;
                    *come %= *request;
                    *owed -= write(endpoint, *id, chunk, *owed).map_err(failed)?;
                }
                Ok(())
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.endpoint.poll_timeout()
    }

    fn owns(&self, address: IpAddr) -> bool {
        address == self.address
    }
}

fn accepted(endpoint: &mut Endpoint) -> impl Iterator<Item = ConnectionId> {
    std::iter::from_fn(|| endpoint.accept()).map(|accepted| accepted.id)
}

/// Writes up to `most` bytes, as there is room; how many.
fn write(
    endpoint: &mut Endpoint,
    id: ConnectionId,
    chunk: &[u8],
    most: usize,
) -> Result<usize, StreamError> {
    let mut written = 0;
    while written < most {
        match endpoint.send(id, &chunk[..chunk.len().min(most - written)]) {
            Ok(sent) => written += sent,
            Err(StreamError::WouldBlock) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

/// Reads what is there, up to some chunks; how much. A peer that is done is closed.
fn read_some(
    endpoint: &mut Endpoint,
    id: ConnectionId,
    chunk: &mut [u8],
) -> Result<usize, StreamError> {
    let mut read = 0;
    for _ in 0..CHUNKS {
        match endpoint.recv(id, chunk) {
            Ok(0) if endpoint.state(id) == State::CloseWait => {
                endpoint.close(id);
                break;
            }
            Ok(0) | Err(StreamError::WouldBlock | StreamError::Unknown | StreamError::Reset) => {
                break;
            }
            Ok(count) => read += count,
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}
