//! From words to a filter.

use super::super::ParseError;
use super::super::lex::Word;
use super::{Endpoint, Field, MAX_DEPTH, MAX_FILTER, MAX_TESTS, Node, Prefix, Range, Test};
use crate::wire::{Family, TcpFlags};

const WORDS: &str = "tcp, udp, icmp, ip, ip4, ip6, host, src, dst, port, A > B, flags such as S. or \
                     R+, echo, reply, error, frag, df, malformed, ttl=N, tos=N, proto=N, size=N, \
                     len=N, seq=N, ack=N, win=N, type=N, code=N, id=N, and, or, not";

pub(super) fn filter(text: &str) -> Result<Node, ParseError> {
    if text.len() > MAX_FILTER {
        let message = format!("a filter is at most {MAX_FILTER} bytes long");
        return Err(ParseError::new(0..text.len(), message));
    }
    let words = words(text);
    let mut parser = Parser { words: &words, next: 0, end: text.len(), tests: 0 };
    if words.is_empty() {
        return Ok(Node::All(Vec::new()));
    }
    let root = parser.any(0)?;
    match parser.peek() {
        None => Ok(root),
        Some(word) => Err(word.error("this parenthesis closes nothing")),
    }
}

/// Splits at white space; a parenthesis is a word of its own.
fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut start = 0;
    let mut push = |from: usize, to: usize| {
        if let Some(text) = text.get(from..to).filter(|text| !text.is_empty()) {
            words.push(Word { text, at: from });
        }
    };
    for (at, c) in text.char_indices() {
        if c.is_whitespace() || matches!(c, '(' | ')') {
            push(start, at);
            start = at + c.len_utf8();
            if !c.is_whitespace() {
                push(at, start);
            }
        }
    }
    push(start, text.len());
    words
}

struct Parser<'w, 'a> {
    words: &'w [Word<'a>],
    next: usize,
    end: usize,
    tests: usize,
}

impl<'a> Parser<'_, 'a> {
    fn peek(&self) -> Option<Word<'a>> {
        self.words.get(self.next).copied()
    }

    fn take(&mut self, text: &str) -> bool {
        let is_next = self.peek().is_some_and(|word| word.text == text);
        self.next += usize::from(is_next);
        is_next
    }

    fn word(&mut self, needed: &str) -> Result<Word<'a>, ParseError> {
        let word = self.peek().filter(|word| !matches!(word.text, "(" | ")"));
        self.next += 1;
        word.ok_or_else(|| ParseError::new(self.end_of_last(), format!("{needed} is missing here")))
    }

    /// The word before the one that was taken last.
    fn end_of_last(&self) -> std::ops::Range<usize> {
        let last = self.next.checked_sub(2).and_then(|at| self.words.get(at));
        last.map_or(0..self.end, |word| word.span())
    }

    /// Tests between `or`.
    fn any(&mut self, depth: usize) -> Result<Node, ParseError> {
        let mut nodes = vec![self.all(depth)?];
        while self.take("or") {
            nodes.push(self.all(depth)?);
        }
        Ok(single(nodes, Node::Any))
    }

    /// Tests side by side, with `and` or without.
    fn all(&mut self, depth: usize) -> Result<Node, ParseError> {
        let mut nodes = vec![self.one(depth)?];
        loop {
            let joined = self.take("and");
            match self.peek().map(|word| word.text) {
                None | Some("or" | ")") if !joined => return Ok(single(nodes, Node::All)),
                _ => nodes.push(self.one(depth)?),
            }
        }
    }

    fn one(&mut self, depth: usize) -> Result<Node, ParseError> {
        let Some(word) = self.peek() else {
            self.next += 1;
            return Err(ParseError::new(self.end_of_last(), "something to match is missing here"));
        };
        if matches!(word.text, "(" | "not") && depth >= MAX_DEPTH {
            let message = format!("parentheses and `not` are nested {MAX_DEPTH} deep at most");
            return Err(word.error(message));
        }
        self.next += 1;
        match word.text {
            "(" => {
                let node = self.any(depth + 1)?;
                if self.take(")") { Ok(node) } else { Err(word.error("this is not closed")) }
            }
            "not" => Ok(Node::Not(Box::new(self.one(depth + 1)?))),
            "and" | "or" | ")" => Err(word.error("something to match is missing in front of this")),
            _ => self.test(word),
        }
    }

    fn test(&mut self, word: Word<'a>) -> Result<Node, ParseError> {
        self.tests += 1;
        if self.tests > MAX_TESTS {
            return Err(word.error(format!("a filter has at most {MAX_TESTS} tests")));
        }
        let test = match word.text {
            "tcp" => Test::Tcp,
            "udp" => Test::Udp,
            "icmp" => Test::Icmp,
            "ip" => Test::Ip,
            "ip4" => Test::Family(Family::V4),
            "ip6" => Test::Family(Family::V6),
            "echo" => Test::Echo { request: true },
            "reply" => Test::Echo { request: false },
            "error" => Test::IcmpError,
            "frag" => Test::Fragment,
            "df" => Test::DontFragment,
            "malformed" => Test::Malformed,
            "host" | "net" => Test::Host(endpoint(self.word("an address")?)?),
            "port" => Test::Host(self.ports()?),
            "src" => Test::Src(self.side()?),
            "dst" => Test::Dst(self.side()?),
            _ => return self.shaped(word),
        };
        Ok(Node::Test(test))
    }

    /// What follows `src` and `dst`.
    fn side(&mut self) -> Result<Endpoint, ParseError> {
        if self.take("port") {
            return self.ports();
        }
        let _ = self.take("host") || self.take("net");
        endpoint(self.word("an address")?)
    }

    fn ports(&mut self) -> Result<Endpoint, ParseError> {
        let ports = range(self.word("a port")?, "a port", u16::MAX.into())?;
        Ok(Endpoint { prefix: None, ports: Some(ports) })
    }

    /// A word that is told by its shape: `name=value`, an endpoint or flags.
    fn shaped(&mut self, word: Word<'a>) -> Result<Node, ParseError> {
        if let (name, Some(value)) = word.split() {
            return field(word, name, value).map(Node::Test);
        }
        if self.take(">") {
            let (src, dst) = (endpoint(word)?, endpoint(self.word("a destination")?)?);
            return Ok(Node::All(vec![Node::Test(Test::Src(src)), Node::Test(Test::Dst(dst))]));
        }
        if let Some((flags, or_more)) = flags(word.text) {
            return Ok(Node::Test(Test::Flags { flags, or_more }));
        }
        if word.text == ">" {
            return Err(word.error("the source in front of this is missing; * is any"));
        }
        if endpoint(word).is_ok() {
            return Err(
                word.error("which side is this? host, src or dst stands in front, or A > B")
            );
        }
        Err(word.error(format!("no filter has this word; there are {WORDS}")))
    }
}

