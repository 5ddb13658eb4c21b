//! What clients do, and the book in which they write what went wrong.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use balun::lab::client::Dial;
use balun::sim::{Plain, SimDial};
use l7::orderly::Orderly;
use netstack::wire::{Family, Headers, Transport, text};
use netstack::{LegId, Packet};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::time::{sleep, timeout};

use super::plan::Task;
use super::world;
use crate::bed::is_good;
use crate::http::{self, Request};
use crate::ledger::Ledger;
use crate::pattern::Pattern;
use crate::topology::{DATAGRAMS, FAMILIES, backend, vip};
use crate::transfer;

/// How long a client waits for its work to be done.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// What clients and servers share.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// What web servers saw.
    pub ledger: Ledger,
    pages: Rc<RefCell<Pages>>,
}

#[derive(Debug, Default)]
struct Pages {
    wrong: Vec<String>,
    datagrams: HashMap<u64, Datagram>,
}

/// A datagram that was sent.
#[derive(Debug)]
struct Datagram {
    client: u8,
    from: SocketAddr,
    to: SocketAddr,
    payload: Vec<u8>,
    answered: bool,
}

impl Book {
    /// Notes it if `result` shows bytes that should not be: an error may end anything, but nothing may
    /// be other than it was sent.
    pub fn judge(&self, who: &str, result: io::Result<()>) {
        if let Err(error) = result
            && error.kind() == ErrorKind::InvalidData
            && !is_refusal(&error)
        {
            self.pages.borrow_mut().wrong.push(format!("{who}: {error}"));
        }
    }

    /// The first thing that was wrong.
    pub fn wrong(&self) -> Option<String> {
        let mut of_servers = self.ledger.records().into_iter();
        let of_servers = of_servers.find(|record| record.result == Err(ErrorKind::InvalidData));
        let of_servers = of_servers.map(|record| format!("web server {}", record.backend));
        self.pages.borrow().wrong.first().cloned().or(of_servers)
    }

    /// True if the datagram of this number was echoed.
    pub fn is_answered(&self, id: u64) -> bool {
        self.pages.borrow().datagrams.get(&id).is_some_and(|datagram| datagram.answered)
    }

    /// Takes what is not TCP at a client: an echo must be that of what it sent.
    pub fn listener(&self, client: u8) -> Plain {
        let book = self.clone();
        Box::new(move |packet| {
            if let Err(what) = book.hear(client, packet) {
                book.pages.borrow_mut().wrong.push(format!("client {client}: {what}"));
            }
            false
        })
    }

    fn hear(&self, client: u8, packet: &Packet) -> Result<(), String> {
        let Some(headers) = Headers::parse(packet).ok().filter(|_| is_good(packet)) else {
            return Ok(());
        };
        let Transport::Udp { src_port, dst_port } = headers.transport else { return Ok(()) };
        let from = SocketAddr::new(headers.src.into(), src_port);
        let to = SocketAddr::new(headers.dst.into(), dst_port);
        let payload = &packet.data()[headers.l4() + 8..headers.total_len()];
        let line = || text::Line::of(packet).to_string();
        let id = payload.first_chunk().ok_or_else(line)?;
        let mut pages = self.pages.borrow_mut();
        let sent = pages.datagrams.get_mut(&u64::from_be_bytes(*id)).ok_or_else(line)?;
        if (sent.client, sent.from, &*sent.payload) != (client, to, payload) {
            return Err(format!("{} is no echo of {} > {}", line(), sent.from, sent.to));
        }
        // An answer under DNAT whose flow is forgotten is nobody's, and routed as it is.
        let is_stray = FAMILIES.iter().any(|&f| (0..u8::MAX).any(|n| backend(f, n) == from.ip()));
        if sent.to != from && !is_stray {
            return Err(format!("{} is no answer of {}", line(), sent.to));
        }
        sent.answered |= !is_stray;
        Ok(())
    }

    /// The datagram of this number, for its first time.
    ///
    /// # Panics
    /// Never: its line is sound.
    pub fn datagram(&self, id: u64, client: u8, family: Family, dnat: bool, len: u16) -> Packet {
        let port = 40_000 + (id >> 32) as u16;
        let from = SocketAddr::new(world::client(family, client), port);
        let to = vip(family, DATAGRAMS + u16::from(dnat));
        let mut payload = id.to_be_bytes().to_vec();
        payload.extend(Pattern::bytes(id, usize::from(len) - payload.len()));
        let mut line = format!("udp {from} > {to} data=");
        for byte in &payload {
            // Writing to a string does not fail.
            let _ = write!(line, "{byte:02x}");
        }
        let mut packet = text::packet(&line).unwrap_or_else(|e| panic!("{}", e.underline(&line)));
        packet.leg = LegId(client.into());
        let sent = Datagram { client, from, to, payload, answered: false };
        self.pages.borrow_mut().datagrams.insert(id, sent);
        packet
    }
}

/// True for what a balancer says that has no backend to ask, or none that answered.
fn is_refusal(error: &io::Error) -> bool {
    let text = error.to_string();
    ["HTTP/1.1 502 ", "HTTP/1.1 503 ", "HTTP/1.1 504 ", "HTTP/1.1 408 "]
        .iter()
        .any(|status| text.starts_with(status))
}

/// Does a task over TCP, for at most [`PATIENCE`].
///
/// # Errors
/// What ended it early; `InvalidData` if a byte was wrong.
pub async fn work(dial: SimDial, family: Family, task: Task) -> io::Result<()> {
    let work = async {
        match task {
            Task::Transfer(mode, job) => {
                let stream = dial.dial(vip(family, mode.bytes_port())).await?;
                transfer::run(Orderly::new(stream), job).await
            }
            Task::Ask { mode, count, request, pause } => {
                ask(&dial, vip(family, mode.web_port()), count, request, pause).await
            }
            Task::Echo { .. } => Ok(()),
        }
    };
    timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

async fn ask(
    dial: &SimDial,
    to: SocketAddr,
    count: u8,
    request: Request,
    pause: Duration,
) -> io::Result<()> {
    let mut stream = BufReader::new(Orderly::new(dial.dial(to).await?));
    for salt in (request.salt..).take(count.into()) {
        let answer = http::ask(&mut stream, "soak", Request { salt, ..request }).await?;
        if !answer.keep {
            break;
        }
        sleep(pause).await;
    }
    stream.shutdown().await
}
