//! Whatever is done in whatever order, the store keeps its promises: bytes within the limit, nothing that
//! was removed, nothing that does not fit its request.

use std::collections::HashMap;

use bytes::Bytes;
use http::StatusCode;
use proptest::prelude::*;

use super::*;
use crate::cache::Policy;
use crate::cache::directive::RequestDirectives;
use crate::cache::lines::{self, Text};
use crate::cache::stored::{Came, To};

const MEMORY: u64 = 20_000;

#[derive(Clone, Debug)]
enum Step {
    Keep { key: u8, x: u8, space: u64, len: usize },
    Find { key: u8, x: u8, space: u64 },
    Remove { key: u8 },
    RemoveAll { key: u8 },
    Mark { key: u8 },
    Forget { key: u8, x: u8, space: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (key, x, space) = (0..6_u8, 0..4_u8, 0..2_u64);
    let which = (key.clone(), x, space);
    let step = prop_oneof![
        4 => (which.clone(), 0..9_000_usize)
            .prop_map(|((key, x, space), len)| Step::Keep { key, x, space, len }),
        4 => which.clone().prop_map(|(key, x, space)| Step::Find { key, x, space }),
        1 => key.clone().prop_map(|key| Step::Remove { key }),
        1 => key.clone().prop_map(|key| Step::RemoveAll { key }),
        1 => key.prop_map(|key| Step::Mark { key }),
        1 => which.prop_map(|(key, x, space)| Step::Forget { key, x, space }),
    ];
    prop::collection::vec(step, 1..80)
}

fn field(x: u8) -> Vec<u8> {
    let mut text = Vec::new();
    lines::push("X", x.to_string().as_bytes(), &mut text);
    text
}

fn answer(x: u8, space: u64, body: Bytes) -> Rc<Stored> {
    let mut fields = Vec::new();
    lines::push("Cache-Control", b"max-age=60", &mut fields);
    lines::push("Vary", b"X", &mut fields);
    let times = (Time::from_secs(1), Time::from_secs(1));
    let came = Came { status: StatusCode::OK, fields: &Text::new(&fields), times };
    let directives = RequestDirectives::default();
    let request = field(x);
    let request = Text::new(&request);
    let to = To { fields: &request, directives: &directives, authorised: false, space };
    let mut stored = Stored::new(&came, &to, &Policy::new(MEMORY)).unwrap();
    stored.body = body;
    Rc::new(stored)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn promises_are_kept(steps in steps(), seed in any::<u64>()) {
        let mut store = Store::new(MEMORY, seed);
        // What was kept last for each request, if nothing took it away on purpose.
        let mut last: HashMap<(u8, u8, u64), Bytes> = HashMap::new();
        let mut marks = HashMap::new();
        let mut scratch = Vec::new();
        for (count, step) in steps.into_iter().enumerate() {
            match step {
                Step::Keep { key, x, space, len } => {
                    let body = Bytes::from(vec![count as u8; len]);
                    store.keep(&[key], answer(x, space, body.clone()));
                    last.insert((key, x, space), body);
                }
                Step::Find { key, x, space } => {
                    let request = field(x);
                    let found = store.find(&[key], space, &Text::new(&request), &mut scratch);
                    if let Some(stored) = found.stored {
                        // It may be gone for want of room, but never be another's or an old one.
                        prop_assert_eq!(Some(&stored.body), last.get(&(key, x, space)));
                    }
                }
                Step::Remove { key } => {
                    store.remove(&[key]);
                    last.retain(|(known, ..), _| *known != key);
                }
                Step::RemoveAll { key } => {
                    store.remove_all(|known, _| known == [key]);
                    last.retain(|(known, ..), _| *known != key);
                    for (_, removed) in marks.values_mut() {
                        *removed = true;
                    }
                }
                Step::Mark { key } => {
                    marks.insert(key, (store.mark(), false));
                }
                Step::Forget { key, x, space } => {
                    let request = field(x);
                    let found = store.find(&[key], space, &Text::new(&request), &mut scratch);
                    if let Some(stored) = found.stored {
                        store.forget(&[key], &stored);
                        last.remove(&(key, x, space));
                    }
                }
            }
            if let Step::Remove { key } = step
                && let Some((_, removed)) = marks.get_mut(&key)
            {
                *removed = true;
            }
            for (key, (mark, removed)) in &marks {
                prop_assert_eq!(store.was_removed(&[*key], *mark), *removed);
            }
            prop_assert!(store.weight() <= MEMORY, "{} bytes", store.weight());
        }
    }
}
