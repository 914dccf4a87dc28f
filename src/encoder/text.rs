//! The text tower: texts to unit vectors.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use ort::session::Session;
use ort::value::Tensor;
use tokenizers::{Encoding, Tokenizer};

use super::{EncoderError, EncoderOptions, TextEmbedding, unit_rows};
use crate::model::manifest::TextSpec;
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
        runtime::require(&path, &session, &[&spec.input_ids, &spec.attention_mask], &spec.output)?;
        let tokenizer = open_tokenizer(&folder.file(&spec.tokenizer))?;
        let dim = folder.manifest.embedding_dim;
        Ok(Self { session: Mutex::new(session), tokenizer, spec, dim })
    }

    /// Token ids of one text as the graph gets them, specials included, and whether the text was
    /// cut at the context length.
    ///
    /// # Errors
    /// The tokenizer refuses the text.
    pub fn token_ids(&self, text: &str) -> Result<(Vec<u32>, bool), EncoderError> {
        let mut encodings = self.tokenize(&[text])?;
        let (encoding, truncated) = encodings.remove(0);
        Ok((encoding.get_ids().to_vec(), truncated))
    }

    /// Embeds texts in order; texts of like length share a batch, so that little is padded.
    ///
    /// # Errors
    /// A text cannot be tokenised, or the session failed.
    pub fn embed(&self, texts: &[&str]) -> Result<Vec<TextEmbedding>, EncoderError> {
        let encodings = self.tokenize(texts)?;
        let mut order: Vec<usize> = (0..encodings.len()).collect();
        order.sort_by_key(|row| encodings[*row].0.len());
        let mut embedded: Vec<Option<TextEmbedding>> = vec![None; encodings.len()];
        for rows in order.chunks(TEXT_BATCH) {
            let batch: Vec<&Encoding> = rows.iter().map(|row| &encodings[*row].0).collect();
            for (row, vector) in rows.iter().zip(self.run(&batch)?) {
                let (encoding, truncated) = &encodings[*row];
                let tokens = encoding.len();
                embedded[*row] = Some(TextEmbedding { vector, tokens, truncated: *truncated });
            }
        }
        // `order` is a permutation, so every row was filled.
        Ok(embedded.into_iter().flatten().collect())
    }

    fn tokenize(&self, texts: &[&str]) -> Result<Vec<(Encoding, bool)>, EncoderError> {
        let failed =
            |error: tokenizers::Error| EncoderError::Tokenize { message: error.to_string() };
        let encodings = self.tokenizer.encode_batch_fast(texts.to_vec(), true).map_err(failed)?;
        Ok(encodings
            .into_iter()
            .map(|mut encoding| {
                let truncated = encoding.len() > self.spec.context_length;
                if truncated {
                    cut(&mut encoding, self.spec.context_length);
                }
                (encoding, truncated)
            })
            .collect())
    }

    fn run(&self, batch: &[&Encoding]) -> Result<Vec<Vec<f32>>, EncoderError> {
        let failed = |error: ort::Error| EncoderError::Inference {
            tower: TOWER,
            message: error.to_string(),
        };
        let longest = batch.iter().map(|encoding| encoding.len()).max().unwrap_or(0);
        let shape = [batch.len(), longest];
        let ids = Tensor::from_array((shape, padded(batch, longest, Encoding::get_ids)));
        let mask =
            Tensor::from_array((shape, padded(batch, longest, Encoding::get_attention_mask)));
        let inputs = ort::inputs![
            self.spec.input_ids.as_str() => ids.map_err(failed)?,
            self.spec.attention_mask.as_str() => mask.map_err(failed)?,
        ];
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = session.run(inputs).map_err(failed)?;
        let output = &outputs[self.spec.output.as_str()];
        let (_, rows) = output.try_extract_tensor::<f32>().map_err(failed)?;
        unit_rows(TOWER, rows, batch.len(), self.dim)
    }
}

/// Keeps the last token: it is the model's end marker, which pooling may need.
fn cut(encoding: &mut Encoding, length: usize) {
    let last = encoding.len() - 1;
    let (id, mask) = (encoding.get_ids()[last], encoding.get_attention_mask()[last]);
    let mut ids = encoding.get_ids()[..length - 1].to_vec();
    let mut masks = encoding.get_attention_mask()[..length - 1].to_vec();
    ids.push(id);
    masks.push(mask);
    let zeros = vec![0; length];
    *encoding = Encoding::new(
        ids,
        zeros.clone(),
        vec![String::new(); length],
        vec![None; length],
        vec![(0, 0); length],
        zeros,
        masks,
        Vec::new(),
        Default::default(),
    );
}

fn padded(batch: &[&Encoding], longest: usize, field: impl Fn(&Encoding) -> &[u32]) -> Vec<i64> {
    let mut values = Vec::with_capacity(batch.len() * longest);
    for encoding in batch {
        values.extend(field(encoding).iter().map(|value| i64::from(*value)));
        values.resize(values.len() + longest - encoding.len(), 0);
    }
    values
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
