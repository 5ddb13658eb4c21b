//! The secrets of connections, for those who may read what is in them.
//!
//! # Theory of operation
//! rustls offers each secret that it derives. They are kept, by the random bytes of the client's hello
//! that name the connection in a key log, only while that is turned on: whoever has them can read
//! everything that the connection carries. They are never written anywhere by this module.

use std::collections::{HashMap, VecDeque};
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rustls::KeyLog;

use crate::limits::KEYED_CONNECTIONS;

/// The random bytes of a client's hello.
pub type ClientRandom = [u8; 32];

/// Secrets of the connections that were made last.
#[derive(Default)]
pub struct Keys {
    on: AtomicBool,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    lines: HashMap<ClientRandom, String>,
    /// The oldest first.
    order: VecDeque<ClientRandom>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("on", &self.on).finish_non_exhaustive()
    }
}

impl Keys {
    /// Keeps the secrets of connections that begin from now on.
    pub fn keep(&self) {
        self.on.store(true, Ordering::Relaxed);
    }

    /// Keeps none any more, and forgets those that were kept.
    pub fn forget(&self) {
        self.on.store(false, Ordering::Relaxed);
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Kept::default();
    }

    /// The lines of a key log for the connection of this hello, as Wireshark reads them; nothing if
    /// there are none, or they gave way to those of [`KEYED_CONNECTIONS`] later ones.
    pub fn lines(&self, random: &ClientRandom) -> Option<String> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.lines.get(random).cloned()
    }
}

impl KeyLog for Keys {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let Ok(random) = ClientRandom::try_from(client_random) else { return };
        if !self.will_log(label) {
            return;
        }
        let mut guard = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Kept { lines, order } = &mut *guard;
        if !lines.contains_key(&random) {
            order.push_back(random);
            if order.len() > KEYED_CONNECTIONS
                && let Some(oldest) = order.pop_front()
            {
                lines.remove(&oldest);
            }
        }
        let text = lines.entry(random).or_default();
        text.push_str(label);
        for bytes in [client_random, secret] {
            text.push(' ');
            for byte in bytes {
                // Writing to a string cannot fail.
                let _ = write!(text, "{byte:02x}");
            }
        }
        text.push('\n');
    }

    fn will_log(&self, _: &str) -> bool {
        self.on.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_kept_unless_asked_for() {
        let keys = Keys::default();
        assert!(!keys.will_log("CLIENT_RANDOM"));
        keys.log("CLIENT_RANDOM", &[1; 32], &[0xab; 2]);
        assert_eq!(keys.lines(&[1; 32]), None);
        keys.keep();
        keys.log("CLIENT_RANDOM", &[1; 32], &[0xab; 2]);
        keys.log("EXPORTER_SECRET", &[1; 32], &[0xcd; 2]);
        let random = "01".repeat(32);
        let expected = format!("CLIENT_RANDOM {random} abab\nEXPORTER_SECRET {random} cdcd\n");
        assert_eq!(keys.lines(&[1; 32]), Some(expected));
        assert_eq!(keys.lines(&[2; 32]), None);
        keys.forget();
        assert!(!keys.will_log("CLIENT_RANDOM"));
        assert_eq!(keys.lines(&[1; 32]), None);
    }

    #[test]
    fn the_oldest_connections_give_way_at_the_limit() {
        let keys = Keys::default();
        keys.keep();
        let random = |n: usize| {
            let mut random = [0; 32];
            random[..8].copy_from_slice(&(n as u64).to_le_bytes());
            random
        };
        for n in 0..=KEYED_CONNECTIONS {
            keys.log("CLIENT_RANDOM", &random(n), &[7]);
        }
        assert_eq!(keys.lines(&random(0)), None);
        assert!(keys.lines(&random(1)).is_some());
        assert!(keys.lines(&random(KEYED_CONNECTIONS)).is_some());
    }
}
