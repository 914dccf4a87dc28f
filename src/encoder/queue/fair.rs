//! Who is next when many want the same: start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM
//! 1996), level by level.
//!
//! Of those that wait, the one with the smallest tag is taken from, and its tag grows by what was
//! taken. One that begins to wait gets the tag of the last turn, or its own old one where that is
//! larger: it neither saves up turns while it is away nor pays for others. Two that wait all the
//! time never differ by more than one item of each, and one that was away waits for at most one
//! item of each other.
//!
//! A call waits among the calls of its connection, the connection among those of its caller, the
//! caller among the callers: opening connections or making calls wins no larger share from others.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap, VecDeque};

/// Items that are looked at to find one that fits.
const LOOK_AHEAD: usize = 256;

/// Whose a call is: those who wait share the queue alike, whatever each has sent. Callers among
/// each other first, then the connections of each, then the calls of each connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Origin {
    /// Equal for all calls of one caller.
    pub caller: u64,
    /// Equal for the calls that came by one connection.
    pub connection: u64,
}

/// Whose an item is, from the outside in: caller, connection, call.
pub(super) type Path = [u64; 3];

/// Items that wait, each with its cost.
pub(super) struct FairQueue<T> {
    /// Go before all others and cost nobody a turn.
    urgent: VecDeque<(usize, T)>,
    root: Level<T>,
    len: usize,
    /// Numbers what happens: of equal tags the one that waits longest is first.
    moment: u64,
}

struct Level<T> {
    /// Tag of the last turn.
    clock: u64,
    waiting: BTreeSet<Turn>,
    /// Nothing of theirs waits, but they have had more than their share; by tag.
    ahead: BTreeSet<(u64, u64)>,
    children: HashMap<u64, Child<T>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    tag: u64,
    moment: u64,
    key: u64,
}

struct Child<T> {
    tag: u64,
    moment: u64,
    items: Items<T>,
}

enum Items<T> {
    Level(Level<T>),
    Call(VecDeque<(usize, T)>),
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { urgent: VecDeque::new(), root: Level::new(), len: 0, moment: 0 }
    }
}

impl<T> FairQueue<T> {
    pub fn new() -> Self {
        Self::default()
    }

    /// The first item of a connection's newest call that waits.
    pub fn newest(&self, caller: u64, connection: u64) -> Option<&T> {
        let level = self.root.below(caller)?.below(connection)?;
        let newest = level.waiting.iter().map(|turn| turn.key).max()?;
        match &level.children.get(&newest)?.items {
            Items::Call(items) => items.front().map(|(_, item)| item),
            Items::Level(_) => None,
        }
    }

