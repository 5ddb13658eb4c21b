//! A seed that nobody can guess.

use std::fs::File;
use std::io::{self, Read};

/// Random bits of the system. The source is read directly: it is there wherever a TUN is.
///
/// # Errors
/// It cannot be read.
pub fn from_system() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}
