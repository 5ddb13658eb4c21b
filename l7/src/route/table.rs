//! Which route is the first that fits, found without looking at all of them.
//!
//! # Theory of operation
//! Each route stands in one list, or in one for each of its hosts: by its host (a name, a wildcard, or any)
//! and by the whole segments with which its path begins (or the whole path, if it has no other). A
//! request can only fit routes of few lists: its host is one name, fits one wildcard, or any; and its path
//! begins with as many prefixes as it has segments, and no more are looked up than the longest that is
//! there. In each list routes stand in the order of the file, and are looked at until one fits or one
//! comes later than the best so far. So the first of all that fits is found, and what it costs grows with
//! the routes that differ neither by host nor by path, not with all.

use foldhash::fast::FixedState;
use std::collections::HashMap;

use super::RouteId;
use super::condition::{Ask, Condition, HostPattern};

/// A host is no longer than this (RFC 1035 section 2.3.4).
const HOST_BYTES: usize = 253;

type Map<V> = HashMap<Box<[u8]>, V, FixedState>;

/// An index over routes.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// By host.
    exact: Map<Paths>,
    /// By what is behind the first label of a host, with its dot.
    wildcard: Map<Paths>,
    any: Paths,
}

/// Routes of a host.
#[derive(Debug, Default)]
struct Paths {
    /// By the whole path.
    exact: Map<Vec<RouteId>>,
    /// By the segments with which it begins.
    prefix: Map<Vec<RouteId>>,
    /// Those whose path may begin with anything.
    any: Vec<RouteId>,
    /// Segments of the longest prefix.
    deepest: usize,
}

impl Index {
    /// Adds the next route.
    pub(super) fn add(&mut self, id: RouteId, condition: &Condition) {
        if condition.hosts.is_empty() {
            self.any.add(id, condition);
        }
        for host in &condition.hosts {
            let (map, key) = match host {
                HostPattern::Exact(name) => (&mut self.exact, name),
                HostPattern::Wildcard(suffix) => (&mut self.wildcard, suffix),
            };
            map.entry(key.as_bytes().into()).or_default().add(id, condition);
        }
    }

    /// The first route whose condition, as `condition` gives it, fits.
    pub(super) fn find<'c>(
        &self,
        ask: &Ask<'_>,
        condition: impl Fn(RouteId) -> Option<&'c Condition>,
    ) -> Option<RouteId> {
        let mut best: Option<RouteId> = None;
        let mut look = |list: &[RouteId]| {
            for &id in list {
                if best.is_some_and(|best| best <= id) {
                    return;
                }
                if condition(id).is_some_and(|one| one.check(ask, id).is_ok()) {
                    best = Some(id);
                    return;
                }
            }
        };
        if !(self.exact.is_empty() && self.wildcard.is_empty()) {
            let mut lower = [0; HOST_BYTES];
            if let Some(lower) = lower.get_mut(..ask.host.len()) {
                lower.copy_from_slice(ask.host);
                lower.make_ascii_lowercase();
                if let Some(paths) = self.exact.get(&*lower) {
                    paths.each(ask.path, &mut look);
                }
                let suffix = memchr::memchr(b'.', lower).and_then(|dot| lower.get(dot..));
                if let Some(paths) = suffix.and_then(|suffix| self.wildcard.get(suffix)) {
                    paths.each(ask.path, &mut look);
                }
            }
        }
        self.any.each(ask.path, &mut look);
        best
    }
}

impl Paths {
    fn add(&mut self, id: RouteId, condition: &Condition) {
        let list = match &condition.path {
            None => &mut self.any,
            Some(path) => match (path.exact(), path.prefix()) {
                (Some(exact), _) => self.exact.entry(exact.into()).or_default(),
                (None, prefix) if prefix.is_empty() => &mut self.any,
                (None, prefix) => {
                    let segments = memchr::memchr_iter(b'/', &prefix).count();
                    self.deepest = self.deepest.max(segments);
                    self.prefix.entry(prefix.into()).or_default()
                }
            },
        };
        // One that names a host twice is there once.
        if list.last() != Some(&id) {
            list.push(id);
        }
    }

    /// Calls `look` with each list whose routes `path` can fit.
    fn each(&self, path: &[u8], look: &mut impl FnMut(&[RouteId])) {
        if !self.exact.is_empty()
            && let Some(list) = self.exact.get(path)
        {
            look(list);
        }
        if self.deepest > 0 {
            // The first slash begins the first segment, the next ends it.
            let ends = memchr::memchr_iter(b'/', path).skip(1).chain([path.len()]);
            for end in ends.take(self.deepest) {
                if let Some(list) = self.prefix.get(path.get(..end).unwrap_or_default()) {
                    look(list);
                }
            }
        }
        look(&self.any);
    }
}
