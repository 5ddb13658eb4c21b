//! What servers saw of their connections.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// One connection, or request, that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which backend served it, from 0.
    pub backend: usize,
    /// Bytes that the client sent, all of them right; or how it ended.
    pub result: Result<u64, io::ErrorKind>,
}

/// The book that all servers of a test write in.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<Vec<Record>>>);

impl Ledger {
    /// Notes what became of a connection.
    pub fn note(&self, backend: usize, result: &io::Result<u64>) {
        let result = result.as_ref().map(|n| *n).map_err(io::Error::kind);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Record { backend, result });
    }

    /// Everything so far, in order.
    pub fn records(&self) -> Vec<Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many ended well at `backend`.
    pub fn served_by(&self, backend: usize) -> usize {
        self.records().iter().filter(|r| r.backend == backend && r.result.is_ok()).count()
    }
}