fn single(mut nodes: Vec<Node>, many: impl Fn(Vec<Node>) -> Node) -> Node {
    match nodes.pop() {
        Some(node) if nodes.is_empty() => node,
        last => {
            nodes.extend(last);
            many(nodes)
        }
    }
}

fn field(word: Word<'_>, name: &str, value: Word<'_>) -> Result<Test, ParseError> {
    let (field, max) = match name {
        "ttl" => (Field::Ttl, 255),
        "tos" => (Field::Tos, 255),
        "proto" => (Field::Protocol, 255),
        "size" => (Field::Size, u32::MAX),
        "len" => (Field::Payload, u32::MAX),
        "seq" => (Field::Seq, u32::MAX),
        "ack" => (Field::Ack, u32::MAX),
        "win" => (Field::Window, 65_535),
        "type" => (Field::Type, 255),
        "code" => (Field::Code, 255),
        "id" => (Field::EchoId, 65_535),
        _ => return Err(word.error(format!("no filter has this word; there are {WORDS}"))),
    };
    Ok(Test::Field(field, range(value, name, max)?))
}

/// `N` or `N-M`.
fn range(word: Word<'_>, name: &str, max: u32) -> Result<Range, ParseError> {
    let Some((from, to)) = word.text.split_once('-') else {
        let value = word.number(name, max)?;
        return Ok(Range { from: value, to: value });
    };
    let to = Word { text: to, at: word.at + from.len() + 1 }.number(name, max)?;
    let from = Word { text: from, at: word.at }.number(name, max)?;
    if from > to {
        return Err(word.error("the end of a range is not below its start"));
    }
    Ok(Range { from, to })
}

/// `*`, `10.0.0.0/8`, `10.1.0.5:80`, `*:80-89`, `fd99::/16`, `[fd99::1]:80`.
fn endpoint(word: Word<'_>) -> Result<Endpoint, ParseError> {
    let whole = word.text;
    let part = |text, at| Word { text, at: word.at + at };
    let (address, ports) = match whole.strip_prefix('[') {
        Some(rest) => {
            let Some((address, tail)) = rest.split_once(']') else {
                return Err(word.error("the ] behind the address is missing"));
            };
            let ports = match tail.strip_prefix(':') {
                Some(ports) => Some(part(ports, whole.len() - ports.len())),
                None if tail.is_empty() => None,
                None => return Err(word.error("a port follows as :80")),
            };
            (part(address, 1), ports)
        }
        // More than one colon is an IPv6 address without a port.
        None => match whole.split_once(':') {
            Some((address, ports)) if !ports.contains(':') => {
                (part(address, 0), Some(part(ports, address.len() + 1)))
            }
            _ => (word, None),
        },
    };
    let prefix = if address.text == "*" { None } else { Some(prefix(address)?) };
    let ports = ports.map(|ports| range(ports, "a port", u16::MAX.into())).transpose()?;
    Ok(Endpoint { prefix, ports })
}

fn prefix(word: Word<'_>) -> Result<Prefix, ParseError> {
    let (address, len) = match word.text.split_once('/') {
        Some((text, len)) => {
            let len = Word { text: len, at: word.at + text.len() + 1 };
            (Word { text, at: word.at }.address()?, Some(len))
        }
        None => (word.address()?, None),
    };
    let bits = if address.is_v4() { 32 } else { 128 };
    let len = len.map_or(Ok(bits), |len| len.number("the length of a prefix", bits))?;
    Ok(Prefix::new(address, len))
}

/// Flags as the packet line has them; behind them `+` for "and perhaps more".
fn flags(text: &str) -> Option<(TcpFlags, bool)> {
    if text == "none" {
        return Some((TcpFlags(0), false));
    }
    let (letters, or_more) = match text.strip_suffix('+') {
        Some(letters) => (letters, true),
        None => (text, false),
    };
    let mut flags = TcpFlags(0);
    for letter in letters.chars() {
        flags = flags
            | match letter {
                'F' => TcpFlags::FIN,
                'S' => TcpFlags::SYN,
                'R' => TcpFlags::RST,
                'P' => TcpFlags::PSH,
                '.' => TcpFlags::ACK,
                'U' => TcpFlags::URG,
                'E' => TcpFlags::ECE,
                'W' => TcpFlags::CWR,
                _ => return None,
            };
    }
    (!letters.is_empty()).then_some((flags, or_more))
}
