//! The last seconds in memory, and files of them.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Ring;
use super::batch::Batch;
use crate::queue::Batch as _;

/// How much is kept of what follows a trigger.
pub(super) const AFTER: Duration = Duration::from_secs(1);

/// Batches, the oldest first, and whether they are to be written.
#[derive(Debug)]
pub(super) struct Kept {
    ring: Ring,
    batches: VecDeque<Batch>,
    bytes: usize,
    triggered: Option<Duration>,
    files: u32,
}

impl Kept {
    pub(super) const fn new(ring: Ring) -> Self {
        Self { ring, batches: VecDeque::new(), bytes: 0, triggered: None, files: 0 }
    }

    /// Adds a batch; gives those that give way.
    pub(super) fn push(&mut self, mut batch: Batch) -> Vec<Batch> {
        if self.triggered.is_none() && self.files < self.ring.files && !self.is_empty_with(&batch) {
            self.triggered = batch.trigger();
        }
        let Some(now) = batch.last_time() else { return vec![batch] };
        // A batch has room for the busiest moment, and many are small.
        batch.shrink();
        self.bytes += batch.size();
        self.batches.push_back(batch);
        // What led to a trigger is kept until it is written, in the memory that there is.
        let now = self.triggered.unwrap_or(now);
        let mut given = Vec::new();
        while let Some(oldest) = self.batches.front() {
            let is_old = oldest.last_time().is_some_and(|time| time + self.ring.length < now);
            if !is_old && (self.bytes <= self.ring.memory || self.batches.len() == 1) {
                break;
            }
            self.bytes -= oldest.size();
            given.extend(self.batches.pop_front());
        }
        given
    }

    /// True if there would be no packet to write.
    fn is_empty_with(&self, batch: &Batch) -> bool {
        self.batches.is_empty() && batch.last_time().is_none()
    }

    /// The number of the file and what belongs in it, once a trigger has come up and enough came after
    /// it. `quiet` says that nothing more came for as long.
    pub(super) fn due(&mut self, quiet: bool) -> Option<(u32, VecDeque<Batch>)> {
        let triggered = self.triggered?;
        let last = self.batches.back().and_then(Batch::last_time);
        if !quiet && last.is_some_and(|last| last < triggered + AFTER) {
            return None;
        }
        self.triggered = None;
        self.files += 1;
        self.bytes = 0;
        Some((self.files, std::mem::take(&mut self.batches)))
    }

    /// True if a trigger has come up and its file is still to be written.
    pub(super) const fn is_waiting(&self) -> bool {
        self.triggered.is_some()
    }
}

/// `drops.pcapng` and 3 make `drops-3.pcapng`.
pub(super) fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.file_stem().map_or_else(OsString::new, OsString::from);
    name.push(format!("-{number}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use netstack::dev::pcapng::Direction;

    use super::super::batch::Record;
    use super::*;

    fn batch(seconds: u64) -> Batch {
        let mut batch = Batch::default();
        let record = Record::new(Duration::from_secs(seconds), 0, Direction::Inbound);
        batch.push(record, &[0; 100], "");
        batch
    }

    #[test]
    fn the_oldest_give_way_at_the_limits_of_memory_and_of_time() {
        let memory = 3 * batch(0).size();
        let length = Duration::from_secs(10);
        let mut kept = Kept::new(Ring { length, memory, triggers: Vec::new(), files: 1 });
        for seconds in 0..3 {
            assert!(kept.push(batch(seconds)).is_empty());
        }
        assert_eq!(kept.push(batch(3)).len(), 1, "there is memory for three");
        assert_eq!(kept.push(batch(13)).len(), 2, "two are more than ten seconds old");
    }

    #[test]
    fn files_are_numbered_in_front_of_their_extension() {
        for (path, expected) in [
            ("drops.pcapng", "drops-3.pcapng"),
            ("/var/log/a.b.pcapng", "/var/log/a.b-3.pcapng"),
            ("drops", "drops-3"),
        ] {
            assert_eq!(numbered(Path::new(path), 3), Path::new(expected));
        }
    }
}