    /// How many items wait.
    pub fn len(&self) -> usize {
        self.len + self.urgent.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether an item waits whose cost `fits`.
    pub fn any(&self, fits: impl Fn(usize) -> bool) -> bool {
        self.urgent.iter().any(|(cost, _)| fits(*cost)) || self.root.any(&fits)
    }

    /// Adds an item behind those of its call.
    pub fn push(&mut self, path: Path, cost: usize, item: T) {
        self.moment += 1;
        self.len += 1;
        self.root.push(&path, self.moment, (cost, item));
    }

    /// Adds an item before all others.
    pub fn push_urgent(&mut self, cost: usize, item: T) {
        self.urgent.push_back((cost, item));
    }

    /// The item whose turn it is.
    pub fn peek(&self) -> Option<&T> {
        self.urgent.front().map(|(_, item)| item).or_else(|| self.root.peek())
    }

    /// Takes the item whose turn it is.
    pub fn pop(&mut self) -> Option<(usize, T)> {
        if let Some(urgent) = self.urgent.pop_front() {
            return Some(urgent);
        }
        self.take(&|_| true, true)
    }

    /// Takes the first item in turn, among the next [`LOOK_AHEAD`], whose cost `fits`, to go along
    /// with one that was taken. Those before it keep their turns.
    pub fn pop_fitting(&mut self, fits: impl Fn(usize) -> bool) -> Option<(usize, T)> {
        self.pop_among(fits, false)
    }

    /// As [`Self::pop_fitting`] on its own account: whoever comes now has waited no longer.
    pub fn pop_first_fitting(&mut self, fits: impl Fn(usize) -> bool) -> Option<(usize, T)> {
        self.pop_among(fits, true)
    }

    fn pop_among(&mut self, fits: impl Fn(usize) -> bool, in_turn: bool) -> Option<(usize, T)> {
        if self.urgent.front().is_some_and(|(cost, _)| fits(*cost)) {
            return self.urgent.pop_front();
        }
        let left = Cell::new(LOOK_AHEAD);
        let looked_at = |cost| {
            left.set(left.get().saturating_sub(1));
            left.get() > 0 && fits(cost)
        };
        self.take(&looked_at, in_turn)
    }

    /// Drops the items of a call; returns how many.
    pub fn remove(&mut self, path: &Path) -> usize {
        let dropped = self.root.remove(path);
        self.len -= dropped;
        dropped
    }

    /// Drops the calls that are gone, as told by the first item of each; returns how many items.
    pub fn drop_where(&mut self, gone: impl Fn(&T) -> bool) -> usize {
        let before = self.len();
        self.urgent.retain(|(_, item)| !gone(item));
        let mut paths = Vec::new();
        self.root.find(&gone, &mut Vec::new(), &mut paths);
        for path in &paths {
            self.len -= self.root.remove(path);
        }
        before - self.len()
    }

    /// Drops everything; returns how many items.
    pub fn clear(&mut self) -> usize {
        std::mem::replace(self, Self::new()).len()
    }

    fn take(&mut self, fits: &dyn Fn(usize) -> bool, in_turn: bool) -> Option<(usize, T)> {
        self.moment += 1;
        let taken = self.root.take(fits, in_turn, self.moment)?;
        self.len -= 1;
        Some(taken)
    }
}

impl<T> Level<T> {
    fn new() -> Self {
        let (waiting, ahead) = (BTreeSet::new(), BTreeSet::new());
        Self { clock: 0, waiting, ahead, children: HashMap::new() }
    }

    fn below(&self, key: u64) -> Option<&Self> {
        match &self.children.get(&key)?.items {
            Items::Level(level) => Some(level),
            Items::Call(_) => None,
        }
    }

    fn push(&mut self, path: &[u64], moment: u64, item: (usize, T)) {
        let Some((key, rest)) = path.split_first() else { return };
        let clock = self.clock;
        let new = || Child { tag: clock, moment, items: Items::new(rest.is_empty()) };
        let child = self.children.entry(*key).or_insert_with(new);
        if child.items.is_empty() {
            self.ahead.remove(&(child.tag, *key));
            (child.tag, child.moment) = (child.tag.max(clock), moment);
            self.waiting.insert(child.turn(*key));
        }
        match &mut child.items {
            Items::Level(level) => level.push(rest, moment, item),
            Items::Call(items) => items.push_back(item),
        }
    }

    fn peek(&self) -> Option<&T> {
        let turn = self.waiting.first()?;
        match &self.children.get(&turn.key)?.items {
            Items::Level(level) => level.peek(),
            Items::Call(items) => items.front().map(|(_, item)| item),
        }
    }

    fn any(&self, fits: &dyn Fn(usize) -> bool) -> bool {
        self.waiting.iter().filter_map(|turn| self.children.get(&turn.key)).any(
            |child| match &child.items {
                Items::Level(level) => level.any(fits),
                Items::Call(items) => items.iter().any(|(cost, _)| fits(*cost)),
            },
        )
    }

