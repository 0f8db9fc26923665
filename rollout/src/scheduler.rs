//! Decides which sequence runs next: groups and siblings in order, in the first free slot. Knows no
//! tensors.

use std::collections::BTreeSet;

/// A sequence: the group and which of its siblings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SequenceId {
    /// Index of the group.
    pub group: usize,
    /// Index in the group.
    pub sibling: usize,
}

/// Assigns slots to sequences.
#[derive(Debug, Clone)]
pub struct Scheduler {
    /// Siblings of each group that have not ended.
    unfinished: Vec<usize>,
    sizes: Vec<usize>,
    /// The next sequence to run.
    next: SequenceId,
    slots: Vec<Option<SequenceId>>,
    free: BTreeSet<usize>,
}

impl Scheduler {
    /// A scheduler for groups of these sizes.
    pub fn new(sizes: Vec<usize>, slots: usize) -> Self {
        Self {
            unfinished: sizes.clone(),
            sizes,
            next: SequenceId { group: 0, sibling: 0 },
            slots: vec![None; slots],
            free: (0..slots).collect(),
        }
    }

    /// Gives the lowest free slot to the next waiting sequence, while there are both.
    pub fn admit(&mut self) -> Option<(usize, SequenceId)> {
        while self.sizes.get(self.next.group).is_some_and(|&size| self.next.sibling == size) {
            self.next = SequenceId { group: self.next.group + 1, sibling: 0 };
        }
        if self.next.group == self.sizes.len() {
            return None;
        }
        let slot = self.free.pop_first()?;
        let id = self.next;
        self.slots[slot] = Some(id);
        self.next.sibling += 1;
        Some((slot, id))
    }

    /// Frees a slot. Yields its sequence, and whether it was the last of its group.
    ///
    /// # Panics
    ///
    /// Panics when nothing runs in the slot.
    pub fn finish(&mut self, slot: usize) -> (SequenceId, bool) {
        let id = self.slots[slot].take().expect("only a running sequence ends");
        self.free.insert(slot);
        self.unfinished[id.group] -= 1;
        (id, self.unfinished[id.group] == 0)
    }

    /// The running sequences, by slot.
    pub fn running(&self) -> impl Iterator<Item = (usize, SequenceId)> {
        self.slots.iter().enumerate().filter_map(|(slot, id)| Some((slot, (*id)?)))
    }
}
