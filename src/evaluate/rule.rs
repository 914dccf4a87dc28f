//! From two letters to one outcome.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

/// The three options of the judge's prompt (paper, section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr)]
pub enum Letter {
    /// The answer shown first is significantly better.
    A,
    /// The answer shown second is significantly better.
    B,
    /// Neither is significantly better.
    C,
}

impl Letter {
    /// The letter's name in the store.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Reads [`Letter::name`], and small letters.
    pub fn of(text: &str) -> Option<Self> {
        match text {
            "A" | "a" => Some(Self::A),
            "B" | "b" => Some(Self::B),
            "C" | "c" => Some(Self::C),
            _ => None,
        }
    }
}

/// Who wins a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    /// The first file's model.
    First,
    /// Nobody.
    Tie,
    /// The second file's model.
    Second,
    /// A reply that decides has no readable verdict, or the judge's server refuses to give one. Never
    /// counted as a tie.
    Unparsed,
    /// A call failed or was not made yet.
    Missing,
}

impl Outcome {
    /// The name in tables and results.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// How two letters become an outcome. `forward` is the reply with the first file's answer shown as
/// A, `backward` the one with the second file's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Rule {
    /// A win needs both orders to agree.
    #[default]
    Strict,
    /// As the paper's script: the same letter twice is a tie, otherwise a win in either order is a
    /// win, that of the first model before that of the second.
    Paper,
}

impl Rule {
    /// Both, the default first.
    pub const ALL: [Self; 2] = [Self::Strict, Self::Paper];

    /// The name on command lines and in results.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The outcome of one question. `None` is a reply without a readable verdict.
    pub fn outcome(self, forward: Option<Letter>, backward: Option<Letter>) -> Outcome {
        match self {
            Self::Strict => strict(forward, backward),
            Self::Paper => paper(forward, backward),
        }
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|rule| rule.name() == name);
        found.ok_or_else(|| format!("unknown rule `{name}`: use strict or paper"))
    }
}

fn strict(forward: Option<Letter>, backward: Option<Letter>) -> Outcome {
    match (forward, backward) {
        (Some(Letter::A), Some(Letter::B)) => Outcome::First,
        (Some(Letter::B), Some(Letter::A)) => Outcome::Second,
        (Some(_), Some(_)) => Outcome::Tie,
        (None, _) | (_, None) => Outcome::Unparsed,
    }
}

/// As published, but for one thing: two unreadable replies are no tie, even where they are equal.
fn paper(forward: Option<Letter>, backward: Option<Letter>) -> Outcome {
    if forward.is_none() && backward.is_none() {
        Outcome::Unparsed
    } else if forward == backward {
        Outcome::Tie
    } else if forward == Some(Letter::A) || backward == Some(Letter::B) {
        Outcome::First
    } else if forward == Some(Letter::B) || backward == Some(Letter::A) {
        Outcome::Second
    } else {
        Outcome::Unparsed
    }
}

/// What the two orders say about the judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Consistency {
    /// Both orders name the same winner, or both say C.
    Agreed,
    /// The same place won twice: whoever stands there.
    #[strum(serialize = "order flip")]
    Flip,
    /// One order names a winner, the other says C.
    Leaning,
    /// At least one reply cannot be read.
    Unread,
}

impl Consistency {
    /// The name in tables.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// What a pair of letters is.
    pub fn of(forward: Option<Letter>, backward: Option<Letter>) -> Self {
        match (forward, backward) {
            (Some(Letter::C), Some(Letter::C)) => Self::Agreed,
            (Some(one), Some(other)) if one == other => Self::Flip,
            (Some(Letter::C), Some(_)) | (Some(_), Some(Letter::C)) => Self::Leaning,
            (Some(_), Some(_)) => Self::Agreed,
            (None, _) | (_, None) => Self::Unread,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: [(&str, Option<Letter>); 4] =
        [("A", Some(Letter::A)), ("B", Some(Letter::B)), ("C", Some(Letter::C)), ("?", None)];

    /// Every pair of replies, as `forward backward outcome`.
    fn table(rule: Rule) -> Vec<String> {
        let pairs = READ.iter().flat_map(|f| READ.iter().map(move |b| (f, b)));
        pairs.map(|(f, b)| format!("{}{} {}", f.0, b.0, rule.outcome(f.1, b.1).name())).collect()
    }

    #[test]
    fn strict_wins_need_both_orders() {
        let expected = [
            "AA tie",
            "AB first",
            "AC tie",
            "A? unparsed",
            "BA second",
            "BB tie",
            "BC tie",
            "B? unparsed",
            "CA tie",
            "CB tie",
            "CC tie",
            "C? unparsed",
            "?A unparsed",
            "?B unparsed",
            "?C unparsed",
            "?? unparsed",
        ];
        assert_eq!(table(Rule::Strict), expected);
    }

    /// The branches of the published script, in its order, with garbage as an unequal reply.
    #[test]
    fn the_paper_s_rule_is_the_published_one() {
        let expected = [
            "AA tie",
            "AB first",
            "AC first",
            "A? first",
            "BA second",
            "BB tie",
            "BC second",
            "B? second",
            "CA second",
            "CB first",
            "CC tie",
            "C? unparsed",
            "?A second",
            "?B first",
            "?C unparsed",
            "?? unparsed",
        ];
        assert_eq!(table(Rule::Paper), expected);
    }

    #[test]
    fn flips_are_told_from_ties() {
        let of = |f: usize, b: usize| Consistency::of(READ[f].1, READ[b].1);
        assert_eq!((of(0, 0), of(1, 1)), (Consistency::Flip, Consistency::Flip));
        assert_eq!((of(2, 2), of(0, 1)), (Consistency::Agreed, Consistency::Agreed));
        assert_eq!((of(0, 2), of(2, 1)), (Consistency::Leaning, Consistency::Leaning));
        assert_eq!(of(3, 0), Consistency::Unread);
    }
}
