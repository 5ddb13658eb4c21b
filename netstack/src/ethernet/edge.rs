//! [`Edge`]: frames in, frames out (see [the theory of operation](super)).

use std::collections::VecDeque;
use std::fmt;

use super::arp::{Arp, Operation};
use super::ip::{contains, destination_of, is_broadcast, trim, version};
use super::ndp::{self, Ndp, Parsed};
use super::neighbors::{Answer, Ask, Neighbors, Resolution};
use super::own::{OwnAddresses, Speak};
use super::{EtherType, Header, Mac, arp_header, destination, ether_type, ip_header, source};
use crate::packet::Packet;
use crate::time::Instant;
use crate::wire::{Address, Family};

/// What an edge is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeConfig {
    /// The interface's hardware address.
    pub mac: Mac,
    /// The leg's own addresses, with the lengths of the prefixes that are on the link.
    pub addresses: Vec<(Address, u8)>,
    /// What else we answer for: virtual addresses and those of the SNAT pool.
    pub answers: Vec<Address>,
    /// Who takes what is not on the link: the first of each family counts. They are on the link.
    pub gateways: Vec<Address>,
}

macro_rules! edge_drops {
    ($($variant:ident = $name:literal: $text:literal;)*) => {
        /// Why a frame was not taken, or a packet not sent.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum EdgeDrop {
            $(#[doc = $text] $variant,)*
        }

        impl EdgeDrop {
            /// Every reason, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name that counters carry.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

edge_drops! {
    ShortFrame = "short-frame": "Fewer bytes than an Ethernet header.";
    OtherHost = "other-host": "A frame for the hardware address of another host.";
    OwnFrame = "own-frame": "A frame that we sent came back: the link has a loop, or an address is used twice.";
    VlanTag = "vlan-tag": "A frame with a VLAN tag: the leg belongs to no VLAN.";
    EtherType = "ether-type": "A frame that holds neither IP nor ARP.";
    Group = "group": "An IP packet in a frame to all or many hosts; balun balances unicast.";
    IpVersion = "frame-ip-version": "An IP packet of another version than its frame says.";
    Arp = "arp": "An ARP message that is cut short, or not about IPv4 over Ethernet.";
    Ndp = "ndp": "A message of neighbour discovery that breaks its rules (RFC 4861 section 7.1).";
    NotUnicast = "not-unicast": "To be sent to an address that names no host: a group, or a broadcast of the link.";
    NoGateway = "no-gateway": "To be sent beyond the link, and the leg has no gateway of this IP version.";
    NoNeighbor = "no-neighbor": "To be sent to a host that does not answer when asked for its hardware address.";
    NeighborsFull = "neighbors-full": "To be sent to a host whose hardware address is not known, and too many such wait already.";
}

impl fmt::Display for EdgeDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What an edge has seen and done.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct EdgeStats {
    drops: [u64; EdgeDrop::ALL.len()],
    /// Questions for the hardware addresses of others.
    pub asked: u64,
    /// Questions of others that were answered.
    pub answered: u64,
    /// Frames of others that claim an address of ours.
    pub conflicts: u64,
}

impl EdgeStats {
    /// Drops by reason, those that happened.
    pub fn drops(&self) -> impl Iterator<Item = (EdgeDrop, u64)> {
        EdgeDrop::ALL.iter().copied().zip(self.drops).filter(|(_, count)| *count > 0)
    }

    /// Drops for this reason.
    pub fn dropped(&self, reason: EdgeDrop) -> u64 {
        self.drops[reason as usize]
    }
}

/// What a frame came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Ingress {
    /// An IP packet for the engine, without the frame's padding.
    Packet,
    /// It was for the edge itself.
    Consumed,
    /// Nothing more; it has been counted.
    Dropped(EdgeDrop),
}

/// What is to be done with an IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Egress {
    /// Send it behind this header.
    Send(Header),
    /// A copy is kept until its next hop is known.
    Waits,
    /// Nothing more; it has been counted.
    Dropped(EdgeDrop),
}

/// A frame to be sent.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Its header.
    pub header: Header,
    /// What follows it: an IP packet, or an ARP message.
    pub body: Packet,
}

