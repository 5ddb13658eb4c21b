//! What has arrived before its turn.

use std::ops::Range;

use super::{MAX_ISLANDS, SACK_BLOCKS};

/// Islands whose memory is kept when the last one has been joined to the stream.
const KEPT: usize = 32;

/// Disjoint ranges of stream offsets, none of which touches another.
#[derive(Debug, Default)]
pub(super) struct Islands {
    /// In ascending order, at most [`MAX_ISLANDS`].
    ranges: Vec<Range<u64>>,
    /// Offsets that arrived last, the latest first, each on an island of its own as long as that is
    /// one. Zero lies on no island: nothing comes before the first byte.
    recent: [u64; SACK_BLOCKS],
}

impl Islands {
    pub(super) const fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub(super) const fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Where the last island ends.
    pub(super) fn end(&self) -> Option<u64> {
        self.ranges.last().map(|island| island.end)
    }

    /// Bytes on all islands.
    pub(super) fn bytes(&self) -> u64 {
        self.ranges.iter().map(|island| island.end - island.start).sum()
    }

    /// True if a range can be added: it touches an island, or there may be another.
    pub(super) fn has_room_for(&self, range: &Range<u64>) -> bool {
        self.ranges.len() < MAX_ISLANDS || !self.touching(range).is_empty()
    }

    /// The parts of a range that lie on no island.
    pub(super) fn gaps(&self, range: &Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let touching = self.touching(range);
        let islands = self.ranges.get(touching).unwrap_or_default();
        let ends = std::iter::once(range.start).chain(islands.iter().map(|island| island.end));
        let starts = islands.iter().map(|island| island.start).chain(std::iter::once(range.end));
        ends.zip(starts).map(|(start, end)| start..end).filter(|gap| gap.start < gap.end)
    }

    /// The first part of a range that lies on an island.
    pub(super) fn overlap(&self, range: &Range<u64>) -> Option<Range<u64>> {
        let islands = self.ranges.get(self.touching(range)).unwrap_or_default();
        islands
            .iter()
            .map(|island| island.start.max(range.start)..island.end.min(range.end))
            .find(|common| common.start < common.end)
    }

    /// Adds a range, which [has room](Self::has_room_for), and joins what touches it.
    pub(super) fn add(&mut self, range: Range<u64>) {
        let touching = self.touching(&range);
        match self.ranges.get(touching.clone()) {
            Some([first, .., last]) => {
                let joined = first.start.min(range.start)..last.end.max(range.end);
                self.ranges.splice(touching, std::iter::once(joined));
            }
            Some([only]) => {
                let joined = only.start.min(range.start)..only.end.max(range.end);
                if let Some(island) = self.ranges.get_mut(touching.start) {
                    *island = joined;
                }
            }
            _ => self.ranges.insert(touching.start, range),
        }
    }

