//! What a running lab is asked by `balun lab ps`, `exec`, `link` and `graph`.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};

use l7::divert::Proxy;
use nat::rng::derive;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::node::State;
use super::world::{World, command};
use crate::config::change_impairment;
use crate::control::Answer;
use crate::exit::ExitCode;
use crate::link::{Impairment, Line, Way};
use crate::runtime::Runtime;

/// The ways of a link that a change is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Both.
    #[default]
    Both,
    /// Toward the node.
    To,
    /// From the node.
    From,
}

/// Which seeds are for links that become impaired while the lab runs.
const LATER_LINKS: u64 = 0x1_0000;

impl World {
    /// The nodes, what they run, and what went through their legs.
    pub fn ps(&self, runtime: &Runtime<Proxy>) -> Answer {
        let stats: Vec<_> = runtime.leg_stats().skip(self.first_leg).collect();
        let nodes = self.nodes.iter().zip(&self.lab.nodes).zip(stats);
        let nodes = nodes.map(|((node, config), stats)| {
            let state = node.state();
            let detail = match &state {
                State::Failed(why) => why.clone(),
                State::Ended(ended) => ended.how.to_string(),
                _ => String::new(),
            };
            json!({
                "name": node.name,
                "addresses": config.ips().map(|ip| ip.to_string()).collect::<Vec<_>>(),
                "run": command(config),
                "state": state.word(),
                "detail": detail,
                "pid": node.pid,
                "from": stats.received,
                "to": stats.sent,
            })
        });
        Answer::ok(json!({ "lab": self.lab.name.value, "nodes": nodes.collect::<Vec<_>>() }))
    }

    /// The namespaces of a node, for a process that wants to be in them.
    pub fn enter(&self, name: &str) -> Answer {
        let Some((_, node)) = self.node(name) else { return self.no_node(name) };
        let namespaces = || -> std::io::Result<(Vec<&str>, Vec<OwnedFd>)> {
            let (mut kinds, mut fds) = (Vec::new(), Vec::new());
            if self.rootless {
                kinds.push("user");
                fds.push(File::open("/proc/self/ns/user")?.into());
            }
            kinds.extend(["net", "pid"]);
            fds.push(node.namespace.as_fd().try_clone_to_owned()?);
            fds.push(node.pid_namespace()?.into());
            Ok((kinds, fds))
        };
        match namespaces() {
            Ok((kinds, descriptors)) => {
                Answer { body: Ok(json!({ "namespaces": kinds })), descriptors }
            }
            Err(error) => {
                let text = format!("node `{name}` cannot be entered: {error}");
                Answer::refused(ExitCode::CouldNot, text)
            }
        }
    }

    /// Shows what the link to a node does, changed first as `words` say.
    pub fn link(
        &self,
        name: &str,
        direction: Direction,
        words: &[String],
        runtime: &mut Runtime<Proxy>,
    ) -> Answer {
        let Some((index, _)) = self.node(name) else { return self.no_node(name) };
        let Some(leg) = runtime.leg_mut(self.first_leg + index) else { return self.no_node(name) };
        let mut settings = leg.line.as_ref().map(|l| l.link().settings()).unwrap_or_default();
        for word in words {
            let changed = match direction {
                Direction::Both => change_impairment(&mut settings.to, word)
                    .and_then(|()| change_impairment(&mut settings.from, word)),
                Direction::To => change_impairment(&mut settings.to, word),
                Direction::From => change_impairment(&mut settings.from, word),
            };
            if let Err(why) = changed {
                return Answer::refused(ExitCode::Usage, why);
            }
        }
        if !words.is_empty() {
            leg.impair(settings, derive(self.seed, LATER_LINKS + index as u64));
        }
        let line = leg.line.as_deref();
        Answer::ok(json!({
            "node": name,
            "mtu": leg.mtu(),
            "to": way(&settings.to, line, Way::To),
            "from": way(&settings.from, line, Way::From),
        }))
    }

    fn no_node(&self, name: &str) -> Answer {
        let names: Vec<_> = self.nodes.iter().map(|node| node.name.as_str()).collect();
        let lab = &self.lab.name.value;
        let text = format!("lab `{lab}` has no node `{name}`; it has {}", names.join(", "));
        Answer::refused(ExitCode::CouldNot, text)
    }
}

fn way(impairment: &Impairment, line: Option<&Line>, way: Way) -> Value {
    let stats = line.map(|line| *line.link().stats(way)).unwrap_or_default();
    json!({
        "settings": describe(impairment),
        "offered": stats.offered,
        "lost": stats.lost,
        "queue-full": stats.queue_full,
        "duplicated": stats.duplicated,
        "reordered": stats.reordered,
        "corrupted": stats.corrupted,
        "overflow": line.map_or(0, |line| line.overflow(way)),
    })
}

/// What one way does, in the words of the command line; empty if it does nothing.
pub(super) fn describe(impairment: &Impairment) -> String {
    let Impairment { delay, jitter, loss, duplicate, reorder, corrupt, rate, queue, .. } =
        *impairment;
    let mut words = Vec::new();
    for (key, time) in [("delay", delay), ("jitter", jitter)] {
        if !time.is_zero() {
            words.push(format!("{key}={time:?}"));
        }
    }
    let chances =
        [("loss", loss), ("duplicate", duplicate), ("reorder", reorder), ("corrupt", corrupt)];
    for (key, chance) in chances {
        if chance > 0 {
            words.push(format!("{key}={}%", f64::from(chance) / 1e4));
        }
    }
    if rate > 0 {
        words.push(format!("rate={}", bits(rate)));
    }
    if queue > 0 {
        words.push(format!("queue={queue}"));
    }
    words.join(" ")
}

fn bits(rate: u64) -> String {
    for (unit, factor) in [("gbit", 1_000_000_000), ("mbit", 1_000_000), ("kbit", 1_000)] {
        if rate.is_multiple_of(factor) {
            return format!("{}{unit}", rate / factor);
        }
    }
    format!("{rate}bit")
}
