//! How a command ends.

/// What the process returns to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Done; all tests pass.
    Done = 0,
    /// The answer is no: a test failed, a verdict is drop, nothing matched.
    No = 1,
    /// The command line is wrong.
    Usage = 2,
    /// It could not be done: an I/O error, an instance that is not running.
    CouldNot = 3,
    /// The environment forbids it: no TUN, no user namespaces. `EX_NOPERM`, and "skip" to Automake and
    /// Meson.
    Environment = 77,
    /// The configuration is wrong. `EX_CONFIG`.
    Config = 78,
    /// Interrupted.
    Interrupted = 130,
}

impl ExitCode {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Done,
        Self::No,
        Self::Usage,
        Self::CouldNot,
        Self::Environment,
        Self::Config,
        Self::Interrupted,
    ];

    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.code())
    }
}
