//! The beginning of connections: the options of SYNs (`options`), and what happens when more are begun
//! than are finished (`cookies`, and `stateless` in the endpoint).

pub(super) mod cookies;
pub(super) mod options;
mod stateless;
