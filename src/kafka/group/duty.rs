//! What a group wants of polls: the seam between a member's protocol, whichever it is, and the consumer.
//!
//! In: what the membership has decided about partitions. Out: duties, done in order inside polls, each acknowledged when it is done; and what
//! the application owns by them. Partitions come and go one by one: what no duty names is read on.

use std::collections::{BTreeSet, VecDeque};

use crate::kafka::TopicPartition;

/// One thing that a poll has to do before it returns records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// Finish and commit what was read of these, then give them up: the group waits for it.
    Revoke(Vec<TopicPartition>),
    /// Give these up: others may own them already, and nothing of them can be committed.
    Lost(Vec<TopicPartition>),
    /// Read these from where the group has committed.
    Assign(Vec<TopicPartition>),
}

/// The duties that are not done, and what the application owns.
#[derive(Debug, Default)]
pub(crate) struct Duties {
    owned: BTreeSet<TopicPartition>,
    pending: VecDeque<Duty>,
    /// The coordinator did not answer the last time.
    is_unheard: bool,
}

impl Duties {
    /// What the application owns: assigned, and not given up yet.
    pub fn owned(&self) -> &BTreeSet<TopicPartition> {
        &self.owned
    }

    /// The coordinator answered, or did not. Until it does again nothing is taken over that was not begun with: it may be another's by now.
    pub fn set_heard(&mut self, is_heard: bool) {
        self.is_unheard = !is_heard;
    }

    /// The first duty that is not done; the same one until it is. What it assigns is owned from now on.
    pub fn begin(&mut self) -> Option<Duty> {
        let duty = self.pending.front()?.clone();
        if let Duty::Assign(partitions) = &duty {
            if self.is_unheard && !is_begun(partitions, &self.owned) {
                return None;
            }
            self.owned.extend(partitions.iter().cloned());
        }
        Some(duty)
    }

    /// The first duty, looked at only.
    pub fn first(&self) -> Option<&Duty> {
        self.pending.front()
    }

    /// `duty` is done, also if it has changed since it was begun: what was given up is not owned, however it went.
    pub fn done(&mut self, duty: &Duty) {
        match duty {
            Duty::Assign(_) => self.pending.retain(|pending| pending != duty),
            Duty::Revoke(gone) | Duty::Lost(gone) => {
                let gone: BTreeSet<_> = gone.iter().collect();
                self.owned.retain(|partition| !gone.contains(partition));
                for pending in &mut self.pending {
                    if let Duty::Revoke(left) | Duty::Lost(left) = pending {
                        left.retain(|partition| !gone.contains(partition));
                    }
                }
                self.pending.retain(
                    |pending| !matches!(pending, Duty::Revoke(left) | Duty::Lost(left) if left.is_empty()),
                );
            }
        }
    }

    /// Whether partitions are still to be given up.
    pub fn is_giving_up(&self) -> bool {
        let mut pending = self.pending.iter();
        pending.any(|duty| matches!(duty, Duty::Revoke(_) | Duty::Lost(_)))
    }

    /// What is still to be given up.
    pub fn giving_up(&self) -> BTreeSet<TopicPartition> {
        let pending = self.pending.iter();
        let given_up = pending.filter_map(|duty| match duty {
            Duty::Revoke(partitions) | Duty::Lost(partitions) => Some(partitions),
            Duty::Assign(_) => None,
        });
        given_up.flatten().cloned().collect()
    }

    pub fn assign(&mut self, partitions: Vec<TopicPartition>) {
        self.pending.push_back(Duty::Assign(partitions));
    }

    /// What the application owns or is about to.
    pub fn held(&self) -> BTreeSet<TopicPartition> {
        let mut held = self.owned.clone();
        for pending in &self.pending {
            if let Duty::Assign(partitions) = pending {
                held.extend(partitions.iter().cloned());
            }
        }
        held
    }

    /// The application is to own these and no others: it gives up the rest, and is assigned what it does not own. Whether it has to give up
    /// any.
    pub fn become_owner(&mut self, partitions: Vec<TopicPartition>) -> bool {
        let wanted: BTreeSet<TopicPartition> = partitions.into_iter().collect();
        // An assignment that was begun ends by itself.
        let owned = &self.owned;
        self.pending.retain(|pending| match pending {
            Duty::Assign(partitions) => !partitions.is_empty() && is_begun(partitions, owned),
            Duty::Revoke(_) | Duty::Lost(_) => true,
        });
        let gives_up = self.revoke(|partition| !wanted.contains(partition));
        let new = wanted.difference(&self.owned).cloned().collect();
        self.pending.push_back(Duty::Assign(new));
        gives_up
    }

