//! A server that takes large requests: nginx answers before it has read them.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

use super::Failure;
use super::backend::BODY;
use super::topology::{Node, Topology, WEB_PORT};

/// The most of a head that is taken.
const HEAD_BYTES: usize = 64 * 1024;
const READ_BYTES: usize = 256 * 1024;

/// Serves in the namespace until this process ends.
pub(super) fn start(topology: &Topology, node: Node) -> Result<(), Failure> {
    let listener = topology
        .within(node, || TcpListener::bind((Ipv4Addr::UNSPECIFIED, WEB_PORT)))?
        .map_err(|error| Failure::because(format!("port {WEB_PORT}: {error}")))?;
    // Its threads hold the namespace only by the sockets, which end with the client.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    Ok(())
}

/// Reads each request to its end and answers it.
fn serve(mut stream: TcpStream) -> io::Result<()> {
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{BODY}", BODY.len());
    let mut buffer = vec![0; READ_BYTES];
    let mut filled = 0;
    loop {
        let end = loop {
            if let Some(end) = find_end(&buffer[..filled]) {
                break end;
            }
            if filled >= HEAD_BYTES {
                return Ok(());
            }
            match stream.read(&mut buffer[filled..])? {
                0 => return Ok(()),
                count => filled += count,
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let mut left = content_length(&head);
        let here = left.min((filled - end) as u64);
        left -= here;
        buffer.copy_within(end + here as usize..filled, 0);
        filled -= end + here as usize;
        while left > 0 {
            let most = left.min(READ_BYTES as u64) as usize;
            match stream.read(&mut buffer[..most])? {
                0 => return Ok(()),
                count => left -= count as u64,
            }
        }
        stream.write_all(answer.as_bytes())?;
        if head.contains("\r\nconnection: close\r\n") {
            return Ok(());
        }
    }
}

fn find_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// Of a head in small letters.
fn content_length(head: &str) -> u64 {
    let value = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_to_their_ends() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let served = thread::spawn(move || serve(server));
        let two = "PUT / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc\
                   GET / HTTP/1.1\r\nConnection: close\r\n\r\n";
        client.write_all(two.as_bytes()).unwrap();
        let mut answers = String::new();
        client.read_to_string(&mut answers).unwrap();
        assert_eq!(answers.matches("200 OK").count(), 2);
        assert!(answers.ends_with(BODY));
        served.join().unwrap().unwrap();
    }
}
