//! The vision tower: pixels to unit vectors.

use ort::value::Tensor;

use super::sessions::SessionPool;
use super::{Embedding, EncoderError, EncoderOptions, unit_rows};
use crate::image::{Pixels, Preprocessor};
use crate::model::{ModelError, ModelFolder, runtime};

const TOWER: &str = "vision";

/// An ONNX vision graph, f32 [N, 3, crop, crop] to f32 [N, D].
pub struct VisionTower {
    sessions: SessionPool,
    input: String,
    output: String,
    dim: usize,
}

impl VisionTower {
    /// Opens the folder's vision graph.
    ///
    /// # Errors
    /// The runtime is missing, the graph is refused or lacks the manifest's names.
    pub fn open(folder: &ModelFolder, options: &EncoderOptions) -> Result<Self, ModelError> {
        let spec = &folder.manifest.vision;
        let path = folder.file(&spec.file);
        let threads = options.resolved_intra_threads();
        let sessions = SessionPool::open(&path, options.sessions, threads)?;
        sessions.with(|session| runtime::require(&path, session, &[&spec.input], &spec.output))?;
        Ok(Self {
            sessions,
            input: spec.input.clone(),
            output: spec.output.clone(),
            dim: folder.manifest.embedding_dim,
        })
    }

    /// Embeds prepared photos in one inference call; waits while every session is in use.
    ///
    /// # Errors
    /// The session failed or answered another shape.
    pub fn embed(
        &self,
        preprocessor: &Preprocessor,
        batch: &[Pixels],
    ) -> Result<Vec<Embedding>, EncoderError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let crop = preprocessor.config().crop as usize;
        let plane = 3 * crop * crop;
        let mut values = vec![0f32; batch.len() * plane];
        for (pixels, out) in batch.iter().zip(values.chunks_exact_mut(plane)) {
            preprocessor.write_nchw(pixels, out);
        }
        self.run([batch.len(), 3, crop, crop], values)
    }

    fn run(&self, shape: [usize; 4], values: Vec<f32>) -> Result<Vec<Embedding>, EncoderError> {
        let failed = |error: ort::Error| EncoderError::Inference {
            tower: TOWER,
            message: error.to_string(),
        };
        let tensor = Tensor::from_array((shape, values)).map_err(failed)?;
        self.sessions.with(|session| {
            let inputs = ort::inputs![self.input.as_str() => tensor];
            let outputs = session.run(inputs).map_err(failed)?;
            let output = &outputs[self.output.as_str()];
            let (_, rows) = output.try_extract_tensor::<f32>().map_err(failed)?;
            unit_rows(TOWER, rows, shape[0], self.dim)
        })
    }
}