/// The Ethernet side of one leg (see [the theory of operation](super)).
#[derive(Debug)]
pub struct Edge {
    mac: Mac,
    links: Vec<(Address, u8)>,
    gateway_v4: Option<Address>,
    gateway_v6: Option<Address>,
    own: OwnAddresses,
    neighbors: Neighbors,
    replies: VecDeque<Outgoing>,
    lost: Option<Packet>,
    stats: EdgeStats,
}

impl Edge {
    /// An edge that takes its addresses into possession from `now` on.
    pub fn new(config: &EdgeConfig, now: Instant) -> Self {
        let gateway = |family| config.gateways.iter().copied().find(|a| a.family() == family);
        let leg = config.addresses.iter().map(|(address, _)| *address);
        Self {
            mac: config.mac,
            links: config.addresses.clone(),
            gateway_v4: gateway(Family::V4),
            gateway_v6: gateway(Family::V6),
            own: OwnAddresses::new(now, leg.chain(config.answers.iter().copied())),
            neighbors: Neighbors::default(),
            replies: VecDeque::new(),
            lost: None,
            stats: EdgeStats::default(),
        }
    }

    /// Takes a frame: its header, and its body in `packet`. `tagged` if the frame had a VLAN tag that
    /// the kernel has taken off.
    pub fn receive(
        &mut self,
        now: Instant,
        header: &Header,
        tagged: bool,
        packet: &mut Packet,
    ) -> Ingress {
        let to = destination(header);
        if to != self.mac && !to.is_group() {
            return self.refuse(EdgeDrop::OtherHost);
        }
        if tagged {
            return self.refuse(EdgeDrop::VlanTag);
        }
        if source(header) == self.mac {
            return self.refuse(EdgeDrop::OwnFrame);
        }
        match ether_type(header) {
            EtherType::Ip(family) => self.receive_ip(now, header, family, packet),
            EtherType::Arp => match Arp::parse(packet.data()) {
                Some(message) => {
                    self.receive_arp(now, to, &message);
                    Ingress::Consumed
                }
                None => self.refuse(EdgeDrop::Arp),
            },
            EtherType::Vlan => self.refuse(EdgeDrop::VlanTag),
            EtherType::Other => self.refuse(EdgeDrop::EtherType),
        }
    }

    /// Says how an IP packet is to be sent. If it has to wait, the edge keeps a copy.
    pub fn route(&mut self, now: Instant, packet: &Packet) -> Egress {
        let Some(to) = destination_of(packet) else { return self.drop(EdgeDrop::IpVersion) };
        let hop = match self.next_hop(to) {
            Ok(hop) => hop,
            Err(reason) => return self.drop(reason),
        };
        match self.neighbors.resolve(now, hop, packet) {
            Resolution::Send(mac) => Egress::Send(ip_header(mac, self.mac, to.family())),
            Resolution::Waits { instead } => {
                if instead {
                    self.count(EdgeDrop::NeighborsFull);
                }
                Egress::Waits
            }
            Resolution::Failed => {
                // One at a time: errors are rationed anyway.
                self.lost.get_or_insert_with(|| packet.clone());
                self.drop(EdgeDrop::NoNeighbor)
            }
            Resolution::Full => self.drop(EdgeDrop::NeighborsFull),
        }
    }

