//! From a configuration and a capture to what can be replayed.

use std::path::Path;

use nat::BackendState;

use super::input::Input;
use super::legs::{LegOf, Legs};
use crate::config::{Loaded, digest};
use crate::plan::{Plan, Upstream};

/// What the command line says of a replay.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// The seed, if the configuration has none.
    pub seed: Option<u64>,
    /// Whether backends are asked whether they are well; if nobody says, they are where a capture has
    /// their answers.
    pub health: Option<bool>,
    /// By which leg packets came whose interface does not say.
    pub leg_of: Vec<LegOf>,
}

/// A plan as it is replayed.
#[derive(Debug)]
pub struct Prepared {
    /// The plan.
    pub plan: Plan,
    /// Its legs.
    pub legs: Legs,
    /// What tells the configuration from another.
    pub digest: String,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// The plan of a checked configuration, for a replay of `input`.
///
/// # Errors
/// It cannot be replayed: what is wrong.
pub fn prepare(loaded: &Loaded, input: &Input, choices: &Choices) -> Result<Prepared, String> {
    let config = loaded.config.as_ref().ok_or("the configuration has errors")?;
    let folder = Path::new(&loaded.file).parent().unwrap_or(Path::new(""));
    let recorded = input.run().map(|run| run.seed);
    let seed = choices.seed.or(recorded).unwrap_or(0);
    let mut plan = Plan::from_config(config, folder, seed).map_err(|e| e.to_string())?;
    plan.capture = None;
    let mut notes = Vec::new();
    let digest = digest(&loaded.text);
    if let Some(run) = input.run() {
        if !run.config.is_empty() && run.config != digest {
            notes.push("the capture was taken with another configuration".to_owned());
        }
        if run.seed != plan.engine.seed {
            notes.push("the capture was taken with another seed".to_owned());
        }
        if input.is_filtered() {
            notes.push("the capture holds only what a filter let pass".to_owned());
        }
    }
    refuse_kernel(&plan)?;
    let asks = choices.health.unwrap_or_else(|| input.knows_start());
    let checked = plan.engine.pools.iter_mut().filter(|pool| pool.health.is_some());
    let mut unasked = 0;
    for pool in checked.filter(|_| !asks) {
        pool.health = None;
        pool.initial = BackendState::Ready;
        unasked += 1;
    }
    if unasked > 0 {
        plan.probes.fill(None);
        if choices.health.is_none() {
            notes.push("backends are not asked whether they are well: nobody would answer".into());
        }
    }
    let legs = Legs::new(&plan, &choices.leg_of)
        .map_err(|name| format!("--leg-of: no leg of the configuration is called `{name}`"))?;
    Ok(Prepared { plan, legs, digest, notes })
}

/// Connections by sockets of the host are in no capture, and must not be made.
fn refuse_kernel(plan: &Plan) -> Result<(), String> {
    let services = plan.engine.services.iter().zip(&plan.applications);
    for (service, application) in services {
        if application.as_ref().is_some_and(|a| a.upstream == Upstream::Kernel) {
            return Err(format!(
                "service `{}` reaches its backends by sockets of the host, which no capture holds\n\
                 fix: write `upstream = \"userspace\"`",
                service.name
            ));
        }
    }
    Ok(())
}
