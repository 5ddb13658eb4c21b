//! The command line of balun, and what it is made of.

#![forbid(unsafe_code)]

pub mod demo;
pub mod kernel;
pub mod lab;
pub mod plan;
pub mod runtime;
pub mod sim;