    /// Removes the islands that begin at `offset` or before, and tells where the last of them ends,
    /// or `offset` if that is further.
    pub(super) fn join(&mut self, offset: u64) -> u64 {
        let joined = self.ranges.partition_point(|island| island.start <= offset);
        let end = self.ranges.drain(..joined).next_back().map_or(0, |island| island.end);
        if self.ranges.is_empty() {
            self.ranges.shrink_to(KEPT);
        }
        end.max(offset)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes note that something arrived at `offset`, which lies on an island now.
    pub(super) fn touch(&mut self, offset: u64) {
        let Some(island) = self.at(offset) else { return };
        let keep = self.recent.map(|other| if island.contains(&other) { 0 } else { other });
        let others = keep.into_iter().filter(|&other| other != 0);
        let mut recent = [0; SACK_BLOCKS];
        for (slot, offset) in recent.iter_mut().zip(std::iter::once(offset).chain(others)) {
            *slot = offset;
        }
        self.recent = recent;
    }

    /// The islands in the order in which RFC 2018 section 4 wants them reported: the one that
    /// something arrived on last comes first. Those that nothing is known of come last, in the order
    /// of the stream: their holes are filled first.
    pub(super) fn by_recency(&self) -> impl Iterator<Item = Range<u64>> {
        let recent = self.recent.iter().filter_map(|&offset| self.at(offset));
        let rest = self.ranges.iter().filter(|island| !self.is_recent(island));
        recent.chain(rest.cloned())
    }

    fn is_recent(&self, island: &Range<u64>) -> bool {
        self.recent.iter().any(|offset| island.contains(offset))
    }

    /// The island that `offset` lies on.
    pub(super) fn at(&self, offset: u64) -> Option<Range<u64>> {
        let index = self.ranges.partition_point(|island| island.end <= offset);
        self.ranges.get(index).filter(|island| island.contains(&offset)).cloned()
    }

    /// The indices of the islands that a range overlaps or adjoins; if none, the empty range where it
    /// would be inserted.
    fn touching(&self, range: &Range<u64>) -> Range<usize> {
        // What comes next most often is more at the end.
        if self.end().is_none_or(|end| end < range.start) {
            return self.ranges.len()..self.ranges.len();
        }
        let first = self.ranges.partition_point(|island| island.end < range.start);
        let behind = self.ranges.partition_point(|island| island.start <= range.end);
        first..behind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn islands(ranges: &[Range<u64>]) -> Islands {
        let mut islands = Islands::default();
        for range in ranges {
            islands.add(range.clone());
            islands.touch(range.start);
        }
        islands
    }

    #[test]
    fn ranges_that_touch_are_joined() {
        assert_eq!(islands(&[10..20, 30..40]).ranges, [10..20, 30..40]);
        assert_eq!(islands(&[30..40, 10..20, 20..30]).ranges, vec![10..40]);
        assert_eq!(islands(&[10..12, 14..16, 18..20, 11..19]).ranges, vec![10..20]);
        assert_eq!(islands(&[10..12, 11..15]).ranges, vec![10..15]);
        assert_eq!(islands(&[10..20, 12..15]).ranges, vec![10..20]);
    }

    #[test]
    fn gaps_and_overlaps_are_told_apart() {
        let islands = islands(&[10..20, 30..40]);
        let gaps = |range| islands.gaps(&range).collect::<Vec<_>>();
        assert_eq!(gaps(5..50), [5..10, 20..30, 40..50]);
        assert_eq!(gaps(12..35), vec![20..30]);
        assert_eq!(gaps(12..15), []);
        assert_eq!(gaps(20..30), vec![20..30]);
        assert_eq!(gaps(50..60), vec![50..60]);
        assert_eq!(islands.overlap(&(5..50)), Some(10..20));
        assert_eq!(islands.overlap(&(25..35)), Some(30..35));
        assert_eq!(islands.overlap(&(20..30)), None);
    }

    #[test]
    fn islands_that_the_stream_has_reached_are_joined_to_it() {
        let mut islands = islands(&[10..20, 21..30, 40..50]);
        assert_eq!(islands.join(9), 9);
        assert_eq!(islands.join(21), 30);
        assert_eq!(islands.ranges, vec![40..50]);
        assert_eq!(islands.join(60), 60);
        assert!(islands.is_empty());
    }

    #[test]
    fn the_latest_comes_first_and_the_unknown_in_order() {
        let mut islands = islands(&[10..11, 20..21, 30..31, 40..41, 50..51, 60..61]);
        let order = |islands: &Islands| islands.by_recency().map(|i| i.start).collect::<Vec<_>>();
        assert_eq!(order(&islands), [60, 50, 40, 30, 10, 20]);
        islands.touch(40);
        assert_eq!(order(&islands), [40, 60, 50, 30, 10, 20]);
        islands.add(41..50);
        islands.touch(41);
        assert_eq!(order(&islands), [40, 60, 30, 10, 20]);
        islands.join(30);
        assert_eq!(order(&islands), [40, 60]);
    }

    #[test]
    fn at_the_limit_only_what_touches_an_island_has_room() {
        let mut islands = Islands::default();
        for at in 1..=MAX_ISLANDS as u64 {
            assert!(islands.has_room_for(&(10 * at..10 * at + 5)));
            islands.add(10 * at..10 * at + 5);
        }
        assert!(!islands.has_room_for(&(6..8)));
        assert!(islands.has_room_for(&(15..17)));
        assert!(!islands.has_room_for(&(1_000_000..1_000_001)));
    }
}
