//! A file that lines are appended to.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often it is looked whether the file still has its name.
const LOOK: Duration = Duration::from_secs(1);

/// Where lines go.
pub(super) enum Target {
    File { path: PathBuf, file: File },
    Stream(Box<dyn Write + Send>),
}

/// What became of the lines for a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Lines written.
    pub written: u64,
    /// Lines that could not be: the disk was full, or too slow.
    pub lost: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lines", self.written)?;
        if self.lost > 0 {
            write!(f, "; {} lost, the disk was full or too slow", self.lost)?;
        }
        Ok(())
    }
}

impl Target {
    /// The file at `path`, made if there is none.
    pub(super) fn file(path: &Path) -> io::Result<Self> {
        Ok(Self::File { path: path.to_owned(), file: open(path)? })
    }
}

fn open(path: &Path) -> io::Result<File> {
    // What clients asked for is nobody's business but the group's, which reads logs.
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// A target and how it fares.
pub(super) struct Output {
    target: Target,
    report: Report,
    looked: Instant,
    /// Lines lost since writing began to fail.
    failing: u64,
}

impl Output {
    pub(super) fn new(target: Target) -> Self {
        Self { target, report: Report::default(), looked: Instant::now(), failing: 0 }
    }

    /// Writes whole lines; those that cannot be written are counted.
    pub(super) fn write(&mut self, lines: &[u8]) {
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            if self.has_moved() {
                self.reopen();
            }
        }
        let (written, error) = match &mut self.target {
            Target::File { file, .. } => append(file, lines),
            Target::Stream(stream) => {
                let result = stream.write_all(lines).and_then(|()| stream.flush());
                (if result.is_ok() { lines.len() } else { 0 }, result.err())
            }
        };
        let count = |part: &[u8]| memchr::memchr_iter(b'\n', part).count() as u64;
        let (good, bad) = lines.split_at(written);
        self.report.written += count(good);
        self.report.lost += count(bad);
        match error {
            Some(error) => {
                if self.failing == 0 {
                    tracing::error!(
                        "the access log{} cannot be written: {error}; lines are lost until it can",
                        self.place()
                    );
                }
                self.failing += count(bad);
            }
            None if self.failing > 0 => {
                let lost = std::mem::take(&mut self.failing);
                tracing::warn!(
                    "the access log{} is written again; {lost} lines are lost",
                    self.place()
                );
            }
            None => {}
        }
    }

    /// Opens the file again; keeps the old one if that fails.
    pub(super) fn reopen(&mut self) {
        let Target::File { path, file } = &mut self.target else { return };
        match open(path) {
            Ok(new) => *file = new,
            Err(error) => tracing::error!(
                "the access log {} cannot be opened again: {error}; the old file is used",
                path.display()
            ),
        }
    }

    /// Another file has its name, or none.
    fn has_moved(&self) -> bool {
        let Target::File { path, file } = &self.target else { return false };
        let Ok(held) = file.metadata() else { return false };
        match std::fs::metadata(path) {
            Ok(named) => (held.dev(), held.ino()) != (named.dev(), named.ino()),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    pub(super) fn finish(self) -> Report {
        self.report
    }

    fn place(&self) -> String {
        match &self.target {
            Target::File { path, .. } => format!(" {}", path.display()),
            Target::Stream(_) => " on standard output".to_owned(),
        }
    }
}

/// Appends what can be appended; how much of it, up to the end of a line, and why not all.
fn append(file: &mut File, lines: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    let error = loop {
        let rest = lines.get(written..).unwrap_or_default();
        if rest.is_empty() {
            return (written, None);
        }
        match file.write(rest) {
            Ok(0) => break io::ErrorKind::WriteZero.into(),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break error,
        }
    };
    let good = lines.get(..written).and_then(|part| memchr::memrchr(b'\n', part));
    let whole = good.map_or(0, |at| at + 1);
    // Half a line would spoil the next. Nobody else is to write here; where this fails too, the half is
    // ended when writing works again.
    if let Ok(metadata) = file.metadata() {
        let _ = file.set_len(metadata.len().saturating_sub((written - whole) as u64));
    }
    (whole, Some(error))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// An output whose next write looks whether the file was moved.
    fn output(path: &Path) -> Output {
        let mut output = Output::new(Target::file(path).unwrap());
        output.looked = Instant::now().checked_sub(LOOK).unwrap();
        output
    }

    #[test]
    fn lines_are_appended_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        fs::write(&path, "old\n").unwrap();
        let mut log = output(&path);
        log.write(b"one\ntwo\n");
        log.write(b"three\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "old\none\ntwo\nthree\n");
        let report = log.finish();
        assert_eq!(report, Report { written: 3, lost: 0 });
        assert_eq!(report.to_string(), "3 lines");
    }

    #[test]
    fn a_file_that_was_moved_or_removed_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
        let mut log = output(&path);
        log.write(b"one\n");
        fs::rename(&path, &old).unwrap();
        log.write(b"two\n");
        assert!(!path.exists(), "it is looked for once a second");
        log.looked = Instant::now().checked_sub(LOOK).unwrap();
        log.write(b"three\n");
        fs::remove_file(&path).unwrap();
        log.reopen();
        log.write(b"four\n");
        assert_eq!(fs::read_to_string(&old).unwrap(), "one\ntwo\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "four\n");
        fs::rename(&path, &old).unwrap();
        fs::create_dir(&path).unwrap();
        log.reopen();
        log.write(b"five\n");
        assert_eq!(fs::read_to_string(&old).unwrap(), "four\nfive\n", "the old file is kept");
    }

    #[test]
    fn a_full_disk_loses_lines_and_is_said_once() {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let target = Target::File { path: "/dev/full".into(), file: full };
        let mut log = Output::new(target);
        log.write(b"one\ntwo\n");
        log.write(b"three\n");
        assert_eq!((log.failing, log.report.lost, log.report.written), (3, 3, 0));
        log.target = Target::Stream(Box::new(Vec::new()));
        log.write(b"four\n");
        assert_eq!((log.failing, log.report.lost, log.report.written), (0, 3, 1));
        assert_eq!(log.finish().to_string(), "1 lines; 3 lost, the disk was full or too slow");
    }
}
