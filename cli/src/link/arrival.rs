//! The order in which things that are on their way arrive.

use std::cmp::Ordering;

use netstack::Instant;

/// Something on its way, in the order of arrival.
#[derive(Debug)]
pub(crate) struct Arrival<T> {
    /// When it arrives.
    pub(crate) at: Instant,
    /// Order of departure, among those that arrive together.
    pub(crate) sequence: u64,
    pub(crate) what: T,
}

impl<T> PartialEq for Arrival<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Arrival<T> {}

impl<T> PartialOrd for Arrival<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Arrival<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}
