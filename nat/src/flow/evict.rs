//! Which flow gives way when there is no room.
//!
//! Flows that may go stand in one list a [`Class`], oldest first. A list is threaded through the
//! flows' own entries by index, so that joining and leaving cost nothing but four writes and hold no
//! memory of their own. An established flow stands in none: it never gives way.

use std::num::NonZeroU32;

/// Why a flow may give way, in the order in which they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A TCP connection that both sides closed, or one reset. First, since nobody misses it: where
    /// connections are short the table is full of these, and handshakes would cut each other off.
    Closing,
    /// A TCP handshake that is not complete.
    HalfOpen,
    /// UDP or ICMP that was never answered, and TCP whose answers do not pass here.
    Unreplied,
}

impl Class {
    /// All, in the order in which they give way.
    pub const ALL: [Self; 3] = [Self::Closing, Self::HalfOpen, Self::Unreplied];
}

/// A flow's place in a list.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Link {
    class: Option<Class>,
    older: Option<Place>,
    newer: Option<Place>,
}

/// A flow's index, in a form that leaves a value for "none": one more than it is.
#[derive(Clone, Copy, Debug)]
struct Place(NonZeroU32);

impl Place {
    const fn of(index: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(index))
    }

    const fn index(self) -> u32 {
        self.0.get() - 1
    }
}

impl Link {
    pub(super) const fn class(&self) -> Option<Class> {
        self.class
    }
}

/// The ends of the lists.
#[derive(Clone, Debug, Default)]
pub(super) struct Lists {
    ends: [Ends; Class::ALL.len()],
}

#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    oldest: Option<u32>,
    newest: Option<u32>,
    len: usize,
}

/// Access to the links, wherever they are stored.
pub(super) trait Links {
    fn link(&mut self, index: u32) -> &mut Link;
}

impl Lists {
    pub(super) fn oldest(&self, class: Class) -> Option<u32> {
        self.ends[class as usize].oldest
    }

    pub(super) fn len(&self, class: Class) -> usize {
        self.ends[class as usize].len
    }

    /// Moves a flow to the newest end of `class`'s list, or out of all lists.
    pub(super) fn set_class(&mut self, links: &mut impl Links, index: u32, class: Option<Class>) {
        self.leave(links, index);
        let Some(class) = class else { return };
        let ends = &mut self.ends[class as usize];
        let older = ends.newest.replace(index);
        ends.len += 1;
        match older {
            Some(older) => links.link(older).newer = Some(Place::of(index)),
            None => ends.oldest = Some(index),
        }
        *links.link(index) = Link { class: Some(class), older: older.map(Place::of), newer: None };
    }

    fn leave(&mut self, links: &mut impl Links, index: u32) {
        let Link { class, older, newer } = std::mem::take(links.link(index));
        let Some(class) = class else { return };
        let ends = &mut self.ends[class as usize];
        ends.len -= 1;
        match older {
            Some(older) => links.link(older.index()).newer = newer,
            None => ends.oldest = newer.map(Place::index),
        }
        match newer {
            Some(newer) => links.link(newer.index()).older = older,
            None => ends.newest = older.map(Place::index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use std::collections::VecDeque;

    impl Links for Vec<Link> {
        fn link(&mut self, index: u32) -> &mut Link {
            &mut self[index as usize]
        }
    }

    #[test]
    fn lists_agree_with_plain_queues() {
        let mut rng = Rng::new(5);
        let mut links = vec![Link::default(); 50];
        let mut lists = Lists::default();
        let mut model: [VecDeque<u32>; 3] = Default::default();
        for _ in 0..20_000 {
            let index = rng.below(50) as u32;
            let class = Class::ALL.get(rng.below(4) as usize).copied();
            lists.set_class(&mut links, index, class);
            for queue in &mut model {
                queue.retain(|&i| i != index);
            }
            if let Some(class) = class {
                model[class as usize].push_back(index);
            }
            for class in Class::ALL {
                let queue = &model[class as usize];
                assert_eq!(lists.oldest(class), queue.front().copied());
                assert_eq!(lists.len(class), queue.len());
            }
        }
    }
}
