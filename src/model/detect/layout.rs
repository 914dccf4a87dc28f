//! Which of a folder's ONNX files is which tower, which pair of them is taken, and which of their
//! outputs are the embeddings.

use std::path::{Path, PathBuf};

use super::config::{Config, Family};
use crate::model::onnx::{Graph, Port};
use crate::model::{ModelError, Precision};

/// Where exports keep their graphs, best first: Optimum's and the hub communities' `onnx/`, two
/// files in the folder itself, one folder per tower.
const FOLDERS: [&str; 6] = ["onnx", "", "vision", "text", "visual", "textual"];

/// Names of the same precision, best first; a name with none of these comes before them.
const ENDINGS: [&str; 6] = ["_quantized", "_int8", "_uint8", "_q4", "_q4f16", "_bnb4"];

/// Graphs larger in number than any export: more would be somebody's home folder.
const MAX_GRAPHS: usize = 200;

/// What a graph is, by its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Vision,
    Text,
    Both,
    Other,
}

/// An ONNX file of the folder.
#[derive(Debug)]
pub(super) struct Candidate {
    pub path: PathBuf,
    pub graph: Graph,
    pub kind: Kind,
    pub precision: Precision,
}

impl Candidate {
    fn read(path: PathBuf) -> Result<Self, ModelError> {
        let graph = Graph::read(&path)?;
        let (kind, precision) = (kind(&graph), graph.precision());
        Ok(Self { path, graph, kind, precision })
    }

    pub fn has_vision(&self) -> bool {
        matches!(self.kind, Kind::Vision | Kind::Both)
    }

    pub fn has_text(&self) -> bool {
        matches!(self.kind, Kind::Text | Kind::Both)
    }

    /// One tower by itself before both in one, then the endings' order, then the name.
    fn rank(&self) -> (bool, usize, PathBuf) {
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy();
        let place = ENDINGS.iter().position(|ending| stem.ends_with(ending));
        (self.kind == Kind::Both, place.map_or(0, |place| place + 1), self.path.clone())
    }
}

/// The ONNX files of a folder, and those of them that cannot be read with the reason.
#[derive(Debug, Default)]
pub(super) struct Graphs {
    pub readable: Vec<Candidate>,
    broken: Vec<ModelError>,
    /// The folder's other entries, to be named when there is no graph.
    others: Vec<String>,
}

impl Graphs {
    /// Reads every ONNX file of the places where exports keep them.
    pub fn of(root: &Path) -> Result<Self, ModelError> {
        let mut graphs = Self::default();
        for folder in FOLDERS {
            for path in entries(&root.join(folder))? {
                let is_graph = path.extension().is_some_and(|ending| ending == "onnx");
                if !is_graph {
                    if folder.is_empty() {
                        graphs.others.extend(file_name(&path));
                    }
                    continue;
                }
                match Candidate::read(path) {
                    Ok(candidate) => graphs.readable.push(candidate),
                    Err(error) => graphs.broken.push(error),
                }
                if graphs.readable.len() + graphs.broken.len() > MAX_GRAPHS {
                    return Err(graphs.too_many(root));
                }
            }
        }
        graphs.readable.sort_by_key(Candidate::rank);
        Ok(graphs)
    }

    /// The graphs that hold a tower.
    pub fn with(&self, has: impl Fn(&Candidate) -> bool) -> Vec<&Candidate> {
        self.readable.iter().filter(|candidate| has(candidate)).collect()
    }

    /// Why there is no graph of a tower: a file that cannot be read first, for it may be the one.
    pub fn none(mut self, root: &Path, tower: &'static str, wanted: &'static str) -> ModelError {
        if !self.broken.is_empty() {
            return self.broken.swap_remove(0);
        }
        let found = match self.readable.as_slice() {
            [] if self.others.is_empty() => "an empty folder".to_owned(),
            [] => format!("no .onnx file among {}", shortened(&self.others)),
            graphs => shortened(
                &graphs.iter().map(|one| describe(&one.path, &one.graph)).collect::<Vec<_>>(),
            ),
        };
        ModelError::NoGraph { path: root.to_owned(), tower, found, wanted }
    }

