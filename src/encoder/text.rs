//! The text tower, and text embeddings as they were before a dual encoder centred them.

use std::ops::ControlFlow;

use super::rows::Answer;
use super::sessions::{BoundSession, SessionPool};
use super::tokens::{TextTokenizer, Tokens};
use super::{Embedding, EncoderError, EncoderOptions, OrderedPool, TextEmbedding, in_order};
use crate::model::manifest::TextSpec;
use crate::model::runtime::{self, GraphFile};
use crate::model::{Device, ModelError, ModelFolder};

const TOWER: &str = "text";

/// Rows per text inference call: texts are short, and longer batches only add padding.
const TEXT_BATCH: usize = 32;

/// A tokenizer and an ONNX text graph, ids and mask [N, L] to float [N, D].
pub struct TextTower {
    sessions: SessionPool,
    words: TextTokenizer,
    spec: TextSpec,
    dim: usize,
    /// Rows per inference call at most.
    rows: usize,
}

impl TextTower {
    /// Opens the folder's text graph and tokenizer.
    ///
    /// # Errors
    /// The runtime is missing, the graph or the tokenizer is refused.
    pub fn open(folder: &ModelFolder, options: &EncoderOptions) -> Result<Self, ModelError> {
        let manifest = &folder.manifest;
        let spec = manifest.text.clone();
        let path = folder.file(&spec.file);
        let graph = match spec.file == manifest.vision.file {
            true => GraphFile::part(path, &spec.output)?,
            false => GraphFile::whole(path)?,
        };
        // A GPU is filled by one.
        let count = if options.device == Device::Cpu { options.text_sessions } else { 1 };
        let sessions = SessionPool::open(&graph, count, false, options.session())?;
        let inputs = [&spec.input_ids].into_iter().chain(&spec.attention_mask);
        let inputs: Vec<&str> = inputs.chain(&spec.token_type_ids).map(String::as_str).collect();
        sessions.with(|session| {
            runtime::require(graph.path(), session.session(), &inputs, &spec.output)
        })?;
        Ok(Self {
            sessions,
            words: TextTokenizer::open(&spec, |name| folder.file(name))?,
            spec,
            dim: manifest.embedding_dim,
            rows: if manifest.batch_independent { usize::MAX } else { 1 },
        })
    }

    /// What it runs on.
    pub fn device(&self) -> Device {
        self.sessions.device()
    }

    /// Token ids of one text as the graph gets them, specials included, and whether the text was
    /// cut at the context length.
    ///
    /// # Errors
    /// The tokenizer refuses the text.
    pub fn token_ids(&self, text: &str) -> Result<(Vec<u32>, bool), EncoderError> {
        let tokens = self.tokenize(text)?;
        Ok((tokens.ids().to_vec(), tokens.truncated()))
    }

    /// One text as the graph gets it.
    ///
    /// # Errors
    /// The tokenizer refuses the text.
    pub fn tokenize(&self, text: &str) -> Result<Tokens, EncoderError> {
        self.words.tokenize(text)
    }

    /// Embeds texts in order; texts of like length share a batch, so that little is padded.
    ///
    /// # Errors
    /// A text cannot be tokenised, or the session failed.
    pub fn embed(&self, texts: &[&str]) -> Result<Vec<TextEmbedding>, EncoderError> {
        let tokens = self.words.tokenize_all(texts)?;
        embed_by_length(&tokens, self.sessions.count(), |batch| self.embed_tokens(batch))
    }

    /// Embeds tokenised texts in one inference call, or in several where the graph would mix them
    /// or takes no padding; padded as the model wants it.
    ///
    /// # Errors
    /// The session failed or answered another shape.
    pub fn embed_tokens(&self, batch: &[&Tokens]) -> Result<Vec<Embedding>, EncoderError> {
        let mut embedded = Vec::with_capacity(batch.len());
        for fitting in self.words.together(batch) {
            for rows in fitting.chunks(self.rows) {
                embedded.extend(self.sessions.with(|session| self.embed_in(session, rows))?);
            }
        }
        Ok(embedded)
    }

