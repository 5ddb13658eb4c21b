//! Keys that programs present, by a file of their hashes.
//!
//! A line is `NAME:HEX`, the SHA-256 of the key in hexadecimal digits. Keys are random and long, so that no
//! slow hash is needed: nobody finds one from its hash. What a client presents is hashed and looked up by
//! a keyed hash of that, and compared in constant time, so that how long it takes says nothing.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};

use super::is_value;
use crate::keyed::Keyed;
use crate::limits::USERS;

/// The keys of a file.
#[derive(Debug)]
pub struct ApiKeys {
    hash: Keyed,
    /// By a keyed hash of their hash.
    keys: BTreeMap<u64, Vec<Key>>,
    count: usize,
}

#[derive(Debug)]
struct Key {
    name: String,
    sha256: [u8; 32],
}

/// Why a file of keys cannot be used. Lines count from one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadKeys {
    /// It is not UTF-8.
    NotText,
    /// A line is not `NAME:HEX`.
    Line(usize),
    /// A key stands there twice.
    Twice(usize),
    /// There is none in it.
    Empty,
    /// There are more than that.
    Long(usize),
}

impl fmt::Display for BadKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotText => f.write_str("it is not UTF-8"),
            Self::Line(line) => {
                write!(f, "line {line} is not `NAME:HEX` with the 64 digits of a SHA-256")
            }
            Self::Twice(line) => write!(f, "line {line}: the key was there before"),
            Self::Empty => f.write_str("there is no key in it"),
            Self::Long(most) => write!(f, "it has more than {most} keys"),
        }
    }
}

impl std::error::Error for BadKeys {}

impl ApiKeys {
    /// Those of a file, looked up by a hash that follows from `seed`.
    ///
    /// # Errors
    /// [`BadKeys`]; nothing of such a file is used.
    pub fn parse(bytes: &[u8], seed: u64) -> Result<Self, BadKeys> {
        let text = str::from_utf8(bytes).map_err(|_| BadKeys::NotText)?;
        let mut keys = Self { hash: Keyed::new(seed), keys: BTreeMap::new(), count: 0 };
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let (name, digits) = text.split_once(':').ok_or(BadKeys::Line(line))?;
            let name = name.trim();
            let is_name = !name.is_empty() && is_value(name.as_bytes());
            let sha256 = hex(digits.trim()).filter(|_| is_name).ok_or(BadKeys::Line(line))?;
            if keys.count == USERS {
                return Err(BadKeys::Long(USERS));
            }
            let place = keys.keys.entry(keys.hash.of(&[&sha256])).or_default();
            if place.iter().any(|key| key.sha256 == sha256) {
                return Err(BadKeys::Twice(line));
            }
            place.push(Key { name: name.to_owned(), sha256 });
            keys.count += 1;
        }
        if keys.count == 0 { Err(BadKeys::Empty) } else { Ok(keys) }
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// True if there is none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whose key `presented` is.
    pub fn find(&self, presented: &[u8]) -> Option<&str> {
        let sha256 = digest(&SHA256, presented);
        let place = self.keys.get(&self.hash.of(&[sha256.as_ref()]))?;
        let same = |key: &&Key| verify_slices_are_equal(&key.sha256, sha256.as_ref()).is_ok();
        place.iter().find(same).map(|key| key.name.as_str())
    }
}

fn hex(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (place, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
        let value = |digit: &u8| char::from(*digit).to_digit(16);
        let [high, low] = pair else { return None };
        *place = (value(high)? << 4 | value(low)?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `k1` and `k2`, by `printf k1 | sha256sum`.
    const FILE: &str = "# callers\n\
        reports:2f1a5b4f3a4b8c1f0000000000000000000000000000000000000000000000aa\n";

    fn line(name: &str, key: &str) -> String {
        let hash = digest(&SHA256, key.as_bytes());
        let digits = hash.as_ref().iter().map(|byte| format!("{byte:02x}"));
        let digits = digits.collect::<Vec<_>>().concat();
        format!("{name}:{digits}\n")
    }

    #[test]
    fn a_key_is_known_by_its_hash() {
        // As `printf hello | sha256sum` prints it, in either case.
        let sum = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        let text = format!("hello : {sum}\n{}", line("shop", "k2")).to_uppercase();
        let keys = ApiKeys::parse(text.as_bytes(), 1).unwrap();
        assert_eq!(keys.len(), 2);
        assert_eq!(keys.find(b"hello"), Some("HELLO"));
        assert_eq!(keys.find(b"k2"), Some("SHOP"));
        for wrong in [&b""[..], b"k", b"k22", sum.as_bytes()] {
            assert_eq!(keys.find(wrong), None);
        }
        assert_eq!(ApiKeys::parse(FILE.as_bytes(), 1).unwrap().len(), 1);
    }

    #[test]
    fn a_bad_line_is_named() {
        let good = line("a", "k1");
        for (text, bad) in [
            (String::new(), BadKeys::Empty),
            ("# nothing\n".to_owned(), BadKeys::Empty),
            (format!("{good}b"), BadKeys::Line(2)),
            (format!("{good}b:abc"), BadKeys::Line(2)),
            (format!("{good}:{}", &good[2..]), BadKeys::Line(2)),
            (format!("{good}{}", good.replace("a:", "b:")), BadKeys::Twice(2)),
            (good.replace(&good[2..4], "zz"), BadKeys::Line(1)),
            (format!("b\x01{good}"), BadKeys::Line(1)),
        ] {
            assert_eq!(ApiKeys::parse(text.as_bytes(), 1).unwrap_err(), bad, "{text}");
        }
        assert_eq!(ApiKeys::parse(b"\xff", 1).unwrap_err(), BadKeys::NotText);
    }
}
