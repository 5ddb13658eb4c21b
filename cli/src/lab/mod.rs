//! What a demonstration is made of: web servers, clients, and the namespaces that they live in.

pub mod client;
pub mod farm;
pub mod web;
