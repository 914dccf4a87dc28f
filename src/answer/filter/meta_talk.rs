use regex::Regex;

use super::prepared::{Prepared, any_of, excerpt};
use super::{AnswerFilter, Fault};

/// Phrases that treat a text as the source of the answer, or come from a machine about itself.
///
/// A `description` or a `caption` is fine as a thing of the world or of the answer (`a job
/// description`, `Caption: ...`); only the one that was given is not.
const PHRASES: [&str; 17] = [
    // "based on the description", "according to the provided caption"
    r"(?:based on|according to|judging (?:by|from)|going by|as per|per|given|drawing on|inferred from) (?:the|this|your|that) (?:(?:image|photo|picture|scene|provided|given|above|detailed|original|textual|written|following)(?:'s)? ){0,3}(?:descriptions?|captions?)\b",
    r"(?:based on|according to|from|using) (?:the|this|your) (?:(?:provided|given|above) text\b|text (?:provided|given|above)\b)",
    r"based on (?:the|this|your) (?:limited |available )?(?:information|details|context) (?:provided|given|available)(?:[,.;:]| above| in the (?:description|caption|text|prompt)|$)",
    // "the description provided", "the given caption"
    r"(?:the|this|your) (?:descriptions?|captions?|prompt) (?:provided|given|above|supplied|you (?:provided|gave|shared))\b",
    r"the (?:text|context|information) (?:provided above|you (?:provided|gave|shared))\b",
    r"(?:the|this|your) (?:provided|given|above|supplied) (?:(?:image|photo|picture|scene|text|textual) )?(?:descriptions?|captions?|prompt|context)\b",
    // "the image description", "the description of the image mentions"
    r"(?:the|this|your) (?:image|photo|picture|scene)(?:'s)? description\b",
    r"the description (?:of the (?:image|photo|picture|scene) )?(?:also |only |just )?(?:does(?:n't| not)|did(?:n't| not)|mentions?|mentioned|says|said|states?|stated|notes|provides|indicates|suggests|specif\w+|implies|tells us|highlights)\b",
    r"(?:as |is |are |was |were |not |explicitly |specifically )?(?:described|mentioned|stated|specified|provided|given|noted|outlined|detailed) in (?:the|this|your) (?:(?:image|photo|picture|provided|given|above|original) )?(?:descriptions?|captions?|prompt|text provided)\b",
    r"as (?:described|mentioned|stated|specified) above\b",
    r"the (?:image|photo|picture|photograph|scene) (?:(?:you|you've|you have|that you) described|is described as|described (?:above|here|in))\b",
    // No sight of the picture.
    r"without (?:actually |first )?(?:seeing|viewing|having seen|being able to (?:see|view)|(?:having )?access to) (?:the|this|any|an|your) (?:actual )?(?:image|photo|picture|photograph)\b",
    r"(?:i|we)(?: |')(?:can't|cannot|can not|couldn't|could not|(?:am |m )?(?:unable|not able) to|don't have the ability to) (?:actually |directly |physically )?(?:see|view|access|open|look at) (?:the|this|your|any|an|that|actual) ?(?:actual )?(?:image|photo|picture|photograph)s?\b",
    r"(?:i|we) (?:don't|do not) (?:actually )?have (?:access to )?(?:the|an|any|your|this) (?:actual )?(?:image|photo|picture|photograph)\b",
    r"no (?:image|photo|picture) (?:was|is|has been) (?:provided|attached|uploaded|given)\b",
    // The machine about itself and its task.
    r"(?:as|i am|i'm) (?:just |only )?an? (?:(?:ai|artificial intelligence)(?:[,.;:)]| language| model| assistant| chatbot| system| i\b)|(?:large )?language model\b|text-based (?:ai|model|assistant))",
    r"the user (?:asked|is asking|has asked|has provided|provided|requested|has requested)\b",
];

/// Refuses answers that talk about the description, the prompt or the assistant, where they should
/// read as if written from the photo.
pub(super) struct MetaTalk {
    phrases: Regex,
}

impl MetaTalk {
    pub fn new() -> Self {
        Self { phrases: any_of(&PHRASES) }
    }
}

impl AnswerFilter for MetaTalk {
    fn check(&self, answer: &Prepared<'_>) -> Result<(), Fault> {
        match self.phrases.find(&answer.plain) {
            Some(found) => {
                let reason =
                    format!("the answer talks of its source: \"{}\"", excerpt(found.as_str()));
                Err(("meta_talk", reason))
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
    fn talk_about_the_source_is_found() {
        let talk = [
            "Based on the description, the kettle stands on a gas hob.",
            "Based on the provided image description, this is a quiet harbour.",
            "According to the caption, the dog is named Rex.",
            "Given the description, one may assume that it is winter.",
            "The description provided paints a vivid scene.",
            "In the given caption, two men stand by a boat.",
            "The image description speaks of a lighthouse.",
            "The description does not mention the colour of the car.",
            "The description of the image mentions a red ball.",
            "It is a cold day, as described in the caption.",
            "As described above, the kettle is green.",
            "The scene you described would make a fine postcard.",
            "Without seeing the image, it is hard to judge the light.",
            "While I cannot see the actual image, it must be a lovely harbour.",
            "I'm unable to view the photo, but the bridge sounds old.",
            "I don't have access to the image, so I will imagine it.",
            "Based on the information provided, this is a steam engine.",
            "As an AI, I enjoy no tea.",
            "I am a large language model and have no dog.",
            "The user asked for a haiku: green kettle, grey dawn.",
            "According to the text provided, the mug is blue.",
            "The photo is described as a view of the sea.",
            "BASED  ON\nTHE\u{a0}DESCRIPTION, it rains.",
        ];
        for text in talk {
            assert_eq!(codes(FilterName::MetaTalk, text), ["meta_talk"], "{text}");
        }
    }

    #[test]
    fn descriptions_in_the_world_are_not_meta_talk() {
        passes(
            FilterName::MetaTalk,
            &[
                "Caption: \"When the coffee has not reached the brain yet.\"",
                "Description: a matte green kettle with a wooden handle. Price: 30 pounds.",
                "Wanted: a baker. The job description is short: rise early, bake well.",
                "Based on the text on the sign, this road leads to Leeds.",
                "Judging by the long shadows, it is late afternoon.",
                "The product description on the tin promises a smooth taste.",
                "Her beauty was beyond description.",
                "I cannot see the far shore tonight; the fog hides the picture-book village.",
                "A caption contest for the ages: who invited the penguin?",
                "The details given to the carving show a patient hand.",
                "As an AI researcher would say, the data is the dog.",
                "Alt text: a white lighthouse at the end of a stone breakwater under a dark sky.",
                "The waiter described in detail how the cake is made.",
                "Given the dark clouds, a storm is near. Based on the shadows, it is noon.",
                "The bridge, provided above all for walkers, spans the river.",
                "Mentioned in the brochure as the oldest mill, it still turns.",
                "The user manual is lost, but the machine still hums.",
            ],
        );
    }
}
