//! Records that arrived together, and which of them are finished: as long as they are finished in their order, a counter; the first that is
//! finished out of turn costs a bit for each.

use std::ops::Range;

/// Records that arrive together.
#[derive(Clone, Debug)]
pub(crate) enum Arrival {
    /// At each of these offsets.
    Dense(Range<i64>),
    /// At these offsets, ascending.
    Sparse(Vec<i64>),
}

/// Records that arrived together.
#[derive(Debug)]
pub(super) struct Run {
    /// Between this offset and the first record nothing was ever there.
    pub hole_from: i64,
    pub records: Arrival,
    /// So many of the first are finished.
    pub done: usize,
    /// Which of those beyond are: a bit for each, as far as any is.
    beyond: Vec<u64>,
    /// How many are not.
    pub left: usize,
}

impl Run {
    pub fn new(hole_from: i64, records: Arrival) -> Self {
        let mut run = Self {
            hole_from,
            records,
            done: 0,
            beyond: Vec::new(),
            left: 0,
        };
        run.left = run.len();
        run
    }

    pub fn len(&self) -> usize {
        match &self.records {
            Arrival::Dense(offsets) => offsets.end.abs_diff(offsets.start) as usize,
            Arrival::Sparse(offsets) => offsets.len(),
        }
    }

    pub fn offset(&self, index: usize) -> i64 {
        match &self.records {
            Arrival::Dense(offsets) => offsets.start.saturating_add(index as i64),
            Arrival::Sparse(offsets) => offsets.get(index).copied().unwrap_or(i64::MAX),
        }
    }

    /// The offset after the last record.
    pub fn end(&self) -> i64 {
        match &self.records {
            Arrival::Dense(offsets) => offsets.end,
            Arrival::Sparse(offsets) => offsets.last().map_or(0, |last| last.saturating_add(1)),
        }
    }

    pub fn index_of(&self, offset: i64) -> Option<usize> {
        match &self.records {
            Arrival::Dense(offsets) => offsets
                .contains(&offset)
                .then(|| offset.abs_diff(offsets.start) as usize),
            Arrival::Sparse(offsets) => offsets.binary_search(&offset).ok(),
        }
    }

    /// One more record, behind a hole if it does not follow the last.
    pub fn push(&mut self, offset: i64) {
        match &mut self.records {
            Arrival::Dense(offsets) if offsets.end == offset => {
                offsets.end = offset.saturating_add(1);
            }
            Arrival::Dense(offsets) => {
                let offsets = offsets.clone().chain([offset]).collect();
                self.records = Arrival::Sparse(offsets);
            }
            Arrival::Sparse(offsets) => offsets.push(offset),
        }
        self.left += 1;
    }

    pub fn is_finished(&self, index: usize) -> bool {
        index < self.done
            || (self.beyond.get(index / 64)).is_some_and(|bits| bits >> (index % 64) & 1 == 1)
    }

    /// Whether the record was not finished before.
    pub fn finish(&mut self, index: usize) -> bool {
        if index == self.done {
            self.done += 1;
            while !self.beyond.is_empty() && self.is_finished(self.done) {
                self.done += 1;
            }
        } else if self.is_finished(index) {
            return false;
        } else {
            let word = index / 64;
            if self.beyond.len() <= word {
                self.beyond.resize(word + 1, 0);
            }
            self.beyond[word] |= 1 << (index % 64);
        }
        self.left -= 1;
        true
    }

    /// Finishes those between two indices; how many were not before.
    pub fn finish_range(&mut self, indices: Range<usize>) -> usize {
        if self.beyond.is_empty() && indices.start <= self.done {
            let count = indices.end.saturating_sub(self.done);
            self.done += count;
            self.left -= count;
            return count;
        }
        indices.filter(|index| self.finish(*index)).count()
    }

    /// Each stretch of unfinished records, from its first to behind its last.
    pub fn unfinished(&self, mut each: impl FnMut(Range<i64>)) {
        let len = self.len();
        let marked = (self.beyond.len() * 64).min(len);
        let mut start = None;
        for index in self.done..marked {
            if !self.is_finished(index) {
                start.get_or_insert(index);
            } else if let Some(start) = start.take() {
                each(self.offset(start)..self.offset(index - 1).saturating_add(1));
            }
        }
        let unmarked = marked.max(self.done);
        if let Some(start) = start.or((unmarked < len).then_some(unmarked)) {
            each(self.offset(start)..self.end());
        }
    }
}
