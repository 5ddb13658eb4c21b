//! Many seeds of the simulator, which lives in `tests/src/soak`.

use std::path::Path;
use std::process::Command;

use crate::Exit;

/// What to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Options {
    seeds: u64,
    from: u64,
    jobs: u64,
    minutes: u64,
}

/// Runs the command; `arguments` are those after its name.
pub(crate) fn main(arguments: &[String]) -> Exit {
    let processors = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    match Options::parse(arguments, processors) {
        Ok(options) => run(options),
        Err(complaint) => {
            eprintln!("error: {complaint}; see `cargo xtask help`");
            Exit::WrongCommandLine
        }
    }
}

impl Options {
    /// Reads the arguments; the error is a sentence for the user.
    fn parse(arguments: &[String], processors: u64) -> Result<Self, String> {
        let jobs = processors.clamp(1, 256);
        let mut options = Self { seeds: 10_000, from: 1, jobs, minutes: 1_440 };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let (value, range) = match argument.as_str() {
                "--seeds" => (&mut options.seeds, 1..=1_000_000_000),
                "--from" => (&mut options.from, 0..=u64::MAX),
                "--jobs" => (&mut options.jobs, 1..=256),
                "--minutes" => (&mut options.minutes, 1..=10_080),
                _ => return Err(format!("unknown option `{argument}`")),
            };
            let text = arguments.next().ok_or_else(|| format!("`{argument}` needs a number"))?;
            let number = text.parse().ok().filter(|number| range.contains(number));
            *value = number.ok_or_else(|| {
                format!("`{argument} {text}`: a number from {} to {}", range.start(), range.end())
            })?;
        }
        Ok(options)
    }
}

fn run(options: Options) -> Exit {
    let Options { seeds, from, jobs, minutes } = options;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(cargo);
    command.current_dir(own.parent().unwrap_or(own));
    command.args(["run", "--release", "--quiet", "--package", "tests", "--bin", "soak", "--"]);
    command.args([from, seeds, jobs, minutes * 60].map(|number| number.to_string()));
    match command.status() {
        Ok(status) if status.success() => Exit::Done,
        Ok(status) if status.code() == Some(1) => Exit::Failed,
        Ok(status) => {
            eprintln!("error: the simulator did not run to its end: {status}");
            Exit::CouldNot
        }
        Err(error) => {
            eprintln!("error: cannot start cargo: {error}");
            Exit::CouldNot
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&words, 4)
    }

    #[test]
    fn options_have_defaults_and_ranges() {
        let default = Options { seeds: 10_000, from: 1, jobs: 4, minutes: 1_440 };
        assert_eq!(parse(""), Ok(default));
        let given = Options { seeds: 5, from: 9, jobs: 1, minutes: 2 };
        assert_eq!(parse("--seeds 5 --from 9 --jobs 1 --minutes 2"), Ok(given));
        for (line, complaint) in [
            ("--seeds", "`--seeds` needs a number"),
            ("--seeds x", "`--seeds x`: a number from 1 to 1000000000"),
            ("--seeds 0", "`--seeds 0`: a number from 1 to 1000000000"),
            ("--jobs 257", "`--jobs 257`: a number from 1 to 256"),
            ("5", "unknown option `5`"),
        ] {
            assert_eq!(parse(line), Err(complaint.to_owned()), "{line}");
        }
    }
}
