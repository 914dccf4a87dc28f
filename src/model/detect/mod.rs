//! The manifest of an export that has none: from its graphs and the JSON files beside them.

mod config;
mod layout;
mod preprocess;
mod words;

use std::path::{Path, PathBuf};

use super::folder::TEXT_FOLDER;
use super::manifest::{
    ModelDefaults, ModelFile, ModelManifest, Padding, Pooling, TextSpec, UNKNOWN_LICENSE,
    VisionSpec,
};
use super::{ModelError, ModelSource, onnx};
use crate::base::hash;
use config::{Config, Family};
use layout::{Candidate, Graphs, Tower};
use words::{Frame, Wanted, Words};

/// The manifest that an export would have.
///
/// # Errors
/// [`ModelError`]: what was found, and what a CLIP-like export has.
pub(super) fn manifest(source: &ModelSource) -> Result<ModelManifest, ModelError> {
    let place = Place { root: &source.path, text: source.text_path.as_deref() };
    let vision_graphs = Graphs::of(place.root)?;
    let text_graphs = place.text.map(Graphs::of).transpose()?;
    let texts = text_graphs.as_ref().unwrap_or(&vision_graphs).with(Candidate::has_text);
    let visions = vision_graphs.with(Candidate::has_vision);
    let chosen = layout::choose(&visions, &texts, source.precision);
    let (vision, text) = match chosen {
        Some((vision, text)) => (vision, text),
        None if visions.is_empty() => {
            let wanted = "one that takes floats [N, 3, S, S], such as onnx/vision_model.onnx";
            return Err(vision_graphs.none(place.root, "vision", wanted));
        }
        None if texts.is_empty() => {
            let wanted = "one that takes token ids [N, L], such as onnx/text_model.onnx";
            let graphs = text_graphs.unwrap_or(vision_graphs);
            return Err(graphs.none(place.text_root(), "text", wanted));
        }
        None => return Err(layout::no_precision(place.root, source.precision, &visions, &texts)),
    };
    assemble(&place, vision, text)
}

/// The folders of an export.
struct Place<'a> {
    root: &'a Path,
    text: Option<&'a Path>,
}

impl Place<'_> {
    fn text_root(&self) -> &Path {
        self.text.unwrap_or(self.root)
    }

    /// What the manifest calls a file.
    fn name(&self, path: &Path) -> String {
        let below = |root: &Path| {
            let rest = path.strip_prefix(root).ok()?;
            let parts: Vec<_> = rest.iter().map(|part| part.to_string_lossy()).collect();
            Some(parts.join("/"))
        };
        let in_text = self.text.and_then(below).map(|name| format!("{TEXT_FOLDER}{name}"));
        in_text.or_else(|| below(self.root)).unwrap_or_else(|| path.display().to_string())
    }

    fn pin(&self, file: &Pinned) -> Result<ModelFile, ModelError> {
        let path = file.content.as_path();
        let io = |source| ModelError::Io { path: path.to_owned(), source };
        let sha256 = hash::sha256_file(path).map_err(io)?;
        let bytes = fs_err::metadata(path).map_err(io)?.len();
        Ok(ModelFile { name: self.name(&file.path), sha256, bytes })
    }
}

/// A file that the embeddings depend on.
struct Pinned {
    /// Where the export has it.
    path: PathBuf,
    /// Where its content is: elsewhere only for weights of a graph that is itself a link.
    content: PathBuf,
}

impl From<&PathBuf> for Pinned {
    fn from(path: &PathBuf) -> Self {
        Self { path: path.clone(), content: path.clone() }
    }
}