    /// Embeds tokenised texts of like length on every session in turn.
    ///
    /// # Errors
    /// As [`TextTower::embed_tokens`].
    pub fn warm(&self, batch: &[&Tokens]) -> Result<(), EncoderError> {
        let rows = &batch[..batch.len().min(self.rows)];
        self.sessions.each(|session| self.embed_in(session, rows).map(drop))
    }

    fn embed_in(
        &self,
        session: &mut BoundSession,
        batch: &[&Tokens],
    ) -> Result<Vec<Embedding>, EncoderError> {
        let failed = |error: ort::Error| EncoderError::Inference {
            tower: TOWER,
            message: error.to_string(),
        };
        let TextSpec { input_ids, attention_mask, token_type_ids, output, pooling, .. } =
            &self.spec;
        let (ids, length) = self.words.ids(batch);
        let shape = [batch.len(), length];
        let lengths: Vec<usize> = batch.iter().map(|tokens| tokens.count()).collect();
        let answer = Answer { tower: TOWER, pooling: *pooling, dim: self.dim, lengths: &lengths };
        session.integers(input_ids, &shape, &ids).map_err(failed)?;
        if let Some(name) = attention_mask {
            session.integers(name, &shape, &self.words.mask(batch)).map_err(failed)?;
        }
        if let Some(name) = token_type_ids {
            // Every text is a first one.
            session.integers(name, &shape, &vec![0; ids.len()]).map_err(failed)?;
        }
        let read = |found: &[usize], values: &[f32]| answer.rows(batch.len(), found, values);
        session.run(output, read).map_err(failed)?
    }
}

/// Embeds texts in batches of [`TEXT_BATCH`] of like length, so that little is padded, as many at
/// once as `at_once` says; the results are in the order of `tokens`. The batches depend on nothing
/// but `tokens`.
pub(super) fn embed_by_length(
    tokens: &[Tokens],
    at_once: usize,
    run: impl Fn(&[&Tokens]) -> Result<Vec<Embedding>, EncoderError> + Sync,
) -> Result<Vec<TextEmbedding>, EncoderError> {
    let mut order: Vec<usize> = (0..tokens.len()).collect();
    order.sort_by_key(|row| tokens[*row].count());
    let mut embedded: Vec<Option<TextEmbedding>> = vec![None; tokens.len()];
    let run = |rows: &&[usize]| {
        let batch: Vec<&Tokens> = rows.iter().map(|row| &tokens[*row]).collect();
        run(&batch)
    };
    let mut keep = |rows: &[usize], vectors: Vec<Embedding>| {
        for (row, vector) in rows.iter().zip(vectors) {
            let (tokens, truncated) = (tokens[*row].count(), tokens[*row].truncated());
            embedded[*row] = Some(TextEmbedding { vector, tokens, truncated });
        }
    };
    let batches = order.chunks(TEXT_BATCH);
    if at_once <= 1 || batches.len() <= 1 {
        for rows in batches {
            keep(rows, run(&rows)?);
        }
    } else {
        let mut failed = None;
        in_order(
            OrderedPool { threads: at_once, ahead: at_once * 2 },
            batches,
            run,
            |rows, result| {
                match result.unwrap_or(Err(EncoderError::Panicked { tower: TOWER })) {
                    Ok(vectors) => keep(rows, vectors),
                    Err(error) => failed = Some(error),
                }
                if failed.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            },
        );
        if let Some(error) = failed {
            return Err(error);
        }
    }
    // `order` is a permutation, so every row was filled.
    Ok(embedded.into_iter().flatten().collect())
}

/// A mean text embedding m, |m| < 1, that a text graph subtracts from unit vectors u before it
/// normalises again: x = (u - m) / |u - m|.
///
/// Centred vectors match photos better; for the meaning of sentences alone the vectors before
/// centring are the published ones, and thresholds on their cosines are the usual ones.
#[derive(Debug, Clone, PartialEq)]
pub struct TextMean {
    values: Vec<f32>,
    /// 1 - |m|².
    rest: f64,
}

