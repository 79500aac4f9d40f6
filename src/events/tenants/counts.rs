//! What is counted of each tenant. In: records that came, were skipped, handled or given up. Out: the busiest by name, and all others
//! together. However many tenants there are, no more than [`KNOWN`] are kept.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::{ByHash, TenantId};

/// How many tenants are known at most. When there are more, those with the fewest events are counted together.
const KNOWN: usize = 2_048;

/// How many of them metrics name at most, whatever they are told.
const NAMED: usize = KNOWN / 4;

/// What a consumer has done for one tenant since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TenantMetrics {
    /// The tenant; `None` stands for all tenants together that are not named.
    pub tenant: Option<String>,
    /// Its records that came, those included that were skipped.
    pub received: u64,
    /// Of these, those that the [filter](crate::events::ConsumerConfig::tenant_filter) left out.
    pub skipped: u64,
    /// Records whose handler has finished its work.
    pub handled: u64,
    /// Records whose handler failed for the last time.
    pub failed: u64,
}

/// The counters of all tenants.
#[derive(Debug, Default)]
pub(crate) struct TenantCounts {
    known: HashMap<TenantId, TenantMetrics, ByHash>,
    others: TenantMetrics,
    /// Those that metrics name, each with what was counted before: that is with the others.
    named: HashMap<TenantId, TenantMetrics, ByHash>,
}

impl TenantCounts {
    /// A record of the tenant `id`, which is called what `name` returns, came, and is handled or skipped.
    pub fn received<'n>(&mut self, id: TenantId, name: impl FnOnce() -> &'n [u8], skipped: bool) {
        if self.known.len() >= KNOWN && !self.known.contains_key(&id) {
            self.forget_half();
        }
        let counts = self.known.entry(id).or_insert_with(|| TenantMetrics {
            tenant: Some(String::from_utf8_lossy(name()).into_owned()),
            ..TenantMetrics::default()
        });
        counts.received += 1;
        counts.skipped += u64::from(skipped);
    }

    /// A record of this tenant is over.
    pub fn ended(&mut self, tenant: TenantId, handled: bool) {
        let counts = self.known.get_mut(&tenant).unwrap_or(&mut self.others);
        match handled {
            true => counts.handled += 1,
            false => counts.failed += 1,
        }
    }

    /// Those of the `most` tenants that most records came for, then all others together, if there are any.
    pub fn busiest(&self, most: usize) -> Vec<TenantMetrics> {
        let mut all: Vec<_> = self.known.values().cloned().collect();
        all.sort_by(|one, other| {
            (Reverse(one.received), &one.tenant).cmp(&(Reverse(other.received), &other.tenant))
        });
        let mut others = self.others.clone();
        all.drain(most.min(all.len())..)
            .for_each(|counts| others.add(&counts));
        all.extend((others != TenantMetrics::default()).then_some(others));
        all
    }

    /// No more than `most` tenants by name, and then all others together. What is named once stays named, so that counts only grow: those that
    /// most records had come for when this was first called, and whoever comes later while there is room.
    pub fn steady(&mut self, most: usize) -> Vec<TenantMetrics> {
        let room = most.min(NAMED).saturating_sub(self.named.len());
        let is_first = self.named.is_empty();
        let mut new: Vec<_> = self.known.iter().collect();
        new.retain(|(id, _)| !self.named.contains_key(id));
        new.sort_by_key(|(_, counts)| (Reverse(counts.received), counts.tenant.clone()));
        let new = new.into_iter().take(room).map(|(id, counts)| {
            let before = match is_first {
                true => TenantMetrics::default(),
                false => counts.clone(),
            };
            (*id, before)
        });
        self.named.extend(new);
        let mut others = self.others.clone();
        let mut all = Vec::with_capacity(self.named.len() + 1);
        for (id, counts) in &self.known {
            match self.named.get(id) {
                Some(before) => {
                    others.add(before);
                    all.push(counts.since(before));
                }
                None => others.add(counts),
            }
        }
        all.sort_by(|one, other| one.tenant.cmp(&other.tenant));
        all.push(others);
        all
    }

    /// Makes room, at a cost that is small for each of those that it is made for.
    fn forget_half(&mut self) {
        let mut received: Vec<_> = self.known.values().map(|counts| counts.received).collect();
        let (_, median, _) = received.select_nth_unstable(KNOWN / 2);
        let (median, mut left) = (*median, KNOWN / 2);
        let (others, named) = (&mut self.others, &self.named);
        self.known.retain(|id, counts| {
            let stays = counts.received > median || left == 0 || named.contains_key(id);
            if !stays {
                left -= 1;
                others.add(counts);
            }
            stays
        });
    }
}

