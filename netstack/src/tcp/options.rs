//! What the application sets of a single connection, in place of what the configuration says.

use super::application::StreamError;
use super::congestion::Algorithm;
use super::connection::ConnectionId;
use super::endpoint::Endpoint;
use super::keepalive::KeepaliveConfig;

impl Endpoint {
    /// Controls the congestion of a connection by `algorithm` from now on, as `TCP_CONGESTION` of Linux
    /// does. In the middle of a transfer the window stays as it is; what the old algorithm has learnt
    /// beyond it is forgotten. Nothing happens if it is the same algorithm, or the connection is over.
    ///
    /// # Errors
    /// [`StreamError::Unknown`]
    pub fn set_congestion(
        &mut self,
        id: ConnectionId,
        algorithm: Algorithm,
    ) -> Result<(), StreamError> {
        let (now, secret) = (self.now, self.secret);
        let connection = self.get_mut(id).ok_or(StreamError::Unknown)?;
        connection.handshake.congestion = algorithm;
        let seed = secret.number(u64::from(connection.control.initial.isn));
        let Some(streams) = &mut connection.streams else { return Ok(()) };
        streams.sender.set_congestion(now, algorithm, seed);
        self.mark_dirty(id.index as usize);
        Ok(())
    }

    /// Probes a connection when it is idle, as `SO_KEEPALIVE` does with its times; `None` switches it
    /// off. What is out of range is brought into it. The time of silence begins now.
    ///
    /// # Errors
    /// [`StreamError::Unknown`]
    pub fn set_keepalive(
        &mut self,
        id: ConnectionId,
        keepalive: Option<KeepaliveConfig>,
    ) -> Result<(), StreamError> {
        let now = self.now;
        let connection = self.get_mut(id).ok_or(StreamError::Unknown)?;
        connection.handshake.keepalive = keepalive;
        let Some(streams) = &mut connection.streams else { return Ok(()) };
        streams.set_keepalive(now, keepalive);
        // The next drain arms its timer.
        self.mark_dirty(id.index as usize);
        Ok(())
    }
}
