//! What was said about each question, and counts over questions with what can be said about their
//! certainty.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::question::QuestionId;
use super::rule::{Consistency, Letter, Outcome, Rule};
use super::stats::{Share, p_value, sign_test};
use super::store::{FailedCall, Reply};

/// What the judge said in one order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// The verdict; none where it cannot be read or is missing.
    pub letter: Option<Letter>,
    /// Whether nothing more is to be asked.
    pub settled: bool,
    /// Every raw reply, in order of askings.
    pub replies: Vec<Reply>,
    /// The failure of the last call, if it failed.
    pub failure: Option<FailedCall>,
}

impl Side {
    /// The letter, `unparsed`, or nothing where it is missing.
    pub fn label(&self) -> &'static str {
        match self.letter {
            Some(letter) => letter.name(),
            None if self.settled => "unparsed",
            None => "",
        }
    }
}

/// One question with all that was said about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuestionResult {
    pub question_id: QuestionId,
    pub image: String,
    pub instruction: String,
    pub caption: String,
    pub category: String,
    pub first_answer: String,
    pub second_answer: String,
    pub first_words: u64,
    pub second_words: u64,
    /// The first model's answer shown as A.
    pub forward: Side,
    /// The second model's answer shown as A.
    pub backward: Side,
    /// Won without a call, because the other answer is empty.
    pub forfeit: bool,
    pub consistency: Consistency,
    pub strict: Outcome,
    pub paper: Outcome,
}

impl QuestionResult {
    /// The outcome under `rule`.
    pub fn outcome(&self, rule: Rule) -> Outcome {
        match rule {
            Rule::Strict => self.strict,
            Rule::Paper => self.paper,
        }
    }

    /// Words of the first answer minus words of the second.
    pub fn length_difference(&self) -> i64 {
        self.first_words as i64 - self.second_words as i64
    }
}

/// Sums over every reply that was paid for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    pub replies: u64,
    /// Requests sent, retries included.
    pub requests: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}

impl Cost {
    /// The sum over all replies about `questions`.
    pub(super) fn of<'a>(questions: impl IntoIterator<Item = &'a QuestionResult>) -> Self {
        let mut cost = Self::default();
        let sides = questions.into_iter().flat_map(|one| [&one.forward, &one.backward]);
        sides.flat_map(|side| &side.replies).for_each(|reply| cost.add(reply));
        cost
    }

    /// Adds one reply.
    pub(super) fn add(&mut self, reply: &Reply) {
        self.replies += 1;
        self.requests += u64::from(reply.calls);
        self.prompt_tokens += reply.prompt_tokens;
        self.completion_tokens += reply.completion_tokens;
    }
}

/// Bounds of the groups by length difference, in words (first minus second).
const LENGTHS: [(i64, &str); 4] = [
    (-100, "first shorter by over 100 words"),
    (-25, "first shorter by 26 to 100 words"),
    (25, "within 25 words"),
    (100, "first longer by 26 to 100 words"),
];

/// A p-value below which the words about the position say that there is a bias.
const SMALL: f64 = 0.01;

const LONGEST: &str = "first longer by over 100 words";

/// How a set of questions ended. Shares are of the judged ones: win, tie and loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    pub questions: u64,
    /// Wins of the first model.
    pub first: Share,
    pub tie: Share,
    /// Wins of the second model.
    pub second: Share,
    /// Wins of the first model among questions that somebody won.
    pub first_of_decided: Share,
    /// Questions whose replies cannot be read.
    pub unparsed: u64,
    /// Questions not judged to an end: failed calls, or not asked yet.
    pub missing: u64,
    /// Wins without a call, because the other answer is empty; counted among the wins.
    pub forfeits: u64,
}

