//! Whether a model sees: it is shown a known picture and asked what only one who looks can say.
//!
//! A server that cannot pass pictures on may refuse them, or may drop them without a word, and its
//! model then writes of a photo that it never saw.

use image::codecs::jpeg::JpegEncoder;
use image::{ImageBuffer, Rgb};
use tokio_util::sync::CancellationToken;

use super::error::{LlmError, LlmFault, excerpt};
use super::{ChatModel, ChatRequest, ImageAttachment, Message, SamplingSettings};

/// Colours of the picture's squares from left to right: no order in which anybody lists colours.
const SHOWN: [(&str, [u8; 3]); 4] = [
    ("green", [0, 150, 60]),
    ("black", [0, 0, 0]),
    ("red", [215, 20, 30]),
    ("yellow", [250, 215, 0]),
];

/// Words for colours that a reply is searched for; of the background no word counts.
const COLOURS: [&str; 12] = [
    "green", "black", "red", "yellow", "blue", "orange", "purple", "violet", "pink", "brown",
    "grey", "gray",
];

/// Pixels of a square, and between two.
const SQUARE: u32 = 112;
const GAP: u32 = 28;

/// What is asked of the picture.
pub const QUESTION: &str = "The picture shows four squares in a row on white. Name the colour of each, \
    from left to right: four words, nothing else.";

/// Models that reason before they answer need some.
const TOKENS: u32 = 2048;

/// Shows `model` the picture.
///
/// # Errors
/// [`LlmFault::Blind`] where the reply does not name what is to be seen; otherwise the call's own.
pub async fn probe_sight(
    model: &dyn ChatModel,
    cancel: &CancellationToken,
) -> Result<(), LlmError> {
    let user = Message { images: vec![picture()], ..Message::user(QUESTION) };
    let settings =
        SamplingSettings { temperature: 0.0, max_tokens: TOKENS, ..SamplingSettings::default() };
    let reply = model.chat(&ChatRequest::new(vec![user], settings, 1), cancel).await?;
    if sees(&reply.text) {
        return Ok(());
    }
    let (model, said) = (model.name().to_owned(), excerpt(&reply.text));
    Err(LlmError { fault: LlmFault::Blind { model, said }, attempts: reply.attempts })
}

fn picture() -> ImageAttachment {
    let (width, height) = (4 * SQUARE + 5 * GAP, SQUARE + 2 * GAP);
    let squares = ImageBuffer::from_fn(width, height, |x, y| {
        let (place, inside) = (x / (SQUARE + GAP), x % (SQUARE + GAP) >= GAP);
        let inside = inside && (GAP..GAP + SQUARE).contains(&y);
        let square = SHOWN.get(place as usize).filter(|_| inside);
        Rgb(square.map_or([255; 3], |(_, colour)| *colour))
    });
    let mut bytes = Vec::new();
    // Memory takes any bytes, and the encoder any size that JPEG has room for.
    _ = squares.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, 90));
    ImageAttachment { mime: "image/jpeg".into(), bytes }
}

/// Whether a reply names the colours in their order, with no other between.
fn sees(reply: &str) -> bool {
    let reply = reply.to_lowercase();
    let named: Vec<&str> =
        reply.split(|c: char| !c.is_alphabetic()).filter(|word| COLOURS.contains(word)).collect();
    named.windows(SHOWN.len()).any(|row| row.iter().eq(SHOWN.iter().map(|(name, _)| name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_colours_in_their_order_show_sight() {
        for reply in [
            "green, black, red, yellow",
            "Green\nBlack\nRed\nYellow.",
            "On white, the squares are **green**, **black**, **red** and **yellow**.",
        ] {
            assert!(sees(reply), "{reply}");
        }
        for reply in [
            "",
            "red, green, blue, yellow",
            "green, black, blue, red, yellow",
            "I cannot see a picture. Green, black and red are colours.",
        ] {
            assert!(!sees(reply), "{reply}");
        }
    }

    #[test]
    fn the_picture_is_what_the_question_says() {
        let picture = image::load_from_memory(&picture().bytes).expect("a JPEG").to_rgb8();
        for (place, (name, colour)) in (0..).zip(SHOWN) {
            let x = GAP + place * (SQUARE + GAP) + SQUARE / 2;
            let seen = picture.get_pixel(x, picture.height() / 2);
            let far = seen.0.iter().zip(colour).any(|(a, b)| a.abs_diff(b) > 12);
            assert!(!far, "{name}: {seen:?}");
        }
        assert_eq!(picture.get_pixel(4, 4).0, [255; 3]);
    }
}