    fn too_many(&self, root: &Path) -> ModelError {
        ModelError::Unfit {
            path: root.to_owned(),
            problem: "this is not the folder of one model",
            found: format!("more than {MAX_GRAPHS} ONNX files"),
            wanted: "the graphs of one export".into(),
        }
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, ModelError> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let io = |source| ModelError::Io { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs_err::read_dir(folder).map_err(io)? {
        paths.push(entry.map_err(io)?.path());
    }
    paths.sort();
    Ok(paths)
}

fn file_name(path: &Path) -> Option<String> {
    path.file_name().map(|name| name.to_string_lossy().into_owned())
}

/// A few of many, for a message.
fn shortened(all: &[String]) -> String {
    const SHOWN: usize = 6;
    let shown = all.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// A graph in words: what goes in and what comes out.
pub(super) fn describe(path: &Path, graph: &Graph) -> String {
    let name = file_name(path).unwrap_or_default();
    format!("{name} ({} to {})", ports(&graph.inputs), ports(&graph.outputs))
}

/// Inputs or outputs in words.
pub(super) fn ports(ports: &[Port]) -> String {
    shortened(&ports.iter().map(Port::to_string).collect::<Vec<_>>())
}

fn kind(graph: &Graph) -> Kind {
    let (vision, text) = (pixels(graph).is_some(), ids(graph).is_some());
    let beside = [mask(graph), types(graph)].into_iter().flatten().count();
    let known = usize::from(vision) + usize::from(text) + beside;
    match (vision, text) {
        // An input beside these would need to be fed, and nobody says with what.
        _ if known != graph.inputs.len() => Kind::Other,
        (true, true) => Kind::Both,
        (true, false) if beside == 0 => Kind::Vision,
        (false, true) => Kind::Text,
        _ => Kind::Other,
    }
}

/// The input that takes photos: floats, four dimensions.
pub(super) fn pixels(graph: &Graph) -> Option<&Port> {
    graph.inputs.iter().find(|port| port.element.is_float() && port.dims.len() == 4)
}

/// The input that takes token ids: whole numbers, two dimensions.
pub(super) fn ids(graph: &Graph) -> Option<&Port> {
    integers(graph).find(|port| !is_mask(port) && !is_type(port))
}

/// The input that tells a first text from a second one.
pub(super) fn types(graph: &Graph) -> Option<&Port> {
    integers(graph).find(|port| is_type(port))
}

/// The input that tells tokens from padding.
pub(super) fn mask(graph: &Graph) -> Option<&Port> {
    integers(graph).find(|port| is_mask(port))
}

fn integers(graph: &Graph) -> impl Iterator<Item = &Port> {
    graph.inputs.iter().filter(|port| port.element.is_integer() && port.dims.len() == 2)
}

fn is_mask(port: &Port) -> bool {
    port.name.contains("mask")
}

fn is_type(port: &Port) -> bool {
    port.name.contains("type")
}

/// The first pair of towers of the same precision, the most exact first; where none match, the
/// most exact of each. With a precision given, only that.
pub(super) fn choose<'a>(
    visions: &[&'a Candidate],
    texts: &[&'a Candidate],
    wanted: Option<Precision>,
) -> Option<(&'a Candidate, &'a Candidate)> {
    let first = |all: &[&'a Candidate], precision: Precision| {
        all.iter().find(|one| one.precision == precision).copied()
    };
    let pair = |precision| Some((first(visions, precision)?, first(texts, precision)?));
    if let Some(precision) = wanted {
        return pair(precision);
    }
    let most_exact = |all: &[&'a Candidate]| {
        Precision::ALL.into_iter().find_map(|precision| first(all, precision))
    };
    let mixed = || Some((most_exact(visions)?, most_exact(texts)?));
    Precision::ALL.into_iter().find_map(pair).or_else(mixed)
}

/// Why no pair is left: the precision that is wanted is not there.
pub(super) fn no_precision(
    root: &Path,
    wanted: Option<Precision>,
    visions: &[&Candidate],
    texts: &[&Candidate],
) -> ModelError {
    let of = |tower: &str, all: &[&Candidate]| {
        let mut found: Vec<Precision> = all.iter().map(|one| one.precision).collect();
        found.sort();
        found.dedup();
        let found: Vec<String> = found.iter().map(Precision::to_string).collect();
        format!("{tower} {}", found.join(", "))
    };
    ModelError::NoPrecision {
        path: root.to_owned(),
        wanted: wanted.map(|precision| precision.to_string()).unwrap_or_default(),
        found: format!("{}; {}", of("vision", visions), of("text", texts)),
    }
}

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
        found: ports(&graph.outputs),
        wanted: format!(
            "{name} [rows, width] (for SigLIP pooler_output); export with the projection \
             (transformers' CLIPVisionModelWithProjection and CLIPTextModelWithProjection), or \
             write a model.toml that says how to pool"
        ),
    }
}
