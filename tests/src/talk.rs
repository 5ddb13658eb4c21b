//! A flow of any transport, family and kind of translation, as each of its sides writes it: for what
//! must hold of all of them.

use nat::flow::FlowId;
use nat::{Config, Mode, Nat, Verdict};
use netstack::wire::{Family, text};
use netstack::{LegId, Packet};

use crate::bed::{Bed, config, service, with_identification_of};

/// What a flow is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An established TCP connection.
    Tcp,
    /// Datagrams.
    Udp,
    /// Echo requests.
    Echo,
}

/// A bed with one flow, in which both sides have been heard.
#[derive(Debug)]
pub struct Talk {
    /// The bed.
    pub bed: Bed,
    /// What it is of.
    pub kind: Kind,
    /// IP version.
    pub family: Family,
    /// How it is translated.
    pub nat: Nat,
    /// The client's address.
    pub client: &'static str,
    /// The client's leg.
    pub client_leg: u16,
    /// What the client calls the service.
    pub vip: &'static str,
    /// What the backend calls the client.
    pub snat: &'static str,
    /// The backend's address. Its leg is 1.
    pub backend: &'static str,
    /// A router on the client's side.
    pub client_router: &'static str,
    /// A router on the backend's side.
    pub backend_router: &'static str,
    snat_port: u16,
}

/// The ports of a flow, or its identifier twice.
type Ports = (u16, u16);

