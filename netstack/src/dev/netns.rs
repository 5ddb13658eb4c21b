//! Network namespaces: made, opened, and entered by threads.
//!
//! # Theory of operation
//!
//! A [`Namespace`] is an open descriptor. While it is open the namespace lives, with its devices and
//! addresses. So it does while a TUN or a socket made in it is open, or a thread is in it; when all
//! are gone the kernel takes it down. Nothing is left behind in the file system.
//!
//! The calling thread never changes its own namespace: what must happen inside happens on a thread
//! of its own, which ends afterwards. Descriptors made there (a TUN, a socket) belong to that
//! namespace for ever and work from any thread.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

use super::netlink::{self, Change};
use super::sys;

/// Where `ip netns add NAME` keeps its namespaces.
const NAMED: &str = "/run/netns";

const OWN: &str = "/proc/thread-self/ns/net";

/// Why a network namespace could not be made, opened or entered.
#[derive(Debug)]
pub enum NamespaceError {
    /// There is no namespace of that name, no such file.
    NotFound {
        /// What was looked for.
        path: PathBuf,
    },
    /// The file is not a network namespace.
    NotANamespace {
        /// The file.
        path: PathBuf,
    },
    /// `CAP_SYS_ADMIN` is missing.
    Denied {
        /// What it was wanted for, to follow "cannot".
        step: String,
    },
    /// The kernel refused.
    Kernel {
        /// What was being done, to follow "cannot".
        step: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl NamespaceError {
    /// True if a right is missing, and no other configuration would help: what exit code 77 says.
    pub const fn is_environment(&self) -> bool {
        matches!(self, Self::Denied { .. })
    }

    fn from_step(step: impl Into<String>, source: impl Into<io::Error>) -> Self {
        let (step, source) = (step.into(), source.into());
        match source.raw_os_error() {
            Some(nix::libc::EPERM | nix::libc::EACCES) => Self::Denied { step },
            _ => Self::Kernel { step, source },
        }
    }
}

impl fmt::Display for NamespaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { path } => write!(
                f,
                "cannot open network namespace `{}`: there is none\n\
                 fix: see the names with: ip netns list   (or give a path: /proc/PID/ns/net)",
                path.display()
            ),
            Self::NotANamespace { path } => write!(
                f,
                "cannot open network namespace `{}`: the file is something else\n\
                 fix: a name of `ip netns list`, or a path such as /proc/PID/ns/net",
                path.display()
            ),
            Self::Denied { step } => write!(
                f,
                "cannot {step}: CAP_SYS_ADMIN is missing\n\
                 fix: run as root, or in a user namespace (unshare -Urn)"
            ),
            Self::Kernel { step, source } => write!(f, "cannot {step}: {source}"),
        }
    }
}

impl Error for NamespaceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Kernel { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// An open network namespace (see the module's theory of operation).
#[derive(Debug)]
pub struct Namespace {
    fd: OwnedFd,
}

impl Namespace {
    /// Makes a namespace that nobody else knows, with `lo` up and nothing else in it.
    ///
    /// # Errors
    /// [`NamespaceError::Denied`] without `CAP_SYS_ADMIN`.
    pub fn create() -> Result<Self, NamespaceError> {
        on_thread("make a network namespace", || {
            unshare(CloneFlags::CLONE_NEWNET)
                .map_err(|e| NamespaceError::from_step("make a network namespace", e))?;
            netlink::change_link("lo", &[Change::Up]).map_err(|e| {
                NamespaceError::from_step("set up `lo` in a new namespace", e.source)
            })?;
            Self::current()
        })
    }

    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// [`NamespaceError`] if `/proc` is not mounted.
    pub fn current() -> Result<Self, NamespaceError> {
        Self::open_path(Path::new(OWN))
    }

    /// Opens a namespace by the name that `ip netns` has for it or, if there is a slash in it, by
    /// the path of a file such as `/proc/4711/ns/net`.
    ///
    /// # Errors
    /// [`NamespaceError`] says which of name, kind and right was missing.
    pub fn open(name_or_path: &str) -> Result<Self, NamespaceError> {
        match name_or_path {
            "" | "." | ".." => Err(NamespaceError::NotFound { path: name_or_path.into() }),
            path if path.contains('/') => Self::open_path(Path::new(path)),
            name => Self::open_path(&Path::new(NAMED).join(name)),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a namespace is opened as a file")]
    fn open_path(path: &Path) -> Result<Self, NamespaceError> {
        let file = File::open(path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => NamespaceError::NotFound { path: path.into() },
            _ => {
                NamespaceError::from_step(format!("open network namespace `{}`", path.display()), e)
            }
        })?;
        if sys::is_network_namespace(file.as_fd()) {
            Ok(Self { fd: file.into() })
        } else {
            Err(NamespaceError::NotANamespace { path: path.into() })
        }
    }

    /// Runs `work` on a thread inside the namespace and returns what it returns. A panic of `work`
    /// goes on in the caller.
    ///
    /// # Errors
    /// [`NamespaceError`] if the namespace could not be entered; `work` has not run then.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NamespaceError> {
        on_thread(ENTER, || {
            enter(&self.fd)?;
            Ok(work())
        })
    }

    /// Starts a thread that lives inside the namespace. Threads that it starts live there too.
    ///
    /// # Errors
    /// No descriptor or no thread to be had. If the namespace cannot be entered, the thread ends
    /// at once with the [`NamespaceError`] as its result.
    pub fn spawn_thread<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<thread::JoinHandle<Result<T, NamespaceError>>> {
        let fd = self.fd.try_clone()?;
        thread::Builder::new().name(name.into()).spawn(move || {
            enter(&fd)?;
            drop(fd);
            Ok(work())
        })
    }

    /// A path by which other processes can open the namespace while this one holds it:
    /// `nsenter --net=PATH`. Of a rootless process they must enter `/proc/PID/ns/user` as well.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.fd.as_raw_fd()).into()
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

const ENTER: &str = "enter the network namespace";

fn enter(fd: &OwnedFd) -> Result<(), NamespaceError> {
    setns(fd, CloneFlags::CLONE_NEWNET).map_err(|e| NamespaceError::from_step(ENTER, e))
}

/// Runs `work` on a thread of its own, whose namespace may change without harm.
fn on_thread<T: Send>(
    step: &str,
    work: impl FnOnce() -> Result<T, NamespaceError> + Send,
) -> Result<T, NamespaceError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("netns".into()).spawn_scoped(scope, work);
        let thread = thread.map_err(|e| NamespaceError::from_step(step, e))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_namespace_is_told_apart() {
        let error = Namespace::open("no-such-namespace").unwrap_err();
        assert!(matches!(&error, NamespaceError::NotFound { path } if path.starts_with(NAMED)));
        for path in ["/proc/self/status", "/proc/self/ns/mnt", "/dev/null"] {
            let error = Namespace::open(path).unwrap_err();
            assert!(matches!(error, NamespaceError::NotANamespace { .. }), "{path}: {error}");
        }
        assert!(Namespace::open("").is_err() && Namespace::open("..").is_err());
    }

    #[test]
    fn the_own_namespace_can_be_opened_by_its_path() {
        let own = Namespace::current().unwrap();
        assert!(Namespace::open(own.path().to_str().unwrap()).is_ok());
    }
}
