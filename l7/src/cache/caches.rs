//! The caches of a balancer, by their names, and what can be asked of them while it runs.

use std::cell::Cell;
use std::rc::Rc;

use tokio::time::Instant;

use super::{Cache, Policy, Time};

/// What is to be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge<'a> {
    /// The answers of a URL.
    Url(&'a str),
    /// Those of all URLs that begin so.
    Prefix(&'a str),
    /// Those that have that word in `Surrogate-Key` or `Cache-Tag`.
    Tag(&'a str),
    /// All.
    All,
}

/// Caches by their names.
#[derive(Debug)]
pub struct Caches {
    list: Vec<(String, Rc<Cache>)>,
    /// The time from the Unix epoch when they were made, if it is known.
    wall: Rc<Cell<Time>>,
    began: Instant,
    seed: u64,
}

impl Caches {
    /// None yet. Their clock begins at the Unix epoch, until [`set_wall`](Self::set_wall) says otherwise:
    /// so a replay is the same each time.
    pub fn new(seed: u64) -> Self {
        let (list, wall) = (Vec::new(), Rc::default());
        Self { list, wall, began: Instant::now(), seed }
    }

    /// The cache of that name, which is made with `policy` if there is none.
    pub fn cache(&mut self, name: &str, policy: &Policy) -> Rc<Cache> {
        if let Some((_, cache)) = self.list.iter().find(|(known, _)| known == name) {
            return Rc::clone(cache);
        }
        let (wall, began) = (Rc::clone(&self.wall), self.began);
        let clock = move || wall.get() + began.elapsed();
        let cache = Cache::new(policy.clone(), self.seed, Rc::new(clock));
        self.list.push((name.to_owned(), Rc::clone(&cache)));
        cache
    }

    /// Says what time it is, from the Unix epoch.
    pub fn set_wall(&self, now: Time) {
        self.wall.set(now.saturating_sub(self.began.elapsed()));
    }

    /// All of them.
    pub fn list(&self) -> &[(String, Rc<Cache>)] {
        &self.list
    }

    /// Has the cache of that name, or all of them, forget something. How many answers it was; none if there
    /// is no such cache.
    pub fn purge(&self, name: Option<&str>, what: Purge<'_>) -> Option<usize> {
        let meant = |known: &str| name.is_none_or(|name| name == known);
        let mut found = None;
        for (_, cache) in self.list.iter().filter(|(known, _)| meant(known)) {
            let count = match what {
                Purge::Url(url) => cache.purge(url.as_bytes()),
                Purge::Prefix(prefix) => cache.purge_prefix(prefix.as_bytes()),
                Purge::Tag(tag) => cache.purge_tag(tag.as_bytes()),
                Purge::All => cache.purge_all(),
            };
            *found.get_or_insert(0) += count;
        }
        found
    }
}
