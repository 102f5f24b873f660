//! Messages between cores: one bounded wait-free queue per ordered pair of cores.

use std::sync::Arc;

use rtrb::{Consumer, Producer, RingBuffer};

use super::bell::Bell;
use crate::ids::CoreId;

/// Capacity of a queue in messages. A message is a batch, so this is far more than a busy pair needs. When a queue is
/// full, the sender stops reading requests from its sockets.
const CAPACITY: usize = 256;

/// One core's ends of its queues to and from the other cores.
pub struct Endpoint<M> {
    me: CoreId,
    /// Queues to the other cores, by target; `None` for the core itself.
    outgoing: Vec<Option<Producer<M>>>,
    /// Queues from the other cores, by origin; `None` for the core itself.
    incoming: Vec<Option<Consumer<M>>>,
    bells: Arc<[Arc<Bell>]>,
}

/// Makes the queues between all cores, given their bells. Returns one endpoint per core.
pub fn mesh<M>(bells: &Arc<[Arc<Bell>]>) -> Vec<Endpoint<M>> {
    let cores = bells.len();
    let endpoint = |core| Endpoint {
        me: CoreId(core as u16),
        outgoing: (0..cores).map(|_| None).collect(),
        incoming: (0..cores).map(|_| None).collect(),
        bells: Arc::clone(bells),
    };
    let mut endpoints: Vec<_> = (0..cores).map(endpoint).collect();
    for from in 0..cores {
        for to in (0..cores).filter(|to| *to != from) {
            let (producer, consumer) = RingBuffer::new(CAPACITY);
            endpoints[from].outgoing[to] = Some(producer);
            endpoints[to].incoming[from] = Some(consumer);
        }
    }
    endpoints
}

impl<M> Endpoint<M> {
    /// The core that owns this endpoint.
    pub const fn me(&self) -> CoreId {
        self.me
    }

    /// The bell of the core that owns this endpoint.
    pub fn bell(&self) -> &Bell {
        &self.bells[usize::from(self.me.0)]
    }

    /// Whether the queue to `core` is full, so that [`Self::send`] would fail. Always false for the core itself.
    pub fn is_full(&self, core: CoreId) -> bool {
        self.outgoing[usize::from(core.0)].as_ref().is_some_and(Producer::is_full)
    }

    /// Sends a message to `core` and wakes it.
    ///
    /// # Errors
    /// Returns the message if the queue is full.
    pub fn send(&mut self, core: CoreId, message: M) -> Result<(), M> {
        let Some(producer) = &mut self.outgoing[usize::from(core.0)] else { return Err(message) };
        producer.push(message).map_err(|rtrb::PushError::Full(message)| message)?;
        self.bells[usize::from(core.0)].ring();
        Ok(())
    }

    /// Takes the next message from `core`, if any.
    pub fn receive(&mut self, core: CoreId) -> Option<M> {
        self.incoming[usize::from(core.0)].as_mut()?.pop().ok()
    }

    /// Whether no message waits to be received.
    pub fn is_idle(&self) -> bool {
        self.incoming.iter().flatten().all(Consumer::is_empty)
    }

    /// Every core except this one.
    pub fn others(&self) -> impl Iterator<Item = CoreId> + use<M> {
        let me = self.me;
        (0..self.outgoing.len() as u16).map(CoreId).filter(move |core| *core != me)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_in_order_at_the_core_they_were_sent_to() {
        let bells: Arc<[_]> = (0..3).map(|_| Arc::new(Bell::new().unwrap())).collect();
        let mut ends = mesh::<u32>(&bells);
        for n in 0..CAPACITY as u32 {
            ends[0].send(CoreId(2), n).unwrap();
        }
        assert!(ends[0].is_full(CoreId(2)) && !ends[0].is_full(CoreId(1)));
        assert_eq!(ends[0].send(CoreId(2), 7), Err(7));
        assert!(ends[1].is_idle() && !ends[2].is_idle());
        assert!((0..CAPACITY as u32).all(|n| ends[2].receive(CoreId(0)) == Some(n)));
        assert_eq!(ends[2].receive(CoreId(0)), None);
    }

    #[test]
    fn no_wake_up_is_lost() {
        let bells: Arc<[_]> = (0..2).map(|_| Arc::new(Bell::new().unwrap())).collect();
        let mut ends = mesh::<u32>(&bells);
        let (mut two, mut one) = (ends.pop().unwrap(), ends.pop().unwrap());
        const MESSAGES: u32 = 100_000;
        let sender = std::thread::spawn(move || {
            for n in 0..MESSAGES {
                while one.send(CoreId(1), n).is_err() {
                    std::thread::yield_now();
                }
            }
        });
        let mut next = 0;
        while next < MESSAGES {
            if let Some(n) = two.receive(CoreId(0)) {
                assert_eq!(n, next);
                next += 1;
                continue;
            }
            two.bell().about_to_sleep();
            if two.is_idle() {
                let mut counter = [0u8; 8];
                rustix::io::read(two.bell().sleep_event(), &mut counter).unwrap();
            }
            two.bell().awake();
        }
        sender.join().unwrap();
    }
}
