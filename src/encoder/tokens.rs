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
    /// Where a text can be cut without changing the tokens before.
    breaks: Breaks,
}

impl TextTokenizer {
    /// Opens the tokenizer of a text graph; `file` tells where a file is.
    ///
    /// # Errors
    /// A file is missing or is no tokenizer.
    pub fn open(spec: &TextSpec, file: impl Fn(&str) -> PathBuf) -> Result<Self, ModelError> {
        let TextSpec { tokenizer: words, prompt, context_length, padding, pad_id, .. } = spec;
        let tokenizer = tokenizer::open(words, file)?;
        Ok(Self {
            breaks: Breaks::of(&tokenizer),
            tokenizer,
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
        let mut bytes = self.context_length.saturating_mul(BYTES_PER_TOKEN);
        // What lies behind the model's context changes nothing, and must cost nothing.
        while let Some(head) = self.breaks.head(&text, bytes) {
            let encoding = self.tokenizer.encode_fast(head, true).map_err(refused)?;
            if encoding.len() > self.context_length {
                return Ok(Tokens::within(self.context_length, &encoding));
            }
            bytes = bytes.saturating_mul(2);
        }
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

/// Bytes that are read for each token of the context at first: English has 4 to 5.
const BYTES_PER_TOKEN: usize = 8;

/// Before which characters a tokenizer always begins a new word, so that the tokens before do not
/// depend on what follows. Told by probes of the tokenizer itself; none where the last token is no
/// end marker, since then it is the text's own last that is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Breaks {
    spaces: bool,
    punctuation: bool,
    ideographs: bool,
}

impl Breaks {
    fn of(tokenizer: &Tokenizer) -> Self {
        let last = |text: &str| {
            let encoding = tokenizer.encode(text, true).ok()?;
            let marked = encoding.get_special_tokens_mask().last() == Some(&1);
            encoding.get_ids().last().copied().filter(|_| marked)
        };
        if last("ab").is_none() || last("ab") != last("1 .") {
            return Self::default();
        }
        let splits = |left: &str, right: &str| {
            splits(tokenizer, left, right) && splits(tokenizer, &format!("x {left}"), right)
        };
        let words = ["ab", "7", "Zürich", "ab.", "中文"];
        let all = |rights: &[&str]| {
            words.iter().all(|left| rights.iter().all(|right| splits(left, right)))
        };
        Self {
            spaces: all(&[" cd", " 8", " .", " 文", "\ncd", "  cd"]),
            punctuation: ["ab", "7"]
                .iter()
                .all(|left| [",cd", ".8"].iter().all(|right| splits(left, right))),
            ideographs: all(&["文", "文cd"]),
        }
    }

    /// The longest beginning of at most `bytes` that can be cut off; `None` where there is none, or
    /// the text is not much longer.
    fn head<'t>(&self, text: &'t str, bytes: usize) -> Option<&'t str> {
        if text.len() / 2 <= bytes {
            return None;
        }
        let head = text.get(..text.floor_char_boundary(bytes))?;
        let mut places = head.char_indices().rev().zip(head.chars().rev().skip(1));
        let place = places.find(|((_, after), before)| self.between(*before, *after));
        place.map(|((at, _), _)| &text[..at])
    }

    fn between(&self, before: char, after: char) -> bool {
        let word = before.is_ascii_alphanumeric() || is_ideograph(before);
        match after {
            ' ' | '\n' => self.spaces && (word || matches!(before, '.' | ',')),
            ',' | '.' => self.punctuation && before.is_ascii_alphanumeric(),
            other => self.ideographs && is_ideograph(other) && word,
        }
    }
}

/// CJK Unified Ideographs, without the rarer extensions.
fn is_ideograph(character: char) -> bool {
    ('\u{4e00}'..='\u{9fff}').contains(&character)
}

/// Whether no token of `left` depends on `right`, and none spans both.
fn splits(tokenizer: &Tokenizer, left: &str, right: &str) -> bool {
    let ids = |text: &str| {
        let encoding = tokenizer.encode(text, false).ok()?;
        Some((encoding.get_ids().to_vec(), encoding.get_word_ids().to_vec()))
    };
    let (Some((alone, words)), Some((both, of_both))) = (ids(left), ids(&format!("{left}{right}")))
    else {
        return false;
    };
    // Another word begins where the left one ends.
    let apart = of_both.get(alone.len()) != words.last();
    !alone.is_empty() && both.len() > alone.len() && both.starts_with(&alone) && apart
}

fn refused(error: tokenizers::Error) -> EncoderError {
    EncoderError::Tokenize { message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::manifest::{BuiltinTokenizer, TokenizerSpec};

    #[test]
    fn a_cut_keeps_the_end_marker() {
        assert_eq!(cut(&[1, 2, 3, 4, 9], 3), [1, 2, 9]);
        assert_eq!(cut(&[1, 2, 9], 3), [1, 2, 9]);
        assert_eq!(cut(&[], 3), [0u32; 0]);
    }

    fn mini() -> (Tokenizer, TextTokenizer) {
        opened(TokenizerSpec::File("tokenizer.json".into()), 128)
    }

    fn clip() -> (Tokenizer, TextTokenizer) {
        opened(TokenizerSpec::Builtin { builtin: BuiltinTokenizer::ClipBpe }, 77)
    }

    fn opened(spec: TokenizerSpec, context_length: usize) -> (Tokenizer, TextTokenizer) {
        let file =
            |name: &str| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/mini").join(name);
        let open = || tokenizer::open(&spec, file).expect("a tokenizer");
        let tokenizer = open();
        let breaks = Breaks::of(&tokenizer);
        let (prompt, padding, pad_id) = (None, Padding::Longest, 0);
        (open(), TextTokenizer { tokenizer, prompt, context_length, padding, pad_id, breaks })
    }

    /// As the whole text gives it.
    fn whole(tokenizer: &Tokenizer, text: &str, context: usize) -> Tokens {
        Tokens::within(context, &tokenizer.encode(text, true).expect("tokenised"))
    }

    #[test]
    fn tokenizers_tell_where_words_begin() {
        let all = Breaks { spaces: true, punctuation: true, ideographs: true };
        assert_eq!(mini().1.breaks, all);
        assert_eq!(clip().1.breaks, Breaks { ideographs: false, ..all });
    }

    #[test]
    fn long_texts_of_every_kind_have_the_tokens_of_the_whole() {
        for (tokenizer, words) in [mini(), clip()] {
            for piece in [
                "ab cd ",
                "a",
                "a,",
                "Zürich, ",
                "中文",
                "   x",
                "\n\n",
                "1,000.5 ",
                "don't ",
                "é\u{301} ",
                "[SEP] ",
                "<|endoftext|>",
                "ΣΑΣ ",
                "🙂 ",
                "\u{202e}ab\u{0}",
                &"w".repeat(101),
                &format!("{} ", "w".repeat(300)),
                "a\u{a0}b",
                ". . ",
                "...",
                "，中 ",
            ] {
                for bytes in [3_000, 32 << 10] {
                    let text = piece.repeat(bytes / piece.len());
                    let context = words.context_length;
                    let cut = words.tokenize(&text).expect("tokenised");
                    assert_eq!(cut, whole(&tokenizer, &text, context), "{piece:?}");
                }
            }
        }
    }

    /// The bound itself: a text of 32 KB is read to the context's end and not behind.
    #[test]
    fn a_long_text_is_cut_before_it_is_tokenised() {
        let (_, words) = mini();
        for piece in ["ab cd ", "中文", "a,b.c,", "photo "] {
            let text = piece.repeat((32 << 10) / piece.len());
            let bytes = words.context_length * BYTES_PER_TOKEN;
            let head = words.breaks.head(&text, bytes).expect("a cut");
            assert!(head.len() <= bytes && head.len() > bytes - 16, "{piece:?}: {}", head.len());
            assert!(words.tokenize(head).expect("tokenised").truncated(), "{piece:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn a_cut_changes_no_token(
            pieces in prop::collection::vec(
                prop_oneof![
                    "[a-zA-Z]{1,12}", "[0-9,.]{1,6}", "[ \\n\\t]{1,3}", "[一-龥]{1,6}", "\\PC{1,4}",
                    Just("<|startoftext|>".to_owned()), Just("[CLS]".to_owned()), Just("'s".to_owned()),
                ],
                300..900,
            ),
        ) {
            let text = pieces.concat();
            for (tokenizer, words) in [mini(), clip()] {
                let cut = words.tokenize(&text).expect("tokenised");
                prop_assert_eq!(cut, whole(&tokenizer, &text, words.context_length));
            }
        }
    }

    #[test]
    fn padding_comes_behind() {
        let (short, long) = (Tokens::of_count(1), Tokens::of_count(3));
        let ids = padded(&[&short, &long], 4, 9, |tokens| &tokens.ids);
        assert_eq!(ids, [7, 9, 9, 9, 7, 7, 7, 9]);
    }
}
