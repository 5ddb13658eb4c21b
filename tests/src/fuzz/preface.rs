//! What comes before a connection's protocol: PROXY headers, and the hello of TLS that names a server.
//!
//! Both are read as a stream is: as many bytes at a time as are said to be missing, and never more. What
//! rustls accepts as a hello must be read to say what rustls reads in it.

use l7::proxy_protocol::Version;
use l7::proxy_protocol::read::{Parsed, parse};
use l7::tls::hello::{NotHello, Progress, server_name};
use rustls::server::Acceptor;

/// A hello, held against rustls.
///
/// # Panics
/// If it means anything else to rustls, or depends on how it was cut.
pub fn hello(data: &[u8]) {
    let whole = server_name(data);
    let mut have = 0;
    let read = loop {
        match server_name(&data[..have]) {
            Ok(Progress::Missing(count)) if have + count <= data.len() => {
                assert!(count > 0, "nothing is missing after {have} bytes");
                have += count;
            }
            Ok(Progress::Missing(_)) => break None,
            read => break Some(read),
        }
    };
    match read {
        Some(read) => assert_eq!(read, whole, "after {have} bytes"),
        None => assert!(!matches!(whole, Ok(Progress::Whole(_))), "it was there: {whole:?}"),
    }
    let Ok(name) = by_rustls(data) else { return };
    match whole {
        Ok(Progress::Whole(ours)) => match name {
            Some(name) => assert_eq!(ours, Some(name.to_ascii_lowercase())),
            // It takes an address for no name.
            None => assert!(ours.is_none_or(|ours| ours.parse::<std::net::IpAddr>().is_ok())),
        },
        Err(NotHello::Malformed(_) | NotHello::TooLong) => {}
        other => panic!("{other:?}, and rustls reads {name:?}"),
    }
}

/// No hello, as rustls sees it.
struct Refused;

/// The name that rustls reads in a hello.
fn by_rustls(data: &[u8]) -> Result<Option<String>, Refused> {
    let mut acceptor = Acceptor::default();
    let mut rest = data;
    while !rest.is_empty() {
        if acceptor.read_tls(&mut rest).is_err() {
            break;
        }
        if let Some(accepted) = acceptor.accept().map_err(|_| Refused)? {
            return Ok(accepted.client_hello().server_name().map(str::to_owned));
        }
    }
    Err(Refused)
}

/// A PROXY header and what follows it.
///
/// # Panics
/// If a byte too many is read, or what was understood cannot be written and read again.
pub fn proxy_header(data: &[u8]) {
    let whole = parse(data);
    let mut have = 0;
    let read = loop {
        match parse(&data[..have]) {
            Ok(Parsed::Missing(count)) if have + count <= data.len() => {
                assert!(count > 0, "nothing is missing after {have} bytes");
                have += count;
            }
            Ok(Parsed::Missing(_)) => break None,
            read => break Some(read),
        }
    };
    match read {
        Some(read) => assert_eq!(read, whole, "after {have} bytes"),
        None => assert!(!matches!(whole, Ok(Parsed::Header { .. })), "it was there: {whole:?}"),
    }
    let Ok(Parsed::Header { len, ends }) = whole else { return };
    assert_eq!(have, len, "a byte of what follows was read");
    for version in [Version::V1, Version::V2] {
        let Some(ends) = ends else { continue };
        let header = version.header(ends.client, ends.service);
        let again = Parsed::Header { len: header.len(), ends: Some(ends) };
        assert_eq!(parse(&header), Ok(again));
    }
}
