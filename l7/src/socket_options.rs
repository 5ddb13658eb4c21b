//! What is set of the TCP connections that end here, as `setsockopt` sets it.

use std::rc::Rc;

use netstack::tcp::{Algorithm, KeepaliveConfig, TcpStream};

use crate::divert::Acceptor;

/// What a service sets of its connections; nothing leaves it as the endpoint has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketOptions {
    /// How much may be in flight (`TCP_CONGESTION`).
    pub congestion: Option<Algorithm>,
    /// How idle connections are probed (`SO_KEEPALIVE`).
    pub keepalive: Option<KeepaliveConfig>,
}

impl SocketOptions {
    /// Sets them of `stream`. On a connection that is over already they have no effect: who reads or
    /// writes it hears of that.
    pub fn set(&self, stream: &TcpStream) {
        if let Some(algorithm) = self.congestion {
            let _ = stream.set_congestion(algorithm);
        }
        if self.keepalive.is_some() {
            let _ = stream.set_keepalive(self.keepalive);
        }
    }

    /// An acceptor that sets them of each stream and hands it to `acceptor`.
    pub fn set_before(self, acceptor: Acceptor) -> Acceptor {
        Rc::new(move |stream, peer, local| {
            self.set(&stream);
            acceptor(stream, peer, local);
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::time::Duration;

    use netstack::tcp::{ConnectionId, Endpoint, EndpointConfig, Stack, StreamError};
    use netstack::wire::Headers;
    use netstack::{Instant, Packet};
    use tokio::task::{LocalSet, yield_now};

    use super::*;
    use crate::balance::Userspace;
    use crate::upstream::Connect;

    /// Carries what two stacks send each other, at one instant.
    async fn carry(stacks: [Stack; 2]) {
        let (mut packet, now) = (Packet::with_capacity(0), Instant::from_secs(1));
        loop {
            for from in 0..2 {
                while stacks[from].with(|end| end.poll_transmit(now, &mut packet)) {
                    let headers = Headers::parse(&packet).unwrap();
                    stacks[1 - from].with(|end| end.handle_packet(now, &packet, &headers, 0));
                }
            }
            yield_now().await;
        }
    }

    fn congestion(stream: &TcpStream) -> &'static str {
        stream.info().and_then(|info| info.sender).unwrap().congestion
    }

    /// Lets time pass until there is nothing to wait for; how the connection failed then.
    fn left_alone(stack: &Stack, id: ConnectionId) -> Option<StreamError> {
        let mut packet = Packet::with_capacity(0);
        while let Some(due) = stack.with(|end| end.poll_timeout()) {
            stack.with(|end| {
                end.handle_timeout(due);
                while end.poll_transmit(due, &mut packet) {}
            });
        }
        stack.with(|end| end.error(id))
    }

    #[tokio::test(flavor = "current_thread")]
    async fn both_sides_of_a_service_get_them() {
        let idle = Duration::from_mins(1);
        let keepalive = Some(KeepaliveConfig { idle, ..KeepaliveConfig::default() });
        let options = SocketOptions { congestion: Some(Algorithm::Bbr), keepalive };
        let stacks = [1, 2].map(|seed| Stack::new(Endpoint::new(EndpointConfig::new([seed, 0]))));
        let [client, server] = stacks.clone();
        let tasks = LocalSet::new();
        tasks.spawn_local(carry(stacks));
        let run = async move {
            let upstream = Userspace::new(client.clone()).with_options(options);
            let stream = upstream.connect(([10, 0, 0, 2], 80).into()).await.unwrap();
            assert_eq!(congestion(stream.get_ref().unwrap()), "bbr");

            let seen = Rc::new(RefCell::new(None));
            let acceptor = options.set_before(Rc::new({
                let seen = Rc::clone(&seen);
                move |stream: TcpStream, _, _| *seen.borrow_mut() = Some(stream)
            }));
            let (client_side, _) = server.accept().await;
            let (peer, local) = (client_side.peer_addr(), client_side.local_addr());
            assert_eq!(congestion(&client_side), "cubic", "the endpoint's own choice");
            acceptor(client_side, peer, local);
            let accepted = seen.take().unwrap();
            assert_eq!(congestion(&accepted), "bbr");

            // The peers fall silent, and nothing is in flight: without probes nobody would notice.
            let (upstream, accepted) = (stream.get_ref().unwrap().id(), accepted.id());
            assert_eq!(left_alone(&client, upstream), Some(StreamError::TimedOut));
            assert_eq!(left_alone(&server, accepted), Some(StreamError::TimedOut));
        };
        tasks.run_until(run).await;
    }
}
