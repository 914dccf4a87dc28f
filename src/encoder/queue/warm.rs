//! First calls are slow: they allocate, and plan for their shapes.

use std::time::Instant;

use crate::encoder::{EncoderError, StagedEncoder};
use crate::image::Pixels;

/// Seconds that a warm-up took, per tower.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct WarmUp {
    pub vision_seconds: f64,
    pub text_seconds: f64,
}

/// Runs real shapes: a full batch and a single photo on each session, short texts and texts that
/// fill the context.
pub(super) fn warm_up(
    encoder: &dyn StagedEncoder,
    batch: usize,
    sessions: usize,
) -> Result<WarmUp, EncoderError> {
    if batch == 0 {
        return Ok(WarmUp::default());
    }
    let started = Instant::now();
    let photos = vec![grey(encoder); batch];
    for rows in [batch, 1] {
        // Sessions are lent longest idle first, so that as many calls meet each of them.
        for _ in 0..sessions {
            encoder.embed_images(&photos[..rows])?;
        }
    }
    let vision_seconds = started.elapsed().as_secs_f64();
    let started = Instant::now();
    let long = "photo ".repeat(encoder.manifest().text.context_length);
    for text in ["a photo", &long] {
        let tokens = encoder.tokenize(text)?;
        encoder.embed_tokens(&vec![&tokens; batch])?;
    }
    Ok(WarmUp { vision_seconds, text_seconds: started.elapsed().as_secs_f64() })
}

fn grey(encoder: &dyn StagedEncoder) -> Pixels {
    let preprocessor = encoder.preprocessor();
    Pixels { side: preprocessor.config().crop, rgb: vec![127; preprocessor.tensor_len()] }
}
