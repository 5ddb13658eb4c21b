//! `[lab]`: nodes around the balancer, the links to them, and what is expected of it all.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Prefix, Span, Spanned};
use crate::link::Settings;

/// A lab.
#[derive(Clone, Debug)]
pub struct Lab {
    /// The `[lab]` header.
    pub span: Span,
    /// Its name.
    pub name: Spanned<String>,
    /// Its nodes; those of a `count` one by one.
    pub nodes: Vec<Node>,
    /// What the links to nodes do; at most one of a node.
    pub links: Vec<NodeLink>,
    /// What must hold.
    pub expects: Vec<Expect>,
}

impl Lab {
    /// The nodes that a name stands for: one, or all that were counted under it.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (usize, &'a Node)> {
        let mine = move |node: &Node| node.name.value == name || node.group == name;
        self.nodes.iter().enumerate().filter(move |(_, node)| mine(node))
    }

    /// The link to a node, if something is said of it. One of the node alone counts before one of all
    /// that were counted with it.
    pub fn link_to(&self, node: &Node) -> Option<&NodeLink> {
        let of = |name: &String| self.links.iter().find(|link| link.node.value == *name);
        of(&node.name.value).or_else(|| of(&node.group))
    }
}

/// A host in a namespace of its own.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name.
    pub name: Spanned<String>,
    /// The name that it was counted under; its own if it was not.
    pub group: String,
    /// Its addresses, at least one.
    pub addresses: Vec<Spanned<Prefix>>,
    /// Networks that lie behind it.
    pub routes: Vec<Spanned<Prefix>>,
    /// What it runs.
    pub run: Option<Run>,
}

impl Node {
    /// Its addresses alone.
    pub fn ips(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().map(|prefix| prefix.address)
    }
}

/// What a node runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// A server of our own.
    Builtin(Builtin),
    /// A program with its arguments.
    Command(Vec<String>),
}

/// A server of our own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Builtin {
    /// Web pages that say who serves them.
    Http(Site),
    /// TCP and UDP that send back what comes, on that port.
    Echo(u16),
    /// DNS over UDP that answers every question with the node's own address, on that port.
    Dns(u16),
}

/// Where web pages are served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// The port.
    pub port: u16,
    /// Files of certificate and key; without them there is no TLS. Relative to the folder of the
    /// configuration file.
    pub tls: Option<(String, String)>,
}

/// What is said of the link to a node.
#[derive(Clone, Debug)]
pub struct NodeLink {
    /// The node.
    pub node: Spanned<String>,
    /// What it does to packets.
    pub settings: Settings,
    /// The longest packet; default 1500.
    pub mtu: Option<Spanned<u16>>,
}

/// Something that must hold.
#[derive(Clone, Debug)]
pub struct Expect {
    /// What is said of it.
    pub name: String,
    /// Where the command runs.
    pub node: Spanned<String>,
    /// The command.
    pub run: Vec<String>,
    /// How it must end; default 0.
    pub exit: i32,
    /// What every run must print.
    pub stdout: Vec<String>,
    /// Runs of one try; default 1.
    pub repeat: u32,
    /// In how many runs of a try a text must be printed.
    pub seen: Vec<Seen>,
    /// It is tried until it holds or so much time is over; default 10 s.
    pub within: Duration,
}

/// How often something must be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What.
    pub text: String,
    /// At least.
    pub least: u32,
    /// At most.
    pub most: u32,
}
