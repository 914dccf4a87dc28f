use std::collections::HashSet;

use regex::Regex;

use super::prepared::{Prepared, excerpt, plain};
use super::{AnswerFilter, Fault};
use crate::base::tokens;
use crate::base::words::{self, words};

/// Markers of instruction-tuning formats, beside the control tokens of chat templates.
const MARKERS: &str = r"(?im)^[ \t]*#{2,}[ \t]*(?:instruction|response|human|assistant|user|system|input)[ \t]*(?::|$)";

/// A line that opens another turn of the conversation. `Customer:` and the like are a play's.
const TURNS: &str =
    r"(?im)^[ \t]*(?:\*\*)?(?:user|human|assistant|system|instruction|prompt)(?:\*\*)?[ \t]*:";

/// The shortest instruction whose words inside an answer are taken for an echo; a shorter one
/// (`What is happening here?`) may be answered in its own words.
const LONG_INSTRUCTION: usize = 6;

/// Refuses answers that repeat what the LLM was shown: the instruction, a run of words from the
/// prompt or the description, or the markers around them.
pub(super) struct PromptEcho {
    markers: Regex,
    turns: Regex,
    run: usize,
}

impl PromptEcho {
    /// `run` words in a row make an echo.
    pub fn new(run: usize) -> Self {
        let compile = |pattern: &str| {
            Regex::new(pattern).expect("the pattern is a constant that the tests compile")
        };
        Self { markers: compile(MARKERS), turns: compile(TURNS), run }
    }

    fn instruction(&self, answer: &Prepared<'_>) -> Result<(), Fault> {
        let instruction = answer.answer.instruction;
        let asked = words(instruction);
        let echoes = if words::count(instruction) < LONG_INSTRUCTION {
            opens_with(&answer.plain, &plain(instruction))
        } else {
            shared_run(&answer.words, &asked, asked.len().min(answer.entries(self.run))).is_some()
        };
        if !echoes {
            return Ok(());
        }
        let reason = format!("the answer repeats the instruction \"{}\"", excerpt(instruction));
        Err(("instruction_echo", reason))
    }

    fn source(&self, answer: &Prepared<'_>, source: &str, what: &'static str) -> Option<String> {
        let given = words(source);
        if !given.is_empty() && given == answer.words {
            return Some(format!("the answer is {what}"));
        }
        let run = shared_run(&answer.words, &given, answer.entries(self.run))?;
        Some(format!("the answer repeats {what} word for word: \"{}\"", excerpt(&run.join(" "))))
    }
}

impl AnswerFilter for PromptEcho {
    fn check(&self, answer: &Prepared<'_>) -> Result<(), Fault> {
        let text = answer.answer.text;
        let line = || self.markers.find(text).or_else(|| self.turns.find(text));
        let marker = tokens::control(text).or_else(|| line().map(|found| found.as_str()));
        if let Some(marker) = marker {
            let reason = format!("the answer holds the chat marker \"{}\"", marker.trim());
            return Err(("chat_marker", reason));
        }
        self.instruction(answer)?;
        for prompt in answer.answer.prompt_texts {
            if let Some(reason) = self.source(answer, prompt, "the prompt") {
                return Err(("prompt_echo", reason));
            }
        }
        match self.source(answer, answer.answer.description, "the description") {
            Some(reason) => Err(("description_echo", reason)),
            None => Ok(()),
        }
    }
}

/// Whether an answer opens with the whole instruction as a sentence or a line of its own.
fn opens_with(answer: &str, instruction: &str) -> bool {
    let (answer, instruction) = (answer.to_lowercase(), instruction.to_lowercase());
    let Some(rest) = answer.trim_start_matches(['"', '*', '#', ' ']).strip_prefix(&*instruction)
    else {
        return false;
    };
    let closed = instruction.ends_with(['.', '!', '?', ':']);
    !instruction.is_empty()
        && (closed || rest.starts_with(['.', '!', '?', ':', '"']) || rest.is_empty())
}

