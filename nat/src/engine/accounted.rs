//! The account of the last packet: see [`account`](crate::account).

use netstack::wire::Headers;
use netstack::{Instant, Packet};

use super::{Engine, Origin};
use crate::account::{Account, FlowAccount, Note, View};
use crate::schedule::Client;
use crate::{BackendId, PoolId, Verdict};

impl Engine {
    /// Begins or ends keeping an [`Account`] of each packet handed in.
    pub fn set_accounting(&mut self, on: bool) {
        self.account = on.then(Box::default);
    }

    /// The account of the last packet handed in, if accounts are kept.
    pub fn account(&self) -> Option<&Account> {
        self.account.as_deref()
    }

    /// Decides on a packet, and looks at it and its flow before and after.
    #[cold]
    pub(super) fn decide_accounted(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        origin: Origin,
    ) -> Verdict {
        let parsed = Headers::parse(packet);
        let headers = parsed.as_ref().ok();
        let tuple = headers.and_then(Headers::tuple);
        let known = tuple.and_then(|tuple| self.flows.lookup(&tuple));
        let state = known.and_then(|(id, _)| self.flows.get(id)).map(|flow| flow.state);
        if let Some(account) = &mut self.account {
            account.clear();
            account.before = headers.map(|headers| View::with(packet, headers));
        }
        let version = self.flows.version();
        let verdict = self.decide_found(now, packet, origin, &parsed, known);
        // A flow that made way for this packet's own has left its tuple to it.
        let now_known = if self.flows.version() == version {
            known
        } else {
            tuple.and_then(|tuple| self.flows.lookup(&tuple))
        };
        // If nobody has it, its flow's other key may have changed: its SYN went to another backend.
        let flow = now_known.or(known).map(|(id, direction)| FlowAccount {
            id,
            direction,
            before: state.filter(|_| known == Some((id, direction))),
            after: self.flows.get(id).cloned(),
        });
        if let Some(account) = &mut self.account {
            account.flow = flow;
            account.verdict = Some(verdict);
            let leaves = matches!(verdict, Verdict::Forward | Verdict::Reply | Verdict::Reject(_));
            account.after = if leaves { View::of(packet) } else { None };
        }
        verdict
    }

    /// Notes a decision, if accounts are kept. Not for packets of known flows.
    pub(super) fn note(&mut self, note: Note) {
        if let Some(account) = &mut self.account {
            account.notes.push(note);
        }
    }

    /// Notes which backend was chosen just now.
    pub(super) fn note_choice(
        &mut self,
        now: Instant,
        pool: PoolId,
        client: Client,
        backend: BackendId,
    ) {
        if self.account.is_some() {
            let choice = self.pools[usize::from(pool.0)].last_choice(now, client, backend);
            self.note(Note::Chosen { pool, backend, choice });
        }
    }
}
