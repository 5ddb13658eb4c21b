//! What is logged of flows (RFC 6888 REQ-12 and REQ-14): no destinations by default, and no more of
//! them for more flows. In a program of its own, since what is logged is decided once for all threads.

#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use balun::args::Verbosity;
use balun::console::Console;
use balun::demo::{Options, Outcome, run_simulated};
use tracing_subscriber::filter::LevelFilter;

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What thousands of flows through both kinds of service log, while a backend dies.
fn logged(level: LevelFilter) -> String {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(move || writer.clone())
        .finish();
    let options = Options {
        length: Duration::from_secs(4),
        backends: 3,
        break_after: None,
        seed: 3,
        hold: false,
    };
    tracing::subscriber::with_default(subscriber, || {
        let outcome =
            run_simulated(options, None, &mut Vec::new()).expect("a simulation needs nothing");
        assert_eq!(outcome, Outcome::Good);
    });
    let bytes = log.0.lock().expect("not poisoned").clone();
    String::from_utf8(bytes).expect("text")
}

#[test]
fn thousands_of_flows_log_nothing_at_the_default_level() {
    assert_eq!(logged(Console::new(Verbosity::default()).log_level()), "");
    let asked = Console::new(Verbosity { verbose: 1, ..Verbosity::default() });
    assert!(logged(asked.log_level()).contains("connect failed"), "it is there for who asks");
}
