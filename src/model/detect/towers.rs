//! Which outputs of an export are its embeddings.

use std::path::Path;

use super::config::{Config, Family};
use super::layout::{self, Candidate, Kind};
use crate::model::ModelError;
use crate::model::onnx::{Graph, Port};

/// A tower's graph and the output that is its embedding.
pub(super) struct Tower<'a> {
    pub graph: &'a Candidate,
    pub output: &'a Port,
}

impl<'a> Tower<'a> {
    /// # Errors
    /// No output of the graph is an embedding in the shared space.
    pub fn vision(graph: &'a Candidate, config: &Config) -> Result<Self, ModelError> {
        const NAMES: [&str; 3] = ["image_embeds", "image_embeddings", "image_features"];
        Self::new(graph, config, &NAMES)
    }

    /// # Errors
    /// As [`Tower::vision`].
    pub fn text(graph: &'a Candidate, config: &Config) -> Result<Self, ModelError> {
        const NAMES: [&str; 3] = ["text_embeds", "text_embeddings", "text_features"];
        Self::new(graph, config, &NAMES)
    }

    fn new(
        graph: &'a Candidate,
        config: &Config,
        names: &[&'static str; 3],
    ) -> Result<Self, ModelError> {
        let Candidate { path, graph: inside, kind, .. } = graph;
        let named = names.iter().find_map(|name| row_output(inside, name));
        let pooled = || match (kind, config.family()) {
            // CLIP's is taken before the projection: another space, often of the same width.
            (Kind::Both, _) | (_, Family::Clip) => None,
            (_, Family::Siglip | Family::Unknown) => row_output(inside, "pooler_output"),
        };
        let only = || match inside.outputs.as_slice() {
            [output] if *kind != Kind::Both && is_row(output) => Some(output),
            _ => None,
        };
        match named.or_else(pooled).or_else(|| only().filter(|one| one.name != "pooler_output")) {
            Some(output) => Ok(Self { graph, output }),
            None => Err(no_embedding(path, inside, names[0])),
        }
    }

    /// Width of the embeddings, where the graph says it.
    pub fn width(&self) -> Option<usize> {
        self.output.dims.last().copied().flatten()
    }
}

fn row_output<'g>(graph: &'g Graph, name: &str) -> Option<&'g Port> {
    graph.output(name).filter(|port| is_row(port))
}

/// One vector per row.
fn is_row(port: &Port) -> bool {
    port.element.is_float() && port.dims.len() == 2
}

fn no_embedding(path: &Path, graph: &Graph, name: &'static str) -> ModelError {
    ModelError::Unfit {
        path: path.to_owned(),
        problem: "none of its outputs is an embedding that photos and texts share",
        found: layout::ports(&graph.outputs),
        wanted: format!(
            "{name} [rows, width] (for SigLIP pooler_output); export with the projection \
             (transformers' CLIPVisionModelWithProjection and CLIPTextModelWithProjection), or \
             write a model.toml that says how to pool"
        ),
    }
}
