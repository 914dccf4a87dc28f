use proptest::prelude::*;

use super::*;

const ANSWER: &str = "A bus waits at the stop, and rain runs down its windows.";

/// Every form in which reasoning comes before the answer.
const FORMS: [&str; 27] = [
    "<think>\nOkay, short.\n</think>\n\n$A",
    "<think>\n\n</think>\n\n$A",
    "<think></think>$A",
    "<think/>\n$A",
    "  <THINK >Okay < 3 > 2 </ Think>$A",
    "Okay, short.\n</think>\n\n$A",
    "Okay, \"warm\"</think>$A",
    "<think>They said `</think>` there.</think>$A",
    "<think>a</think><think>b</think>$A",
    "<think>a <think> b</think>$A",
    "<think effort=\"high\">a</think>$A",
    "<thinking>a</thinking>$A",
    "<thought>a</thought>$A",
    "<reasoning>a</reasoning>\n<answer>$A</answer>",
    "<seed:think>a</seed:think>$A",
    "<think_fast>a</think_fast>$A",
    "[THINK]a[/THINK]$A",
    "◁think▷a◁/think▷$A",
    "<|begin_of_thought|>a<|end_of_thought|>\n<|begin_of_solution|>$A<|end_of_solution|>",
    "<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>$A<|END_RESPONSE|>",
    "<unused94>thought\na<unused95>$A",
    "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>$A<|return|>",
    "<|start|>assistant<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary<|message|>b<|end|><|start|>assistant<|channel|>final<|message|>$A",
    "<|channel|>final<|message|>$A",
    "analysisWe need a caption. [x]assistantfinal$A",
    "analysisWe need a caption.assistant\nfinal\n$A",
    "<｜think｜>a<｜/think｜>$A",
];

/// The text of the answer when the text comes in pieces of `size` bytes or more.
fn streamed(text: &str, size: usize) -> (String, Splitter) {
    let mut splitter = Splitter::default();
    let (mut shown, mut rest) = (String::new(), text);
    while !rest.is_empty() {
        let mut end = size.min(rest.len());
        while !rest.is_char_boundary(end) {
            end += 1;
        }
        shown.push_str(&splitter.push(&rest[..end]));
        rest = &rest[end..];
    }
    shown.push_str(&splitter.finish());
    (shown, splitter)
}

#[test]
fn reasoning_is_told_from_the_answer_in_every_form() {
    for form in FORMS {
        let text = form.replace("$A", ANSWER);
        let (_, answer) = split(&text);
        assert_eq!(answer.trim(), ANSWER, "{text}");
        assert!(contains(&text) && !contains(&answer), "{text}");
    }
    assert_eq!(split("<think>\nOkay.\n</think>\nX").0.as_deref(), Some("Okay."));
    assert_eq!(split("<think>\n\n</think>\nX").0, None);
}

#[test]
fn a_stream_shows_the_same_however_it_is_cut() {
    for form in FORMS {
        let text = form.replace("$A", ANSWER);
        for size in [1, 2, 3, 7, 1000] {
            let (shown, splitter) = streamed(&text, size);
            if !splitter.is_lone() {
                assert_eq!(shown.trim(), ANSWER, "{size}: {text}");
            }
            assert_eq!(splitter.into_parts(), split(&text), "{size}: {text}");
        }
    }
}

#[test]
fn reasoning_without_an_end_has_no_answer() {
    for text in ["<think>\nOkay, so the", "[THINK]Okay", "A bus. <think>Hm", "analysisWe need"] {
        let (reasoning, answer) = split(text);
        assert_eq!(answer, "", "{text}");
        assert!(reasoning.is_some() && contains(text), "{text}");
    }
    let (reasoning, answer) = split("<|channel|>analysis<|message|>We need");
    assert_eq!((reasoning.as_deref(), answer.as_str()), (Some("We need"), ""));
}

#[test]
fn other_text_stays_as_it_is() {
    for text in [
        ANSWER,
        "  two\n\nlines \n",
        "I think <b>this</b> [link](x) is 1 < 2 > 0.",
        "The tag `<think>` opens, and `</think>` ends it.",
        "He wrote \"<think>\" on the board.",
        "analysis of the photo: a bus",
        "Analysis",
        "An <answer> and <|end|> without more",
        "a [think tank] and <thinker>",
        "a <",
        "a <think",
        "[",
        "",
    ] {
        assert_eq!(split(text), (None, text.to_owned()));
        assert!(!contains(text), "{text}");
        let (shown, _) = streamed(text, 1);
        assert_eq!(shown, text);
    }
}

#[test]
fn text_without_marks_is_shown_at_once() {
    let mut splitter = Splitter::default();
    assert_eq!(splitter.push("A bus "), "A bus ");
    assert_eq!(splitter.push("waits <th"), "waits ");
    assert_eq!(splitter.push("ink>Hm</think"), "");
    assert_eq!(splitter.push(">here."), "here.");
}

#[test]
fn many_marks_are_searched_once_each() {
    for (unit, kept) in [("<think></think>x", 1), ("`<think>`x", 10), ("<answer>", 8)] {
        let text = unit.repeat(20_000);
        let splitter = Splitter::of(&text);
        // What may be the beginning of a mark is looked at once more.
        let most = text.len() + unit.len();
        assert!(splitter.searched.get() <= most, "{unit}: {}", splitter.searched.get());
        assert_eq!(splitter.into_parts().1.len(), 20_000 * kept, "{unit}");
    }
}

proptest! {
    #[test]
    fn pieces_never_change_the_outcome(
        parts in proptest::collection::vec(
            prop_oneof![
                Just("<think>".to_owned()), Just("</think>".to_owned()), Just("[THINK]".to_owned()),
                Just("<|channel|>".to_owned()), Just("final".to_owned()), Just("`".to_owned()),
                Just("<|message|>".to_owned()), Just("analysisW".to_owned()), Just("\"".to_owned()),
                Just("assistantfinal".to_owned()), Just("<answer>".to_owned()), "\\PC{0,6}",
            ],
            0..12,
        ),
        size in 1usize..9,
    ) {
        let text = parts.concat();
        let (_, splitter) = streamed(&text, size);
        prop_assert_eq!(splitter.into_parts(), split(&text));
    }
}
