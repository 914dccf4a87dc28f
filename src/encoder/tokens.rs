//! Texts as token ids: the prompt around them, the cut at the context length, the padding.

use std::borrow::Cow;
use std::path::PathBuf;

use tokenizers::{Encoding, Tokenizer};

use super::EncoderError;
use crate::model::manifest::{Padding, TextSpec};
use crate::model::{ModelError, tokenizer};

/// A tokenised text as the graph gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    ids: Vec<u32>,
    mask: Vec<u32>,
    truncated: bool,
}

impl Tokens {
    /// The ids, specials included.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// How many tokens go in, specials included.
    pub fn count(&self) -> usize {
        self.ids.len()
    }

    /// True when the text was longer than the model's context and lost its end.
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    fn within(context: usize, encoding: &Encoding) -> Self {
        Self {
            ids: cut(encoding.get_ids(), context),
            mask: cut(encoding.get_attention_mask(), context),
            truncated: encoding.len() > context,
        }
    }

    #[cfg(test)]
    pub(super) fn of_count(count: usize) -> Self {
        Self { ids: vec![7; count], mask: vec![1; count], truncated: false }
    }
}

/// Keeps the last value: the last token is the model's end marker, which pooling may need.
fn cut(values: &[u32], length: usize) -> Vec<u32> {
    match values {
        [head @ .., last] if values.len() > length => {
            head.iter().take(length.saturating_sub(1)).chain([last]).copied().collect()
        }
        _ => values.to_vec(),
    }
}

/// A model's tokenizer, with what is done before and after: prompt, cut, padding.
pub struct TextTokenizer {
    tokenizer: Tokenizer,
    prompt: Option<String>,
    context_length: usize,
    padding: Padding,
    pad_id: u32,
}

impl TextTokenizer {
    /// Opens the tokenizer of a text graph; `file` tells where a file is.
    ///
    /// # Errors
    /// A file is missing or is no tokenizer.
    pub fn open(spec: &TextSpec, file: impl Fn(&str) -> PathBuf) -> Result<Self, ModelError> {
        let TextSpec { tokenizer: words, prompt, context_length, padding, pad_id, .. } = spec;
        Ok(Self {
            tokenizer: tokenizer::open(words, file)?,
            prompt: prompt.clone(),
            context_length: *context_length,
            padding: *padding,
            pad_id: *pad_id,
        })
    }

    /// One text as the graph gets it.
    ///
    /// # Errors
    /// The tokenizer refuses the text.
    pub fn tokenize(&self, text: &str) -> Result<Tokens, EncoderError> {
        let text = self.prompted(text);
        let encoding = self.tokenizer.encode_fast(text.as_ref(), true).map_err(refused)?;
        Ok(Tokens::within(self.context_length, &encoding))
    }

    /// Texts as the graph gets them, in order.
    ///
    /// # Errors
    /// As [`TextTokenizer::tokenize`].
    pub fn tokenize_all(&self, texts: &[&str]) -> Result<Vec<Tokens>, EncoderError> {
        let texts: Vec<String> = texts.iter().map(|text| self.prompted(text).into()).collect();
        let encodings = self.tokenizer.encode_batch_fast(texts, true).map_err(refused)?;
        let cut = |encoding| Tokens::within(self.context_length, encoding);
        Ok(encodings.iter().map(cut).collect())
    }

    fn prompted<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match &self.prompt {
            Some(prompt) => prompt.replacen("{}", text, 1).into(),
            None => text.into(),
        }
    }

    /// The parts of a batch that may share a call, in order.
    pub(super) fn together<'t, 'b>(
        &self,
        batch: &'b [&'t Tokens],
    ) -> impl Iterator<Item = &'b [&'t Tokens]> {
        let padded = self.padding != Padding::Never;
        batch.chunk_by(move |one, other| padded || one.count() == other.count())
    }

    /// The ids of a batch, padded, and the length they are padded to.
    pub(super) fn ids(&self, batch: &[&Tokens]) -> (Vec<u32>, usize) {
        let length = self.padded_length(batch);
        (padded(batch, length, self.pad_id, |tokens| &tokens.ids), length)
    }

    /// The mask that goes with the ids.
    pub(super) fn mask(&self, batch: &[&Tokens]) -> Vec<u32> {
        padded(batch, self.padded_length(batch), 0, |tokens| &tokens.mask)
    }

    fn padded_length(&self, batch: &[&Tokens]) -> usize {
        match self.padding {
            Padding::Context => self.context_length,
            Padding::Longest | Padding::Never => {
                batch.iter().map(|tokens| tokens.count()).max().unwrap_or(0)
            }
        }
    }
}

fn padded(
    batch: &[&Tokens],
    length: usize,
    fill: u32,
    field: impl Fn(&Tokens) -> &[u32],
) -> Vec<u32> {
    let mut values = Vec::with_capacity(batch.len() * length);
    for tokens in batch {
        values.extend(field(tokens));
        values.resize(values.len() + length - tokens.count(), fill);
    }
    values
}

fn refused(error: tokenizers::Error) -> EncoderError {
    EncoderError::Tokenize { message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_keeps_the_end_marker() {
        assert_eq!(cut(&[1, 2, 3, 4, 9], 3), [1, 2, 9]);
        assert_eq!(cut(&[1, 2, 9], 3), [1, 2, 9]);
        assert_eq!(cut(&[], 3), [0u32; 0]);
    }

    #[test]
    fn padding_comes_behind() {
        let (short, long) = (Tokens::of_count(1), Tokens::of_count(3));
        let ids = padded(&[&short, &long], 4, 9, |tokens| &tokens.ids);
        assert_eq!(ids, [7, 9, 9, 9, 7, 7, 7, 9]);
    }
}
