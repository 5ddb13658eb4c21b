//! Links, addresses and routes by rtnetlink, in blocking calls.
//!
//! rtnetlink is asynchronous. Each batch of changes runs on a thread of its own with its own
//! runtime: the thread inherits the caller's network namespace, and a caller that happens to be a
//! task of a runtime itself does no harm.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::pin;
use std::thread;
use std::time::Duration;

use futures_util::StreamExt;
use rtnetlink::packet_route::address::AddressHeaderFlags;
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::packet_route::route::{RouteMessage, RouteScope, RouteType};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, RouteMessageBuilder};

/// One change to a link of the calling thread's network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Set it up.
    Up,
    /// Set it down.
    Down,
    /// Remove it.
    Delete,
    /// Set the length of its transmit queue in packets; for a TUN, how many may wait to be read.
    TxQueueLen(u32),
    /// Add an address with its prefix length, or leave it as it is. For an IPv6 address there is no
    /// duplicate address detection; see [`wait_until_local`] all the same.
    Address(IpAddr, u8),
    /// Add a route to a prefix straight out of the link, in place of one to the same prefix. Bits
    /// behind the prefix length are ignored.
    Route(IpAddr, u8),
}

impl fmt::Display for Change {
    /// What the change does, to follow "cannot" and precede the link's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up => f.write_str("set up"),
            Self::Down => f.write_str("set down"),
            Self::Delete => f.write_str("remove"),
            Self::TxQueueLen(len) => write!(f, "set the queue length {len} of"),
            Self::Address(address, prefix) => write!(f, "add the address {address}/{prefix} to"),
            Self::Route(address, prefix) => write!(f, "add the route {address}/{prefix} through"),
        }
    }
}

/// A change that could not be made; those before it have been.
#[derive(Debug)]
pub struct NetlinkError {
    /// The link.
    pub link: String,
    /// The change, or nothing if it did not come to one: no such link, no netlink socket.
    pub change: Option<Change>,
    /// What the kernel said.
    pub source: io::Error,
}

impl NetlinkError {
    /// What was being done, to follow "cannot" and precede the link's name.
    pub(super) fn step(&self) -> String {
        self.change.map_or_else(|| "configure".into(), |change| change.to_string())
    }
}

impl fmt::Display for NetlinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} `{}`: {}", self.step(), self.link, self.source)
    }
}

impl Error for NetlinkError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// Makes the changes to the link, in order.
///
/// # Errors
/// [`NetlinkError`] names the first change that failed.
pub fn change_link(link: &str, changes: &[Change]) -> Result<(), NetlinkError> {
    let fail = |change, source| NetlinkError { link: link.into(), change, source };
    on_connection(async |handle| {
        let index = link_index(link).map_err(|e| fail(None, e))?;
        for change in changes {
            apply(&handle, index, *change).await.map_err(|e| fail(Some(*change), into_io(e)))?;
        }
        Ok(())
    })
    .map_err(|e| fail(None, e))?
}

/// Waits until the kernel accepts packets for IPv6 addresses that were added to a link that is up.
///
/// It answers the request before it has made the address its own: the route that delivers packets
/// to it comes from a work queue, a moment later. Until then packets for the address are lost.
///
/// # Errors
/// [`NetlinkError`] with [`io::ErrorKind::TimedOut`] after [`SETTLE_TRIES`] milliseconds.
pub fn wait_until_local(link: &str, addresses: &[Ipv6Addr]) -> Result<(), NetlinkError> {
    let fail = |change, source| NetlinkError { link: link.into(), change, source };
    on_connection(async |handle| {
        for address in addresses {
            if !becomes_local(&handle, *address).await {
                let change = Change::Address((*address).into(), 128);
                return Err(fail(Some(change), io::ErrorKind::TimedOut.into()));
            }
        }
        Ok(())
    })
    .map_err(|e| fail(None, e))?
}

/// Milliseconds that [`wait_until_local`] waits for each address.
pub const SETTLE_TRIES: u32 = 5_000;

