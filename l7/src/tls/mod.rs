//! TLS with clients, and with backends.
//!
//! | module | idea |
//! |---|---|
//! | [`client`] | connections to backends inside TLS |
//! | [`hello`] | the server name in a client's hello, without ending its TLS |
//! | [`keys`] | the secrets of connections, for captures |
//! | [`names`] | tables of server names and wildcards |
//! | [`pem`] | certificates and keys out of PEM bytes |
//! | [`server`] | TLS with clients: settings, their reload, whose secrets are logged |
//! | [`session`] | what was agreed on with a client, and who it is |
//! | [`sni`] | which certificate a client gets |
//! | `subject` | whose a certificate is, in words |

pub mod client;
pub mod hello;
pub mod keys;
pub mod names;
pub mod pem;
pub mod server;
pub mod session;
pub mod sni;
mod subject;
