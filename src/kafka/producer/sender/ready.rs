//! Which of a broker's partitions have something to send, in the order in which it began to wait, and whether it is time to send. Pure:
//! time comes in as an argument.
//!
//! A partition says what it has whenever that changes; nobody ever looks through all of them. In: what partitions have, and which one was
//! drained. Out: the next one to drain.

use std::collections::VecDeque;

use tokio::time::{Duration, Instant};

/// With many partitions, so many bytes of each are waited for before a request is worth sending: a batch costs as much as many records.
const PARTITION_BYTES: usize = 2 << 10;
/// After how many more bytes those who enqueue let the senders run once more.
const YIELD_BYTES: usize = 64 << 10;

/// What a partition has for its leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Nothing, or nothing that may be sent before something of it is resolved.
    Nothing,
    /// Something that must not be sent before this moment.
    NotBefore(Instant),
    /// So many bytes, of which the first came at `since`; `None` goes before all else. What is full, flushed, or sent again is urgent.
    Ready {
        bytes: usize,
        since: Option<Instant>,
        urgent: bool,
    },
}

/// From how many bytes on a request is worth sending, though others are in flight: `most` with many partitions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Enough {
    pub least: usize,
    pub most: usize,
}

/// What follows from a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    /// The sender has something to do, or to learn, that it does not know of.
    pub wake: bool,
    /// The sender has enough to do: those who enqueue should let it run.
    pub enough: bool,
}

/// The partitions `Q` of one broker that have something to send.
#[derive(Debug)]
pub(crate) struct ReadyList<Q> {
    enough: Enough,
    slots: Vec<Option<Slot<Q>>>,
    vacant: Vec<usize>,
    /// By age. Tickets that are not their partition's last are void.
    urgent: VecDeque<Ticket>,
    /// With an open batch that may take more records; by age.
    open: VecDeque<Ticket>,
    later: Vec<(Instant, Ticket)>,
    last_ticket: u64,
    /// Partitions that are ready, and their bytes.
    ready: usize,
    bytes: usize,
    /// From so many bytes on those who enqueue let the sender run.
    yield_at: usize,
}

#[derive(Debug)]
struct Slot<Q> {
    queue: Q,
    place: Place,
    bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Out,
    Later(u64, Instant),
    Open(u64),
    Urgent(u64),
}

#[derive(Clone, Copy, Debug)]
struct Ticket {
    number: u64,
    slot: usize,
    since: Option<Instant>,
}

impl<Q: Clone> ReadyList<Q> {
    pub fn new(enough: Enough) -> Self {
        Self {
            enough,
            slots: Vec::new(),
            vacant: Vec::new(),
            urgent: VecDeque::new(),
            open: VecDeque::new(),
            later: Vec::new(),
            last_ticket: 0,
            ready: 0,
            bytes: 0,
            yield_at: 0,
        }
    }

