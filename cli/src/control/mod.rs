//! Commands for a running instance, over a Unix socket.
//!
//! # Theory of operation
//!
//! A client sends a [`Request`], one JSON object on one line, and gets one line back: `{"ok": …}`, or
//! `{"error": {"message": …, "exit": …}}` with the exit code that a command should end with. It may
//! send further requests on the same connection; they are answered in order.
//!
//! The socket is served from the runtime's own thread, between two rounds of packets, so that whoever
//! answers has the balancer to itself: no lock, no copy of its state. In return an answer must be
//! quick. A client that does not read its answer is not waited for: it is left alone until its socket
//! has room, and holds one answer at most.
//!
//! Who may connect is a matter of the file system: the socket has mode 0600, and the folder of
//! [`directory`] belongs to one user.
//!
//! # To add a request
//!
//! 1. a variant of [`Request`], with what it needs to know;
//! 2. an arm in [`Instance::answer`], which calls a function that does it and returns an [`Answer`];
//! 3. a command in `cmd` that sends it by [`call`].

mod cache;
mod client;
pub mod directory;
mod instance;
mod request;
mod server;

pub use client::{CallError, Connection, call};
pub use instance::Instance;
pub use request::{Answer, Purged, Refusal, Request};
pub use server::{MAX_CLIENTS, MAX_LINE, Server};