    /// Asks, announces and forgets, as the time has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.own.handle_timeout(now);
        self.neighbors.handle_timeout(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do, or at once if
    /// [`poll_lost`](Self::poll_lost) has.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.lost.is_some() {
            return Some(Instant::ZERO);
        }
        [self.own.poll_timeout(), self.neighbors.poll_timeout()].into_iter().flatten().min()
    }

    /// The next frame to send.
    pub fn poll_transmit(&mut self) -> Option<Outgoing> {
        if let Some(reply) = self.replies.pop_front() {
            return Some(reply);
        }
        if let Some(speak) = self.own.poll_speak() {
            return Some(self.speak(speak));
        }
        while let Some(ask) = self.neighbors.poll_ask() {
            if let Some(question) = self.ask(ask) {
                self.stats.asked += 1;
                return Some(question);
            }
        }
        let (mac, body) = self.neighbors.poll_ready()?;
        let family = destination_of(&body)?.family();
        Some(Outgoing { header: ip_header(mac, self.mac, family), body })
    }

    /// The next packet whose next hop did not answer. Its sender should hear of it.
    pub fn poll_lost(&mut self) -> Option<Packet> {
        let waited = self.neighbors.poll_lost();
        if waited.is_some() {
            self.count(EdgeDrop::NoNeighbor);
        }
        waited.or_else(|| self.lost.take())
    }

    /// Addresses that are not used, because another host has them.
    pub fn duplicates(&self) -> impl Iterator<Item = Address> {
        self.own.duplicates()
    }

    /// What it has seen and done.
    pub const fn stats(&self) -> &EdgeStats {
        &self.stats
    }

    /// Counts a frame that was too short to be given to [`receive`](Self::receive).
    pub fn refuse(&mut self, reason: EdgeDrop) -> Ingress {
        self.count(reason);
        Ingress::Dropped(reason)
    }

    fn receive_ip(
        &mut self,
        now: Instant,
        header: &Header,
        family: Family,
        packet: &mut Packet,
    ) -> Ingress {
        if packet.data().first().map(|first| first >> 4) != Some(version(family)) {
            return self.refuse(EdgeDrop::IpVersion);
        }
        trim(packet, family);
        if family == Family::V6 {
            match ndp::parse(packet) {
                Parsed::Not => {}
                Parsed::Message(message) => {
                    self.receive_ndp(now, source(header), &message);
                    return Ingress::Consumed;
                }
                Parsed::Unused => return Ingress::Consumed,
                Parsed::Malformed => return self.refuse(EdgeDrop::Ndp),
            }
        }
        if destination(header).is_group() {
            return self.refuse(EdgeDrop::Group);
        }
        Ingress::Packet
    }

    fn receive_arp(&mut self, now: Instant, to: Mac, message: &Arp) {
        let Arp { operation, sender_mac, sender, target, .. } = *message;
        if sender_mac == self.mac {
            return;
        }
        if self.own.contains(sender) {
            self.contested(now, sender);
            return;
        }
        let asks_us = operation == Operation::Request && self.own.answers(target);
        if asks_us {
            self.stats.answered += 1;
            self.say_arp(Operation::Reply, target, (sender_mac, sender), sender_mac);
        }
        if !self.on_link(sender) {
            return;
        }
        if asks_us {
            self.neighbors.heard(now, sender, sender_mac);
        } else if operation == Operation::Reply && to == self.mac && self.own.answers(target) {
            let answer = Answer { address: sender, mac: Some(sender_mac), overrides: true };
            self.neighbors.answered(now, answer);
        } else {
            self.neighbors.claimed(sender, sender_mac);
        }
    }

    fn receive_ndp(&mut self, now: Instant, from: Mac, message: &Ndp) {
        match *message {
            Ndp::Solicitation { source, target, mac } => {
                if source == Address::UNSPECIFIED && !self.own.answers(target) {
                    // Who probes an address that we are about to take takes it from us.
                    if self.own.contains(target) {
                        self.contested(now, target);
                    }
                    return;
                }
                if !self.own.answers(target) {
                    return;
                }
                self.stats.answered += 1;
                if source == Address::UNSPECIFIED {
                    self.replies.push_back(self.announcement(target));
                    return;
                }
                let body = ndp::advertisement(target, self.mac, source, true);
                let header = ip_header(mac.unwrap_or(from), self.mac, Family::V6);
                self.replies.push_back(Outgoing { header, body });
                if let Some(mac) = mac.filter(|_| self.on_link(source)) {
                    self.neighbors.heard(now, source, mac);
                }
            }
            Ndp::Advertisement { target, mac, solicited, overrides } => {
                if self.own.contains(target) {
                    self.contested(now, target);
                } else if solicited {
                    self.neighbors.answered(now, Answer { address: target, mac, overrides });
                } else if let Some(mac) = mac {
                    self.neighbors.claimed(target, mac);
                }
            }
        }
    }

    fn contested(&mut self, now: Instant, address: Address) {
        self.stats.conflicts += 1;
        self.own.contested(now, address);
    }

    /// The neighbour that takes packets to this address.
    fn next_hop(&self, to: Address) -> Result<Address, EdgeDrop> {
        if !to.is_unicast() || self.links.iter().any(|link| is_broadcast(*link, to)) {
            return Err(EdgeDrop::NotUnicast);
        }
        if self.on_link(to) {
            return Ok(to);
        }
        let gateway = if to.is_v4() { self.gateway_v4 } else { self.gateway_v6 };
        gateway.ok_or(EdgeDrop::NoGateway)
    }

    fn on_link(&self, address: Address) -> bool {
        self.links.iter().any(|link| contains(*link, address))
    }

    /// The address that a question for `target` comes from: the leg's own on that link.
    fn speaker(&self, target: Address) -> Option<Address> {
        let usable =
            |address: Address| address.family() == target.family() && self.own.answers(address);
        let near = |link: &(Address, u8)| contains(*link, target) && usable(link.0);
        let any = || self.links.iter().find(|(address, _)| usable(*address));
        self.links.iter().find(|link| near(link)).or_else(any).map(|(address, _)| *address)
    }

    /// The question, unless there is no address to ask from yet.
    fn ask(&mut self, Ask { target, to }: Ask) -> Option<Outgoing> {
        let source = self.speaker(target)?;
        if target.is_v4() {
            let mac = to.unwrap_or(Mac::BROADCAST);
            return Some(self.arp(Operation::Request, source, (Mac::ZERO, target), mac));
        }
        let group = ndp::solicited_node(target);
        let (mac, destination) = to.map_or((ndp::group_mac(group), group), |mac| (mac, target));
        let body = ndp::solicitation(source, self.mac, destination, target);
        Some(Outgoing { header: ip_header(mac, self.mac, Family::V6), body })
    }

    fn speak(&self, speak: Speak) -> Outgoing {
        match speak {
            Speak::Announce(address) => self.announcement(address),
            Speak::Probe(address) => {
                let group = ndp::solicited_node(address);
                let body = ndp::solicitation(Address::UNSPECIFIED, self.mac, group, address);
                Outgoing { header: ip_header(ndp::group_mac(group), self.mac, Family::V6), body }
            }
        }
    }

    /// That an address is ours, to everybody.
    fn announcement(&self, address: Address) -> Outgoing {
        if address.is_v4() {
            let target = (Mac::ZERO, address);
            return self.arp(Operation::Request, address, target, Mac::BROADCAST);
        }
        let body = ndp::advertisement(address, self.mac, ndp::ALL_NODES, false);
        Outgoing { header: ip_header(ndp::group_mac(ndp::ALL_NODES), self.mac, Family::V6), body }
    }

    fn say_arp(&mut self, operation: Operation, sender: Address, to: (Mac, Address), frame: Mac) {
        let outgoing = self.arp(operation, sender, to, frame);
        self.replies.push_back(outgoing);
    }

    fn arp(
        &self,
        operation: Operation,
        sender: Address,
        (target_mac, target): (Mac, Address),
        frame: Mac,
    ) -> Outgoing {
        let message = Arp { operation, sender_mac: self.mac, sender, target_mac, target };
        Outgoing { header: arp_header(frame, self.mac), body: Packet::from_ip(&message.bytes()) }
    }

    fn drop(&mut self, reason: EdgeDrop) -> Egress {
        self.count(reason);
        Egress::Dropped(reason)
    }

    const fn count(&mut self, reason: EdgeDrop) {
        self.stats.drops[reason as usize] += 1;
    }
}
