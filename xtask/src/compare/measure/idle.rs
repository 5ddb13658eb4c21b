//! Memory for connections that wait.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use crate::compare::backend::BODY;
use crate::compare::children::Child;
use crate::compare::rival::Running;
use crate::compare::topology::Node;
use crate::compare::{Failure, Site};

/// Connections that are there before memory is looked at first, for what does not grow with their number.
const BEFORE: usize = 200;

/// Connections more that are there when it is looked at again.
const MORE: usize = 1_000;

/// Between the last request and the look.
const SETTLED: Duration = Duration::from_millis(500);

/// What one answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes that the balancer's processes grow by for a connection that had one request, and waits. What the
/// kernel holds for a connection of its own is not in it.
pub(super) fn measure(
    site: &Site<'_>,
    running: &Running,
    address: SocketAddrV4,
    tls: bool,
) -> Result<f64, Failure> {
    let Some(child) = &running.child else {
        return Err(Failure::because("it has no process"));
    };
    let config = || client_config().map_err(|error| Failure::because(format!("TLS: {error}")));
    let tls = tls.then(config).transpose()?.map(Arc::new);
    let open = |count: usize| {
        let open = || (0..count).map(|_| connect(address, tls.as_ref())).collect();
        let opened: Result<Vec<_>, io::Error> = site.topology.within(Node::Client, open)?;
        thread::sleep(SETTLED);
        opened.map_err(|error| Failure::because(format!("a connection failed: {error}")))
    };
    let first = open(BEFORE)?;
    let before = resident(child)?;
    let more = open(MORE)?;
    let after = resident(child)?;
    drop((first, more));
    Ok(after.saturating_sub(before) as f64 / MORE as f64)
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A connection on which one request was answered.
fn connect(address: SocketAddrV4, tls: Option<&Arc<ClientConfig>>) -> io::Result<Box<dyn Stream>> {
    let stream = TcpStream::connect_timeout(&address.into(), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut stream: Box<dyn Stream> = match tls {
        None => Box::new(stream),
        Some(config) => {
            let name = ServerName::from(std::net::IpAddr::V4(*address.ip()));
            let connection = ClientConnection::new(Arc::clone(config), name);
            Box::new(StreamOwned::new(connection.map_err(io::Error::other)?, stream))
        }
    };
    stream.write_all(b"GET / HTTP/1.1\r\nHost: compare\r\n\r\n")?;
    let (mut answer, mut filled) = ([0; 1024], 0);
    while !answer[..filled].ends_with(BODY.as_bytes()) {
        match stream.read(&mut answer[filled..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => filled += count,
        }
    }
    Ok(stream)
}

fn client_config() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let trusting = Arc::new(Trusting(Arc::clone(&provider)));
    Ok(ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)?
        .dangerous()
        .with_custom_certificate_verifier(trusting)
        .with_no_client_auth())
}

/// Takes any certificate: the one in use was made a moment ago.
#[derive(Debug)]
struct Trusting(Arc<CryptoProvider>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Resident bytes of all processes of a child's group.
fn resident(child: &Child) -> Result<u64, Failure> {
    let failed = |error| Failure::because(format!("/proc: {error}"));
    let mut bytes = 0;
    for entry in fs::read_dir("/proc").map_err(failed)?.flatten() {
        let path = entry.path();
        let Ok(stat) = fs::read_to_string(path.join("stat")) else { continue };
        if group_of(&stat) == Some(child.group())
            && let Ok(status) = fs::read_to_string(path.join("status"))
        {
            bytes += resident_of(&status).unwrap_or(0);
        }
    }
    if bytes == 0 { Err(Failure::because("it has no memory")) } else { Ok(bytes) }
}

/// The process group, of `/proc/PID/stat`; the name before it may hold anything.
fn group_of(stat: &str) -> Option<u32> {
    stat.rsplit_once(") ")?.1.split(' ').nth(2)?.parse().ok()
}

fn resident_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_and_memory_are_read() {
        assert_eq!(group_of("17 (a b) c) S 1 16 15 0 -1"), Some(16));
        assert_eq!(group_of("17"), None);
        assert_eq!(resident_of("Name:\tx\nVmRSS:\t   12 kB\n"), Some(12 * 1024));
        assert_eq!(resident_of("Name:\tx\n"), None);
    }
}
