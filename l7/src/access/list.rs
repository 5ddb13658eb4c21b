//! Lists in files: an entry a line, `#` begins a comment.

use std::fmt;
use std::net::IpAddr;

use nat::Prefix;
use nat::prefix_map::PrefixMap;
use netstack::wire::Address;

use super::pattern::{BadPattern, Case, Pattern, Patterns};
use crate::limits::{LIST_NETWORKS, LIST_PATTERNS};

/// Networks of clients.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    map: PrefixMap<()>,
    count: usize,
}

/// Why a list cannot be used. Lines count from one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadList {
    /// It is not UTF-8.
    NotText,
    /// A line is no network.
    Network(usize),
    /// A line is no pattern.
    Pattern(usize, BadPattern),
    /// There are more entries than that.
    Long(usize),
}

impl fmt::Display for BadList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotText => f.write_str("it is not UTF-8"),
            Self::Network(line) => write!(f, "line {line} is no address and no network"),
            Self::Pattern(line, bad) => write!(f, "line {line}: {bad}"),
            Self::Long(most) => write!(f, "it has more than {most} entries"),
        }
    }
}

impl std::error::Error for BadList {}

impl Networks {
    /// These.
    pub fn new(list: impl IntoIterator<Item = Prefix>) -> Self {
        let mut count = 0;
        let map = list.into_iter().inspect(|_| count += 1).map(|prefix| (prefix, ())).collect();
        Self { map, count }
    }

    /// Those of a file.
    ///
    /// # Errors
    /// [`BadList`]; nothing of such a file is used.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadList> {
        let read = |line, text: &str| prefix(text).ok_or(BadList::Network(line));
        Ok(Self::new(entries(bytes, LIST_NETWORKS, read)?))
    }

    /// How many there are; some may be within others.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// True if there is none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether `client` is in one of them.
    pub fn contains(&self, client: IpAddr) -> bool {
        self.map.contains(super::address(client))
    }
}

impl Patterns {
    /// Those of a file.
    ///
    /// # Errors
    /// [`BadList`]; nothing of such a file is used.
    pub fn parse(bytes: &[u8], case: Case) -> Result<Self, BadList> {
        let read =
            |line, text: &str| Pattern::parse(text).map_err(|bad| BadList::Pattern(line, bad));
        Ok(Self::new(entries(bytes, LIST_PATTERNS, read)?, case))
    }
}

/// A network, or one address.
fn prefix(text: &str) -> Option<Prefix> {
    let (address, len) = match text.split_once('/') {
        Some((address, len)) => (address, Some(len)),
        None => (text, None),
    };
    let address = Address::from(address.parse::<IpAddr>().ok()?);
    match len {
        Some(len) => Prefix::new(address, len.parse().ok()?),
        None => Some(Prefix::host(address)),
    }
}

fn entries<T>(
    bytes: &[u8],
    most: usize,
    read: impl Fn(usize, &str) -> Result<T, BadList>,
) -> Result<Vec<T>, BadList> {
    let text = str::from_utf8(bytes).map_err(|_| BadList::NotText)?;
    let mut found = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        // Within an entry it is no comment: patterns may hold one.
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if found.len() == most {
            return Err(BadList::Long(most));
        }
        let entry = text.split(" #").next().unwrap_or_default().trim_end();
        found.push(read(line, entry)?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_line_by_line() {
        let text = b"# known bad\n10.6.0.0/16\n\n  192.0.2.7  # one host\nfd00::/8\r\n";
        let networks = Networks::parse(text).unwrap();
        assert_eq!(networks.len(), 3);
        for (client, within) in [
            ("10.6.1.2", true),
            ("::ffff:10.6.1.2", true),
            ("10.7.1.2", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("fd12::1", true),
            ("2001:db8::1", false),
        ] {
            assert_eq!(networks.contains(client.parse().unwrap()), within, "{client}");
        }
        assert!(Networks::parse(b"").unwrap().is_empty());
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, bad) in [
            (&b"10.0.0.0/8\n10.0.0.0/33\n"[..], BadList::Network(2)),
            (b"10.0.0/8", BadList::Network(1)),
            (b"\n\nexample.org", BadList::Network(3)),
            (b"10.0.0.0/8/8", BadList::Network(1)),
            (b"10.0.0.0/", BadList::Network(1)),
            (b"\xff\xfe", BadList::NotText),
            (b"10.0.0.1\0", BadList::Network(1)),
        ] {
            assert_eq!(Networks::parse(text).unwrap_err(), bad);
        }
        assert_eq!(
            Patterns::parse(b"ok\na\x01b", Case::Counts).unwrap_err(),
            BadList::Pattern(2, BadPattern::Control)
        );
    }

    #[test]
    fn lists_have_an_end() {
        let lines = |count| "x\n".repeat(count).into_bytes();
        let patterns = |count| Patterns::parse(&lines(count), Case::Counts);
        assert_eq!(patterns(LIST_PATTERNS).unwrap().len(), LIST_PATTERNS);
        assert_eq!(patterns(LIST_PATTERNS + 1).unwrap_err(), BadList::Long(LIST_PATTERNS));
        let network = |count| Networks::parse("10.0.0.1\n".repeat(count).as_bytes());
        assert_eq!(network(LIST_NETWORKS).unwrap().len(), LIST_NETWORKS);
        assert_eq!(network(LIST_NETWORKS + 1).unwrap_err(), BadList::Long(LIST_NETWORKS));
    }
}
