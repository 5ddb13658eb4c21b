//! Questions to a running instance.
//!
//! The loop copies the engine between two rounds of packets and answers with a pipe. A thread asks the
//! copy and writes what it says into the pipe; nobody waits for whoever does not read it.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use super::Tracer;
use super::story::{BadQuestion, Form, Story, Told};
use crate::config::Written;
use crate::control::{Answer, Refusal};
use crate::exit::ExitCode;
use crate::plan::engine_config;
use crate::runtime::{Application, Runtime};

/// Questions that are answered at a time, each of a copy of the engine.
pub const MAX_QUESTIONS: usize = 4;

/// The longest answer that is read.
const MAX_ANSWER: u64 = 64 << 20;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Asked {
    /// Packets, as a command line gives them.
    pub packets: Vec<String>,
    /// The leg that they come by, if not the one that leads to their source.
    #[serde(default)]
    pub leg: Option<String>,
    /// Backends, taken to be in another state than they are: `POOL/NAME=STATE`.
    #[serde(default)]
    pub backend: Vec<String>,
    /// How it is told.
    #[serde(default)]
    pub form: Form,
}

/// Answers questions for one instance.
#[derive(Debug, Default)]
pub struct Desk {
    written: Option<Arc<Written>>,
    open: Arc<AtomicUsize>,
}

/// A question that is being answered.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Desk {
    /// For an instance of this configuration; without one there is nothing to tell with.
    pub fn new(written: Option<Arc<Written>>) -> Self {
        Self { written, open: Arc::default() }
    }

    /// Copies the engine of `runtime` and has it asked. The answer brings the pipe for [`read`].
    pub fn ask<A: Application>(&self, asked: Asked, runtime: &mut Runtime<A>) -> Answer {
        match self.begin(asked, runtime) {
            Ok(reader) => Answer { descriptors: vec![reader], ..Answer::done() },
            Err(error) => Answer::refused(ExitCode::CouldNot, error),
        }
    }

    fn begin<A: Application>(
        &self,
        asked: Asked,
        runtime: &mut Runtime<A>,
    ) -> Result<OwnedFd, String> {
        let written = self.written.clone().ok_or("this instance was not made from a file")?;
        // Only this thread adds to it.
        if self.open.load(Ordering::Relaxed) >= MAX_QUESTIONS {
            return Err(format!("{MAX_QUESTIONS} questions are being answered already"));
        }
        let failed = |error: io::Error| format!("no answer: {error}");
        let (reader, mut writer) = io::pipe().map_err(failed)?;
        let now = runtime.now();
        let engine = runtime.balancer_mut().engine.copy_to_ask();
        let engine = engine.map_err(|error| {
            format!("the instance cannot be asked without holding it up: {error}")
        })?;
        self.open.fetch_add(1, Ordering::Relaxed);
        let open = Open(Arc::clone(&self.open));
        let answer = move || {
            let _open = open;
            let told = answer(&asked, &written, engine, now);
            let told = told
                .map_err(|BadQuestion(message)| Refusal { message, exit: ExitCode::Usage.code() });
            // Whoever asked may be gone.
            let _ = serde_json::to_vec(&told).map(|bytes| writer.write_all(&bytes));
        };
        std::thread::Builder::new().name("trace".into()).spawn(answer).map_err(failed)?;
        Ok(reader.into())
    }
}

fn answer(
    asked: &Asked,
    written: &Written,
    engine: nat::Engine,
    now: netstack::Instant,
) -> Result<Told, BadQuestion> {
    let config = &written.config;
    let legs = engine_config(config, 0).map_err(|error| BadQuestion(error.to_string()))?.legs;
    let mut story = Story::new(config, Tracer::of_running(engine, &legs, now));
    for word in &asked.backend {
        story.set_backend(word)?;
    }
    let leg = asked.leg.as_ref().map(|name| story.leg(name)).transpose()?;
    let questions = story.read(&asked.packets)?;
    story.ask(questions, leg)?;
    Ok(story.tell(written.source(), &asked.form))
}

/// Reads an answer.
///
/// # Errors
/// The instance is gone, or what it says makes no sense; inside, what it says is wrong with the question.
pub fn read(pipe: OwnedFd) -> io::Result<Result<Told, Refusal>> {
    let mut bytes = Vec::new();
    File::from(pipe).take(MAX_ANSWER).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}