impl Tally {
    /// Counts `questions` under `rule`.
    pub fn of<'a>(questions: impl IntoIterator<Item = &'a QuestionResult>, rule: Rule) -> Self {
        let (mut counts, mut forfeits) = ([0u64; 5], 0);
        for question in questions {
            counts[question.outcome(rule) as usize] += 1;
            forfeits += u64::from(question.forfeit);
        }
        let [first, tie, second, unparsed, missing] = counts;
        let judged = first + tie + second;
        Self {
            questions: counts.iter().sum(),
            first: Share::new(first, judged),
            tie: Share::new(tie, judged),
            second: Share::new(second, judged),
            first_of_decided: Share::new(first, first + second),
            unparsed,
            missing,
            forfeits,
        }
    }
}

/// A named set of questions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    pub name: String,
    pub tally: Tally,
}

/// Whether longer answers win.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Length {
    /// Wins of the longer answer among won questions with answers of different length.
    pub longer_wins: Share,
    /// Sign test of those wins against an even split.
    pub p_value: f64,
    /// Mean words of the first model's answers.
    pub first_mean_words: f64,
    pub second_mean_words: f64,
}

/// Everything under one rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleResults {
    pub total: Tally,
    pub by_category: Vec<Group>,
    pub by_instruction: Vec<Group>,
    /// By words of the first answer minus words of the second.
    pub by_length: Vec<Group>,
    pub length: Length,
}

impl RuleResults {
    pub(super) fn of(questions: &[QuestionResult], rule: Rule) -> Self {
        Self {
            total: Tally::of(questions, rule),
            by_category: groups(questions, rule, |one| one.category.clone()),
            by_instruction: groups(questions, rule, |one| one.instruction.clone()),
            by_length: by_length(questions, rule),
            length: Length::of(questions, rule),
        }
    }
}

fn groups(
    questions: &[QuestionResult],
    rule: Rule,
    name: impl Fn(&QuestionResult) -> String,
) -> Vec<Group> {
    let mut groups: BTreeMap<String, Vec<&QuestionResult>> = BTreeMap::new();
    for question in questions {
        groups.entry(name(question)).or_default().push(question);
    }
    let group = |(name, members)| Group { name, tally: Tally::of(members, rule) };
    groups.into_iter().map(group).collect()
}

/// From the shortest first answers to the longest; empty groups are left out.
fn by_length(questions: &[QuestionResult], rule: Rule) -> Vec<Group> {
    let place = |question: &QuestionResult| {
        let difference = question.length_difference();
        let over = LENGTHS.iter().filter(|(bound, _)| match bound {
            ..0 => difference >= *bound,
            _ => difference > *bound,
        });
        over.count()
    };
    let names = LENGTHS.iter().map(|(_, name)| *name).chain([LONGEST]);
    let groups = names.enumerate().map(|(index, name)| {
        let members = questions.iter().filter(|question| place(question) == index);
        Group { name: name.to_owned(), tally: Tally::of(members, rule) }
    });
    groups.filter(|group| group.tally.questions > 0).collect()
}

impl Length {
    fn of(questions: &[QuestionResult], rule: Rule) -> Self {
        let (mut longer, mut shorter) = (0, 0);
        for question in questions.iter().filter(|question| !question.forfeit) {
            match (question.outcome(rule), question.length_difference().signum()) {
                (Outcome::First, 1) | (Outcome::Second, -1) => longer += 1,
                (Outcome::First, -1) | (Outcome::Second, 1) => shorter += 1,
                _ => {}
            }
        }
        let mean = |words: fn(&QuestionResult) -> u64| {
            questions.iter().map(words).sum::<u64>() as f64 / questions.len().max(1) as f64
        };
        Self {
            longer_wins: Share::new(longer, longer + shorter),
            p_value: sign_test(longer, shorter),
            first_mean_words: mean(|question| question.first_words),
            second_mean_words: mean(|question| question.second_words),
        }
    }
}

