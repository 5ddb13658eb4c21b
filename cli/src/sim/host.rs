//! A simulated host: TCP and the tasks that use it.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::Context;

use l7::divert::{Acceptor, Proxy};
use nat::verdict::DivertTo;
use nat::{Divert, ServiceId};
use netstack::tcp::{Endpoint, EndpointConfig, Stack, TcpStream};
use netstack::wire::{Address, Headers, TcpFlags, Transport};
use netstack::{Instant, Packet};

use crate::lab::client::Dial;
use crate::lab::web;

/// A host with one address.
pub struct Host {
    address: Address,
    proxy: Proxy,
    /// Who takes connections, on every port.
    acceptor: Option<Acceptor>,
    seed: u64,
    down: bool,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Host {
    /// A host that serves nothing: a client.
    pub fn client(address: IpAddr, seed: u64) -> Self {
        Self::new(address, None, seed)
    }

    /// A host that serves the built-in web pages, under `name`, on every port.
    pub fn web(address: IpAddr, name: &str, seed: u64) -> Self {
        let name: Rc<str> = name.into();
        let acceptor = move |stream: TcpStream, _, _| {
            tokio::task::spawn_local(web::serve_connection(stream, Rc::clone(&name)));
        };
        Self::serving(address, Rc::new(acceptor), seed)
    }

    /// A host that gives the connections of every port to `acceptor`, which spawns what serves them.
    pub fn serving(address: IpAddr, acceptor: Acceptor, seed: u64) -> Self {
        Self::new(address, Some(acceptor), seed)
    }

    fn new(address: IpAddr, acceptor: Option<Acceptor>, seed: u64) -> Self {
        let proxy = proxy(acceptor.clone(), seed);
        Self { address: address.into(), proxy, acceptor, seed, down: false }
    }

    /// Runs `future` on this host.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.proxy.spawn(future);
    }

    /// A way to connect from this host.
    pub fn dial(&self) -> SimDial {
        SimDial { stack: self.proxy.stack().clone(), address: self.address.into() }
    }

    /// Ends its server and all connections, as a crash of the process would: from now on every
    /// segment is answered by a RST.
    pub fn kill(&mut self) {
        self.down = true;
        self.seed = self.seed.wrapping_add(1);
        self.proxy = proxy(self.acceptor.clone(), self.seed);
    }

    /// Starts its server again.
    pub const fn revive(&mut self) {
        self.down = false;
    }

    /// Takes a packet; true if it was turned into an answer that is to be sent.
    pub(super) fn handle_packet(&mut self, now: Instant, packet: &mut Packet) -> bool {
        let Ok(headers) = Headers::parse(packet) else { return false };
        if headers.dst != self.address {
            return false;
        }
        if self.down {
            let answer = matches!(headers.transport, Transport::Tcp { flags, .. } if !flags.contains(TcpFlags::RST));
            if answer {
                nat::icmp::reset(packet, &headers);
            }
            return answer;
        }
        self.proxy.handle_packet(now, DivertTo::Service(ServiceId(0)), packet, &headers);
        false
    }

    pub(super) fn poll_transmit(&mut self, now: Instant, packet: &mut Packet) -> bool {
        if !self.proxy.poll_transmit(now, packet) {
            self.proxy.poll(now);
            return self.proxy.poll_transmit(now, packet);
        }
        true
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.proxy.poll_timeout()
    }

    pub(super) fn poll_wake(&self, cx: &Context<'_>) -> bool {
        self.proxy.poll_wake(cx).is_ready()
    }
}

fn proxy(acceptor: Option<Acceptor>, seed: u64) -> Proxy {
    let stack = Stack::new(Endpoint::new(EndpointConfig::new([seed, !seed])));
    Proxy::new(stack, vec![acceptor])
}

/// Connects from a simulated host.
#[derive(Clone, Debug)]
pub struct SimDial {
    stack: Stack,
    address: IpAddr,
}

impl Dial for SimDial {
    type Stream = TcpStream;

    async fn dial(&self, to: SocketAddr) -> io::Result<TcpStream> {
        self.stack.connect(SocketAddr::new(self.address, 0), to).await
    }
}