    fn take(
        &mut self,
        fits: &dyn Fn(usize) -> bool,
        in_turn: bool,
        moment: u64,
    ) -> Option<(usize, T)> {
        let Self { waiting, children, .. } = self;
        let (turn, taken) = waiting.iter().find_map(|turn| {
            let child = children.get_mut(&turn.key)?;
            Some((*turn, child.items.take(fits, in_turn, moment)?))
        })?;
        if in_turn {
            // One whose tag is smaller may have been passed over before.
            self.clock = self.clock.max(turn.tag);
        }
        if let Some(child) = self.children.get_mut(&turn.key) {
            self.waiting.remove(&turn);
            child.tag = child.tag.saturating_add(taken.0 as u64);
            child.moment = moment;
            if !child.items.is_empty() {
                self.waiting.insert(child.turn(turn.key));
            }
        }
        self.tidy(turn.key);
        Some(taken)
    }

    fn remove(&mut self, path: &[u64]) -> usize {
        let Some((key, rest)) = path.split_first() else { return 0 };
        let Some(child) = self.children.get_mut(key) else { return 0 };
        let turn = child.turn(*key);
        let dropped = match &mut child.items {
            Items::Level(level) => level.remove(rest),
            Items::Call(items) => std::mem::take(items).len(),
        };
        if child.items.is_empty() {
            self.waiting.remove(&turn);
        }
        self.tidy(*key);
        dropped
    }

    /// Paths of the calls whose first item is gone.
    fn find(&self, gone: &dyn Fn(&T) -> bool, above: &mut Vec<u64>, found: &mut Vec<Path>) {
        for (key, child) in &self.children {
            above.push(*key);
            match &child.items {
                Items::Level(level) => level.find(gone, above, found),
                Items::Call(items) if items.front().is_some_and(|(_, item)| gone(item)) => {
                    found.extend(Path::try_from(above.as_slice()));
                }
                Items::Call(_) => {}
            }
            above.pop();
        }
    }

    /// Forgets whom nothing is owed and who owes nothing: a child of whose nothing waits, once the
    /// turns have come up to its tag.
    fn tidy(&mut self, key: u64) {
        if self.waiting.is_empty() {
            *self = Self::new();
            return;
        }
        if let Some(child) = self.children.get(&key).filter(|child| child.items.is_empty()) {
            match child.items {
                // A call never comes back.
                Items::Call(_) => _ = self.children.remove(&key),
                Items::Level(_) => _ = self.ahead.insert((child.tag, key)),
            }
        }
        while let Some((tag, key)) =
            self.ahead.first().copied().filter(|(tag, _)| *tag <= self.clock)
        {
            self.ahead.remove(&(tag, key));
            self.children.remove(&key);
        }
    }
}

impl<T> Child<T> {
    fn turn(&self, key: u64) -> Turn {
        Turn { tag: self.tag, moment: self.moment, key }
    }
}

impl<T> Items<T> {
    fn new(of_call: bool) -> Self {
        if of_call { Self::Call(VecDeque::new()) } else { Self::Level(Level::new()) }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Level(level) => level.waiting.is_empty(),
            Self::Call(items) => items.is_empty(),
        }
    }