#[expect(clippy::disallowed_methods, reason = "the thread is our own and has nothing else to do")]
async fn becomes_local(handle: &Handle, address: Ipv6Addr) -> bool {
    for _ in 0..SETTLE_TRIES {
        let question = RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(address, 128);
        let mut answers = pin!(handle.route().get(question.build()).execute());
        if let Some(Ok(route)) = answers.next().await
            && route.header.kind == RouteType::Local
        {
            return true;
        }
        thread::sleep(Duration::from_millis(1));
    }
    false
}

/// Runs `work` with a netlink connection on a thread of its own.
fn on_connection<T: Send>(work: impl AsyncFnOnce(Handle) -> T + Send) -> io::Result<T> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection()?;
            // Ends when the last handle is dropped.
            tokio::spawn(connection);
            Ok(work(handle).await)
        })
    };
    thread::scope(|scope| {
        let worker = thread::Builder::new().name("netlink".into()).spawn_scoped(scope, run)?;
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The index of a link of the calling thread's network namespace.
///
/// # Errors
/// `ENODEV` if there is none of that name.
pub fn link_index(link: &str) -> io::Result<u32> {
    Ok(nix::net::if_::if_nametoindex(link)?)
}

async fn apply(handle: &Handle, index: u32, change: Change) -> Result<(), rtnetlink::Error> {
    let link = || LinkUnspec::new_with_index(index);
    match change {
        Change::Up => set(handle, link().up()).await,
        Change::Down => set(handle, link().down()).await,
        Change::Delete => handle.link().del(index).execute().await,
        Change::TxQueueLen(len) => {
            set(handle, link().append_extra_attribute(LinkAttribute::TxQueueLen(len))).await
        }
        Change::Address(address, prefix) => {
            let mut request = handle.address().add(index, address, prefix).replace();
            if address.is_ipv6() {
                request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
            }
            request.execute().await
        }
        Change::Route(address, prefix) => {
            handle.route().add(route(index, address, prefix)).replace().execute().await
        }
    }
}

async fn set(
    handle: &Handle,
    message: LinkMessageBuilder<LinkUnspec>,
) -> Result<(), rtnetlink::Error> {
    handle.link().set(message.build()).execute().await
}

fn route(index: u32, address: IpAddr, prefix: u8) -> RouteMessage {
    match network(address, prefix) {
        IpAddr::V4(net) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(net, prefix)
            .output_interface(index)
            // There is no gateway: the destinations are on the link.
            .scope(RouteScope::Link)
            .build(),
        IpAddr::V6(net) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(net, prefix)
            .output_interface(index)
            .build(),
    }
}

/// The address with the bits behind the prefix length cleared.
pub(super) fn network(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(a) => IpAddr::V4(Ipv4Addr::from(u32::from(a) & u32::from(v4_mask(prefix)))),
        IpAddr::V6(a) => {
            let host = 128_u32.saturating_sub(u32::from(prefix));
            let mask = u128::MAX.checked_shl(host).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(a) & mask))
        }
    }
}

/// The netmask of an IPv4 prefix length.
pub(super) fn v4_mask(prefix: u8) -> Ipv4Addr {
    let host = 32_u32.saturating_sub(u32::from(prefix));
    Ipv4Addr::from(u32::MAX.checked_shl(host).unwrap_or(0))
}

fn into_io(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_mask_at_both_ends() {
        let net = |text: &str, prefix| network(text.parse().unwrap(), prefix).to_string();
        assert_eq!(net("10.1.2.3", 0), "0.0.0.0");
        assert_eq!(net("10.1.2.3", 20), "10.1.0.0");
        assert_eq!(net("10.1.2.3", 32), "10.1.2.3");
        assert_eq!(net("fd00::1:2", 0), "::");
        assert_eq!(net("fd00::1:2", 112), "fd00::1:0");
        assert_eq!(net("fd00::1:2", 128), "fd00::1:2");
    }

    #[test]
    fn a_link_that_is_not_there_is_named() {
        let error = change_link("no-such-link", &[Change::Up]).unwrap_err();
        assert_eq!(error.change, None);
        assert_eq!(error.source.raw_os_error(), Some(nix::libc::ENODEV));
        assert!(error.to_string().starts_with("cannot configure `no-such-link`"), "{error}");
    }

    #[tokio::test]
    async fn works_inside_a_runtime() {
        assert!(change_link("lo", &[]).is_ok());
    }
}