/// The first `length` words in a row that both texts hold.
fn shared_run<'a>(answer: &'a [String], source: &[String], length: usize) -> Option<&'a [String]> {
    if length == 0 || source.len() < length || answer.len() < length {
        return None;
    }
    let runs: HashSet<&[String]> = source.windows(length).collect();
    answer.windows(length).find(|run| runs.contains(run))
}

#[cfg(test)]
mod tests {
    use super::super::tests::codes_of;
    use super::super::{FilterName, SampleView};

    const INSTRUCTION: &str =
        "Write a short advertisement for the item in the image, with a slogan.";
    const DESCRIPTION: &str = "A matte green enamel kettle with a curved wooden handle stands on a \
                               gas hob. Thin steam rises from its gooseneck spout.";
    const SYSTEM: &str = "You are looking at an image. Follow the instruction about it in one short \
                          paragraph of three to five complete sentences, then stop.";

    fn check(text: &str, instruction: &str) -> Vec<String> {
        codes_of(
            FilterName::PromptEcho,
            &SampleView {
                text,
                instruction,
                description: DESCRIPTION,
                prompt_texts: &[SYSTEM],
                ..SampleView::default()
            },
        )
    }

    #[test]
    fn echoes_are_found() {
        let cases = [
            ("A kettle.<|im_end|>", "chat_marker"),
            ("[INST] Write it [/INST] A kettle.", "chat_marker"),
            ("A kettle. </s>", "chat_marker"),
            ("A kettle.\n\n### Instruction:\nNow a pot.", "chat_marker"),
            ("A kettle.\nUser: And a pot?\nAssistant: A pot.", "chat_marker"),
            ("Instruction: an advert\nA kettle.", "chat_marker"),
            (
                "Write a short advertisement for the item in the image, with a slogan. Kettle!",
                "instruction_echo",
            ),
            (
                "Task: write a short advertisement for the item in the image with a slogan",
                "instruction_echo",
            ),
            (
                "Sure! In one short paragraph of three to five complete sentences, then stop: tea.",
                "prompt_echo",
            ),
            (
                "Behold! A matte green enamel kettle with a curved wooden handle stands on a gas hob.",
                "description_echo",
            ),
            (DESCRIPTION, "description_echo"),
        ];
        for (text, code) in cases {
            assert_eq!(check(text, INSTRUCTION), [code], "{text}");
        }
    }

    #[test]
    fn own_words_are_no_echo() {
        let texts = [
            "This matte green enamel kettle brings calm colour to any hob. Pour slowly.",
            "Customer: One kettle, please.\nShopkeeper: Green or grey?",
            "### Instructions\n1. Fill the kettle.\n2. Wait for the steam.",
            "Instructions: fill the kettle, and wait.",
            "The human eye: drawn to steam. System of tea, user of mugs.",
            "Write a note to a friend, and put the kettle on the hob.",
        ];
        for text in texts {
            assert_eq!(check(text, INSTRUCTION), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn a_short_instruction_may_be_answered_in_its_own_words() {
        let asked = "What is happening here?";
        let fine = "What is happening here is a quiet morning with tea.";
        assert_eq!(check(fine, asked), Vec::<String>::new());
        let echo = "What is happening here? A quiet morning with tea.";
        assert_eq!(check(echo, asked), ["instruction_echo"]);
        assert_eq!(check("Write a haiku: green kettle", "Write a haiku"), ["instruction_echo"]);
        assert_eq!(check("Write a haikuesque line", "Write a haiku"), Vec::<String>::new());
        assert_eq!(check("Anything at all", ""), Vec::<String>::new());
    }

    #[test]
    fn a_short_description_given_back_is_an_echo() {
        let answer = SampleView {
            text: "A dog runs on the beach!",
            description: "a dog runs on the beach.",
            ..SampleView::default()
        };
        assert_eq!(codes_of(FilterName::PromptEcho, &answer), ["description_echo"]);
    }
}