impl TenantMetrics {
    /// What came after `before`.
    fn since(&self, before: &Self) -> Self {
        Self {
            tenant: self.tenant.clone(),
            received: self.received - before.received,
            skipped: self.skipped - before.skipped,
            handled: self.handled - before.handled,
            failed: self.failed - before.failed,
        }
    }

    fn add(&mut self, more: &Self) {
        self.received += more.received;
        self.skipped += more.skipped;
        self.handled += more.handled;
        self.failed += more.failed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::tenants::tenant_id;

    #[test]
    fn what_metrics_name_stays_named_and_nothing_that_they_show_ever_shrinks() {
        let mut counts = TenantCounts::default();
        let mut before = HashMap::new();
        for round in 0..20_000u32 {
            // Ever others are the busiest, and most come once.
            for name in [format!("t-{}", round / 5_000), format!("once-{round}")] {
                let id = tenant_id(Some(name.as_bytes()));
                counts.received(id, || name.as_bytes(), round % 7 == 0);
                counts.ended(id, round % 3 > 0);
            }
            if round % 999 != 10 {
                continue;
            }
            let shown = counts.steady(3);
            assert_eq!(shown.len(), 4);
            let sum = shown.iter().map(|it| it.received).sum::<u64>();
            assert_eq!(sum, 2 * u64::from(round) + 2);
            let ended = shown.iter().map(|it| it.handled + it.failed).sum::<u64>();
            assert_eq!(ended, sum);
            for it in shown {
                let now = [it.received, it.skipped, it.handled, it.failed];
                let last = before.insert(it.tenant.clone(), now).unwrap_or_default();
                assert!(
                    last.iter().zip(now).all(|(last, now)| *last <= now),
                    "{it:?}"
                );
            }
            assert_eq!(before.len(), 4, "no other names than at first");
        }
        assert_eq!(before[&Some("t-0".to_string())][0], 5_000);
    }

    #[test]
    fn names_come_later_while_there_is_room() {
        let mut counts = TenantCounts::default();
        let receive = |counts: &mut TenantCounts, name: &str| {
            counts.received(tenant_id(Some(name.as_bytes())), || name.as_bytes(), false);
        };
        receive(&mut counts, "a");
        let shown = |counts: &mut TenantCounts| -> Vec<(Option<String>, u64)> {
            let shown = counts.steady(2).into_iter();
            shown.map(|it| (it.tenant, it.received)).collect()
        };
        let named = |name: &str, count| (Some(name.to_string()), count);
        assert_eq!(shown(&mut counts), [named("a", 1), (None, 0)]);
        receive(&mut counts, "b");
        assert_eq!(
            shown(&mut counts),
            [named("a", 1), named("b", 0), (None, 1)]
        );
        receive(&mut counts, "b");
        receive(&mut counts, "c");
        assert_eq!(
            shown(&mut counts),
            [named("a", 1), named("b", 1), (None, 2)]
        );
    }

    #[test]
    fn the_busiest_are_named_and_none_is_lost_however_many_there_are() {
        let mut counts = TenantCounts::default();
        let mut receive = |name: &str, skipped| {
            counts.received(
                tenant_id(Some(name.as_bytes())),
                || name.as_bytes(),
                skipped,
            );
        };
        for round in 0..10_000 {
            receive("busy", false);
            receive(&format!("t-{round}"), round % 2 == 0);
        }
        counts.ended(tenant_id(Some(b"busy")), true);
        counts.ended(tenant_id(Some(b"t-0")), false);
        assert!(counts.known.len() <= KNOWN);
        let busiest = counts.busiest(3);
        assert_eq!(busiest.len(), 4);
        assert_eq!(busiest[0].tenant.as_deref(), Some("busy"));
        assert_eq!((busiest[0].received, busiest[0].handled), (10_000, 1));
        assert_eq!(busiest[3].tenant, None);
        let sum = |of: fn(&TenantMetrics) -> u64| busiest.iter().map(of).sum::<u64>();
        assert_eq!(sum(|counts| counts.received), 20_000);
        assert_eq!(sum(|counts| counts.skipped), 5_000);
        assert_eq!(sum(|counts| counts.failed), 1);
    }
}
