//! When a refusal is taken for the prompt's own fault: not before the server has shown that it
//! takes others.

use super::breaker::Whose;

/// Refusals in a row, beyond the calls that may be under way, that mean more than bad prompts.
const PATIENCE: usize = 8;

/// The refusals of one session of calls to one server with the same settings. `T` is what is known
/// of a refused call.
///
/// A server that refuses a call without naming the prompt may refuse them all: for want of credit,
/// for a setting it does not know. So such a refusal counts for good only when a call that began
/// after it was answered. Where the server names the prompt, any answer will do, an earlier one
/// too: what remains open is whether the settings fit the server at all.
pub(super) struct Refusals<T> {
    limit: usize,
    in_a_row: usize,
    /// Calls begun so far.
    begun: u64,
    answered: bool,
    open: Vec<Open<T>>,
}

struct Open<T> {
    what: T,
    named: bool,
    /// Calls begun when it came.
    begun: u64,
}

impl<T> Refusals<T> {
    /// Of a session that has `places` calls under way at most; `answered` says whether an earlier
    /// one with these settings brought an answer.
    pub fn new(places: usize, answered: bool) -> Self {
        Self { limit: places + PATIENCE, in_a_row: 0, begun: 0, answered, open: Vec::new() }
    }

    /// A call begins. Its number, from 1.
    pub fn begin(&mut self) -> u64 {
        self.begun += 1;
        self.begun
    }

    /// A call was refused. Gives `what` back if that counts for good; otherwise it is kept until an
    /// answer shows it to.
    pub fn refuse(&mut self, whose: Whose, what: T) -> Option<T> {
        self.in_a_row += 1;
        let named = whose == Whose::Prompt;
        if named && self.answered {
            return Some(what);
        }
        self.open.push(Open { what, named, begun: self.begun });
        None
    }

    /// The call of this number was answered. Gives the refusals that count for good by that.
    pub fn answer(&mut self, call: u64) -> Vec<T> {
        self.in_a_row = 0;
        self.answered = true;
        let shown = |open: &mut Open<T>| open.named || open.begun < call;
        self.open.extract_if(.., shown).map(|open| open.what).collect()
    }

    /// Whether any call was answered, now or in an earlier session.
    pub fn answered(&self) -> bool {
        self.answered
    }

    /// Whether so many came without an answer between them that the server is to be left alone.
    pub fn are_too_many(&self) -> bool {
        self.in_a_row >= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUSPECT: Whose = Whose::Suspect;

    #[test]
    fn only_an_answer_to_a_later_call_shows_an_unexplained_refusal_to_be_the_prompts_fault() {
        let mut refusals = Refusals::new(4, true);
        let (before, refused) = (refusals.begin(), refusals.begin());
        assert_eq!(refusals.refuse(SUSPECT, refused), None);
        assert_eq!(refusals.answer(before), [0; 0], "it began before the refusal came");
        let after = refusals.begin();
        assert_eq!(refusals.refuse(SUSPECT, 9), None);
        assert_eq!(refusals.answer(after), [refused], "the other came when it was under way");
        let last = refusals.begin();
        assert_eq!(refusals.answer(last), [9]);
        assert_eq!(refusals.answer(last), [0; 0], "each once");
    }

    #[test]
    fn where_the_server_names_the_prompt_any_answer_will_do() {
        let mut refusals = Refusals::new(4, false);
        let (first, second) = (refusals.begin(), refusals.begin());
        assert_eq!(refusals.refuse(Whose::Prompt, second), None, "nothing was answered yet");
        assert_eq!(refusals.answer(first), [second]);
        assert_eq!(refusals.refuse(Whose::Prompt, 3), Some(3));
        assert_eq!(Refusals::new(4, true).refuse(Whose::Prompt, 4), Some(4));
    }

    #[test]
    fn a_row_of_refusals_ends_with_an_answer() {
        let mut refusals = Refusals::new(3, false);
        let mut refuse = |whose, times| {
            (0..times).for_each(|_| _ = refusals.refuse(whose, ()));
            refusals.are_too_many()
        };
        assert!(!refuse(SUSPECT, 5) && !refuse(Whose::Prompt, 5));
        assert!(refuse(SUSPECT, 1), "3 places and 8");
        let call = refusals.begin();
        assert_eq!(refusals.answer(call).len(), 11);
        assert!(!refusals.are_too_many());
    }
}
