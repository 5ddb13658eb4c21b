//! Panics as results, also those that a runtime's task would swallow.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;

thread_local! {
    static PANICS: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// While it lives, panics of this thread are kept and not printed.
#[derive(Debug)]
pub(super) struct Capture(());

/// Begins to keep panics.
pub(super) fn start() -> Capture {
    HOOK.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let kept = PANICS.with_borrow_mut(|panics| {
                panics.as_mut().map(|panics| panics.push(info.to_string())).is_some()
            });
            if !kept {
                print(info);
            }
        }));
    });
    PANICS.set(Some(Vec::new()));
    Capture(())
}

/// The first panic since the [`start`].
pub(super) fn first() -> Option<String> {
    PANICS.with_borrow(|panics| panics.as_ref()?.first().cloned())
}

impl Drop for Capture {
    fn drop(&mut self) {
        PANICS.set(None);
    }
}
