use regex::Regex;

use super::prepared::{Prepared, any_of, excerpt};
use super::{AnswerFilter, Fault};

/// `cannot` in its forms, behind `I` or not.
const CANNOT: &str = r"(?:can't|cannot|can not|won't|(?:am |'m |are |be )?(?:unable|not able) to)";

/// What an assistant says that it cannot do. A story's `I can't stay` and a post's `I can't stop
/// smiling` are not among them.
const TASKS: &str = concat!(
    r"(?:assist\b|help (?:you|with)\b|fulfil|comply\b|engage in\b|accommodate\b|",
    r"(?:provide|create|generate|produce|write|answer|complete|identify|process|recognize) ",
    r"(?:an?|any|this|that|such|your|real|content|people|individuals|information|details|",
    r"the (?:request|person|people|individual|image|content|information|description|man|woman))|",
    r"(?:see|view|access|open|describe|discuss) (?:an? |any |the |this |that |your )?(?:actual )?",
    r"(?:images?|photos?|pictures?|photographs?)\b)"
);

/// Phrases that are a refusal wherever they stand.
const ANYWHERE: [&str; 5] = [
    r"as an? (?:ai|artificial intelligence) (?:language )?(?:model|assistant)\b",
    r"(?:goes |is )?against my (?:guidelines|programming|policy|policies|content policy)\b",
    r"i'm (?:just|only|merely) an? (?:ai|language model)\b",
    r"please (?:provide|upload|share|attach|send|give)(?: me)?(?: with)? (?:an?|the|your|more|another|some) (?:actual )?(?:image|photo|picture|photograph|description|context|details|information)\b",
    r"i don't have enough (?:information|context|details) (?:to|about)\b",
];

/// Refuses answers in which the LLM declines: an apology or `I cannot` with an assistant's task at
/// the start, and phrases that only an assistant uses.
pub(super) struct Refusal {
    opening: Regex,
    anywhere: Regex,
}

impl Refusal {
    pub fn new() -> Self {
        let declines = [
            format!(
                r"i(?:'m| am) (?:so |very |truly )?(?:sorry|afraid)[^.!?]{{0,60}}?{CANNOT}(?: {TASKS}|[.!]|$)"
            ),
            format!(
                r"(?:sorry|unfortunately|regrettably|(?:i|my) apolog\w+)[^.!?]{{0,60}}?{CANNOT}(?: {TASKS}|[.!]|$)"
            ),
            format!(r"i ?{CANNOT} {TASKS}"),
        ];
        // Quotation marks are left out on purpose: a quoted opening is somebody's speech.
        let opening = format!(r"(?i)^[\s*_#>-]*(?:{})", declines.join("|"));
        let help =
            format!(r"i ?{CANNOT} (?:assist|help)(?: you)? with (?:that|this|your|the request)\b");
        let tasks = format!(
            r"i ?{CANNOT} (?:fulfil|fulfill|comply with|complete) (?:this|that|your|the) (?:request|instruction|task|prompt)\b"
        );
        let mut anywhere = ANYWHERE.to_vec();
        anywhere.extend([help.as_str(), tasks.as_str()]);
        Self {
            opening: Regex::new(&opening)
                .expect("the pattern is a constant that the tests compile"),
            anywhere: any_of(&anywhere),
        }
    }
}

impl AnswerFilter for Refusal {
    fn check(&self, answer: &Prepared<'_>) -> Result<(), Fault> {
        let plain = &answer.plain;
        match self.opening.find(plain).or_else(|| self.anywhere.find(plain)) {
            Some(found) => {
                Err(("refusal", format!("the answer declines: \"{}\"", excerpt(found.as_str()))))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::FilterName;
    use super::super::tests::{codes, passes};

    #[test]
    fn refusals_are_found() {
        let refusals = [
            "I'm sorry, but I can't assist with that request.",
            "I’m sorry, but I can’t.",
            "I am sorry, I cannot provide a description of real people.",
            "Sorry, I'm not able to help with identifying the man on the left.",
            "Unfortunately, I am unable to create an advertisement for this product.",
            "I apologize, but I cannot generate content of that kind.",
            "My apologies, but I won't write a story about a real person.",
            "I cannot identify the person shown here.",
            "I'm unable to help with that.",
            "**I'm sorry, but I can't help with that.**",
            "As an AI language model, I do not have feelings about kettles.",
            "A fine day at sea. Still, I can't assist with that part of the request.",
            "Please provide more details so that I may write the poem.",
            "Please upload the image again.",
            "I don't have enough information to write a history of this lamp.",
        ];
        for text in refusals {
            assert_eq!(codes(FilterName::Refusal, text), ["refusal"], "{text}");
        }
    }

    #[test]
    fn stories_letters_and_posts_are_not_refusals() {
        passes(
            FilterName::Refusal,
            &[
                "\"I'm sorry, but I can't stay,\" said the captain, and the gulls went quiet.",
                "Sorry, not sorry: I can't stop smiling at this sunset! #golden #beach #joy",
                "I can't help but laugh at the look on that cat's face.",
                "I cannot wait for the bus to reach the sea.",
                "I'm afraid I don't like the new cushion, and I can't say so louder than with my claws.",
                "Unfortunately, the waiter could not tell a teapot from a trumpet. One star.",
                "I cannot see the far shore tonight, only the lantern and the rain.",
                "I can't answer the phone: I have paws, and I am busy being admired.",
                "Unfortunately, I can't see the sea from here, but I can hear it.",
                "Dear owner, I am sorry about the vase. I can't promise it will not happen again.",
                "Please give me more of that cake, and I will provide the applause.",
                "Access to the beach is against the rules after dark.",
            ],
        );
    }
}