impl Talk {
    /// One of every transport, family and kind of translation, from a client behind leg 0.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::kinds().map(|(kind, family, nat)| Self::new(config(), kind, family, nat, false))
    }

    /// One of every family and kind of translation.
    pub fn all_of(kind: Kind) -> impl Iterator<Item = Self> {
        Self::all().filter(move |talk| talk.kind == kind)
    }

    /// One of every transport and family in which the client is a backend of the service that it asks.
    pub fn hairpins() -> impl Iterator<Item = Self> {
        Self::kinds()
            .filter(|&(.., nat)| nat == Nat::Full)
            .map(|(kind, family, nat)| Self::new(config(), kind, family, nat, true))
    }

    fn kinds() -> impl Iterator<Item = (Kind, Family, Nat)> {
        [Kind::Tcp, Kind::Udp, Kind::Echo].into_iter().flat_map(|kind| {
            [Family::V4, Family::V6].into_iter().flat_map(move |family| {
                [Nat::Full, Nat::Dnat].map(|nat| (kind, family, nat)).into_iter()
            })
        })
    }

    /// A flow under `config`, which is [`bed::config`](config) with changes.
    ///
    /// # Panics
    /// If no flow comes about.
    pub fn new(mut config: Config, kind: Kind, family: Family, nat: Nat, hairpin: bool) -> Self {
        let v4 = family == Family::V4;
        let either = |a, b| if v4 { a } else { b };
        config.services.extend([
            service("udp 10.99.0.1:54", Mode::Nat(Nat::Dnat), 0),
            service("udp [fd99::1]:54", Mode::Nat(Nat::Dnat), 1),
            service("icmp 10.99.0.5", Mode::Nat(Nat::Dnat), 0),
            service("icmp fd99::5", Mode::Nat(Nat::Dnat), 1),
        ]);
        let client = match (v4, hairpin) {
            (true, false) => "10.1.0.5",
            (true, true) => "10.2.0.12",
            (false, false) => "fd01::5",
            (false, true) => "fd02::12",
        };
        let mut talk = Self {
            bed: Bed::new(config),
            kind,
            family,
            nat,
            client,
            client_leg: u16::from(hairpin),
            vip: match (kind, nat) {
                (Kind::Echo, Nat::Full) => either("10.99.0.4", "fd99::4"),
                (Kind::Echo, Nat::Dnat) => either("10.99.0.5", "fd99::5"),
                _ => either("10.99.0.1", "fd99::1"),
            },
            snat: if nat == Nat::Full { either("10.99.0.250", "fd99::250") } else { client },
            backend: either("10.2.0.11", "fd02::11"),
            client_router: either("10.1.0.1", "fd01::1"),
            backend_router: either("10.2.0.1", "fd02::1"),
            snat_port: 0,
        };
        talk.open();
        talk
    }

    fn open(&mut self) {
        let leg = self.client_leg;
        let first = if self.kind == Kind::Tcp { self.sent("S seq=99") } else { self.request() };
        assert_eq!(self.bed.send(leg, &first).verdict, Verdict::Forward, "{first}");
        self.snat_port = self.bed.flow().snat.port;
        if self.kind == Kind::Tcp {
            let second = self.answered("S. seq=199 ack=100");
            assert_eq!(self.bed.send(1, &second).verdict, Verdict::Forward, "{second}");
            let third = self.sent(". seq=100 ack=200");
            assert_eq!(self.bed.send(leg, &third).verdict, Verdict::Forward, "{third}");
        } else {
            let second = self.answer();
            assert_eq!(self.bed.send(1, &second).verdict, Verdict::Forward, "{second}");
        }
    }

    /// A packet of the client's, as it sends it.
    pub fn request(&self) -> String {
        self.sent(self.request_words())
    }

    /// The same as the backend sees it, but for its TTL.
    pub fn request_at_backend(&self) -> String {
        let ports = (self.snat_port, self.backend_port());
        self.line(self.snat, self.backend, ports, self.request_words())
    }

    /// A packet of the backend's, as it sends it.
    pub fn answer(&self) -> String {
        self.answered(self.answer_words())
    }

    /// The same as the client sees it, but for its TTL.
    pub fn answer_at_client(&self) -> String {
        let (client, service) = self.client_ports();
        self.line(self.vip, self.client, (service, client), self.answer_words())
    }

    /// An error from the backend's side: `what` about the client's packet, to who seems to have sent it.
    pub fn error_from_backend(&self, what: &str) -> String {
        let about = self.request_at_backend();
        format!("icmp {} > {} {what} about=({about})", self.backend_router, self.snat)
    }

    /// The same as the client is to see it.
    pub fn error_at_client(&self, what: &str) -> String {
        let about = self.request();
        format!("icmp {} > {} {what} about=({about}) ttl=63", self.vip, self.client)
    }

    /// An error from the client's side: `what` about the backend's packet.
    pub fn error_from_client(&self, what: &str) -> String {
        let about = self.answer_at_client();
        format!("icmp {} > {} {what} about=({about})", self.client_router, self.vip)
    }

    /// The same as the backend is to see it.
    pub fn error_at_backend(&self, what: &str) -> String {
        let router = if self.nat == Nat::Full { self.snat } else { self.client_router };
        let about = self.answer();
        format!("icmp {router} > {} {what} about=({about}) ttl=63", self.backend)
    }

    /// Sends `error` into `leg` and asserts that exactly the bytes of `expected` leave by `to`.
    ///
    /// # Panics
    /// If something else does.
    #[track_caller]
    pub fn passes(&mut self, leg: u16, error: &str, to: u16, expected: &str) {
        let mut packet = packet(leg, error);
        let came = packet.clone();
        let verdict = self.bed.engine.handle_packet(self.bed.now, &mut packet);
        let packet = with_identification_of(packet, &came);
        assert_eq!(verdict, Verdict::Forward, "{error}");
        assert_eq!(packet.leg, LegId(to), "{error}");
        let expected = self::packet(to, expected);
        let lines = [&packet, &expected].map(|packet| text::Line::exact(packet).to_string());
        assert_eq!(lines[0], lines[1], "{error}");
        assert_eq!(packet.data(), expected.data(), "{error}");
        self.bed.engine.assert_consistent();
    }

    /// Length of the client's packet, and of the backend's.
    pub fn quoted_len(&self) -> usize {
        packet(0, &self.request()).len()
    }

    /// The flow and all that is known of it.
    ///
    /// # Panics
    /// If there is not exactly one.
    pub fn flow(&self) -> String {
        let flows: Vec<(FlowId, _)> = self.bed.engine.flows().iter().collect();
        assert_eq!(flows.len(), 1);
        format!("{flows:?}")
    }

    fn request_words(&self) -> &'static str {
        match self.kind {
            Kind::Tcp => "P. seq=100 ack=200 len=20",
            Kind::Udp => "len=20",
            Kind::Echo => "echo seq=1 len=20",
        }
    }

    fn answer_words(&self) -> &'static str {
        match self.kind {
            Kind::Tcp => "P. seq=200 ack=100 len=20",
            Kind::Udp => "len=20",
            Kind::Echo => "reply seq=1 len=20",
        }
    }

    fn client_ports(&self) -> Ports {
        match (self.kind, self.nat) {
            (Kind::Tcp, Nat::Full) => (40_000, 80),
            (Kind::Tcp, _) => (40_000, 81),
            (Kind::Udp, Nat::Full) => (40_000, 53),
            (Kind::Udp, _) => (40_000, 54),
            (Kind::Echo, _) => (7, 7),
        }
    }

    const fn backend_port(&self) -> u16 {
        match self.kind {
            Kind::Echo => self.snat_port,
            Kind::Tcp | Kind::Udp => 8_080,
        }
    }

    fn sent(&self, words: &str) -> String {
        self.line(self.client, self.vip, self.client_ports(), words)
    }

    fn answered(&self, words: &str) -> String {
        let ports = (self.backend_port(), self.snat_port);
        self.line(self.backend, self.snat, ports, words)
    }

    fn line(&self, src: &str, dst: &str, (from, to): Ports, words: &str) -> String {
        let host = |address: &str, port| match self.family {
            Family::V4 => format!("{address}:{port}"),
            Family::V6 => format!("[{address}]:{port}"),
        };
        match self.kind {
            Kind::Tcp => format!("tcp {} > {} {words}", host(src, from), host(dst, to)),
            Kind::Udp => format!("udp {} > {} {words}", host(src, from), host(dst, to)),
            Kind::Echo => format!("icmp {src} > {dst} {words} id={from}"),
        }
    }
}

fn packet(leg: u16, line: &str) -> Packet {
    let mut packet = text::packet(line).unwrap_or_else(|e| panic!("{}", e.underline(line)));
    packet.leg = LegId(leg);
    packet
}
