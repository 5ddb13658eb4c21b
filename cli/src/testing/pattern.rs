//! Patterns of packets: a packet line of which parts are left out.
//!
//! ```text
//! > 10.2.0.12:8080                         any packet to there
//! tcp * > 10.2.0.0/24:8080 S ttl=63        a SYN to any host of a network, with this TTL
//! udp $snat > $backend:53 len=20           source and backend are captured, or compared if they were
//! icmp unreachable code=port about=(udp $snat > 10.2.0.11:53)
//! nothing                                  no packet at all
//! ```
//!
//! What is named is compared, everything else is free. A word without a value must be among the
//! packet's words; a pattern without a protocol, or with `*`, is of any. An address may be a network,
//! `*` or a variable, with or without a port, and a port `*` or a variable. The value of a word may be
//! a variable too. A word that the packet's line leaves out has its default there: `ack=0` matches a
//! SYN.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use nat::Prefix;
use netstack::Packet;
use netstack::wire::Address;
use netstack::wire::text::{self, Description, Line};

use super::reply;
use super::variables::{Variables, variable};

/// A pattern that has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    shape: Option<Shape>,
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    /// The bytes that are wrong.
    pub span: Range<usize>,
    /// What is wrong with them.
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Shape {
    protocol: Option<String>,
    source: End,
    destination: End,
    words: Vec<Word>,
}