    fn take(
        &mut self,
        fits: &dyn Fn(usize) -> bool,
        in_turn: bool,
        moment: u64,
    ) -> Option<(usize, T)> {
        match self {
            Self::Level(level) => level.take(fits, in_turn, moment),
            Self::Call(items) => {
                let place = items.iter().take(LOOK_AHEAD).position(|(cost, _)| fits(*cost))?;
                items.remove(place)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Takes until nothing waits: the callers in their order.
    fn drained(queue: &mut FairQueue<u64>) -> Vec<u64> {
        std::iter::from_fn(|| queue.pop()).map(|(_, caller)| caller).collect()
    }

    #[test]
    fn callers_take_turns_whatever_one_has_sent() {
        let mut queue = FairQueue::new();
        (0..5).for_each(|_| queue.push([1, 1, 1], 10, 1));
        (0..2).for_each(|_| queue.push([2, 1, 2], 10, 2));
        assert_eq!(drained(&mut queue), [1, 2, 1, 2, 1, 1, 1]);
    }

    #[test]
    fn costs_weigh() {
        let mut queue = FairQueue::new();
        (0..3).for_each(|_| queue.push([1, 1, 1], 30, 1));
        (0..6).for_each(|_| queue.push([2, 1, 2], 10, 2));
        assert_eq!(drained(&mut queue), [1, 2, 2, 2, 1, 2, 2, 2, 1]);
    }

    #[test]
    fn connections_and_calls_win_no_larger_share() {
        let mut queue = FairQueue::new();
        (0..8).for_each(|at| queue.push([1, at, at], 10, 1));
        (0..4).for_each(|_| queue.push([2, 9, 9], 10, 2));
        assert_eq!(drained(&mut queue), [1, 2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1]);
    }

    #[test]
    fn who_was_away_has_saved_up_nothing_and_owes_what_it_took() {
        let mut queue = FairQueue::new();
        (0..4).for_each(|_| queue.push([1, 1, 1], 10, 1));
        queue.push([2, 1, 2], 100, 2);
        assert_eq!(queue.pop(), Some((10, 1)));
        assert_eq!(queue.pop(), Some((100, 2)));
        // Back at once, it is behind those whom it has kept waiting.
        queue.push([2, 1, 3], 100, 2);
        queue.push([3, 1, 4], 10, 3);
        assert_eq!(drained(&mut queue), [3, 1, 1, 1, 2]);
    }

    #[test]
    fn an_item_that_does_not_fit_keeps_its_turn() {
        let mut queue = FairQueue::new();
        queue.push([1, 1, 1], 100, 1);
        queue.push([2, 1, 2], 10, 2);
        assert_eq!(queue.pop_fitting(|cost| cost < 50), Some((10, 2)));
        assert_eq!(queue.pop_fitting(|cost| cost < 50), None);
        queue.push([3, 1, 3], 10, 3);
        assert_eq!(drained(&mut queue), [1, 3]);
    }

    #[test]
    fn who_comes_after_turns_out_of_line_has_not_waited_for_them() {
        let mut queue = FairQueue::new();
        (0..3).for_each(|_| queue.push([1, 1, 1], 10, 1));
        queue.push([2, 1, 2], 100, 2);
        (0..2).for_each(|_| assert_eq!(queue.pop_first_fitting(|cost| cost < 50), Some((10, 1))));
        (0..2).for_each(|_| queue.push([3, 1, 3], 10, 3));
        assert_eq!(drained(&mut queue), [2, 3, 1, 3]);
    }

    #[test]
    fn calls_are_dropped_whole() {
        let mut queue = FairQueue::new();
        (0..3).for_each(|at| queue.push([1, 1, at % 2], 1, at));
        queue.push_urgent(1, 9);
        assert_eq!(queue.remove(&[1, 1, 0]), 2);
        assert_eq!((queue.remove(&[1, 1, 0]), queue.remove(&[7, 7, 7]), queue.len()), (0, 0, 2));
        assert_eq!(queue.drop_where(|item| *item == 1), 1);
        assert_eq!((queue.pop(), queue.pop(), queue.is_empty()), (Some((1, 9)), None, true));
    }

    proptest! {
        /// The law of start-time fair queueing: two that wait all the time are served alike but for
        /// one item of each, and so are their connections.
        #[test]
        fn shares_differ_by_one_item_of_each_at_most(
            costs in prop::collection::vec((0u64..3, 0u64..3, 1usize..50), 60..200),
        ) {
            let mut queue = FairQueue::new();
            for (call, (caller, connection, cost)) in (0..).zip(&costs) {
                queue.push([*caller, *connection, call], *cost, (*caller, *connection));
            }
            let mut left = HashMap::<u64, usize>::new();
            let mut of_connection = HashMap::<(u64, u64), usize>::new();
            for (caller, connection, _) in &costs {
                *left.entry(*caller).or_default() += 1;
                *of_connection.entry((*caller, *connection)).or_default() += 1;
            }
            let (mut served, mut within) = (HashMap::<u64, usize>::new(), HashMap::new());
            while let Some((cost, (caller, connection))) = queue.pop() {
                *left.entry(caller).or_default() -= 1;
                *of_connection.entry((caller, connection)).or_default() -= 1;
                if left.values().any(|left| *left == 0) {
                    break;
                }
                *served.entry(caller).or_default() += cost;
                *within.entry((caller, connection)).or_default() += cost;
                let totals: Vec<usize> = left.keys().map(|one| served.get(one).copied().unwrap_or(0)).collect();
                let apart = totals.iter().max().unwrap_or(&0) - totals.iter().min().unwrap_or(&0);
                prop_assert!(apart <= 98, "{served:?}");
                let waiting: Vec<_> = of_connection.iter().filter(|(_, left)| **left > 0).collect();
                if waiting.len() == of_connection.len() {
                    for (one, _) in &waiting {
                        for (other, _) in waiting.iter().filter(|(other, _)| other.0 == one.0) {
                            let of = |key| within.get(key).copied().unwrap_or(0usize);
                            prop_assert!(of(*one).abs_diff(of(*other)) <= 98);
                        }
                    }
                }
            }
        }

        /// Bounded waiting: whatever others have sent, one who was away goes after one item of each
        /// of them at most.
        #[test]
        fn a_newcomer_waits_for_one_item_of_each_other_at_most(
            others in prop::collection::vec((0u64..6, 0u64..4, 1usize..1000), 1..200),
            taken in 0usize..100,
            cost in 1usize..1000,
        ) {
            let mut queue = FairQueue::new();
            for (call, (caller, connection, cost)) in (0..).zip(&others) {
                queue.push([*caller, *connection, call], *cost, *caller);
            }
            for _ in 0..taken {
                queue.pop();
            }
            queue.push([99, 1, u64::MAX], cost, 99);
            let before: Vec<u64> = std::iter::from_fn(|| queue.pop())
                .map(|(_, caller)| caller)
                .take_while(|caller| *caller != 99)
                .collect();
            let callers: BTreeSet<u64> = before.iter().copied().collect();
            prop_assert_eq!(callers.len(), before.len(), "{:?}", before);
        }

        /// Nothing is lost, invented or left, whatever is taken, dropped and added.
        #[test]
        fn every_item_comes_out_once(
            steps in prop::collection::vec((0u64..4, 0u64..3, 0u64..5, 0usize..60, 0u8..8), 1..300),
        ) {
            let mut queue = FairQueue::new();
            let mut waiting = BTreeSet::new();
            for (number, (caller, connection, call, cost, step)) in steps.into_iter().enumerate() {
                let path = [caller, connection, call];
                match step {
                    0..4 => {
                        queue.push(path, cost, (path, number));
                        waiting.insert((path, number));
                    }
                    4 | 5 => match queue.pop() {
                        Some((_, item)) => prop_assert!(waiting.remove(&item)),
                        None => prop_assert!(waiting.is_empty()),
                    },
                    6 => {
                        if let Some((found, item)) = queue.pop_fitting(|one| one <= cost) {
                            prop_assert!(found <= cost && waiting.remove(&item));
                        }
                    }
                    _ => {
                        let before = waiting.len();
                        waiting.retain(|(of, _)| *of != path);
                        prop_assert_eq!(queue.remove(&path), before - waiting.len());
                    }
                }
                prop_assert_eq!(queue.len(), waiting.len());
            }
            while let Some((_, item)) = queue.pop() {
                prop_assert!(waiting.remove(&item));
            }
            prop_assert!(waiting.is_empty());
        }
    }
}
