//! A list that only grows: whoever looks takes no lock, and what was found stays where it is.

use std::sync::OnceLock;

pub(super) struct Chain<T>(OnceLock<Box<Link<T>>>);

struct Link<T> {
    item: T,
    next: Chain<T>,
}

impl<T> Chain<T> {
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// All that is there, from the first that came.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        std::iter::successors(self.0.get(), |link| link.next.0.get()).map(|link| &link.item)
    }

    /// The first that `is_it`. Where none is, what `make` returns, which has to be it, behind all others.
    pub fn find_or_add(&self, is_it: impl Fn(&T) -> bool, make: impl Fn() -> T) -> &T {
        loop {
            if let Some(found) = self.find_or_add_within(usize::MAX, &is_it, &make) {
                return found;
            }
        }
    }

    /// The same, where there is room for no more than `most`; `None` when none of these is it.
    pub fn find_or_add_within(
        &self,
        most: usize,
        is_it: impl Fn(&T) -> bool,
        make: impl Fn() -> T,
    ) -> Option<&T> {
        let mut chain = self;
        for _ in 0..most {
            let link = chain.0.get_or_init(|| {
                Box::new(Link {
                    item: make(),
                    next: Chain::new(),
                })
            });
            if is_it(&link.item) {
                return Some(&link.item);
            }
            chain = &link.next;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_found_and_what_is_not_is_added_while_there_is_room() {
        let chain = Chain::new();
        for (wanted, most) in [(1, 1), (2, 2), (1, 1), (2, 2)] {
            let found = chain.find_or_add_within(most, |it| *it == wanted, || wanted);
            assert_eq!(found, Some(&wanted));
        }
        assert_eq!(chain.find_or_add_within(2, |it| *it == 3, || 3), None);
        assert_eq!(chain.find_or_add(|it| *it == 3, || 3), &3);
        assert_eq!(chain.iter().collect::<Vec<_>>(), [&1, &2, &3]);
    }
}
