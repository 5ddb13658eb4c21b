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

/// What a host's kernel does with packets that are not TCP: takes one, and says whether it was turned
/// into an answer.
pub type Plain = Box<dyn FnMut(&mut Packet) -> bool>;

/// A host with an address of each family, or of one.
pub struct Host {
    addresses: Vec<Address>,
    proxy: Proxy,
    /// Who takes connections, on every port.
    acceptor: Option<Acceptor>,
    plain: Option<Plain>,
    seed: u64,
    mtu: u16,
    life: Life,
    /// What a killed server's kernel has to say yet.
    resets: Option<Stack>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Up,
    /// Its server is gone; its kernel is not.
    Killed,
    Off,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("addresses", &self.addresses).finish_non_exhaustive()
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
        let mtu = EndpointConfig::new([0; 2]).mtu;
        let proxy = proxy(acceptor.clone(), seed, mtu);
        let addresses = vec![address.into()];
        Self { addresses, proxy, acceptor, plain: None, seed, mtu, life: Life::Up, resets: None }
    }

    /// Gives it a further address.
    #[must_use]
    pub fn with_address(mut self, address: IpAddr) -> Self {
        self.addresses.push(address.into());
        self
    }

    /// Gives what is not TCP to `plain`, as long as the host lives.
    #[must_use]
    pub fn with_plain(mut self, plain: Plain) -> Self {
        self.plain = Some(plain);
        self
    }

    /// Sets the longest packet that its TCP sends and asks for. To be called first.
    #[must_use]
    pub fn with_mtu(mut self, mtu: u16) -> Self {
        self.mtu = mtu;
        self.restart();
        self
    }

    /// Runs `future` on this host.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.proxy.spawn(future);
    }

    /// A way to connect from this host.
    pub fn dial(&self) -> SimDial {
        SimDial {
            stack: self.proxy.stack().clone(),
            addresses: self.addresses.iter().map(|&address| address.into()).collect(),
        }
    }

    /// Ends its server and all connections, as a crash of the process would: each gets a RST, and so does
    /// every segment from now on.
    pub fn kill(&mut self) {
        self.life = Life::Killed;
        let last = std::mem::replace(&mut self.proxy, proxy(None, self.seed, self.mtu));
        let stack = last.stack().clone();
        drop(last);
        stack.with(Endpoint::abort_all);
        self.resets = Some(stack);
        self.restart();
    }

    /// Ends all that it does without a word, as a crash of the machine would: from now on nothing is
    /// answered.
    pub fn power_off(&mut self) {
        self.life = Life::Off;
        self.restart();
    }

    /// Starts it again, or its server, with no connection.
    pub const fn revive(&mut self) {
        self.life = Life::Up;
    }

    fn restart(&mut self) {
        self.seed = self.seed.wrapping_add(1);
        self.proxy = proxy(self.acceptor.clone(), self.seed, self.mtu);
    }

    /// Takes a packet; true if it was turned into an answer that is to be sent.
    pub(super) fn handle_packet(&mut self, now: Instant, packet: &mut Packet) -> bool {
        let Ok(headers) = Headers::parse(packet) else { return false };
        if !self.addresses.contains(&headers.dst) || self.life == Life::Off {
            return false;
        }
        let Transport::Tcp { flags, .. } = headers.transport else {
            return self.plain.as_mut().is_some_and(|plain| plain(packet));
        };
        if self.life == Life::Killed {
            let answer = !flags.contains(TcpFlags::RST);
            if answer {
                nat::icmp::reset(packet, &headers);
            }
            return answer;
        }
        self.proxy.handle_packet(now, DivertTo::Service(ServiceId(0)), packet, &headers);
        false
    }

    pub(super) fn poll_transmit(&mut self, now: Instant, packet: &mut Packet) -> bool {
        if let Some(stack) = &self.resets {
            if stack.with(|endpoint| endpoint.poll_transmit(now, packet)) {
                return true;
            }
            self.resets = None;
        }
        if !self.proxy.poll_transmit(now, packet) {
            self.proxy.poll(now);
            return self.proxy.poll_transmit(now, packet);
        }
        true
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let resets = self.resets.as_ref().and_then(|stack| stack.with(|end| end.poll_timeout()));
        resets.into_iter().chain(self.proxy.poll_timeout()).min()
    }

    pub(super) fn poll_wake(&self, cx: &Context<'_>) -> bool {
        self.proxy.poll_wake(cx).is_ready()
    }
}

fn proxy(acceptor: Option<Acceptor>, seed: u64, mtu: u16) -> Proxy {
    let config = EndpointConfig { mtu, ..EndpointConfig::new([seed, !seed]) };
    let stack = Stack::new(Endpoint::new(config));
    Proxy::new(stack, vec![acceptor])
}

/// Connects from a simulated host.
#[derive(Clone, Debug)]
pub struct SimDial {
    stack: Stack,
    addresses: Vec<IpAddr>,
}

impl Dial for SimDial {
    type Stream = TcpStream;

    async fn dial(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let from = self.addresses.iter().find(|from| from.is_ipv4() == to.is_ipv4());
        let from = *from.ok_or(io::ErrorKind::AddrNotAvailable)?;
        self.stack.connect(SocketAddr::new(from, 0), to).await
    }
}
