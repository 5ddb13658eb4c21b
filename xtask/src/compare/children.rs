//! Processes that do not outlive their owner, and the directory that they write to.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::{Failure, interrupt};

/// How often a wait looks whether it is over: short against a measurement, and cheap enough not to
/// show in one.
pub(super) const GLANCE: Duration = Duration::from_millis(10);

/// The most of a child's last words that goes into a reason, in bytes.
const LAST_WORDS: usize = 200;

/// Makes this process the parent of its children's orphans, so that a [`Child`] that is dropped has
/// ended with all its group: one that the kernel has yet to bury may still hold a port or a device.
pub(super) fn adopt() -> Result<(), Failure> {
    prctl::set_child_subreaper(true)
        .map_err(|error| Failure::because(format!("PR_SET_CHILD_SUBREAPER: {error}")))
}

/// A directory of this run, removed at the end.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    files: Cell<u32>,
}

impl Scratch {
    /// Makes the directory, readable by its owner only. One that exists already is refused: in a
    /// directory that all may write to it may be somebody's trap.
    pub(super) fn create() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("balun-cmp-{}", process::id()));
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| Failure::because(format!("{}: {error}", path.display())))?;
        Ok(Self { path, files: Cell::new(0) })
    }

    /// A path in the directory that no other call gave.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        let number = self.files.get();
        self.files.set(number + 1);
        self.path.join(format!("{number}-{name}"))
    }

    /// Writes a file for a child to read.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        let path = self.path(name);
        fs::write(&path, text)
            .map_err(|error| Failure::because(format!("{}: {error}", path.display())))?;
        Ok(path)
    }

    /// The directory, for programs that want one of their own.
    pub(super) fn directory(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("warning: {} stays behind: {error}", self.path.display());
        }
    }
}

/// Where a child's stderr goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errors {
    /// To a file, whose end becomes the reason of a failure.
    Kept,
    /// To the user.
    Shown,
}

/// A running process. It, and every process of its group, is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Child {
    name: String,
    process: process::Child,
    output: PathBuf,
    errors: PathBuf,
}

impl Child {
    /// Starts `command` in a process group of its own: Ctrl-C at the terminal is for us, and the
    /// group is what gets killed.
    pub(super) fn start(
        scratch: &Scratch,
        mut command: Command,
        errors: Errors,
    ) -> Result<Self, Failure> {
        let name = name_of(&command);
        let output_path = scratch.path("stdout");
        let errors_path = scratch.path("stderr");
        let create = |path: &Path| {
            File::create(path)
                .map_err(|error| Failure::because(format!("{}: {error}", path.display())))
        };
        command.stdin(Stdio::null()).stdout(create(&output_path)?).process_group(0);
        if errors == Errors::Kept {
            command.stderr(create(&errors_path)?);
        }
        let process =
            command.spawn().map_err(|error| Failure::because(format!("{name}: {error}")))?;
        Ok(Self { name, process, output: output_path, errors: errors_path })
    }

    /// Its process group, which is its own number too.
    pub(super) fn group(&self) -> u32 {
        self.process.id()
    }

    /// An error with its last words if the process has ended.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        match self.process.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.failed(status)),
            Err(error) => Err(Failure::because(format!("{}: {error}", self.name))),
        }
    }

    /// Waits for the end, at most `limit`, and gives what the process wrote to stdout, with how it
    /// ended.
    pub(super) fn finish(mut self, limit: Duration) -> Result<(ExitStatus, String), Failure> {
        let deadline = Instant::now() + limit;
        loop {
            match self.process.try_wait() {
                Ok(Some(status)) => {
                    let output = fs::read(&self.output).unwrap_or_default();
                    return Ok((status, String::from_utf8_lossy(&output).into_owned()));
                }
                Ok(None) if Instant::now() < deadline => {}
                Ok(None) => {
                    let limit = limit.as_secs();
                    return Err(Failure::because(format!(
                        "{} did not end within {limit} s",
                        self.name
                    )));
                }
                Err(error) => return Err(Failure::because(format!("{}: {error}", self.name))),
            }
            interrupt::check()?;
            thread::sleep(GLANCE);
        }
    }

    /// As [`Child::finish`]; that it failed is an error with its last words.
    pub(super) fn succeed(self, limit: Duration) -> Result<String, Failure> {
        let (name, errors) = (self.name.clone(), self.errors.clone());
        let (status, output) = self.finish(limit)?;
        if status.success() { Ok(output) } else { Err(failed(&name, status, &errors)) }
    }

    fn failed(&self, status: ExitStatus) -> Failure {
        failed(&self.name, status, &self.errors)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // The whole group, and before its leader is waited for: until then nobody else can get the
        // leader's number. It is an error only if all have ended.
        let group = Pid::from_raw(self.process.id().cast_signed());
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.process.wait();
        // The others of the group are ours to wait for now, see [`adopt`].
        while waitpid(Pid::from_raw(-group.as_raw()), None).is_ok() {}
    }
}

