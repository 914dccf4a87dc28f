use proptest::prelude::*;

use super::*;

fn letters(letter: Letter, replies: &[&str]) {
    for reply in replies {
        assert_eq!(parse(reply), Ok(letter), "{reply:?}");
    }
}

fn refused(why: NoVerdict, replies: &[&str]) {
    for reply in replies {
        assert_eq!(parse(reply), Err(why), "{reply:?}");
    }
}

#[test]
fn a_letter_is_read_in_its_usual_wrappings() {
    letters(
        Letter::B,
        &[
            "B",
            "b",
            " B\n",
            "B.",
            "**B**",
            "**B.**",
            "(B)",
            "[B]",
            "[[B]]",
            "`B`",
            "\"B\"",
            "- B",
            "# B",
            "B)",
            "Answer: B",
            "Answer: **B**",
            "**Answer:** B",
            "Final answer: (B)",
            "The answer is B.",
            "My choice is B",
            "Verdict: [[B]]",
            "Option B",
            "Answer B.",
            "Option B is the better one.",
            "Option B is significantly better.",
            "Option B is the correct choice",
            "Answer B is significantly better.",
            "Assistant B is clearly better than assistant A.",
            "B. Answer B is significantly better.",
            "B: Answer B is significantly better because Answer A is not about the image.",
            "B because it is about the photo",
            "The second is richer in detail. B",
            "Thus: (B).",
            "I choose B.",
            "I would select option B",
            "Both answers are fine, but the second is richer.\n\nVerdict: B",
            "Answer A is short. Answer B is much better.",
            "<think>A is good. Option A is better? No.</think>\nB",
        ],
    );
    letters(Letter::A, &["A", "A.", "A is better.", "Answer A is better", "A - it is complete"]);
    letters(
        Letter::C,
        &[
            "C",
            "C. Neither is significantly better.",
            "C.Neither is significantly better.",
            "Neither is significantly better.",
            "Neither answer is better.",
            "Neither of the two answers is significantly better.",
        ],
    );
}

#[test]
fn prose_states_no_choice() {
    refused(
        NoVerdict::NoChoice,
        &[
            "A man in a white suit walks down the runway.",
            "Both answers describe the photo well.",
            "As an AI I cannot judge images.",
            "Answer A mentions the suit and answer B the crowd.",
            "Option B is worse.",
            "Option B is shorter than option A",
            "D",
            "AB",
            "1",
            "Cat",
            "A and B are both fine",
            "Best answer? Hard to say",
            "<think>A is better, or so it seems",
        ],
    );
    refused(NoVerdict::Empty, &["", " \n", "****", "<think>x</think>"]);
}

#[test]
fn two_choices_are_ambiguous() {
    refused(
        NoVerdict::Ambiguous,
        &[
            "A. Answer A is significantly better.\nB. Answer B is significantly better.\nC. Neither is significantly better.",
            "A\nB",
            "Answer: A\nAnswer: B",
            "A. Answer B is significantly better.",
            "Answer A is better. Answer B is better.",
            "I choose A. Final answer: C",
            "Neither is better. B",
            "[[A]] or [[B]]",
        ],
    );
}

#[test]
fn a_denied_statement_is_no_verdict() {
    refused(
        NoVerdict::Ambiguous,
        &[
            "I do not think Answer A is better.",
            "It isn't clear that answer B is better",
            "If answer A is better, so be it",
            "It is wrong that neither is better",
        ],
    );
    refused(
        NoVerdict::NoChoice,
        &["Answer A is not better", "Option B is not significantly better."],
    );
}

proptest! {
    #[test]
    fn any_reply_is_read_without_panic(reply in ".{0,300}") {
        let _ = parse(&reply);
    }

    #[test]
    fn no_reply_without_a_choice_letter_names_a_or_b(reply in "[d-zD-Z0-9 .,:\n]{0,80}") {
        prop_assert!(!matches!(parse(&reply), Ok(Letter::A | Letter::B)), "{reply:?}");
    }
}
