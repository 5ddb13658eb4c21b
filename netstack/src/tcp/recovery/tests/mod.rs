//! A sender against a link in virtual time.

mod cost;
mod hostile;
mod link;
mod script;
mod table;
mod transfer;
