//! Many queues in one allocation: there may be as many of them as records, most of them short.

/// Marks the end of a queue.
const NONE: u32 = u32::MAX;

/// What all queues hold.
#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<Slot<T>>,
    /// The first of the slots that are free; each is followed by the next.
    free: u32,
}

#[derive(Debug)]
struct Slot<T> {
    item: Option<T>,
    next: u32,
}

/// One queue: where it begins and ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyQueue {
    head: u32,
    tail: u32,
}

impl KeyQueue {
    pub(super) const EMPTY: Self = Self {
        head: NONE,
        tail: NONE,
    };

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.head == NONE
    }
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: NONE,
        }
    }
}

impl<T> Slots<T> {
    pub(super) fn push_back(&mut self, queue: &mut KeyQueue, item: T) {
        let slot = self.put(item, NONE);
        match queue.tail {
            NONE => queue.head = slot,
            tail => self.slots[tail as usize].next = slot,
        }
        queue.tail = slot;
    }

    pub(super) fn push_front(&mut self, queue: &mut KeyQueue, item: T) {
        queue.head = self.put(item, queue.head);
        if queue.tail == NONE {
            queue.tail = queue.head;
        }
    }

    pub(super) fn pop_front(&mut self, queue: &mut KeyQueue) -> Option<T> {
        let slot = self.slots.get_mut(queue.head as usize)?;
        let item = slot.item.take();
        let next = std::mem::replace(&mut slot.next, self.free);
        self.free = queue.head;
        queue.head = next;
        if next == NONE {
            queue.tail = NONE;
        }
        item
    }

    pub(super) fn front(&self, queue: &KeyQueue) -> Option<&T> {
        self.slots.get(queue.head as usize)?.item.as_ref()
    }

    /// Looks at `most` slots from the one called `from`, and calls `look` with what is in them. Returns where to go on; `None` after the last.
    pub(super) fn look(
        &mut self,
        from: usize,
        most: usize,
        mut look: impl FnMut(&mut T),
    ) -> Option<usize> {
        let to = from.saturating_add(most).min(self.slots.len());
        for slot in self.slots.get_mut(from..to)? {
            if let Some(item) = &mut slot.item {
                look(item);
            }
        }
        (to < self.slots.len()).then_some(to)
    }

    fn put(&mut self, item: T, next: u32) -> u32 {
        let item = Some(item);
        match self.slots.get_mut(self.free as usize) {
            Some(slot) => {
                let at = std::mem::replace(&mut self.free, slot.next);
                *slot = Slot { item, next };
                at
            }
            None => {
                self.slots.push(Slot { item, next });
                // Far fewer records fit into memory than there are numbers.
                (self.slots.len() - 1) as u32
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn queues_that_share_slots_are_queues(steps in prop::collection::vec((0usize..3, 0usize..3), 0..400)) {
            let mut slots = Slots::default();
            let mut queues = [KeyQueue::EMPTY; 3];
            let mut models = [const { VecDeque::new() }; 3];
            for (number, (queue, step)) in steps.into_iter().enumerate() {
                match step {
                    0 => {
                        slots.push_back(&mut queues[queue], number);
                        models[queue].push_back(number);
                    }
                    1 => {
                        slots.push_front(&mut queues[queue], number);
                        models[queue].push_front(number);
                    }
                    _ => {
                        prop_assert_eq!(slots.front(&queues[queue]), models[queue].front());
                        prop_assert_eq!(slots.pop_front(&mut queues[queue]), models[queue].pop_front());
                    }
                }
                prop_assert_eq!(queues[queue].is_empty(), models[queue].is_empty());
            }
            let held: usize = models.iter().map(VecDeque::len).sum();
            let mut seen = 0;
            let mut from = Some(0);
            while let Some(at) = from {
                from = slots.look(at, 7, |_| seen += 1);
            }
            prop_assert_eq!(seen, held);
        }
    }
}
