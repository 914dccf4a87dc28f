//! The text tower: texts to unit vectors.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use ort::session::Session;
use ort::value::Tensor;
use tokenizers::{Encoding, Tokenizer};

use super::{Embedding, EncoderError, EncoderOptions, TextEmbedding, unit_rows};
use crate::model::manifest::{TextSpec, TokenizerSpec};
use crate::model::{ModelError, ModelFolder, runtime};

const TOWER: &str = "text";

/// Rows per text inference call: texts are short, and longer batches only add padding.
const TEXT_BATCH: usize = 32;

/// A tokenizer and an ONNX text graph, int64 [N, L] ids and mask to f32 [N, D].
pub struct TextTower {
    session: Mutex<Session>,
    tokenizer: Tokenizer,
    spec: TextSpec,
    dim: usize,
}

impl TextTower {
    /// Opens the folder's text graph and tokenizer.
    ///
    /// # Errors
    /// The runtime is missing, the graph or the tokenizer is refused.
    pub fn open(folder: &ModelFolder, options: &EncoderOptions) -> Result<Self, ModelError> {
        let spec = folder.manifest.text.clone();
        let path = folder.file(&spec.file);
        let session = runtime::open_session(&path, options.resolved_intra_threads())?;
        let inputs: Vec<&str> = [Some(&spec.input_ids), spec.attention_mask.as_ref()]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        runtime::require(&path, &session, &inputs, &spec.output)?;
        let TokenizerSpec::File(tokenizer) = &spec.tokenizer else {
            return Err(ModelError::Tokenizer {
                path,
                message: "only tokenizer.json so far".into(),
            });
        };
        let tokenizer = open_tokenizer(&folder.file(tokenizer))?;
        let dim = folder.manifest.embedding_dim;
        Ok(Self { session: Mutex::new(session), tokenizer, spec, dim })
    }

    /// Token ids of one text as the graph gets them, specials included, and whether the text was
    /// cut at the context length.
    ///
    /// # Errors
    /// The tokenizer refuses the text.
    pub fn token_ids(&self, text: &str) -> Result<(Vec<u32>, bool), EncoderError> {
        let tokens = self.tokenize(text)?;
        Ok((tokens.ids, tokens.truncated))
    }

    /// One text as the graph gets it.
    ///
    /// # Errors
    /// The tokenizer refuses the text.
    pub fn tokenize(&self, text: &str) -> Result<Tokens, EncoderError> {
        let encoding = self.tokenizer.encode_fast(text, true).map_err(refused)?;
        Ok(Tokens::within(self.spec.context_length, &encoding))
    }

    /// Embeds texts in order; texts of like length share a batch, so that little is padded.
    ///
    /// # Errors
    /// A text cannot be tokenised, or the session failed.
    pub fn embed(&self, texts: &[&str]) -> Result<Vec<TextEmbedding>, EncoderError> {
        let encodings = self.tokenizer.encode_batch_fast(texts.to_vec(), true).map_err(refused)?;
        let cut = |encoding| Tokens::within(self.spec.context_length, encoding);
        let tokens: Vec<Tokens> = encodings.iter().map(cut).collect();
        embed_by_length(&tokens, |batch| self.embed_tokens(batch))
    }

    /// Embeds tokenised texts in one inference call, padded to the longest.
    ///
    /// # Errors
    /// The session failed or answered another shape.
    pub fn embed_tokens(&self, batch: &[&Tokens]) -> Result<Vec<Embedding>, EncoderError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let failed = |error: ort::Error| EncoderError::Inference {
            tower: TOWER,
            message: error.to_string(),
        };
        let longest = batch.iter().map(|tokens| tokens.count()).max().unwrap_or(0);
        let shape = [batch.len(), longest];
        let ids = Tensor::from_array((shape, padded(batch, longest, |tokens| &tokens.ids)));
        let mut inputs = ort::inputs![self.spec.input_ids.as_str() => ids.map_err(failed)?];
        if let Some(name) = &self.spec.attention_mask {
            let mask = Tensor::from_array((shape, padded(batch, longest, |tokens| &tokens.mask)));
            inputs.push((name.into(), mask.map_err(failed)?.into()));
        }
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = session.run(inputs).map_err(failed)?;
        let output = &outputs[self.spec.output.as_str()];
        let (_, rows) = output.try_extract_tensor::<f32>().map_err(failed)?;
        unit_rows(TOWER, rows, batch.len(), self.dim)
    }
}

/// A tokenised text as the graph gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    ids: Vec<u32>,
    mask: Vec<u32>,
    truncated: bool,
}

impl Tokens {
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

/// Embeds texts in batches of [`TEXT_BATCH`] of like length, so that little is padded; the results
/// are in the order of `tokens`. The batches depend on nothing but `tokens`.
pub(super) fn embed_by_length(
    tokens: &[Tokens],
    mut run: impl FnMut(&[&Tokens]) -> Result<Vec<Embedding>, EncoderError>,
) -> Result<Vec<TextEmbedding>, EncoderError> {
    let mut order: Vec<usize> = (0..tokens.len()).collect();
    order.sort_by_key(|row| tokens[*row].count());
    let mut embedded: Vec<Option<TextEmbedding>> = vec![None; tokens.len()];
    for rows in order.chunks(TEXT_BATCH) {
        let batch: Vec<&Tokens> = rows.iter().map(|row| &tokens[*row]).collect();
        for (row, vector) in rows.iter().zip(run(&batch)?) {
            let Tokens { truncated, .. } = tokens[*row];
            let tokens = tokens[*row].count();
            embedded[*row] = Some(TextEmbedding { vector, tokens, truncated });
        }
    }
    // `order` is a permutation, so every row was filled.
    Ok(embedded.into_iter().flatten().collect())
}

fn padded(batch: &[&Tokens], longest: usize, field: impl Fn(&Tokens) -> &[u32]) -> Vec<i64> {
    let mut values = Vec::with_capacity(batch.len() * longest);
    for tokens in batch {
        values.extend(field(tokens).iter().map(|value| i64::from(*value)));
        values.resize(values.len() + longest - tokens.count(), 0);
    }
    values
}

fn refused(error: tokenizers::Error) -> EncoderError {
    EncoderError::Tokenize { message: error.to_string() }
}

fn open_tokenizer(path: &Path) -> Result<Tokenizer, ModelError> {
    let refused = |error: tokenizers::Error| ModelError::Tokenizer {
        path: path.to_owned(),
        message: error.to_string(),
    };
    let mut tokenizer = Tokenizer::from_file(path).map_err(refused)?;
    // Padding and cutting are done here: the first per batch, the second so that it is reported.
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(refused)?;
    Ok(tokenizer)
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
    fn results_come_in_the_order_of_the_texts() {
        let tokens =
            |count: usize| Tokens { ids: vec![7; count], mask: vec![1; count], truncated: false };
        let texts: Vec<Tokens> = (0..70).map(|row| tokens(1 + row * 13 % 29)).collect();
        let embedded = embed_by_length(&texts, |batch| {
            assert!(batch.len() <= TEXT_BATCH);
            Ok(batch.iter().map(|tokens| vec![tokens.count() as f32]).collect())
        });
        for (text, one) in texts.iter().zip(embedded.expect("embeds")) {
            assert_eq!((one.tokens, one.vector[0]), (text.count(), text.count() as f32));
        }
    }
}
