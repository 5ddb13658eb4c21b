//! Process 1 of a node: it runs what it is told to, buries the dead, and takes all with it when it ends.

use std::collections::{HashMap, VecDeque};
use std::io::{self, BufRead as _, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use super::message::{Ended, Event, How, Order};
use super::serve;
use crate::exit::ExitCode;

/// Bytes that are kept of what a command prints, the last of them.
const MAX_OUTPUT: usize = 64 << 10;
/// How long the output of a command that has ended is waited for: something that it has left in the
/// background may hold the pipe open for ever.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Follows the orders on the standard input until it closes, which is the end of the lab.
pub fn main() -> ExitCode {
    // The kernel's own word beside the pipe's, should this process be unable to listen to it.
    if prctl::set_pdeathsig(Signal::SIGKILL).is_err() {
        return ExitCode::CouldNot;
    }
    let children = Arc::new(Children::default());
    let reaper = Arc::clone(&children);
    thread::spawn(move || reaper.reap());
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        match serde_json::from_str(&line) {
            Ok(Order::Serve { name, addresses, builtin }) => {
                thread::spawn(move || {
                    let say = || emit(&Event::Serving);
                    if let Err(error) = serve::serve(&name, &addresses, &builtin, say) {
                        emit(&Event::Failed(error.to_string()));
                    }
                });
            }
            Ok(Order::Run { id, argv, patience_ms }) => {
                let children = Arc::clone(&children);
                let patience = patience_ms.map(Duration::from_millis);
                thread::spawn(move || emit(&Event::Ended(children.run(id, &argv, patience))));
            }
            Err(_) => return ExitCode::CouldNot,
        }
    }
    ExitCode::Done
}

/// Tells the lab. If it is gone, so are we in a moment.
fn emit(event: &Event) {
    let mut line = serde_json::to_vec(event).unwrap_or_default();
    line.push(b'\n');
    let mut out = io::stdout().lock();
    let _ = out.write_all(&line).and_then(|()| out.flush());
}

/// Commands that run, by their process, and who waits for each.
#[derive(Default)]
struct Children {
    running: Mutex<HashMap<i32, Sender<WaitStatus>>>,
    started: Condvar,
}

impl Children {
    fn lock(&self) -> MutexGuard<'_, HashMap<i32, Sender<WaitStatus>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Buries whoever dies: commands, and what they left behind.
    fn reap(&self) {
        loop {
            // Looks only: whoever starts a command holds the lock until it is known here.
            let looked = waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
            let mut running = self.lock();
            if looked == Err(Errno::ECHILD) && running.is_empty() {
                let woken = self.started.wait_while(running, |running| running.is_empty());
                drop(woken.unwrap_or_else(PoisonError::into_inner));
                continue;
            }
            while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                let Some(pid) = status.pid() else { break };
                if let Some(waiting) = running.remove(&pid.as_raw()) {
                    // Nobody waits for a command that was given up.
                    let _ = waiting.send(status);
                }
            }
        }
    }

    fn run(&self, id: u32, argv: &[String], patience: Option<Duration>) -> Ended {
        let not_started = |why: String| Ended {
            id,
            how: How::NotStarted(why),
            stdout: String::new(),
            stderr: String::new(),
        };
        let Some((program, arguments)) = argv.split_first() else {
            return not_started("no program is named".into());
        };
        let mut command = if program.starts_with("builtin:") {
            let mut command = Command::new("/proc/self/exe");
            command.arg("__lab-run").arg(program);
            command
        } else {
            Command::new(program)
        };
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (ended, end) = channel();
        let mut running = self.lock();
        let child = command.process_group(0).spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) => return not_started(format!("`{program}`: {error}")),
        };
        running.insert(child.id().cast_signed(), ended);
        self.started.notify_all();
        drop(running);
        emit(&Event::Started(id));
        let stdout = child.stdout.take().map(Tail::follow);
        let stderr = child.stderr.take().map(Tail::follow);
        let how = wait(&end, child.id().cast_signed(), patience);
        let text = |tail: Option<Tail>| tail.map(Tail::text).unwrap_or_default();
        Ended { id, how, stdout: text(stdout), stderr: text(stderr) }
    }
}

fn wait(end: &Receiver<WaitStatus>, pid: i32, patience: Option<Duration>) -> How {
    let status = match patience {
        Some(patience) => end.recv_timeout(patience),
        None => end.recv().map_err(|_| RecvTimeoutError::Disconnected),
    };
    match status {
        Ok(WaitStatus::Exited(_, code)) => How::Exit(code),
        Ok(WaitStatus::Signaled(_, signal, _)) => How::Signal(signal as i32),
        Err(RecvTimeoutError::Timeout) => {
            // Not yet buried, or a moment ago: numbers are not given again so soon.
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
            How::TimedOut
        }
        Ok(_) | Err(RecvTimeoutError::Disconnected) => How::NotStarted("it was lost".into()),
    }
}

/// The last of what a command prints.
struct Tail {
    bytes: Arc<Mutex<VecDeque<u8>>>,
    closed: Receiver<()>,
}

impl Tail {
    fn follow(mut from: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(VecDeque::new()));
        let (close, closed) = channel();
        let kept = Arc::clone(&bytes);
        thread::spawn(move || {
            let mut room = [0; 4096];
            while let Ok(len @ 1..) = from.read(&mut room) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(&room[..len]);
                let over = kept.len().saturating_sub(MAX_OUTPUT);
                kept.drain(..over);
            }
            // It is said by dropping, too.
            let _ = close.send(());
        });
        Self { bytes, closed }
    }

    fn text(self) -> String {
        // A pipe that is still open will not say more that matters.
        let _ = self.closed.recv_timeout(LAST_WORDS);
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(bytes.make_contiguous()).into_owned()
    }
}
