//! Hashes of passwords.

use std::fmt;

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier as _;
use argon2::password_hash::phc;
use sha_crypt::ShaCrypt;

use crate::limits::{ARGON2_KIB, ARGON2_PASSES, BCRYPT_COST, SHA_CRYPT_ROUNDS};

/// A hash that a password can be compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    /// `$2y$`, `$2b$`, `$2a$`.
    Bcrypt(String),
    /// `$6$` and `$5$`: SHA-512 and SHA-256 of Unix crypt.
    ShaCrypt(String),
    /// `$argon2id$`, `$argon2i$`, `$argon2d$`.
    Argon2(String),
}

/// Why a hash cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHash {
    /// It is of a kind that is too weak or not known.
    Kind,
    /// It is cut off, or has something that does not belong there.
    Malformed,
    /// To check it would take more time or memory than anybody has.
    Costly,
}

impl fmt::Display for BadHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kind => "the hash is none of bcrypt, SHA-crypt and Argon2",
            Self::Malformed => "the hash is malformed",
            Self::Costly => "the hash takes more time or memory than is allowed",
        })
    }
}

impl Hash {
    pub(super) fn parse(text: &str) -> Result<Self, BadHash> {
        let (kind, _) =
            text.strip_prefix('$').and_then(|rest| rest.split_once('$')).ok_or(BadHash::Kind)?;
        let owned = text.to_owned();
        match kind {
            "2y" | "2b" | "2a" => bcrypt_cost(text).map(|()| Self::Bcrypt(owned)),
            "5" | "6" => sha_crypt_cost(text).map(|()| Self::ShaCrypt(owned)),
            "argon2id" | "argon2i" | "argon2d" => argon2_cost(text).map(|()| Self::Argon2(owned)),
            _ => Err(BadHash::Kind),
        }
    }

    /// Whether it is that of `password`.
    pub(super) fn verify(&self, password: &[u8]) -> bool {
        match self {
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Self::ShaCrypt(hash) => {
                ShaCrypt::default().verify_password(password, hash.as_str()).is_ok()
            }
            Self::Argon2(hash) => phc::PasswordHash::new(hash)
                .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok()),
        }
    }
}

fn bcrypt_cost(text: &str) -> Result<(), BadHash> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| BadHash::Malformed)?;
    if parts.get_cost() > BCRYPT_COST { Err(BadHash::Costly) } else { Ok(()) }
}

/// `$6$rounds=N$SALT$HASH`, or without rounds.
fn sha_crypt_cost(text: &str) -> Result<(), BadHash> {
    let parts: Vec<_> = text.split('$').skip(1).collect();
    let (rounds, salt, hash) = match *parts {
        [_, salt, hash] => (None, salt, hash),
        [_, rounds, salt, hash] => (Some(rounds), salt, hash),
        _ => return Err(BadHash::Malformed),
    };
    let length = if text.starts_with("$6") { 86 } else { 43 };
    let is_digit = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/');
    if salt.len() > 16 || hash.len() != length || !hash.bytes().all(is_digit) {
        return Err(BadHash::Malformed);
    }
    let Some(rounds) = rounds else { return Ok(()) };
    let rounds: u32 = rounds
        .strip_prefix("rounds=")
        .and_then(|rounds| rounds.parse().ok())
        .ok_or(BadHash::Malformed)?;
    if rounds > SHA_CRYPT_ROUNDS { Err(BadHash::Costly) } else { Ok(()) }
}

fn argon2_cost(text: &str) -> Result<(), BadHash> {
    let hash = phc::PasswordHash::new(text).map_err(|_| BadHash::Malformed)?;
    let params = argon2::Params::try_from(&hash).map_err(|_| BadHash::Malformed)?;
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(BadHash::Malformed);
    }
    let is_costly = params.m_cost() > ARGON2_KIB || params.t_cost() > ARGON2_PASSES;
    if is_costly { Err(BadHash::Costly) } else { Ok(()) }
}
