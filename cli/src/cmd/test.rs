//! `balun test`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nat::rng::derive;

use super::check::unreadable;
use crate::args::TestArgs;
use crate::config::model::{Config, Test};
use crate::config::render::{self, Source};
use crate::config::{self, Diagnostic, Loaded, LoadedScript, Severity};
use crate::console::Console;
use crate::exit::ExitCode;
use crate::seed;
use crate::testing::report::{Format, Outcome, Report};
use crate::testing::run::{self, Subject};

/// Files of one folder; more are a mistake.
const MAX_FILES: usize = 10_000;

/// Tests, the text that they stand in, and what they are about.
struct Suite {
    file: String,
    text: String,
    tests: Vec<Test>,
    config: Config,
    folder: PathBuf,
}

/// Runs the tests, and says what became of them.
pub(super) fn run(args: &TestArgs, console: &Console) -> ExitCode {
    let suites = match load(args, console) {
        Ok(suites) => suites,
        Err(code) => return code,
    };
    let seed = match args.seed.map_or_else(seed::from_system, Ok) {
        // The configuration's own seeds are of this range too.
        Ok(seed) if args.seed.is_none() => seed >> 1,
        Ok(seed) => seed,
        Err(error) => {
            console.error(&format!("cannot read random numbers: {error}"));
            return ExitCode::CouldNot;
        }
    };
    let mut report = Report { arguments: arguments(args), ..Report::default() };
    for suite in &suites {
        for test in suite.tests.iter().filter(|test| is_wanted(args, test)) {
            report.outcomes.push(try_out(args, suite, test, seed));
        }
    }
    if report.outcomes.is_empty() {
        let why = match &args.filter {
            Some(filter) => format!("no test's name holds `{filter}`"),
            None => "there is no test: `docs/testing.md` says how to write one".to_owned(),
        };
        console.error(&why);
        return ExitCode::No;
    }
    if report.failed() == 0 && console.quiet() && args.format == Format::Text {
        return ExitCode::Done;
    }
    match console.finish_with(&report.render(args.format)) {
        ExitCode::Done if report.failed() > 0 => {
            if args.format != Format::Text
                && let Some(rerun) = crate::testing::report::rerun(&report)
            {
                console.talk(&format!("{} failed.   rerun: {rerun}", report.failed()));
            }
            ExitCode::No
        }
        code => code,
    }
}

/// What has to be named again to run the same.
fn arguments(args: &TestArgs) -> Vec<String> {
    let mut arguments: Vec<_> = args.paths.iter().map(|path| path.display().to_string()).collect();
    if let Some(config) = &args.config {
        arguments.extend(["-c".to_owned(), config.display().to_string()]);
    }
    arguments
}

fn is_wanted(args: &TestArgs, test: &Test) -> bool {
    let name = test.name.value.to_lowercase();
    args.filter.as_ref().is_none_or(|filter| name.contains(&filter.to_lowercase()))
}

/// Runs a test with each of its seeds, up to the first failure.
fn try_out(args: &TestArgs, suite: &Suite, test: &Test, random: u64) -> Outcome {
    let source = Source { file: &suite.file, text: &suite.text };
    let subject = Subject { config: &suite.config, folder: &suite.folder, source };
    let first = args.seed.or(test.seed).or(suite.config.seed).unwrap_or(random);
    let begin = Instant::now();
    let mut outcome = Outcome {
        name: test.name.value.clone(),
        file: suite.file.clone(),
        line: source.position(test.span.start).line,
        runs: 0,
        seed: first,
        simulated: run::is_simulated(test),
        took: begin.elapsed(),
        failure: None,
    };
    for n in 0..args.runs {
        outcome.runs = n + 1;
        outcome.seed = if n == 0 { first } else { derive(first, n.into()) >> 1 };
        outcome.failure = run::run(subject, test, outcome.seed).err();
        if outcome.failure.is_some() {
            break;
        }
    }
    outcome.took = begin.elapsed();
    outcome
}

/// Everything that the command line names, or why it cannot be run.
fn load(args: &TestArgs, console: &Console) -> Result<Vec<Suite>, ExitCode> {
    let mut suites = Vec::new();
    if args.paths.is_empty() {
        let default = PathBuf::from(crate::args::DEFAULT_CONFIG);
        suites.push(of_config(args.config.as_ref().unwrap_or(&default), console)?);
        return Ok(suites);
    }
    for path in &args.paths {
        let files = if path.is_dir() {
            scripts_in(path).map_err(|error| unreadable(path, &error, console))?
        } else {
            vec![path.clone()]
        };
        if files.is_empty() {
            console.error(&format!("`{}` holds no `.pkt` file", path.display()));
            return Err(ExitCode::CouldNot);
        }
        for file in files {
            let is_script = file.extension().is_some_and(|end| end == "pkt");
            suites.push(if is_script {
                of_script(&file, args.config.as_deref(), console)?
            } else {
                of_config(&file, console)?
            });
        }
    }
    Ok(suites)
}

/// The `.pkt` files of a folder, by name.
fn scripts_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)?.take(MAX_FILES) {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "pkt") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn of_config(path: &Path, console: &Console) -> Result<Suite, ExitCode> {
    let (loaded, config, folder) = configuration(path, console)?;
    let tests = config.tests.clone();
    Ok(Suite { file: loaded.file, text: loaded.text, tests, config, folder })
}

fn configuration(path: &Path, console: &Console) -> Result<(Loaded, Config, PathBuf), ExitCode> {
    let mut loaded = config::load(path, true).map_err(|e| unreadable(path, &e, console))?;
    let Some(config) = loaded.config.take() else {
        refuse(&loaded.file, &loaded.text, &loaded.diagnostics, console);
        return Err(ExitCode::Config);
    };
    Ok((loaded, config, path.parent().unwrap_or(Path::new("")).to_owned()))
}

fn of_script(path: &Path, given: Option<&Path>, console: &Console) -> Result<Suite, ExitCode> {
    let mut script: LoadedScript =
        config::load_script(path).map_err(|e| unreadable(path, &e, console))?;
    let named = script
        .config
        .as_ref()
        .map(|named| path.parent().unwrap_or(Path::new("")).join(&named.value));
    let about = given.map(Path::to_owned).or(named);
    if !script.diagnostics.is_empty() {
        refuse(&script.file, &script.text, &script.diagnostics, console);
        return Err(ExitCode::Config);
    }
    let Some(about) = about else {
        let file = &script.file;
        console.error(&format!("`{file}` does not say which configuration it is about"));
        console.say("help: begin it with `config = balun.toml`, or give one with -c\n");
        return Err(ExitCode::Config);
    };
    let (_, config, folder) = configuration(&about, console)?;
    script.check(&config);
    if !script.diagnostics.is_empty() {
        refuse(&script.file, &script.text, &script.diagnostics, console);
        return Err(ExitCode::Config);
    }
    Ok(Suite { file: script.file, text: script.text, tests: script.tests, config, folder })
}

/// Shows the errors of a file; its warnings are `balun check`'s to say.
fn refuse(file: &str, text: &str, diagnostics: &[Diagnostic], console: &Console) {
    let errors = diagnostics.iter().filter(|d| d.code.severity() == Severity::Error);
    let errors: Vec<_> = errors.cloned().collect();
    console.say(&render::text(&Source { file, text }, &errors, console.color()));
    let errors = super::check::count(errors.len(), "error");
    console.talk(&format!("{file}: {errors}, nothing was tested"));
}
