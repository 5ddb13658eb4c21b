//! Names and passwords (RFC 7617), by a file of their hashes as `htpasswd` writes it.
//!
//! # Theory of operation
//! A password is hashed by a function that is made to be slow, so this is never done where requests are
//! served: `Basic::judge` answers by what it knows from a moment ago, or gives a [`Check`] to be run on
//! another thread, whose result it is told.
//!
//! A name that is not in the file has its password checked too, against the hash of some name that is, the
//! same one each time: what it takes to find a stranger out is what it takes to find a wrong password out,
//! and the answer is the same.

mod hash;

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::remembered::{Digest, Remembered};
use super::{Identity, Reason, is_value};
use crate::keyed::Keyed;
use crate::limits::USERS;
pub use hash::BadHash;
use hash::Hash;

/// The users of a file.
#[derive(Debug, Default)]
pub struct Users {
    /// In the order of the file.
    hashes: Vec<Hash>,
    by_name: BTreeMap<String, usize>,
}

/// Why a file of users cannot be used. Lines count from one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadUsers {
    /// It is not UTF-8.
    NotText,
    /// A line is not `NAME:HASH`.
    Line(usize),
    /// A hash cannot be used.
    Hash(usize, BadHash),
    /// A name stands there twice.
    Twice(usize),
    /// There is nobody in it.
    Empty,
    /// There are more users than that.
    Long(usize),
}

impl fmt::Display for BadUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotText => f.write_str("it is not UTF-8"),
            Self::Line(line) => write!(f, "line {line} is not `NAME:HASH`"),
            Self::Hash(line, bad) => write!(f, "line {line}: {bad}"),
            Self::Twice(line) => write!(f, "line {line}: the name was there before"),
            Self::Empty => f.write_str("there is no user in it"),
            Self::Long(most) => write!(f, "it has more than {most} users"),
        }
    }
}

impl std::error::Error for BadUsers {}

impl Users {
    /// Those of a file.
    ///
    /// # Errors
    /// [`BadUsers`]; nothing of such a file is used.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadUsers> {
        let text = str::from_utf8(bytes).map_err(|_| BadUsers::NotText)?;
        let mut users = Self::default();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let (name, hash) = text.split_once(':').ok_or(BadUsers::Line(line))?;
            if !is_name(name) {
                return Err(BadUsers::Line(line));
            }
            if users.hashes.len() == USERS {
                return Err(BadUsers::Long(USERS));
            }
            let hash = Hash::parse(hash).map_err(|bad| BadUsers::Hash(line, bad))?;
            let place = users.hashes.len();
            if users.by_name.insert(name.to_owned(), place).is_some() {
                return Err(BadUsers::Twice(line));
            }
            users.hashes.push(hash);
        }
        if users.hashes.is_empty() { Err(BadUsers::Empty) } else { Ok(users) }
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.hashes.len()
    }

    /// True if there is nobody.
    pub const fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }
}

/// A name that can be told to a backend as a field's value.
fn is_name(name: &str) -> bool {
    !name.is_empty() && is_value(name.as_bytes()) && name.trim() == name
}

/// What is to be found out on another thread.
#[derive(Debug)]
pub struct Check {
    users: Arc<Users>,
    place: usize,
    is_known: bool,
    name: String,
    password: Vec<u8>,
    digest: Digest,
}

/// What a check found.
#[derive(Debug)]
pub struct Checked {
    users: Arc<Users>,
    name: Option<String>,
    digest: Digest,
}

impl Check {
    /// Hashes the password: this takes tens of milliseconds.
    pub fn run(self) -> Checked {
        let hash = self.users.hashes.get(self.place);
        let is_right = hash.is_some_and(|hash| hash.verify(&self.password));
        let name = (is_right && self.is_known).then_some(self.name);
        Checked { users: self.users, name, digest: self.digest }
    }
}

/// The users of an `[auth.NAME]`, and who of them was here a moment ago.
#[derive(Debug)]
pub(super) struct Basic {
    known: Remembered<Rc<Identity>>,
    /// What is known is of these.
    users: Arc<Users>,
    strangers: Keyed,
    /// How long somebody is known, in seconds.
    remember: u64,
}

/// What is said of credentials.
#[derive(Debug)]
pub(super) enum Said {
    Known(Rc<Identity>),
    Ask(Check),
    Refused(Reason),
}

impl Basic {
    pub(super) fn new(users: Arc<Users>, remember: u64, seed: u64) -> Self {
        let strangers = Keyed::new(nat::rng::derive(seed, 3));
        Self { known: Remembered::new(seed), users, strangers, remember }
    }

    /// Judges the value of `Authorization`.
    pub(super) fn judge(&mut self, now: u64, users: Arc<Users>, value: &[u8]) -> Said {
        if !Arc::ptr_eq(&users, &self.users) {
            self.known.clear();
            self.users = users;
        }
        let Some((name, password)) = credentials(value) else {
            return Said::Refused(Reason::Malformed);
        };
        let digest = self.known.digest(&[name.as_bytes(), &password]);
        if let Some(identity) = self.known.find(now, &digest) {
            return Said::Known(identity);
        }
        let users = Arc::clone(&self.users);
        let known = users.by_name.get(&name).copied();
        let stranger = || self.strangers.of(&[name.as_bytes()]) % users.len().max(1) as u64;
        let (is_known, place) = (known.is_some(), known.unwrap_or_else(|| stranger() as usize));
        Said::Ask(Check { users, place, is_known, name, password, digest })
    }

    /// Takes the answer to a question that it asked.
    pub(super) fn learn(&mut self, now: u64, checked: Checked) -> Option<Rc<Identity>> {
        let identity = Rc::new(Identity::named(checked.name?));
        // Of a file that is not used any more nothing is remembered; once, it counts.
        if Arc::ptr_eq(&checked.users, &self.users) {
            let until = now.saturating_add(self.remember);
            self.known.put(checked.digest, Rc::clone(&identity), until);
        }
        Some(identity)
    }
}

/// The name and the password of `Basic BASE64`.
fn credentials(value: &[u8]) -> Option<(String, Vec<u8>)> {
    let encoded = super::after_scheme(value, "basic")?;
    let decoded = STANDARD.decode(encoded).ok()?;
    let colon = decoded.iter().position(|&byte| byte == b':')?;
    let (name, password) = decoded.split_at(colon);
    let password = password.get(1..)?;
    let name = String::from_utf8(name.to_vec()).ok().filter(|name| is_name(name))?;
    // Hashes in C end at a zero byte.
    (!password.contains(&0)).then(|| (name, password.to_vec()))
}

#[cfg(test)]
#[path = "basic_tests.rs"]
mod tests;
