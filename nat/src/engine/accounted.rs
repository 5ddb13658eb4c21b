//! The account of the last packet: see [`account`](crate::account).

use netstack::wire::Headers;
use netstack::{Instant, Packet};

use super::{Engine, Origin};
use crate::account::{Account, FlowAccount, Note, View};
use crate::flow::{Direction, FlowId};
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
        let mut known = None;
        let mut before = None;
        let mut state = None;
        if let Ok(headers) = Headers::parse(packet) {
            before = Some(View::with(packet, &headers));
            known = headers.tuple().and_then(|tuple| self.flows.lookup(&tuple));
            state = known.and_then(|(id, _)| self.flows.get(id)).map(|flow| flow.state);
        }
        let tuple = Headers::parse(packet).ok().and_then(|headers| headers.tuple());
        if let Some(account) = &mut self.account {
            account.clear();
            account.before = before;
        }
        let verdict = self.decide(now, packet, origin);
        // A flow that made way for this packet's own has left its tuple to it.
        let now_known = tuple.and_then(|tuple| self.flows.lookup(&tuple));
        let flow = match (now_known, known) {
            (Some((id, direction)), _) => {
                let before = state.filter(|_| known == Some((id, direction)));
                let after = self.flows.get(id).cloned();
                Some(FlowAccount { id, direction, before, after })
            }
            (None, Some((id, direction))) => {
                // Its other key may have changed: its SYN went to another backend.
                let after = self.flows.get(id).cloned();
                Some(FlowAccount { id, direction, before: state, after })
            }
            (None, None) => None,
        };
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

    /// Notes the flow that an ICMP error is about.
    pub(super) fn note_about(&mut self, id: FlowId, direction: Direction) {
        self.note(Note::About(id, direction));
    }
}
