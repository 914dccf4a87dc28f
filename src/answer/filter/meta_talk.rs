use super::lists::META_TALK;
use super::prepared::{Prepared, excerpt};
use super::{AnswerFilter, Fault};

/// Refuses answers that talk about the description, the prompt or the assistant, where they should
/// read as if written from the photo.
pub(super) struct MetaTalk;

impl AnswerFilter for MetaTalk {
    fn check(&self, answer: &Prepared<'_>) -> Result<(), Fault> {
        match META_TALK.find(&answer.plain) {
            Some(found) => {
                let reason = format!("the answer talks of its source: \"{}\"", excerpt(found));
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

    #[test]
    fn other_languages_have_their_phrases() {
        for text in [
            "根据所提供的图片描述，这是一个安静的港口。",
            "描述中没有提到汽车的颜色。",
            "説明によると、犬はレックスという名前です。",
            "설명에 따르면 강아지는 해변에 있다.",
            "Según la descripción, la tetera está en la cocina.",
            "D'après la description, la bouilloire est verte.",
            "Laut der Beschreibung steht der Kessel auf dem Herd.",
            "De acordo com a descrição, a chaleira é verde.",
            "Согласно описанию, чайник стоит на плите.",
            "بناءً على الوصف، الإبريق أخضر.",
        ] {
            assert_eq!(codes(FilterName::MetaTalk, text), ["meta_talk"], "{text}");
        }
        passes(
            FilterName::MetaTalk,
            &[
                "根据路牌，这条路通向北京。",
                "Según el cartel, este camino lleva a Burgos.",
                "Laut Fahrplan kommt der Zug um neun.",
            ],
        );
    }
}
