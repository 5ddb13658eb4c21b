//! Labs and demonstrations: nodes in namespaces, and what runs in them.
//!
//! # Theory of operation
//!
//! A lab is a configuration with `[lab]`. Each of its nodes is a network namespace with one TUN in it,
//! whose descriptor is ours: this process is the wire to every node, and the router between them. No
//! veth, bridge or `tc` is involved, and a link's delay and loss are our own ([`crate::link`]).
//!
//! What a node runs lives in a PID namespace, under an init of ours ([`init`]). It is told by pipe what
//! to run. When this process ends, however it does, the pipe closes and the kernel kills the init too;
//! with the init goes every process of its namespace, and with the last of them the network. So
//! nothing is left behind, even by `kill -9`, but the control socket's file, which the next lab of this
//! name replaces.
//!
//! | module | what it holds |
//! |---|---|
//! | `world` | all nodes of a lab, brought up |
//! | `node` | one node: its namespaces, and the pipe to its init |
//! | [`init`] | process 1 of a node |
//! | [`tool`] | small clients for people and expectations: `builtin:get` and others |
//! | `up` | a lab that runs: packets, commands, expectations |
//! | `expect` | the lab's own expectations |
//! | `requests` | what `balun lab ps` and others ask a running lab |
//! | [`graph`] | pictures of a lab |
//! | [`farm`], [`web`], [`client`] | web servers and clients of the demo and of nodes |

pub mod client;
mod dns;
mod expect;
pub mod farm;
pub mod graph;
pub mod init;
mod message;
mod node;
mod requests;
mod serve;
pub mod tool;
mod up;
pub mod web;
mod world;

pub use requests::Direction;
pub use up::{LabError, Options, Outcome, up};
pub use world::World;
