//! Connections to the backends of a pool, and what follows from what they answer.

use l7::upstream::{PoolLimits, QueueLimits};
use nat::EjectionConfig;

use super::{Span, Spanned};

/// Keys of a pool that only services of modes `tcp` and `http` have a use for, each with the place of
/// the key.
#[derive(Clone, Debug, Default)]
pub struct Pooling {
    /// Idle connections kept open to each backend.
    pub warm: Option<Spanned<u32>>,
    /// Which connections are kept for later requests.
    pub reuse: Option<Spanned<PoolLimits>>,
    /// How requests wait while every backend is at its limit; default not at all.
    pub queue: Option<Spanned<QueueLimits>>,
    /// Connections that may be on their way to a backend at once.
    pub max_pending: Option<Spanned<u32>>,
    /// When its own traffic takes a backend out.
    pub ejection: Option<Spanned<EjectionConfig>>,
}

impl Pooling {
    /// Which connections are kept, warm ones included.
    pub fn limits(&self) -> PoolLimits {
        let limits = self.reuse.as_ref().map(|reuse| reuse.value).unwrap_or_default();
        PoolLimits { warm: self.warm.as_ref().map_or(0, |warm| warm.value as usize), ..limits }
    }

    /// The keys that were written and are about connections that end here.
    pub fn keys(&self) -> impl Iterator<Item = (&'static str, &Span)> {
        let warm = self.warm.as_ref().map(|warm| ("warm", &warm.span));
        let reuse = self.reuse.as_ref().map(|reuse| ("reuse", &reuse.span));
        let queue = self.queue.as_ref().map(|queue| ("queue", &queue.span));
        let pending = self.max_pending.as_ref().map(|most| ("max-pending", &most.span));
        warm.into_iter().chain(reuse).chain(queue).chain(pending)
    }
}
