//! What is said, and where: data on the standard output, talk on the standard error stream.

use std::io::{self, IsTerminal as _, Write as _};

use tracing_subscriber::filter::LevelFilter;

use crate::args::Verbosity;
use crate::exit::ExitCode;

/// The two streams of a command.
#[derive(Debug)]
pub struct Console {
    verbosity: Verbosity,
    /// The standard error stream is a terminal that may be colored.
    color: bool,
}

impl Console {
    /// The streams of this process. Color is used on a terminal, unless `NO_COLOR` is set and not empty
    /// (no-color.org).
    pub fn new(verbosity: Verbosity) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let color = io::stderr().is_terminal() && !refused && !dumb;
        Self { verbosity, color }
    }

    /// How much of what the libraries log is shown: warnings, and with `-v` each connection's and
    /// request's misfortunes, with `-vv` everything.
    pub const fn log_level(&self) -> LevelFilter {
        match (self.verbosity.quiet, self.verbosity.verbose) {
            (true, _) => LevelFilter::ERROR,
            (false, 0) => LevelFilter::WARN,
            (false, 1) => LevelFilter::DEBUG,
            (false, _) => LevelFilter::TRACE,
        }
    }

    /// Sends what the libraries log to the standard error stream; with `-v` it says from which of them.
    pub fn log(&self) {
        tracing_subscriber::fmt()
            .with_max_level(self.log_level())
            .with_writer(io::stderr)
            .with_ansi(self.color)
            .with_target(self.verbosity.verbose > 0)
            .init();
    }

    /// True if talk may be colored.
    pub const fn color(&self) -> bool {
        self.color
    }

    /// True with `-v`.
    pub const fn verbose(&self) -> bool {
        self.verbosity.verbose > 0
    }

    /// True with `-q`.
    pub const fn quiet(&self) -> bool {
        self.verbosity.quiet
    }

    /// Writes data. A reader that went away has seen enough: that is no error.
    ///
    /// # Errors
    /// The data cannot be written, say because the disk is full.
    pub fn data(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }

    /// Writes data that is all there is to do, and says how the command ends.
    pub fn finish_with(&self, text: &str) -> ExitCode {
        match self.data(text) {
            Ok(()) => ExitCode::Done,
            Err(error) => {
                self.error(&format!("cannot write to the standard output: {error}"));
                ExitCode::CouldNot
            }
        }
    }

    /// Says something that `-q` silences.
    pub fn talk(&self, line: &str) {
        if !self.verbosity.quiet {
            self.say(&format!("{line}\n"));
        }
    }

    /// Says what failed, on what, why, and what to do, in at most three lines.
    pub fn error(&self, text: &str) {
        let (on, off) = if self.color { ("\x1b[1;91m", "\x1b[0m") } else { ("", "") };
        self.say(&format!("{on}error{off}: {text}\n"));
    }

    /// A writer for longer talk, which `-q` silences.
    pub fn talker(&self) -> Box<dyn io::Write> {
        if self.verbosity.quiet { Box::new(io::sink()) } else { Box::new(io::stderr()) }
    }

    /// Writes to the standard error stream as it is. There is no one left to tell if that fails.
    pub fn say(&self, text: &str) {
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}
