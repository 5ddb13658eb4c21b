//! Values that are replaced while they are used.

use std::sync::{Arc, PoisonError, RwLock};

/// What a file said when it was last read: whoever reads it again, on another thread, puts the new value in
/// the old one's place. Who uses the old one at that time does so to the end.
#[derive(Debug, Default)]
pub struct Renewed<T>(RwLock<Arc<T>>);

impl<T> Renewed<T> {
    /// That value, for now.
    pub fn new(value: T) -> Self {
        Self(RwLock::new(Arc::new(value)))
    }

    /// The value as it is now.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the value.
    pub fn set(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }
}
