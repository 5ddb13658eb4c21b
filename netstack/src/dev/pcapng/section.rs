//! What a section says of the machine, the program and the run that it comes from.

use std::fmt::Write;
use std::time::Duration;

/// A section header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// The machine (`shb_hardware`).
    pub hardware: Option<String>,
    /// Its operating system (`shb_os`).
    pub os: Option<String>,
    /// The program that wrote it (`shb_userappl`).
    pub application: Option<String>,
    /// Comments.
    pub comments: Vec<String>,
}

/// What a replay needs besides the packets, as one comment of the section:
/// `balun run seed=0x9f3c config=sha256:…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The seed that all randomness of the run was drawn from.
    pub seed: u64,
    /// What tells one configuration from another: a word without spaces. Empty if there is none.
    pub config: String,
}

const PREFIX: &str = "balun run ";

impl Run {
    /// The comment.
    pub fn comment(&self) -> String {
        let mut text = format!("{PREFIX}seed={:#x}", self.seed);
        if !self.config.is_empty() {
            let word: String = self.config.chars().filter(|c| !c.is_whitespace()).collect();
            // Writing to a string cannot fail.
            let _ = write!(text, " config={word}");
        }
        text
    }

    /// The comment of a run whose core counts time from `epoch`, itself counted from the Unix epoch:
    /// `balun run seed=0x9f3c start=1700000000.000000000`.
    pub fn comment_from(&self, epoch: Duration) -> String {
        format!("{} start={}.{:09}", self.comment(), epoch.as_secs(), epoch.subsec_nanos())
    }

    /// Reads a comment; nothing if it is another.
    pub fn of_comment(comment: &str) -> Option<Self> {
        let mut run = Self { seed: 0, config: String::new() };
        let mut seeded = false;
        for word in comment.strip_prefix(PREFIX)?.split_whitespace() {
            match word.split_once('=') {
                Some(("seed", value)) => {
                    run.seed = u64::from_str_radix(value.strip_prefix("0x")?, 16).ok()?;
                    seeded = true;
                }
                Some(("config", value)) => value.clone_into(&mut run.config),
                // A later version may say more.
                _ => {}
            }
        }
        seeded.then_some(run)
    }
}

impl Section {
    /// The run that a section comes from, if balun wrote it.
    pub fn run(&self) -> Option<Run> {
        self.comments.iter().find_map(|comment| Run::of_comment(comment))
    }

    /// When that run began, from the Unix epoch, if the section says so.
    pub fn start(&self) -> Option<Duration> {
        let run = self.comments.iter().find(|comment| Run::of_comment(comment).is_some())?;
        let value = run.split_whitespace().find_map(|word| word.strip_prefix("start="))?;
        let (seconds, nanos) = value.split_once('.')?;
        let nanos = nanos.parse().ok().filter(|nanos| *nanos < 1_000_000_000)?;
        Some(Duration::new(seconds.parse().ok()?, nanos))
    }
}
