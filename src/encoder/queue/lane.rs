//! Who waits, and who goes next.

use strum::IntoStaticStr;

/// The urgency of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Lane {
    /// Someone waits for the answer.
    #[default]
    Interactive,
    /// A job that wants throughput and can wait.
    Bulk,
}

impl Lane {
    /// Both lanes.
    pub const ALL: [Self; 2] = [Self::Interactive, Self::Bulk];

    /// A name for labels: `interactive` or `bulk`.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Which of the two encoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum TowerKind {
    Vision,
    Text,
}

impl TowerKind {
    /// Both towers.
    pub const ALL: [Self; 2] = [Self::Vision, Self::Text];

    /// A name for labels: `vision` or `text`.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Which threads go first where there are more of them than cores: those with the shortest work, so
/// that no caller waits long for what takes little. Each has all that the others leave. The numbers
/// are how much nicer a thread is than the process: beside a busy one of 0, one of 3 has a third of a
/// core, one of 10 a tenth.
#[derive(Debug, Clone, Copy)]
pub(super) enum Precedence {
    /// Short texts, connections, searches, and what a job does besides decoding and embedding.
    Words = 0,
    /// A photo takes ten times as long as a word.
    Photos = 3,
    /// Large photos, long texts, and the texts of jobs and imports.
    Long = 10,
}

impl Precedence {
    /// Makes it that of this thread, which cannot go back. Only Linux can.
    pub(super) fn take(self) {
        #[cfg(target_os = "linux")]
        {
            thread_local! {
                static AT_FIRST: Option<i32> = rustix::process::getpriority_process(None).ok();
            }
            let nice = AT_FIRST.with(|first| first.map(|first| (first + self as i32).min(19)));
            if let Some(nice) = nice.filter(|_| self as i32 > 0) {
                // Without a process this is the calling thread. Where it is forbidden, all are equal.
                let _ = rustix::process::setpriority_process(None, nice);
            }
        }
    }
}

/// What a session works for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    All,
    /// Callers' items that are short, and nothing else.
    Short,
    /// All, beside a session for callers' short items, which are left to that one as long as they
    /// are few.
    Long,
}

/// How long it takes to prepare an item. What is slow has threads of its own, which give way to all
/// others of the process: a photo of 100 megapixels takes a second of them, and one of a hundredth
/// that comes meanwhile neither waits for it nor shares a core with it alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    Quick,
    Slow,
}

impl Pace {
    pub const ALL: [Self; 2] = [Self::Quick, Self::Slow];
}

/// One value for each lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct PerLane<T> {
    pub interactive: T,
    pub bulk: T,
}

impl<T> std::ops::Index<Lane> for PerLane<T> {
    type Output = T;

    fn index(&self, lane: Lane) -> &T {
        match lane {
            Lane::Interactive => &self.interactive,
            Lane::Bulk => &self.bulk,
        }
    }
}

impl<T> std::ops::IndexMut<Lane> for PerLane<T> {
    fn index_mut(&mut self, lane: Lane) -> &mut T {
        match lane {
            Lane::Interactive => &mut self.interactive,
            Lane::Bulk => &mut self.bulk,
        }
    }
}

/// Shares one server between the lanes by weight. While both wait, bulk work earns credit from the
/// interactive items served before it, and goes when it can pay for its own items; alone, it goes
/// free.
#[derive(Debug)]
pub(super) struct Share {
    weights: PerLane<usize>,
    credit: usize,
}

/// What of the interactive lane is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// Nothing.
    None,
    /// Nothing can be taken yet, but an earlier stage holds some.
    Coming,
    /// Something can be taken.
    Ready,
}

impl Share {
    pub(super) fn new(weights: PerLane<usize>) -> Self {
        Self { weights, credit: 0 }
    }

    /// The lane to take from: `bulk` is the number of items the bulk lane would take.
    pub(super) fn choose(&self, interactive: Claim, bulk: Option<usize>) -> Option<Lane> {
        match (interactive, bulk) {
            (Claim::None, Some(_)) => Some(Lane::Bulk),
            (_, Some(items)) if self.credit >= items * self.weights.interactive => Some(Lane::Bulk),
            (Claim::Ready, _) => Some(Lane::Interactive),
            _ => None,
        }
    }

    /// Notes what was taken; `other_waits` tells whether the other lane had a claim.
    pub(super) fn took(&mut self, lane: Lane, items: usize, other_waits: bool) {
        match lane {
            Lane::Interactive if other_waits => self.credit += items * self.weights.bulk,
            Lane::Bulk if other_waits => self.credit -= items * self.weights.interactive,
            // Alone: nothing is owed to a lane that does not wait.
            _ => self.credit = 0,
        }
    }
}