impl TextMean {
    /// Reads the file that the folder's manifest names; `None` where it names none.
    ///
    /// # Errors
    /// The file cannot be read, or is no mean of unit vectors of the model's width.
    pub fn open(folder: &ModelFolder) -> Result<Option<Self>, ModelError> {
        let Some(file) = &folder.manifest.text.mean else { return Ok(None) };
        let path = folder.file(&file.name);
        let bytes =
            fs_err::read(&path).map_err(|source| ModelError::Io { path: path.clone(), source })?;
        let words = bytes.chunks_exact(4);
        let values: Vec<f32> =
            words.map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect();
        match Self::new(values, folder.manifest.embedding_dim) {
            Some(mean) => Ok(Some(mean)),
            None => {
                let message = "text.mean is no mean of unit vectors of embedding_dim floats".into();
                Err(ModelError::Manifest { path, message })
            }
        }
    }

    fn new(values: Vec<f32>, dim: usize) -> Option<Self> {
        let rest = 1.0 - values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
        (values.len() == dim && rest > 0.0 && rest.is_finite()).then_some(Self { values, rest })
    }

    /// The unit vector u of which `centred` is the centred form: u = m + t x with the t > 0 that
    /// gives |u| = 1.
    pub fn undo(&self, centred: &[f32]) -> Embedding {
        let along: f64 =
            self.values.iter().zip(centred).map(|(m, x)| f64::from(*m) * f64::from(*x)).sum();
        let t = (along * along + self.rest).sqrt() - along;
        let pairs = self.values.iter().zip(centred);
        pairs.map(|(m, x)| (f64::from(*m) + t * f64::from(*x)) as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::unit;
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_texts() {
        let texts: Vec<Tokens> = (0..170).map(|row| Tokens::of_count(1 + row * 13 % 29)).collect();
        for at_once in [1, 3] {
            let embedded = embed_by_length(&texts, at_once, |batch| {
                assert!(batch.len() <= TEXT_BATCH);
                Ok(batch.iter().map(|tokens| vec![tokens.count() as f32]).collect())
            });
            for (text, one) in texts.iter().zip(embedded.expect("embeds")) {
                assert_eq!((one.tokens, one.vector[0]), (text.count(), text.count() as f32));
            }
        }
    }

    #[test]
    fn a_batch_that_fails_or_panics_beside_others_is_an_error() {
        let texts: Vec<Tokens> = (1..200).map(Tokens::of_count).collect();
        for at_once in [1, 3] {
            let failed = embed_by_length(&texts, at_once, |batch| match batch[0].count() {
                1 => Ok(vec![vec![1.0]; batch.len()]),
                _ => Err(EncoderError::Closed),
            });
            assert!(matches!(failed, Err(EncoderError::Closed)), "{at_once}: {failed:?}");
        }
        let panicked = embed_by_length(&texts, 3, |_| panic!("in a session"));
        assert!(matches!(panicked, Err(EncoderError::Panicked { .. })), "{panicked:?}");
    }

    proptest! {
        #[test]
        fn centring_is_undone(
            u in prop::collection::vec(-1.0f32..1.0, 6), m in prop::collection::vec(-0.3f32..0.3, 6),
        ) {
            prop_assume!(u.iter().any(|value| value.abs() > 0.1));
            let u = unit("text", 0, &u).expect("a direction");
            let mean = TextMean::new(m.clone(), 6).expect("short enough");
            let difference: Vec<f32> = u.iter().zip(&m).map(|(u, m)| u - m).collect();
            let centred = unit("text", 0, &difference).expect("u is longer than m");
            for (back, was) in mean.undo(&centred).iter().zip(&u) {
                prop_assert!((back - was).abs() < 1e-5, "{back} {was}");
            }
        }
    }

    #[test]
    fn what_is_no_mean_of_unit_vectors_is_refused() {
        assert_eq!(TextMean::new(vec![0.9, 0.9], 2), None);
        assert_eq!(TextMean::new(vec![0.1], 2), None);
        assert_eq!(TextMean::new(vec![f32::NAN, 0.0], 2), None);
    }
}
