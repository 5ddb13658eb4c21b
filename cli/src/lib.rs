//! The command line of balun, and what it is made of.
//!
//! | module | what it holds |
//! |---|---|
//! | [`args`], [`cmd`], [`console`], [`exit`] | the command line: flags, commands, streams, exit codes |
//! | [`access_log`] | the files that requests are written to |
//! | [`capture`] | captures that say what was done to each packet |
//! | [`control`] | commands for a running instance, over a Unix socket |
//! | [`config`] | the configuration file, and all that can be said about a wrong one |
//! | [`plan`] | what a configuration asks for, put together |
//! | [`runtime`] | the loop between devices and the balancer |
//! | [`run`], [`demo`], [`doctor`] | what the commands of these names do |
//! | [`replay`] | captures, replayed through the whole balancer on a virtual clock |
//! | `reload` | certificates that change while the process runs |
//! | [`lab`] | labs: nodes in namespaces, their servers and clients |
//! | [`link`] | links that lose and delay, in virtual and in real time |
//! | [`sim`] | hosts and links in memory, on a virtual clock |
//! | [`testing`] | tests of a configuration: a balancer on a bench |
//! | [`trace`] | what would become of a packet, and why |
//! | [`ladder`] | packets between lifelines, as a picture |

#![forbid(unsafe_code)]

pub mod access_log;
pub mod args;
pub mod capture;
pub mod cmd;
pub mod config;
pub mod console;
pub mod control;
pub mod demo;
pub mod doctor;
pub mod exit;
pub mod kernel;
pub mod lab;
pub mod ladder;
pub mod link;
pub mod plan;
mod queue;
mod reload;
pub mod replay;
pub mod route;
pub mod run;
pub mod runtime;
pub mod seed;
pub mod sim;
mod summary;
pub mod testing;
pub mod trace;
mod xml;
