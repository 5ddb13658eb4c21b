//! Where captures are added and ended.

use nat::Balancer;

use super::transaction::Recorder;
use super::{Report, Tap, Taps, TooManyTaps};
use crate::runtime::Application;

/// A loop that packets go through, and that shows them to captures.
pub trait Tapped {
    /// What ends connections in it.
    type Application: Application;

    /// What decides on the packets, and the captures that see them.
    fn balancer_and_taps(&mut self) -> (&mut Balancer<Self::Application>, &mut Taps);

    /// Captures packets from now on.
    ///
    /// # Errors
    /// There are [`MAX_TAPS`](super::MAX_TAPS) already.
    fn add_tap(&mut self, tap: Tap) -> Result<(), TooManyTaps> {
        let (balancer, taps) = self.balancer_and_taps();
        taps.add(tap)?;
        balancer.engine.set_accounting(true);
        if let Some(watch) = balancer.divert.watch() {
            taps.watch(watch);
        }
        Ok(())
    }

    /// Captures requests from now on. Where none are served, none are captured.
    ///
    /// # Errors
    /// There are [`MAX_TAPS`](super::MAX_TAPS) captures already.
    fn add_recorder(&mut self, recorder: Recorder) -> Result<(), TooManyTaps> {
        let (balancer, taps) = self.balancer_and_taps();
        let Some(watch) = balancer.divert.watch() else { return Ok(()) };
        taps.add_recorder(recorder, watch)?;
        balancer.engine.set_accounting(true);
        Ok(())
    }

    /// Ends all captures, waits until they are written, and says what they came to.
    fn end_taps(&mut self) -> Vec<Report> {
        let (balancer, taps) = self.balancer_and_taps();
        balancer.engine.set_accounting(false);
        taps.end()
    }
}
