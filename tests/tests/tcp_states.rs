//! The drawings of the TCP state machine are those of its table.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::PathBuf;

use nat::flow::tcp::{dot, mermaid};

const PAGE: &str = "\
# TCP states

What balun follows of a TCP connection (RFC 7857 section 2). Only segments that fit the connection's
windows count. An edge to the end is the timer after which an idle flow is forgotten, by the name of
its key in `[timeouts]`. This page is made from the table in `nat/src/flow/tcp/state.rs`:
`BALUN_BLESS=1 cargo test -p tests --test tcp_states`.

```mermaid
";

fn is_current(name: &str, content: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    if std::env::var_os("BALUN_BLESS").is_some() {
        fs::write(&path, content).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), content, "bless docs/{name}");
}

#[test]
fn the_drawings_are_current() {
    is_current("tcp-states.dot", &dot());
    is_current("tcp-states.md", &format!("{PAGE}{}```\n", mermaid()));
}
