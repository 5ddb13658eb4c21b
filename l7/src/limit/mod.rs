//! How many requests: by the second, and at once.
//!
//! # Theory of operation
//! A limit counts requests that share a *key* together: a client's network, the value of a field, the
//! identity that authentication found, or the route. It has a rate, a number at once, or both.
//!
//! **Rates** are token buckets by the generic cell rate algorithm, as those of flows are
//! ([`nat::client_limit`]): a bucket is one time, that at which it would be full. Keys are kept as hashes
//! under a secret key, so that a key takes sixteen bytes however long the field is, and nobody can choose
//! keys that meet in one place. There are places for so many keys and no more ([`rate`]).
//!
//! **Requests at once** are counted exactly: a key is known while it has a request ([`at_once`]). Who finds
//! no room waits in a queue of bounded length, for a bounded time.
//!
//! A route may have several limits. A request that one of them refuses takes nothing from the others.

pub mod at_once;
pub mod rate;

use std::net::IpAddr;
use std::rc::Rc;

use nat::Prefix;
use netstack::wire::Address;

use crate::keyed::Keyed;
use crate::upstream::QueueLimits;
use at_once::AtOnce;
use rate::{Buckets, Reading};

/// What requests are counted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The client's network: so many bits of its IPv4 or IPv6 address.
    Client {
        /// At most 32.
        prefix_v4: u8,
        /// At most 128.
        prefix_v6: u8,
    },
    /// The value of the first field of that name, which is in small letters; requests without one count
    /// together.
    Header(String),
    /// Who authentication says that the client is; requests without an identity count together.
    Identity,
    /// The route.
    Route,
}

impl Default for Key {
    /// One IPv4 address or one IPv6 link.
    fn default() -> Self {
        Self::Client { prefix_v4: 32, prefix_v6: 64 }
    }
}

/// A limit as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitConfig {
    /// Its name, which clients see: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// What requests are counted by.
    pub key: Key,
    /// In a time.
    pub rate: Option<nat::Rate>,
    /// At once.
    pub at_once: Option<AtOnceConfig>,
    /// Keys whose rate is known at once; beyond, new ones stand in for those that asked least. Rounded up
    /// to a power of two, at least eight.
    pub keys: usize,
    /// Clients that are not refused are told of the rate too.
    pub tell: bool,
}

/// How many requests of a key are served at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtOnceConfig {
    /// So many, at least one.
    pub most: u32,
    /// How others wait, for each key; none is not at all.
    pub queue: Option<QueueLimits>,
}

/// What is known of a request when it is counted.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The client.
    pub client: IpAddr,
    /// Who it says that it is, and has shown.
    pub identity: Option<&'a str>,
    /// The route that it takes.
    pub route: u32,
}

/// A limit, for all routes and services that name it.
#[derive(Debug)]
pub struct Limit {
    name: String,
    key: Key,
    hash: Keyed,
    buckets: Option<Buckets>,
    at_once: Option<Rc<AtOnce>>,
    tell: bool,
}

impl Limit {
    /// One that nobody has used yet.
    pub fn new(config: &LimitConfig, seed: u64) -> Self {
        Self {
            name: config.name.clone(),
            key: config.key.clone(),
            hash: Keyed::new(seed),
            buckets: config.rate.map(|rate| Buckets::new(rate, config.keys)),
            at_once: config.at_once.map(|limits| Rc::new(AtOnce::new(limits))),
            tell: config.tell,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True if clients that are not refused are told of the rate too.
    pub const fn tells(&self) -> bool {
        self.tell && self.buckets.is_some()
    }

    /// True if it counts by who the client is, which only authentication tells.
    pub const fn needs_identity(&self) -> bool {
        matches!(self.key, Key::Identity)
    }

    /// What a request counts as. `field` gives the first value of a field, by its name in small letters.
    pub fn key<'b>(
        &self,
        subject: &Subject<'_>,
        field: impl FnOnce(&str) -> Option<&'b [u8]>,
    ) -> u64 {
        match &self.key {
            Key::Client { prefix_v4, prefix_v6 } => {
                let address = Address::from(subject.client.to_canonical());
                let len = if address.is_v4() { *prefix_v4 } else { *prefix_v6 };
                let prefix = Prefix::new(address, len).unwrap_or(Prefix::host(address));
                self.hash.of(&[prefix.first().mapped_octets(), &[u8::from(address.is_v4())]])
            }
            Key::Header(name) => match field(name) {
                Some(value) => self.hash.of(&[value]),
                None => self.hash.of(&[]),
            },
            Key::Identity => match subject.identity {
                Some(name) => self.hash.of(&[name.as_bytes()]),
                None => self.hash.of(&[]),
            },
            Key::Route => self.hash.of(&[&subject.route.to_be_bytes()]),
        }
    }

    /// How the bucket of `key` is at `now`, in nanoseconds from any moment that does not change; nothing if
    /// there is no rate.
    pub fn read(&self, now: u64, key: u64) -> Option<Reading> {
        Some(self.buckets.as_ref()?.read(now, key))
    }

    /// Takes a token from the bucket of `key`, which has one.
    pub fn take(&self, now: u64, key: u64) {
        if let Some(buckets) = &self.buckets {
            buckets.take(now, key);
        }
    }

    /// The requests that it serves at once, if it limits them.
    pub const fn at_once(&self) -> Option<&Rc<AtOnce>> {
        self.at_once.as_ref()
    }

    /// Keys whose place another took although their buckets were not full.
    pub fn evicted(&self) -> u64 {
        self.buckets.as_ref().map_or(0, Buckets::evicted)
    }

    /// The fields that tell a client of the limit (draft-ietf-httpapi-ratelimit-headers-10), and when to come
    /// back if it is refused.
    ///
    /// The quota is the bucket, and its window the time in which that is filled.
    pub fn fields(&self, reading: Reading) -> Vec<(&'static str, String)> {
        let Some(buckets) = &self.buckets else { return Vec::new() };
        let (name, (quota, window)) = (&self.name, buckets.policy());
        let Reading { remaining, full_in, wait } = reading;
        let mut fields = vec![
            ("RateLimit-Policy", format!("\"{name}\";q={quota};w={window}")),
            ("RateLimit", format!("\"{name}\";r={remaining};t={}", rate::seconds(full_in))),
        ];
        if let Some(wait) = wait {
            fields.push(("Retry-After", rate::seconds(wait).to_string()));
        }
        fields
    }

    /// The same for a client whose request was just counted: it need not wait.
    pub fn fields_of_taken(&self, reading: Reading) -> Vec<(&'static str, String)> {
        self.fields(Reading { wait: None, ..reading })
    }
}

/// Counts a request by all of `limits` at once, each with the request's key.
///
/// # Errors
/// The first that refuses it, and how that is; then none has counted it.
pub fn admit<'a>(
    now: u64,
    limits: impl Iterator<Item = (&'a Limit, u64)> + Clone,
) -> Result<(), (&'a Limit, Reading)> {
    for (limit, key) in limits.clone() {
        if let Some(reading) = limit.read(now, key).filter(|reading| reading.wait.is_some()) {
            return Err((limit, reading));
        }
    }
    for (limit, key) in limits {
        limit.take(now, key);
    }
    Ok(())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
