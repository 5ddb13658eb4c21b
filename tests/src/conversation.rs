//! One TCP connection through an engine, as a script of what its two ends send.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nat::flow::{State, TransportAddr, tcp::TcpState};
use nat::{Config, Scheduler, Verdict};

use crate::bed::{Bed, Seen, config};

/// The client's end.
pub const CLIENT: &str = "10.1.0.5:4000";

/// A connection through the services of [`config`].
#[derive(Debug)]
pub struct Conversation {
    /// The engine, with no flow but this one.
    pub bed: Bed,
    vip: &'static str,
}

fn socket(at: TransportAddr) -> SocketAddr {
    SocketAddr::new(IpAddr::from(at.address), at.port)
}

impl Conversation {
    /// Through the service with DNAT.
    pub fn dnat() -> Self {
        Self::with(config(), "10.99.0.1:81")
    }

    /// Through the service with full NAT.
    pub fn full_nat() -> Self {
        Self::with(config(), "10.99.0.1:80")
    }

    /// Through the service at `vip` of this configuration.
    pub fn with(config: Config, vip: &'static str) -> Self {
        Self { bed: Bed::new(config), vip }
    }

    /// Through a service that picks connections up, by a hash of the client.
    pub fn picked_up() -> Self {
        let mut config = config();
        config.pools[0].scheduler = Scheduler::Maglev;
        config.services[2].pickup = true;
        Self::with(config, "10.99.0.1:81")
    }

    /// A connection that is established: the client is at 101, the backend at 501, both with windows
    /// of 64,000 bytes and no scale.
    pub fn established() -> Self {
        let mut conversation = Self::dnat();
        conversation.run(
            "> S seq=100 win=64000
             < S. seq=500 ack=101 win=64000
             > . seq=101 ack=501 win=64000 => established",
        );
        conversation
    }

    /// Sends one segment: `> S seq=1` from the client, `< S. seq=9 ack=2` from the backend.
    ///
    /// # Panics
    /// If it is none.
    pub fn send(&mut self, line: &str) -> Seen {
        let (from, words) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
        match from {
            ">" => {
                let packet = format!("tcp {CLIENT} > {} {words}", self.vip);
                self.bed.send(0, &packet)
            }
            "<" => {
                let flow = self.bed.flow();
                let (backend, snat) = (socket(flow.backend), socket(flow.snat));
                self.bed.send(1, &format!("tcp {backend} > {snat} {words}"))
            }
            _ => panic!("{line}: neither `>` nor `<`"),
        }
    }

    /// Plays a script: a line is a segment, or `wait 4m`; `=> state` behind it is the flow's state
    /// after it. Every segment must be passed on.
    ///
    /// # Panics
    /// If one is not, or the flow's state is another.
    pub fn run(&mut self, script: &str) {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (event, state) = match line.split_once("=>") {
                Some((event, state)) => (event.trim(), Some(state.trim())),
                None => (line, None),
            };
            if let Some(time) = event.strip_prefix("wait ") {
                self.bed.wait(duration(time));
            } else {
                let seen = self.send(event);
                assert_eq!(seen.verdict, Verdict::Forward, "{line}");
            }
            if let Some(state) = state {
                assert_eq!(self.state().name(), state, "{line}, in {script}");
            }
        }
    }

    /// The flow's state.
    ///
    /// # Panics
    /// If there is not one flow, of TCP.
    pub fn state(&self) -> TcpState {
        match self.bed.flow().state {
            State::Tcp(state) => state,
            State::Datagram(_) => panic!("not TCP"),
        }
    }

    /// True as long as there is a flow.
    pub fn lives(&self) -> bool {
        !self.bed.engine.flows().is_empty()
    }
}

/// `90s`, `4m`, `2h`, or several of them: `2h4m`.
fn duration(text: &str) -> Duration {
    let mut seconds = 0;
    let mut number = 0;
    for c in text.chars() {
        match c {
            '0'..='9' => number = number * 10 + u64::from(c) - u64::from('0'),
            's' => seconds += std::mem::take(&mut number),
            'm' => seconds += 60 * std::mem::take(&mut number),
            'h' => seconds += 3_600 * std::mem::take(&mut number),
            _ => panic!("{text}: not a length of time"),
        }
    }
    Duration::from_secs(seconds)
}
