//! The vision tower: pixels to unit vectors.

use super::rows::Answer;
use super::sessions::{BoundSession, SessionPool};
use super::{Embedding, EncoderError, EncoderOptions};
use crate::image::{Pixels, Preprocessor};
use crate::model::manifest::VisionSpec;
use crate::model::runtime::{self, GraphFile};
use crate::model::{Device, ModelError, ModelFolder};

const TOWER: &str = "vision";

/// An ONNX vision graph, float [N, 3, crop, crop] to float [N, D].
pub struct VisionTower {
    sessions: SessionPool,
    spec: VisionSpec,
    dim: usize,
    /// Rows per inference call at most.
    rows: usize,
}

impl VisionTower {
    /// Opens the folder's vision graph.
    ///
    /// # Errors
    /// The runtime is missing, the graph is refused or lacks the manifest's names.
    pub fn open(folder: &ModelFolder, options: &EncoderOptions) -> Result<Self, ModelError> {
        let manifest = &folder.manifest;
        let spec = manifest.vision.clone();
        let path = folder.file(&spec.file);
        let graph = match spec.file == manifest.text.file {
            true => GraphFile::part(path, &spec.output)?,
            false => GraphFile::whole(path)?,
        };
        let sessions =
            SessionPool::open(&graph, options.sessions, options.wide_session, options.session())?;
        sessions.with(|session| {
            runtime::require(graph.path(), session.session(), &[&spec.input], &spec.output)
        })?;
        let rows = if manifest.batch_independent { usize::MAX } else { 1 };
        Ok(Self { sessions, dim: manifest.embedding_dim, spec, rows })
    }

    /// What it runs on.
    pub fn device(&self) -> Device {
        self.sessions.device()
    }

    /// Embeds prepared photos in one inference call, or each in its own where the graph would mix
    /// them; waits while every session is in use.
    ///
    /// # Errors
    /// The session failed or answered another shape.
    pub fn embed(
        &self,
        preprocessor: &Preprocessor,
        batch: &[Pixels],
    ) -> Result<Vec<Embedding>, EncoderError> {
        let mut embedded = Vec::with_capacity(batch.len());
        for rows in batch.chunks(self.rows) {
            let run = |session: &mut BoundSession| self.embed_in(session, preprocessor, rows);
            embedded.extend(self.sessions.with(run)?);
        }
        Ok(embedded)
    }

    /// Embeds prepared photos on every session in turn.
    ///
    /// # Errors
    /// As [`VisionTower::embed`].
    pub fn warm(&self, preprocessor: &Preprocessor, batch: &[Pixels]) -> Result<(), EncoderError> {
        let rows = &batch[..batch.len().min(self.rows)];
        self.sessions.each(|session| self.embed_in(session, preprocessor, rows).map(drop))
    }

    fn embed_in(
        &self,
        session: &mut BoundSession,
        preprocessor: &Preprocessor,
        batch: &[Pixels],
    ) -> Result<Vec<Embedding>, EncoderError> {
        let failed = |error: ort::Error| EncoderError::Inference {
            tower: TOWER,
            message: error.to_string(),
        };
        let VisionSpec { input, output, pooling, .. } = &self.spec;
        let crop = preprocessor.config().crop as usize;
        let shape = [batch.len(), 3, crop, crop];
        let answer = Answer { tower: TOWER, pooling: *pooling, dim: self.dim, lengths: &[] };
        let fill = |values: &mut [f32]| {
            let rows = values.chunks_exact_mut(preprocessor.tensor_len());
            batch.iter().zip(rows).for_each(|(pixels, row)| preprocessor.write_nchw(pixels, row));
        };
        session.floats(input, &shape, fill).map_err(failed)?;
        let read = |found: &[usize], values: &[f32]| answer.rows(batch.len(), found, values);
        session.run(output, read).map_err(failed)?
    }
}
