//! Copies of an engine, to ask what it would do.

use std::fmt;

use super::Engine;

/// Flows that an engine may have to be copied: some 20 MiB, and a few milliseconds in which it does
/// nothing else.
pub const MAX_COPIED_FLOWS: usize = 65_536;

/// The engine has more flows than are copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyFlows {
    /// So many.
    pub flows: usize,
}

impl fmt::Display for TooManyFlows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} flows are too many to copy; at most {MAX_COPIED_FLOWS} are", self.flows)
    }
}

impl std::error::Error for TooManyFlows {}

impl Engine {
    /// A copy that answers for this engine: what is done to a packet that it is handed would be done
    /// to it here, if it came next. Flows, ports, clients' counts, pools and the source of its random
    /// choices are the same.
    ///
    /// It keeps accounts and checks no backend: their states stay as they are until somebody sets them
    /// ([`set_backend_state`](Self::set_backend_state)). What waits here to be sent is not sent there.
    ///
    /// # Errors
    /// [`TooManyFlows`], if copying would take long.
    pub fn copy_to_ask(&self) -> Result<Self, TooManyFlows> {
        let flows = self.flows.len();
        if flows > MAX_COPIED_FLOWS {
            return Err(TooManyFlows { flows });
        }
        let mut copy = self.clone();
        copy.health.rest();
        copy.outbox.clear();
        copy.set_accounting(true);
        Ok(copy)
    }
}