fn assemble(
    place: &Place,
    vision: &Candidate,
    text: &Candidate,
) -> Result<ModelManifest, ModelError> {
    let vision_folders = config::folders(&vision.path, place.root);
    let text_folders = text_folders(place, text);
    let vision_config = Config::read(&vision_folders)?;
    let text_config = Config::read(&text_folders)?;
    let vision_tower = Tower::vision(vision, &vision_config)?;
    let text_tower = Tower::text(text, &text_config)?;
    let embedding_dim = width(&vision_tower, &text_tower, &text_config)?;
    let (text_spec, words) = text_spec(place, &text_tower, &text_config, &text_folders)?;
    let vision_spec = vision_spec(place, &vision_tower, &vision_config, &vision_folders)?;
    let folder_name = place.root.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = vision_config.name().map(str::to_owned).or(folder_name);
    let manifest = ModelManifest {
        name: name.unwrap_or_else(|| "export".into()),
        revision: "local".into(),
        stand_in: false,
        notice: None,
        license: UNKNOWN_LICENSE.into(),
        embedding_dim,
        batch_independent: takes_batches(vision)? && takes_batches(text)?,
        files: pin_all(place, vision, text, &words)?,
        vision: vision_spec,
        text: text_spec,
        logit: vision.graph.logit.or(text.graph.logit),
        golden: None,
        defaults: ModelDefaults::default(),
        quality: toml::Table::new(),
    };
    report(&manifest, vision, text);
    Ok(manifest)
}

/// Whether rows may be run together: not where one would change another's result, nor where the
/// graph takes one row only.
fn takes_batches(candidate: &Candidate) -> Result<bool, ModelError> {
    let rows =
        candidate.graph.inputs.iter().filter_map(|port| port.dims.first().copied().flatten());
    match rows.max() {
        Some(rows) if rows > 1 => Err(ModelError::Unfit {
            path: candidate.path.clone(),
            problem: "it takes batches of one size only",
            found: format!("{rows} rows"),
            wanted: "an export with a dynamic batch axis, or with batches of 1".into(),
        }),
        one => Ok(one.is_none() && candidate.graph.batch_independent()),
    }
}

/// Says what was made of the folder.
fn report(manifest: &ModelManifest, vision: &Candidate, text: &Candidate) {
    tracing::info!(
        model = manifest.name,
        vision = manifest.vision.file,
        vision_precision = %vision.precision,
        text = manifest.text.file,
        text_precision = %text.precision,
        width = manifest.embedding_dim,
        context = manifest.text.context_length,
        "no model.toml: read the export's own files"
    );
}

/// The text graph's folders up to its root, and then the vision side's root: tokenizers often lie
/// there.
fn text_folders(place: &Place, text: &Candidate) -> Vec<PathBuf> {
    let mut folders = config::folders(&text.path, place.text_root());
    if place.text.is_some() {
        folders.push(place.root.to_owned());
    }
    folders
}

fn width(vision: &Tower, text: &Tower, config: &Config) -> Result<usize, ModelError> {
    let (vision_dim, text_dim) = (vision.width(), text.width());
    if let (Some(vision_dim), Some(text_dim)) = (vision_dim, text_dim)
        && vision_dim != text_dim
    {
        let (vision, text) = (vision.graph.path.clone(), text.graph.path.clone());
        return Err(ModelError::Widths { vision, vision_dim, text, text_dim });
    }
    vision_dim.or(text_dim).or_else(|| config.projection_dim()).ok_or_else(|| ModelError::Unfit {
        path: vision.graph.path.clone(),
        problem: "nothing says how wide its embeddings are",
        found: vision.output.to_string(),
        wanted: "a fixed last dimension, or projection_dim in config.json".into(),
    })
}

fn vision_spec(
    place: &Place,
    tower: &Tower,
    config: &Config,
    folders: &[PathBuf],
) -> Result<VisionSpec, ModelError> {
    let Candidate { path, graph, .. } = tower.graph;
    let input = layout::pixels(graph).ok_or_else(|| lost_input(tower.graph))?;
    let side = match input.dims.as_slice() {
        [_, None | Some(3), height, width] if height == width => *height,
        _ => {
            return Err(ModelError::Unfit {
                path: path.clone(),
                problem: "it does not take square photos, channels first",
                found: input.to_string(),
                wanted: "[N, 3, S, S]".into(),
            });
        }
    };
    let preprocess = preprocess::preprocess(folders, config, side)?;
    if let Some(side) = side
        && side != preprocess.crop as usize
    {
        return Err(ModelError::Unfit {
            path: path.clone(),
            problem: "the graph and preprocessor_config.json do not belong together",
            found: format!("{input} and photos of {0} x {0}", preprocess.crop),
            wanted: format!("photos of {side} x {side}"),
        });
    }
    let (input, output) = (input.name.clone(), tower.output.name.clone());
    Ok(VisionSpec { file: place.name(path), input, output, pooling: Pooling::None, preprocess })
}

