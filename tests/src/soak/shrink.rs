//! A smaller plan that fails in the same way.

use std::time::{Duration, Instant};

use balun::sim::Impairment;

use super::plan::{Fault, Plan};

/// Runs that are spent at most on one failure.
pub(super) const RUNS: usize = 200;
/// Time, likewise.
pub(super) const TIME: Duration = Duration::from_mins(1);

/// Takes away what `plan` fails without, as long as `run` fails in the same place as with `failure`: by a
/// message with the same first line. The smallest plan that was found, and how it fails.
pub fn shrink<T>(
    plan: &Plan,
    failure: &str,
    run: impl Fn(&Plan) -> Result<T, String>,
) -> (Plan, String) {
    let mut search = Search {
        run: |plan: &Plan| run(plan).err(),
        smallest: plan.clone(),
        failure: failure.into(),
        runs: RUNS,
        end: Instant::now() + TIME,
    };
    loop {
        let before = search.smallest.clone();
        search.without_parts(|plan| &mut plan.faults);
        search.without_parts(|plan| &mut plan.work);
        search.with_better_links();
        search.try_plan(|plan| plan.settings.check = None);
        search.try_plan(|plan| plan.settings.affinity = None);
        // What is broken to the end needs no mending.
        search.try_plan(|plan| plan.faults.retain(|e| !matches!(e.fault, Fault::Revive(_))));
        if search.smallest == before || search.is_over() {
            return (search.smallest, search.failure);
        }
    }
}

struct Search<F> {
    run: F,
    smallest: Plan,
    failure: String,
    runs: usize,
    end: Instant,
}

impl<F: Fn(&Plan) -> Option<String>> Search<F> {
    fn is_over(&self) -> bool {
        self.runs == 0 || Instant::now() > self.end
    }

    fn try_plan(&mut self, change: impl FnOnce(&mut Plan)) -> bool {
        let mut plan = self.smallest.clone();
        change(&mut plan);
        if plan == self.smallest || self.is_over() {
            return false;
        }
        self.runs -= 1;
        match (self.run)(&plan) {
            Some(failure) if place(&failure) == place(&self.failure) => {
                (self.smallest, self.failure) = (plan, failure);
                true
            }
            _ => false,
        }
    }

    /// Leaves out halves of a list, then quarters, down to single parts.
    fn without_parts<T>(&mut self, list: impl Fn(&mut Plan) -> &mut Vec<T>) {
        let mut size = list(&mut self.smallest).len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < list(&mut self.smallest).len() {
                let gone = self.try_plan(|plan| {
                    let list = list(plan);
                    list.drain(at..(at + size).min(list.len()));
                });
                if !gone {
                    at += size;
                }
            }
            size /= 2;
        }
    }

    fn with_better_links(&mut self) {
        for leg in 0..self.smallest.links.len() {
            self.try_plan(|plan| {
                let Impairment { delay, mtu, .. } = plan.links[leg].impairment;
                plan.links[leg].impairment = Impairment { delay, mtu, ..Impairment::default() };
            });
        }
    }
}

/// Where a failure was found: the first line of a panic's message.
fn place(failure: &str) -> &str {
    failure.lines().next().unwrap_or_default()
}