/// Waits until `ready` says so, at most `limit`; `what` completes "was not … within".
pub(super) fn wait_until(
    what: &str,
    limit: Duration,
    mut ready: impl FnMut() -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let deadline = Instant::now() + limit;
    while !ready()? {
        interrupt::check()?;
        if Instant::now() >= deadline {
            return Err(Failure::because(format!("{what} within {} s", limit.as_secs())));
        }
        thread::sleep(GLANCE);
    }
    Ok(())
}

/// The program that `command` is about: behind the wrapper that puts it into a namespace, if any.
fn name_of(command: &Command) -> String {
    let mut words = std::iter::once(command.get_program()).chain(command.get_args());
    let own = command.get_program().to_owned();
    let behind = words.by_ref().skip_while(|word| *word != OsStr::new("exec")).nth(2);
    let program = behind.unwrap_or(&own);
    Path::new(program).file_name().unwrap_or(program).to_string_lossy().into_owned()
}

fn failed(name: &str, status: ExitStatus, errors: &Path) -> Failure {
    let text = fs::read(errors).unwrap_or_default();
    let words = last_words(&String::from_utf8_lossy(&text));
    let colon = if words.is_empty() { "" } else { ": " };
    Failure::because(format!("{name} ended, {status}{colon}{words}"))
}

/// The last line that says something, cut to [`LAST_WORDS`] and fit for a table's cell.
fn last_words(text: &str) -> String {
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let mut end = line.len().min(LAST_WORDS);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line[..end].chars().filter(|c| !c.is_control() && *c != '|').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_one_short_clean_line() {
        assert_eq!(last_words(""), "");
        assert_eq!(last_words("first\nno such | file\n\n  \n"), "no such  file");
        let long = "é".repeat(LAST_WORDS);
        assert_eq!(last_words(&long).len(), LAST_WORDS);
        assert_eq!(last_words(&format!("x{long}")).len(), LAST_WORDS - 1);
    }

    #[test]
    fn a_wrapped_program_is_named_by_itself() {
        let mut command = Command::new("setpriv");
        command.args(["--", "ip", "netns", "exec", "somewhere", "/usr/sbin/nginx", "-c", "exec"]);
        assert_eq!(name_of(&command), "nginx");
        assert_eq!(name_of(&Command::new("/bin/true")), "true");
    }

    #[test]
    fn a_child_is_killed_with_its_group_at_its_limit_and_at_its_drop() {
        // One scratch directory a process: the cases share a test.
        let scratch = Scratch::create().unwrap();
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            Child::start(&scratch, command, Errors::Kept).unwrap()
        };

        let said = shell("echo yes; echo no >&2").succeed(Duration::from_secs(10));
        assert_eq!(said.unwrap(), "yes\n");

        let failed = shell("echo why not >&2; exit 4").succeed(Duration::from_secs(10));
        assert_eq!(failed, Err(Failure::because("sh ended, exit status: 4: why not")));

        let endless = shell("sleep 100").finish(Duration::ZERO);
        assert_eq!(endless, Err(Failure::because("sh did not end within 0 s")));

        // A pipe's reader sees its end only once every process of the group is gone.
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 100 & wait"]).stderr(writer);
        let mut parent = Child::start(&scratch, command, Errors::Shown).unwrap();
        assert_eq!(parent.check(), Ok(()));
        drop(parent);
        assert_eq!(std::io::Read::read(&mut reader, &mut [0]).unwrap(), 0);

        let directory = scratch.directory().to_owned();
        drop(scratch);
        assert!(!directory.exists());
    }
}
