//! Which producer ids were given away. In: requests for one. Out: ids that nobody ever had, in whichever process of a data directory.

use protocol::ErrorCode;

use super::storage::{Change, Key, number_to_bytes};

/// Ids that are taken out at once, so that not each has to be noted; what is left of them when a broker ends is never given away.
const BLOCK: i64 = 10_000;
/// As many are there before a request is handled: each needs two at the most, and not so many are handled at once.
const LEAST: i64 = 2_000;

/// The ids that are left.
#[derive(Debug, Default)]
pub(crate) struct ProducerIds {
    next: i64,
    /// Up to here, they are taken out.
    end: i64,
}

impl ProducerIds {
    /// Those from `next` on, none of which is taken out.
    pub(crate) fn from(next: i64) -> Self {
        Self { next, end: next }
    }

    /// Sees to it that there are some; `keep` is asked to note that some are taken out.
    pub(crate) fn ensure(
        &mut self,
        keep: impl FnOnce(&[Change]) -> Result<(), ErrorCode>,
    ) -> Result<(), ErrorCode> {
        if self.end - self.next < LEAST {
            let end = self.next.saturating_add(BLOCK);
            keep(&[Change::put(&Key::ProducerIds, &number_to_bytes(end))])?;
            self.end = end;
        }
        Ok(())
    }

    /// The next id, after [`ensure`](Self::ensure).
    pub(crate) fn next(&mut self) -> i64 {
        let id = self.next;
        self.next += 1;
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_is_given_twice_even_where_a_broker_ends_in_between() {
        let mut noted = Vec::new();
        let mut ids = ProducerIds::default();
        let mut last = -1;
        for _ in 0..BLOCK {
            let kept = ids.ensure(|changes| {
                noted.push(changes.to_vec());
                Ok(())
            });
            assert_eq!(kept, Ok(()));
            last = ids.next();
        }
        assert_eq!(last, BLOCK - 1);
        let end = BLOCK - LEAST + 1 + BLOCK;
        let second = Change::put(&Key::ProducerIds, &number_to_bytes(end));
        assert_eq!((noted.len(), &noted[1]), (2, &vec![second]));
        assert_eq!(ProducerIds::from(end).next(), end);
    }

    #[test]
    fn ids_that_cannot_be_noted_are_not_given() {
        let mut ids = ProducerIds::default();
        let full = ids.ensure(|_| Err(ErrorCode::KAFKA_STORAGE_ERROR));
        assert_eq!(full, Err(ErrorCode::KAFKA_STORAGE_ERROR));
        assert_eq!(ids.ensure(|_| Ok(())), Ok(()));
        assert_eq!(ids.next(), 0);
    }
}