    /// The application gives up what it owns of these. Of what it was to be assigned of them nothing comes any more. Whether it has to give
    /// up any.
    pub fn revoke(&mut self, is_over: impl Fn(&TopicPartition) -> bool) -> bool {
        let owned = &self.owned;
        for pending in &mut self.pending {
            if let Duty::Assign(partitions) = pending {
                let is_begun = is_begun(partitions, owned);
                partitions.retain(|partition| is_begun || !is_over(partition));
            }
        }
        let over = self.owned.iter().filter(|partition| is_over(partition));
        let over: Vec<TopicPartition> = over.cloned().collect();
        if over.is_empty() {
            return false;
        }
        self.pending.push_back(Duty::Revoke(over));
        true
    }

    /// The application gives up all that it owns. Of what it was to be assigned nothing comes any more.
    pub fn revoke_all(&mut self) {
        self.replace(Duty::Revoke);
    }

    /// As [`revoke_all`](Self::revoke_all), of partitions that are others' already.
    pub fn lose_all(&mut self) {
        self.replace(Duty::Lost);
    }

    fn replace(&mut self, duty: fn(Vec<TopicPartition>) -> Duty) {
        self.pending.clear();
        if !self.owned.is_empty() {
            let owned = self.owned.iter().cloned().collect();
            self.pending.push_back(duty(owned));
        }
    }

    /// Posts any duty, as protocols would that revoke a part of an assignment.
    #[cfg(test)]
    pub fn post(&mut self, duty: Duty) {
        self.pending.push_back(duty);
    }
}

/// Whether the duty to take these over was begun: what it assigns is owned since then.
fn is_begun(assigned: &[TopicPartition], owned: &BTreeSet<TopicPartition>) -> bool {
    assigned.iter().all(|partition| owned.contains(partition))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: &[i32]) -> Vec<TopicPartition> {
        let partitions = numbers.iter();
        partitions.map(|it| TopicPartition::new("t", *it)).collect()
    }

    #[test]
    fn duties_come_in_order_each_until_it_is_done() {
        let mut duties = Duties::default();
        duties.assign(of(&[0, 1]));
        assert!(duties.owned().is_empty(), "not begun");
        let assign = duties.begin().expect("a duty");
        assert_eq!(duties.begin(), Some(assign.clone()), "not done");
        assert_eq!(duties.owned().len(), 2);
        duties.done(&assign);
        duties.post(Duty::Revoke(of(&[1])));
        duties.assign(of(&[2]));
        let revoke = duties.begin().expect("a duty");
        assert_eq!(revoke, Duty::Revoke(of(&[1])));
        assert_eq!(duties.owned().len(), 2, "until it is done");
        duties.done(&revoke);
        assert_eq!(duties.begin(), Some(Duty::Assign(of(&[2]))));
        assert_eq!(
            duties.owned().iter().cloned().collect::<Vec<_>>(),
            of(&[0, 2])
        );
    }

    #[test]
    fn nothing_is_taken_over_until_the_coordinator_answers_but_what_was_begun_with() {
        let mut duties = Duties::default();
        duties.assign(of(&[0]));
        let begun = duties.begin();
        duties.set_heard(false);
        assert_eq!(duties.begin(), begun, "a dropped poll began with it");
        duties.done(&begun.expect("a duty"));
        duties.assign(of(&[1]));
        assert_eq!((duties.begin(), duties.owned().len()), (None, 1));
        duties.set_heard(true);
        assert_eq!(duties.begin(), Some(Duty::Assign(of(&[1]))));
        duties.set_heard(false);
        duties.lose_all();
        assert_eq!(duties.begin(), Some(Duty::Lost(of(&[0, 1]))));
    }

    #[test]
    fn what_is_revoked_and_then_lost_is_given_up_once() {
        let mut duties = Duties::default();
        duties.assign(of(&[0, 1]));
        let assign = duties.begin().expect("a duty");
        duties.done(&assign);
        duties.revoke_all();
        let revoke = duties.begin().expect("a duty");
        duties.lose_all();
        assert_eq!(duties.first(), Some(&Duty::Lost(of(&[0, 1]))));
        duties.done(&revoke);
        assert_eq!((duties.begin(), duties.owned().len()), (None, 0));
    }

    #[test]
    fn an_assignment_that_was_not_begun_is_never_owned() {
        let mut duties = Duties::default();
        duties.assign(of(&[0]));
        duties.revoke_all();
        assert_eq!(duties.begin(), None);
        duties.assign(of(&[0]));
        let begun = duties.begin().expect("a duty");
        duties.revoke_all();
        duties.done(&begun);
        assert_eq!(
            duties.begin(),
            Some(Duty::Revoke(of(&[0]))),
            "begun is owned"
        );
    }
}