fn text_spec(
    place: &Place,
    tower: &Tower,
    config: &Config,
    folders: &[PathBuf],
) -> Result<(TextSpec, Words), ModelError> {
    let Candidate { path, graph, .. } = tower.graph;
    let ids = layout::ids(graph).ok_or_else(|| lost_input(tower.graph))?;
    let fixed = ids.dims.last().copied().flatten();
    let wanted = Wanted {
        graph: path,
        rows: graph.table_rows(&ids.name),
        end: graph.end_marker(&ids.name),
        config,
    };
    let words = words::words(folders, &wanted, |path| place.name(path))?;
    let said = match words.frame {
        Frame::Bert => config.bert_context_length(words.max_length, words.pad_id),
        Frame::Other => config.context_length(),
    };
    let context_length = fixed.or(said).ok_or_else(|| ModelError::Unfit {
        path: path.clone(),
        problem: "nothing says how long its texts may be",
        found: ids.to_string(),
        wanted: "a fixed last dimension, or max_position_embeddings in config.json".into(),
    })?;
    let padding = match (fixed, layout::mask(graph), words.frame, config.family()) {
        (Some(_), ..) => Padding::Context,
        (None, Some(_), ..) => Padding::Longest,
        (None, None, Frame::Bert, _) => Padding::Never,
        // CLIP looks only back from the end marker, so that padding behind it is never seen.
        (None, None, Frame::Other, Family::Clip) => Padding::Longest,
        // What it was trained with.
        (None, None, Frame::Other, _) => Padding::Context,
    };
    let spec = TextSpec {
        file: place.name(path),
        tokenizer: words.spec.clone(),
        input_ids: ids.name.clone(),
        attention_mask: layout::mask(graph).map(|port| port.name.clone()),
        token_type_ids: layout::types(graph).map(|port| port.name.clone()),
        output: tower.output.name.clone(),
        pooling: Pooling::None,
        context_length,
        padding,
        pad_id: words.pad_id,
        prompt: None,
        mean: None,
    };
    Ok((spec, words))
}

/// For graphs of a kind that has the input: it was told by that very input.
fn lost_input(candidate: &Candidate) -> ModelError {
    ModelError::Unfit {
        path: candidate.path.clone(),
        problem: "it lacks the input of its tower",
        found: layout::ports(&candidate.graph.inputs),
        wanted: "floats [N, 3, S, S] or token ids [N, L]".into(),
    }
}

/// Everything that the embeddings depend on: graphs, weights beside them, tokenizer.
fn pin_all(
    place: &Place,
    vision: &Candidate,
    text: &Candidate,
    words: &Words,
) -> Result<Vec<ModelFile>, ModelError> {
    let mut pinned = Vec::new();
    for candidate in [vision, text] {
        pinned.push(Pinned::from(&candidate.path));
        for name in &candidate.graph.external_files {
            let content = onnx::weights_file(&candidate.path, name)?;
            pinned.push(Pinned { path: candidate.path.with_file_name(name), content });
        }
    }
    pinned.extend(words.files.iter().map(Pinned::from));
    let mut seen = std::collections::HashSet::new();
    pinned.retain(|file| seen.insert(file.path.clone()));
    pinned.iter().map(|file| place.pin(file)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Precision;
    use crate::model::onnx::{Element, Graph, Port};

    /// A text graph of this batch size.
    fn batches_of(rows: Option<usize>) -> Candidate {
        let port = Port { name: "ids".into(), element: Element::I64, dims: vec![rows, None] };
        let mut graph = Graph::default();
        graph.inputs.push(port);
        let (kind, precision) = (layout::Kind::Text, Precision::Fp32);
        Candidate { path: "text.onnx".into(), graph, kind, precision }
    }

    #[test]
    fn a_graph_of_one_row_is_run_row_by_row_and_one_of_several_refused() {
        assert!(takes_batches(&batches_of(None)).expect("any size"));
        assert!(!takes_batches(&batches_of(Some(1))).expect("one row"));
        let error = takes_batches(&batches_of(Some(4))).expect_err("refused").to_string();
        assert!(error.contains("text.onnx") && error.contains("4 rows"), "{error}");
    }
}