    /// A partition that the broker leads from now on; returns its slot.
    pub fn join(&mut self, queue: Q) -> usize {
        let slot = Some(Slot {
            queue,
            place: Place::Out,
            bytes: 0,
        });
        match self.vacant.pop() {
            Some(index) => {
                self.slots[index] = slot;
                index
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        }
    }

    /// The broker leads the partition no more.
    pub fn leave(&mut self, slot: usize) {
        self.take_out(slot);
        self.slots[slot] = None;
        self.vacant.push(slot);
    }

    /// The partitions that the broker leads.
    pub fn queues(&self) -> impl Iterator<Item = &Q> {
        self.slots.iter().flatten().map(|slot| &slot.queue)
    }

    /// The partition has this to send now.
    pub fn update(&mut self, slot: usize, readiness: Readiness) -> Changed {
        let Some(at) = &self.slots[slot] else {
            return Changed::default();
        };
        let (place, bytes_before) = (at.place, at.bytes);
        match readiness {
            Readiness::Nothing => {
                self.take_out(slot);
                Changed::default()
            }
            Readiness::NotBefore(moment) => {
                let known = matches!(place, Place::Later(_, known) if known == moment);
                if !known {
                    self.take_out(slot);
                    let ticket = self.ticket(slot, Some(moment));
                    self.set_place(slot, Place::Later(ticket.number, moment));
                    self.later.push((moment, ticket));
                }
                Changed {
                    wake: !known,
                    enough: false,
                }
            }
            Readiness::Ready {
                bytes,
                since,
                urgent,
            } => {
                let had_enough = self.bytes >= self.enough();
                let stays = match place {
                    Place::Open(_) => !urgent,
                    Place::Urgent(_) => true,
                    Place::Out | Place::Later(..) => false,
                };
                let wake = if stays {
                    self.bytes = self.bytes + bytes - bytes_before;
                    if let Some(at) = &mut self.slots[slot] {
                        at.bytes = bytes;
                    }
                    false
                } else {
                    self.take_out(slot);
                    self.put_in(slot, bytes, since, urgent)
                };
                let has_enough = self.bytes >= self.enough();
                Changed {
                    wake: wake || (has_enough && !had_enough),
                    enough: has_enough && self.is_time_to_yield(),
                }
            }
        }
    }

    /// Whether it is time to send; if not, when to look again though nothing happens. In a `hurry` nothing waits for more records.
    pub fn is_due(
        &mut self,
        now: Instant,
        linger: Duration,
        hurry: bool,
    ) -> Result<(), Option<Instant>> {
        self.promote(now);
        let oldest = self.oldest(false).and_then(|ticket| ticket.since);
        let ripe = oldest.map(|since| since + linger);
        let is_due = self.oldest(true).is_some()
            || ripe.is_some_and(|ripe| hurry || ripe <= now || self.bytes >= self.enough());
        if is_due {
            return Ok(());
        }
        let later = self.later.iter().map(|(moment, _)| *moment);
        Err(later.chain(ripe).min())
    }

    /// Bytes of the partitions that are ready.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Up to `most` partitions with an open batch, the oldest first.
    pub fn first_open(&self, most: usize) -> Vec<Q> {
        let slots = self.open.iter().filter_map(|ticket| {
            let slot = self.slots[ticket.slot].as_ref()?;
            (slot.place == Place::Open(ticket.number)).then(|| slot.queue.clone())
        });
        slots.take(most).collect()
    }

    /// The number that no ticket has yet: what comes in from now on is not drained in this round.
    pub fn round(&self) -> u64 {
        self.last_ticket + 1
    }

    /// Takes out the partition to drain next, urgent or not: the oldest, of those that were in before `round`.
    pub fn pop(&mut self, round: u64) -> Option<Q> {
        let urgent = self.oldest(true).filter(|ticket| ticket.number < round);
        let open = self.oldest(false).filter(|ticket| ticket.number < round);
        let ticket = match (urgent, open) {
            (Some(urgent), Some(open)) if open.since < urgent.since => open,
            (urgent, open) => urgent.or(open)?,
        };
        self.take_out(ticket.slot);
        self.slots[ticket.slot]
            .as_ref()
            .map(|slot| slot.queue.clone())
    }

    fn enough(&self) -> usize {
        let Enough { least, most } = self.enough;
        (self.ready * PARTITION_BYTES).min(most).max(least)
    }

    fn is_time_to_yield(&mut self) -> bool {
        let is_time = self.bytes >= self.yield_at;
        if is_time {
            self.yield_at = self.bytes + YIELD_BYTES;
        }
        is_time
    }

    fn ticket(&mut self, slot: usize, since: Option<Instant>) -> Ticket {
        self.last_ticket += 1;
        Ticket {
            number: self.last_ticket,
            slot,
            since,
        }
    }

    fn set_place(&mut self, slot: usize, place: Place) {
        if let Some(slot) = &mut self.slots[slot] {
            slot.place = place;
        }
    }

    /// True when the sender has to know of it: it is urgent, or its time comes before all others'.
    fn put_in(&mut self, slot: usize, bytes: usize, since: Option<Instant>, urgent: bool) -> bool {
        let ticket = self.ticket(slot, since);
        let (list, place) = match urgent {
            true => (&mut self.urgent, Place::Urgent(ticket.number)),
            false => (&mut self.open, Place::Open(ticket.number)),
        };
        // What comes last has waited least, but for what had to wait for something else.
        let index = match list.back() {
            Some(last) if last.since > since => list.partition_point(|other| other.since <= since),
            _ => list.len(),
        };
        list.insert(index, ticket);
        if let Some(slot) = &mut self.slots[slot] {
            slot.place = place;
            slot.bytes = bytes;
        }
        self.ready += 1;
        self.bytes += bytes;
        urgent
            || self
                .oldest(false)
                .is_some_and(|first| first.number == ticket.number)
    }

    fn take_out(&mut self, slot: usize) {
        let Some(slot) = &mut self.slots[slot] else {
            return;
        };
        match std::mem::replace(&mut slot.place, Place::Out) {
            Place::Out => {}
            Place::Later(number, _) => self.later.retain(|(_, later)| later.number != number),
            Place::Open(_) | Place::Urgent(_) => {
                self.ready -= 1;
                self.bytes -= std::mem::take(&mut slot.bytes);
                self.yield_at = self.yield_at.min(self.bytes + YIELD_BYTES);
            }
        }
    }

    /// Makes urgent what had to wait until now.
    fn promote(&mut self, now: Instant) {
        while let Some(index) = self.later.iter().position(|(moment, _)| *moment <= now) {
            let (_, ticket) = self.later.swap_remove(index);
            self.set_place(ticket.slot, Place::Out);
            self.put_in(ticket.slot, 1, None, true);
        }
    }

    /// The oldest of the urgent ones, or of the others.
    fn oldest(&mut self, urgent: bool) -> Option<Ticket> {
        let list = match urgent {
            true => &mut self.urgent,
            false => &mut self.open,
        };
        loop {
            let ticket = *list.front()?;
            let place = self.slots[ticket.slot].as_ref().map(|slot| slot.place);
            let expected = match urgent {
                true => Place::Urgent(ticket.number),
                false => Place::Open(ticket.number),
            };
            if place == Some(expected) {
                return Some(ticket);
            }
            list.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
