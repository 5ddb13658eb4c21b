//! Descriptors handed from process to process over a Unix socket (`SCM_RIGHTS` of unix(7)).

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

use super::sys;

/// The most descriptors that go with one message.
pub const MAX_PASSED: usize = 8;

/// Sends bytes, and descriptors with the first of them; gives how many bytes went. The receiver gets
/// descriptors of its own: ours may be closed at once.
///
/// # Errors
/// `InvalidInput` for no bytes or more than [`MAX_PASSED`] descriptors, and those of `sendmsg(2)`.
/// Nothing was sent then.
pub fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    if bytes.is_empty() || descriptors.len() > MAX_PASSED {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let raw: Vec<_> = descriptors.iter().map(BorrowedFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[] } else { &rights[..] };
    let slices = [IoSlice::new(bytes)];
    let flags = MsgFlags::MSG_NOSIGNAL;
    Ok(sendmsg::<UnixAddr>(socket.as_raw_fd(), &slices, control, flags, None)?)
}

/// Reads what is there, with the descriptors that came along; no bytes mean that the other side has
/// closed. Descriptors beyond [`MAX_PASSED`] are closed unseen.
///
/// # Errors
/// Those of `recvmsg(2)`.
pub fn receive(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    sys::receive_descriptors(socket, bytes)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_descriptor_arrives_and_works() {
        let (here, there) = UnixStream::pair().unwrap();
        let (mut kept, passed) = UnixStream::pair().unwrap();
        assert_eq!(send(here.as_fd(), b"take it", &[passed.as_fd()]).unwrap(), 7);
        drop(passed);
        let mut bytes = [0; 16];
        let (len, mut descriptors) = receive(there.as_fd(), &mut bytes).unwrap();
        assert_eq!((&bytes[..len], descriptors.len()), (&b"take it"[..], 1));
        let mut passed = UnixStream::from(descriptors.remove(0));
        passed.write_all(b"hello").unwrap();
        drop(passed);
        let mut heard = String::new();
        kept.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "hello");
    }

    #[test]
    fn more_than_fit_are_not_sent_at_all() {
        let (here, _there) = UnixStream::pair().unwrap();
        let many = [here.as_fd(); MAX_PASSED + 1];
        let error = send(here.as_fd(), b"x", &many).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
