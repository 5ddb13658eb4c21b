//! Certificates and lists that change while the process runs.
//!
//! # Theory of operation
//! The files of each service's TLS, and those of users, keys and block lists, are looked at every few
//! seconds, by their time, length and number, and at SIGHUP they are read whatever these say. If they changed they are read together; if they can be used,
//! connections that begin from then on are made with them, else the old ones stay, and it is said why.
//! Tools write a certificate and its key one after the other: what does not fit yet is tried again with the
//! next change. Files are read by a thread of their own, so that a slow disk holds no packets up.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use crate::plan::{Plan, Reload};

/// From one look at the files to the next.
const EVERY: Duration = Duration::from_secs(5);

/// What tells a file from the one that was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

/// The services whose files are looked at.
#[derive(Debug)]
struct Watcher {
    watched: Vec<(Reload, Vec<Option<Stamp>>)>,
    hangup: Signal,
}

/// Has the certificates of a plan watched from now on. Must be called inside a tokio runtime.
///
/// # Errors
/// The signal cannot be listened to.
pub(crate) fn start(plan: &Plan) -> io::Result<()> {
    if let Some(watcher) = Watcher::new(plan.reloads())? {
        tokio::spawn(watcher.run());
    }
    Ok(())
}

impl Watcher {
    /// Looks at the files of these services from now on; nothing if there are none.
    fn new(reloads: Vec<Reload>) -> io::Result<Option<Self>> {
        if reloads.is_empty() {
            return Ok(None);
        }
        let hangup = signal(SignalKind::hangup())?;
        let watched = reloads.into_iter().map(|reload| {
            let stamps = stamps(&reload);
            (reload, stamps)
        });
        Ok(Some(Self { watched: watched.collect(), hangup }))
    }

    /// Watches without end.
    async fn run(mut self) {
        let mut interval = interval(EVERY);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                _ = interval.tick() => false,
                _ = self.hangup.recv() => true,
            };
            let mut watched = std::mem::take(&mut self.watched);
            let looked = tokio::task::spawn_blocking(move || {
                for (reload, stamps) in &mut watched {
                    look(reload, stamps, asked);
                }
                watched
            });
            match looked.await {
                Ok(watched) => self.watched = watched,
                Err(error) => {
                    return tracing::error!("files are not watched any more: {error}");
                }
            }
        }
    }
}

/// What came of a look at the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// They are as they were.
    Same,
    /// They changed, or it was asked for, and they are used.
    Taken,
    /// They cannot be used: the old ones are.
    Kept,
}

/// Takes the files if they changed, or it was `asked` for.
fn look(reload: &Reload, known: &mut Vec<Option<Stamp>>, asked: bool) -> Seen {
    // Before they are read, so that what changes meanwhile is seen the next time.
    let now = stamps(reload);
    if now == *known && !asked {
        return Seen::Same;
    }
    *known = now;
    match reload.run() {
        Ok(()) => {
            tracing::info!("{reload} are used as they are now");
            Seen::Taken
        }
        Err(error) => {
            tracing::warn!("{reload} stay as they were: {error}");
            Seen::Kept
        }
    }
}

fn stamps(reload: &Reload) -> Vec<Option<Stamp>> {
    reload.paths().into_iter().map(stamp).collect()
}

/// Nothing for a file that is not there.
fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some(Stamp { modified: found.modified().ok(), length: found.len(), inode: found.ino() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, examine};

    const LAB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/labs/tls");

    const SITE: &str = r#"
        version = 1
        [[leg]]
        name = "balun0"
        address = ["10.99.0.254/24"]
        [pool.web]
        backend = [{ name = "web1", address = "10.2.0.11:80" }]
        [[service]]
        name = "site"
        listen = "tcp 10.99.0.1:443"
        mode = "http"
        pool = "web"
        tls = { certificates = [{ cert = "site.pem", key = "site.key" }], client-ca = "ca.pem" }
    "#;

    #[test]
    fn files_are_taken_when_they_change_and_can_be_used() {
        let folder = tempfile::tempdir().unwrap();
        let copy = |name: &str| {
            // A new file, as tools that renew certificates make one.
            let new = folder.path().join("new");
            fs::copy(Path::new(LAB).join(name), &new).unwrap();
            fs::rename(new, folder.path().join(name)).unwrap();
        };
        ["site.pem", "site.key", "ca.pem"].into_iter().for_each(copy);
        let (config, found) = examine(SITE, Environment::Check { folder: folder.path() });
        let config = config.unwrap_or_else(|| panic!("{found:?}"));
        let plan = Plan::from_config(&config, folder.path(), 1).unwrap();
        let reload = plan.reloads().remove(0);
        let mut known = stamps(&reload);
        assert_eq!(look(&reload, &mut known, false), Seen::Same);
        assert_eq!(look(&reload, &mut known, true), Seen::Taken, "it was asked for");
        for name in ["site.pem", "site.key", "ca.pem"] {
            copy(name);
            assert_eq!(look(&reload, &mut known, false), Seen::Taken, "{name}");
            assert_eq!(look(&reload, &mut known, false), Seen::Same, "{name}");
            for bad in ["", "-----BEGIN CERTIFICATE-----"] {
                fs::write(folder.path().join(name), bad).unwrap();
                assert_eq!(look(&reload, &mut known, false), Seen::Kept, "{name}: {bad}");
            }
            fs::remove_file(folder.path().join(name)).unwrap();
            assert_eq!(look(&reload, &mut known, false), Seen::Kept, "{name}");
            copy(name);
            assert_eq!(look(&reload, &mut known, false), Seen::Taken, "{name}");
        }
        let error = {
            fs::remove_file(folder.path().join("ca.pem")).unwrap();
            reload.run().unwrap_err().to_string()
        };
        assert!(error.starts_with("cannot read `") && error.contains("ca.pem"), "{error}");
    }
}
