//! Two devices joined by bounded queues, without a kernel in between.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use super::{Device, Received, TransmitDrop, Transmitted};
use crate::packet::Packet;

/// One end of a pair: what one end transmits the other receives, in order, with its offload state.
///
/// A full queue drops, as that of a TUN does. When one end is gone the other reads what is left and
/// then [`Received::End`], and finds its link down.
#[derive(Debug)]
pub struct MemoryDevice {
    name: String,
    mtu: u16,
    incoming: Rc<RefCell<Queue>>,
    outgoing: Rc<RefCell<Queue>>,
}

#[derive(Debug)]
struct Queue {
    waiting: VecDeque<Packet>,
    /// Packets that were received, for their buffers.
    spare: Vec<Packet>,
    capacity: usize,
}

impl MemoryDevice {
    /// A pair whose queues hold up to `capacity` packets each way.
    pub fn pair(names: [&str; 2], mtu: u16, capacity: usize) -> (Self, Self) {
        let queue = || {
            let queue = Queue { waiting: VecDeque::new(), spare: Vec::new(), capacity };
            Rc::new(RefCell::new(queue))
        };
        let (there, back) = (queue(), queue());
        let end = |name: &str, incoming: &Rc<_>, outgoing: &Rc<_>| Self {
            name: name.into(),
            mtu,
            incoming: Rc::clone(incoming),
            outgoing: Rc::clone(outgoing),
        };
        (end(names[0], &back, &there), end(names[1], &there, &back))
    }

    /// Packets that wait to be received here.
    pub fn waiting(&self) -> usize {
        self.incoming.borrow().waiting.len()
    }

    fn is_alone(&self) -> bool {
        Rc::strong_count(&self.incoming) == 1
    }
}

impl Device for MemoryDevice {
    fn receive(&mut self, packet: &mut Packet) -> io::Result<Received> {
        let mut queue = self.incoming.borrow_mut();
        let Some(next) = queue.waiting.pop_front() else {
            return Ok(if self.is_alone() { Received::End } else { Received::WouldBlock });
        };
        packet.copy_from(&next);
        queue.spare.push(next);
        Ok(Received::Packet)
    }

    fn transmit(&mut self, packet: &mut Packet) -> io::Result<Transmitted> {
        if self.is_alone() {
            return Ok(Transmitted::Dropped(TransmitDrop::LinkDown));
        }
        let mut queue = self.outgoing.borrow_mut();
        if queue.waiting.len() >= queue.capacity {
            return Ok(Transmitted::Dropped(TransmitDrop::NoBuffers));
        }
        let mut copy = queue.spare.pop().unwrap_or_else(|| Packet::with_capacity(packet.len()));
        copy.copy_from(packet);
        queue.waiting.push_back(copy);
        Ok(Transmitted::Sent)
    }

    fn mtu(&self) -> u16 {
        self.mtu
    }

    fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Checksum, Offload};

    #[test]
    fn packets_arrive_in_order_with_their_offload_state() {
        let (mut a, mut b) = MemoryDevice::pair(["a", "b"], 1_500, 8);
        let partial = Offload { checksum: Checksum::Partial { start: 2, offset: 0 }, gso: None };
        for i in 0..3 {
            let mut packet = Packet::from_ip(&[i; 4]);
            packet.offload = partial;
            assert_eq!(a.transmit(&mut packet).unwrap(), Transmitted::Sent);
        }
        assert_eq!((a.waiting(), b.waiting()), (0, 3));
        let mut packet = Packet::with_capacity(0);
        for i in 0..3 {
            assert_eq!(b.receive(&mut packet).unwrap(), Received::Packet);
            assert_eq!((packet.data(), packet.offload), (&[i; 4][..], partial));
        }
        assert_eq!(b.receive(&mut packet).unwrap(), Received::WouldBlock);
        assert_eq!(a.receive(&mut packet).unwrap(), Received::WouldBlock);
    }

    #[test]
    fn a_full_queue_drops_at_the_limit_and_takes_again_after() {
        let (mut a, mut b) = MemoryDevice::pair(["a", "b"], 1_500, 2);
        let mut packet = Packet::from_ip(&[1]);
        assert_eq!(a.transmit(&mut packet).unwrap(), Transmitted::Sent);
        assert_eq!(a.transmit(&mut packet).unwrap(), Transmitted::Sent);
        let full = Transmitted::Dropped(TransmitDrop::NoBuffers);
        assert_eq!(a.transmit(&mut packet).unwrap(), full);
        assert_eq!(b.receive(&mut packet).unwrap(), Received::Packet);
        assert_eq!(a.transmit(&mut packet).unwrap(), Transmitted::Sent);
    }

    #[test]
    fn a_lone_end_reads_what_is_left_and_then_the_end() {
        let (mut a, mut b) = MemoryDevice::pair(["a", "b"], 1_500, 2);
        let mut packet = Packet::from_ip(&[1]);
        assert_eq!(a.transmit(&mut packet).unwrap(), Transmitted::Sent);
        drop(a);
        assert_eq!(b.receive(&mut packet).unwrap(), Received::Packet);
        assert_eq!(b.receive(&mut packet).unwrap(), Received::End);
        let down = Transmitted::Dropped(TransmitDrop::LinkDown);
        assert_eq!(b.transmit(&mut packet).unwrap(), down);
    }
}