/// A source or a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Any,
    /// A variable that stands for address and port, if there is one.
    Whole(String),
    Parts(Host, Port),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Any,
    In(Prefix),
    Variable(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Port {
    Any,
    Is(u16),
    Variable(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    Flags(String),
    Bare(String),
    Value(String, String),
    Variable(String, String),
    Data(Vec<u8>),
    About(Box<Pattern>),
}

const PROTOCOLS: [&str; 4] = ["tcp", "udp", "icmp", "ip"];
const BARE: [&str; 12] = [
    "df",
    "reserved",
    "nop",
    "sackok",
    "ecn",
    "echo",
    "reply",
    "unreachable",
    "too-big",
    "ttl-exceeded",
    "parameter-problem",
    "redirect",
];
/// Words with a number, and the number that a line has which does not print them.
const NUMBERS: [(&str, Option<u64>); 23] = [
    ("seq", Some(0)),
    ("ack", Some(0)),
    ("win", Some(65_535)),
    ("urg", Some(0)),
    ("tcpres", Some(0)),
    ("len", Some(0)),
    ("ttl", None),
    ("tos", Some(0)),
    ("ipid", Some(0)),
    ("flow", Some(0)),
    ("rest", Some(0)),
    ("mss", None),
    ("ws", None),
    ("udplen", None),
    ("type", None),
    ("id", None),
    ("mtu", None),
    ("pointer", None),
    ("cut", None),
    ("proto", None),
    ("gso", None),
    ("sum", None),
    ("ipsum", None),
];
const TEXTS: [&str; 9] = ["sack", "ts", "opt", "code", "gateway", "frag", "ipopt", "ext", "csum"];
/// The longest pattern, in bytes.
const MAX_PATTERN: usize = 64 * 1024;

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`] at the first word that is wrong.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.len() > MAX_PATTERN {
            return Err(error(0..text.len(), format!("longer than {MAX_PATTERN} bytes")));
        }
        let shape = if text.trim() == "nothing" { None } else { Some(Shape::parse(text)?) };
        Ok(Self { text: text.to_owned(), shape })
    }

    /// True for `nothing`.
    pub const fn is_nothing(&self) -> bool {
        self.shape.is_none()
    }

    /// Compares with a packet; what it captures is added to `variables` if it matches.
    ///
    /// # Errors
    /// The first difference, as people read it.
    pub fn matches(&self, packet: &Packet, variables: &mut Variables) -> Result<(), String> {
        let Some(shape) = &self.shape else { return Err("a packet came".to_owned()) };
        let data = match Line::exact(packet).describe() {
            Description::Packet(spec) => reply::payload(&spec.payload),
            Description::Raw(_) => Vec::new(),
        };
        let mut tried = variables.clone();
        shape.matches(&Line::of(packet).to_string(), &data, &mut tried)?;
        *variables = tried;
        Ok(())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for PatternError {}

fn error(span: Range<usize>, message: impl Into<String>) -> PatternError {
    PatternError { span, message: message.into() }
}

/// Words with their places: split at spaces that stand in no quotes and no parentheses.
fn split(text: &str) -> Vec<(usize, &str)> {
    let (mut words, mut start, mut depth, mut quoted) = (Vec::new(), None, 0_usize, false);
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if c.is_whitespace() && depth == 0 && !quoted {
            words.extend(start.take().map(|start| (start, &text[start..at])));
            continue;
        }
        start.get_or_insert(at);
        match c {
            '"' if !escaped => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    words.extend(start.map(|start| (start, &text[start..])));
    words
}

impl Shape {
    fn parse(text: &str) -> Result<Self, PatternError> {
        let words = split(text);
        let arrow = words.iter().position(|(_, word)| *word == ">");
        let mut shape =
            Self { protocol: None, source: End::Any, destination: End::Any, words: Vec::new() };
        let mut front = &words[..arrow.unwrap_or(0)];
        let mut back = &words[arrow.map_or(0, |arrow| arrow + 1)..];
        let protocol = if arrow.is_some() { &mut front } else { &mut back };
        if let Some((&(_, word), rest)) = protocol.split_first()
            && (word == "*" || PROTOCOLS.contains(&word))
            && !(arrow.is_some() && word == "*" && rest.is_empty())
        {
            shape.protocol = (word != "*").then(|| word.to_owned());
            *protocol = rest;
        }
        if let Some(arrow) = arrow {
            shape.source = match front {
                [] => End::Any,
                [(at, word)] => End::parse(word, *at)?,
                [_, (at, word), ..] => {
                    let message = "in front of > stand a protocol and a source, or one of them";
                    return Err(error(*at..at + word.len(), message));
                }
            };
            let Some((&(at, word), rest)) = back.split_first() else {
                let (at, _) = words[arrow];
                return Err(error(at..at + 1, "behind > stands a destination, or *"));
            };
            shape.destination = End::parse(word, at)?;
            back = rest;
        }
        for (at, word) in back {
            shape.words.push(Word::parse(word, *at)?);
        }
        if words.is_empty() {
            return Err(error(0..text.len(), "an empty pattern: try > 10.2.0.11:8080, or nothing"));
        }
        Ok(shape)
    }

    fn matches(&self, line: &str, data: &[u8], variables: &mut Variables) -> Result<(), String> {
        let words: Vec<_> = split(line).into_iter().map(|(_, word)| word).collect();
        let [protocol, source, ">", destination, rest @ ..] = &words[..] else {
            return Err("the packet has no such words".to_owned());
        };
        if let Some(wanted) = self.protocol.as_ref().filter(|wanted| wanted != protocol) {
            return Err(format!("this is {protocol}, not {wanted}"));
        }
        self.destination.matches(destination, variables).map_err(|e| format!("to {e}"))?;
        self.source.matches(source, variables).map_err(|e| format!("from {e}"))?;
        self.words.iter().try_for_each(|word| word.matches(rest, data, variables))
    }
}

impl End {
    fn parse(text: &str, at: usize) -> Result<Self, PatternError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if let Some(name) = variable(text) {
            return Ok(Self::Whole(name.to_owned()));
        }
        let bad = |message: &str| error(at..at + text.len(), message);
        let bracketed = text.starts_with('[');
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if bracketed && host.ends_with(']') => (host, Some(port)),
            Some((host, port)) if !bracketed && !host.contains(':') => (host, Some(port)),
            _ => (text, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host = match (host, variable(host)) {
            ("*", _) => Host::Any,
            (_, Some(name)) => Host::Variable(name.to_owned()),
            _ => Host::In(prefix(host).ok_or_else(|| {
                bad("not an address, a network, * or a variable, such as 10.2.0.0/24:8080")
            })?),
        };
        let port = match (port, port.and_then(variable)) {
            (None | Some("*"), _) => Port::Any,
            (_, Some(name)) => Port::Variable(name.to_owned()),
            (Some(port), _) => Port::Is(port.parse().map_err(|_| bad("the port is no number"))?),
        };
        Ok(Self::Parts(host, port))
    }

    fn matches(&self, shown: &str, variables: &mut Variables) -> Result<(), String> {
        let (host, port) = match (shown.parse::<SocketAddr>(), shown.parse::<IpAddr>()) {
            (Ok(socket), _) => (socket.ip(), Some(socket.port())),
            (_, Ok(host)) => (host, None),
            _ => return Err(format!("{shown}, which is no address")),
        };
        let (wanted_host, wanted_port) = match self {
            Self::Any => return Ok(()),
            Self::Whole(name) => return variables.bind(name, shown),
            Self::Parts(host, port) => (host, port),
        };
        match wanted_host {
            Host::Any => {}
            Host::In(prefix) if prefix.contains(Address::from(host)) => {}
            Host::In(_) => return Err(format!("another address: {shown}")),
            Host::Variable(name) if host.is_ipv6() => variables.bind(name, &format!("[{host}]"))?,
            Host::Variable(name) => variables.bind(name, &host.to_string())?,
        }
        match (wanted_port, port) {
            (Port::Any, _) => Ok(()),
            (Port::Is(wanted), Some(port)) if *wanted == port => Ok(()),
            (Port::Variable(name), Some(port)) => variables.bind(name, &port.to_string()),
            (Port::Is(_), Some(_)) => Err(format!("another port: {shown}")),
            (_, None) => Err(format!("{shown}, which has no port")),
        }
    }
}

fn prefix(text: &str) -> Option<Prefix> {
    match text.split_once('/') {
        None => Some(Prefix::host(Address::from(text.parse::<IpAddr>().ok()?))),
        Some((address, length)) => {
            Prefix::new(Address::from(address.parse::<IpAddr>().ok()?), length.parse().ok()?)
        }
    }
}

impl Word {
    fn parse(text: &str, at: usize) -> Result<Self, PatternError> {
        let bad = |message: String| error(at..at + text.len(), message);
        let Some((name, value)) = text.split_once('=') else {
            return match text {
                "none" => Ok(Self::Flags(text.to_owned())),
                _ if text.chars().all(|c| "FSRP.UEW".contains(c)) => {
                    Ok(Self::Flags(text.to_owned()))
                }
                _ if BARE.contains(&text) => Ok(Self::Bare(text.to_owned())),
                _ => Err(bad(unknown(text))),
            };
        };
        if let Some(variable) = variable(value).filter(|_| is_value(name)) {
            return Ok(Self::Variable(name.to_owned(), variable.to_owned()));
        }
        if NUMBERS.iter().any(|(number, _)| *number == name) {
            number(value).ok_or_else(|| bad(format!("{name} is a number")))?;
            return Ok(Self::Value(name.to_owned(), value.to_owned()));
        }
        match name {
            "about" => {
                let inner = value.strip_prefix('(').and_then(|value| value.strip_suffix(')'));
                let inner = inner.ok_or_else(|| bad("about=(…) has parentheses".to_owned()))?;
                let offset = at + "about=(".len();
                let pattern = Pattern::parse(inner)
                    .map_err(|e| error(e.span.start + offset..e.span.end + offset, e.message))?;
                Ok(Self::About(Box::new(pattern)))
            }
            "data" => match payload(value) {
                Some(bytes) => Ok(Self::Data(bytes)),
                None => Err(bad("data is a text in quotes, or hexadecimal".to_owned())),
            },
            _ if TEXTS.contains(&name) => Ok(Self::Value(name.to_owned(), value.to_owned())),
            _ => Err(bad(unknown(name))),
        }
    }

    fn matches(
        &self,
        words: &[&str],
        data: &[u8],
        variables: &mut Variables,
    ) -> Result<(), String> {
        let value = |name: &str| {
            words.iter().find_map(|word| word.split_once('=').filter(|(n, _)| *n == name))
        };
        match self {
            Self::Flags(wanted) => match words.first() {
                Some(flags) if same_flags(flags, wanted) => Ok(()),
                Some(flags) => Err(format!("flags {flags}, not {wanted}")),
                None => Err(format!("no flags, not {wanted}")),
            },
            Self::Bare(word) if words.contains(&word.as_str()) => Ok(()),
            Self::Bare(word) => Err(format!("it has no {word}")),
            Self::Data(wanted) if wanted == data => Ok(()),
            Self::Data(_) => Err("another payload".to_owned()),
            Self::About(pattern) => match (value("about"), &pattern.shape) {
                (Some((_, quote)), Some(shape)) => {
                    let quote = quote.trim_start_matches('(').trim_end_matches(')');
                    shape.matches(quote, &[], variables).map_err(|e| format!("about: {e}"))
                }
                (None, None) => Ok(()),
                (None, Some(_)) => Err("it quotes no packet".to_owned()),
                (Some(_), None) => Err("it quotes a packet".to_owned()),
            },
            Self::Value(name, wanted) => match found(value(name), name) {
                None => Err(format!("it has no {name}")),
                Some(is) if same(&is, wanted) => Ok(()),
                Some(is) => Err(format!("{name} is {is}, not {wanted}")),
            },
            Self::Variable(name, variable) => match found(value(name), name) {
                None => Err(format!("it has no {name}")),
                Some(is) => variables.bind(variable, &is).map_err(|e| format!("{name}: {e}")),
            },
        }
    }
}

fn is_value(name: &str) -> bool {
    NUMBERS.iter().any(|(number, _)| *number == name) || TEXTS.contains(&name)
}

fn unknown(word: &str) -> String {
    let words = NUMBERS.iter().map(|(name, _)| *name).chain(TEXTS).chain(BARE);
    match crate::config::nearest(word, words.chain(["data", "about"])) {
        Some(known) => format!("no word of packets; did you mean {known}?"),
        None => "no word of packets".to_owned(),
    }
}

/// The value of a word, or the one that is left out where it is the default.
fn found(word: Option<(&str, &str)>, name: &str) -> Option<String> {
    let default = || NUMBERS.iter().find(|(number, _)| *number == name)?.1.map(|n| n.to_string());
    word.map(|(_, value)| value.to_owned()).or_else(default)
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn same(is: &str, wanted: &str) -> bool {
    is == wanted || number(is).zip(number(wanted)).is_some_and(|(is, wanted)| is == wanted)
}

/// The same flags in any order.
fn same_flags(is: &str, wanted: &str) -> bool {
    let sorted = |text: &str| {
        let mut flags: Vec<_> = text.chars().collect();
        flags.sort_unstable();
        flags.dedup();
        flags
    };
    sorted(is) == sorted(wanted)
}

/// The bytes that `data=` stands for.
fn payload(text: &str) -> Option<Vec<u8>> {
    let line = format!("udp 192.0.2.1:1 > 192.0.2.2:2 data={text}");
    match text::parse(&line).ok()? {
        Description::Packet(spec) => Some(reply::payload(&spec.payload)),
        Description::Raw(_) => None,
    }
}

#[cfg(test)]
#[path = "pattern_tests.rs"]
mod tests;