/// Whether longer answers win, in words.
impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { longer_wins, p_value: p, first_mean_words, second_mean_words } = self;
        let p = p_value(*p);
        write!(f, "longer answer wins {longer_wins}, sign test {p}; ")?;
        write!(f, "mean words {first_mean_words:.0} and {second_mean_words:.0}")
    }
}

/// How often the two orders of a question agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsistencyCounts {
    /// Both orders name the same winner, or both say C.
    pub agreed: u64,
    /// Both orders say C.
    pub agreed_ties: u64,
    /// The same place won twice.
    pub order_flips: u64,
    /// One order names a winner, the other says C.
    pub leaning: u64,
    /// Both orders were asked to an end, and at least one reply cannot be read.
    pub unread: u64,
}

impl ConsistencyCounts {
    pub(super) fn of(questions: &[QuestionResult]) -> Self {
        let asked = || questions.iter().filter(|one| one.forward.settled && one.backward.settled);
        let count = |kind| asked().filter(|one| one.consistency == kind).count() as u64;
        let ties = asked().filter(|one| {
            one.forward.letter == Some(Letter::C) && one.backward.letter == Some(Letter::C)
        });
        Self {
            agreed: count(Consistency::Agreed),
            agreed_ties: ties.count() as u64,
            order_flips: count(Consistency::Flip),
            leaning: count(Consistency::Leaning),
            unread: count(Consistency::Unread),
        }
    }
}

/// Whether the judge favours a place.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Replies for the answer shown first.
    pub first_place: u64,
    /// Replies for the answer shown second.
    pub second_place: u64,
    /// Replies for neither.
    pub neither: u64,
    /// Replies without a verdict.
    pub unparsed: u64,
    /// First place among replies that name a winner.
    pub first_share: Share,
    /// Questions on which the two orders together favour the first place (AA, AC, CA).
    pub questions_first: u64,
    /// Questions on which they favour the second place (BB, BC, CB).
    pub questions_second: u64,
    /// Two-sided sign test over those questions, which are independent where replies are not.
    pub p_value: f64,
}

impl Position {
    /// Counts `questions`.
    pub fn of(questions: &[QuestionResult]) -> Self {
        let sides = || questions.iter().flat_map(|one| [&one.forward, &one.backward]);
        let settled = || sides().filter(|side| side.settled);
        let count = |letter| settled().filter(|side| side.letter == letter).count() as u64;
        let (a, b) = (count(Some(Letter::A)), count(Some(Letter::B)));
        let leans = |wanted: i32| questions.iter().filter(|one| lean(one) == wanted).count() as u64;
        let (first, second) = (leans(1), leans(-1));
        Self {
            first_place: a,
            second_place: b,
            neither: count(Some(Letter::C)),
            unparsed: count(None),
            first_share: Share::new(a, a + b),
            questions_first: first,
            questions_second: second,
            p_value: sign_test(first, second),
        }
    }
}

/// What bias there is, in words that do not hide it.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first_place, second_place, neither, unparsed, .. } = self;
        let (first, second) = (self.questions_first, self.questions_second);
        let verdict = match (self.p_value < SMALL, first > second) {
            (false, _) => "no bias found",
            (true, true) => "the judge favours the answer shown FIRST",
            (true, false) => "the judge favours the answer shown SECOND",
        };
        let p = p_value(self.p_value);
        write!(f, "{verdict}: first place {first_place}, second {second_place}, ")?;
        write!(f, "neither {neither}, unparsed {unparsed}; ")?;
        write!(f, "questions {first}:{second}, sign test {p}")
    }
}

/// 1 where the two orders together favour the first place, -1 the second, 0 neither. A question
/// with a reply that cannot be read tells nothing about places.
fn lean(question: &QuestionResult) -> i32 {
    let side = |letter| match letter {
        Letter::A => 1i32,
        Letter::B => -1,
        Letter::C => 0,
    };
    match (question.forward.letter, question.backward.letter) {
        (Some(one), Some(other)) => (side(one) + side(other)).signum(),
        _ => 0,
    }
}
