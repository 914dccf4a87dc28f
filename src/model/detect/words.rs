//! Which tokenizer belongs to a text graph, and whether it really does.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenizers::Tokenizer;

use super::config::{Config, Family, find, read_first};
use crate::model::ModelError;
use crate::model::manifest::{BuiltinTokenizer, TokenizerSpec};
use crate::model::tokenizer;

/// Tokens of OpenAI's CLIP, whose vocabulary is built in.
const CLIP_TOKENS: usize = 49_408;

/// A text graph's tokenizer.
pub(super) struct Words {
    pub spec: TokenizerSpec,
    /// Its files, in the order in which they are hashed.
    pub files: Vec<PathBuf>,
    pub pad_id: u32,
}

/// What the graph says of its ids.
pub(super) struct Wanted<'a> {
    pub graph: &'a Path,
    /// Rows of its table of tokens, where the graph shows it.
    pub rows: Option<usize>,
    pub config: &'a Config,
}

/// Finds the tokenizer in `folders` and checks it against the graph; `name` turns a path into the
/// name that the manifest gives it.
pub(super) fn words(
    folders: &[PathBuf],
    wanted: &Wanted,
    name: impl Fn(&Path) -> String,
) -> Result<Words, ModelError> {
    let files = files(folders, wanted)?;
    let spec = match files.as_slice() {
        [] => TokenizerSpec::Builtin { builtin: BuiltinTokenizer::ClipBpe },
        [vocab, merges] => TokenizerSpec::ClipFiles { vocab: name(vocab), merges: name(merges) },
        [file, ..] => TokenizerSpec::File(name(file)),
    };
    let path_of = |wanted: &str| files.iter().find(|path| name(path) == wanted).cloned();
    let tokenizer = tokenizer::open(&spec, |wanted| path_of(wanted).unwrap_or_default())?;
    let shown = files.first().cloned().unwrap_or_else(|| wanted.graph.to_owned());
    check_ids(&tokenizer, &shown, wanted.rows)?;
    if wanted.config.family() == Family::Clip {
        check_end(&tokenizer, &shown, wanted)?;
    }
    let pad_id = pad_id(&tokenizer, folders)?;
    Ok(Words { spec, files, pad_id })
}

/// `tokenizer.json`, or `vocab.json` and `merges.txt`, or nothing where the built-in one fits.
fn files(folders: &[PathBuf], wanted: &Wanted) -> Result<Vec<PathBuf>, ModelError> {
    if let Some(file) = find(folders, "tokenizer.json") {
        return Ok(vec![file]);
    }
    if let (Some(vocab), Some(merges)) = (find(folders, "vocab.json"), find(folders, "merges.txt"))
    {
        return Ok(vec![vocab, merges]);
    }
    if wanted.config.family() == Family::Clip && wanted.rows == Some(CLIP_TOKENS) {
        tracing::warn!("no tokenizer.json: taking CLIP's own, for config.json says CLIP");
        return Ok(Vec::new());
    }
    Err(ModelError::NoFile {
        path: folders.last().cloned().unwrap_or_default(),
        wanted: "tokenizer.json (or vocab.json and merges.txt)",
        why: "it is built in only for a CLIP (model_type in config.json) of 49408 tokens",
    })
}

/// Ids must lie within the graph's table, and must not be those of a much smaller one.
fn check_ids(tokenizer: &Tokenizer, path: &Path, rows: Option<usize>) -> Result<(), ModelError> {
    let largest = tokenizer.get_vocab(false).into_values().max().unwrap_or(0);
    let Some(rows) = rows else { return Ok(()) };
    let known = largest as usize + 1;
    // Tables are rounded up, to a multiple of 64 or so.
    if known <= rows && known >= rows - rows / 10 {
        return Ok(());
    }
    Err(ModelError::TokenizerMisfit { path: path.to_owned(), largest, last: rows - 1 })
}

/// CLIP reads a text's vector off its end marker: without one it would be off any word.
fn check_end(tokenizer: &Tokenizer, path: &Path, wanted: &Wanted) -> Result<(), ModelError> {
    let refused = |error: tokenizers::Error| ModelError::Tokenizer {
        path: path.to_owned(),
        message: error.to_string(),
    };
    let encoding = tokenizer.encode("a photo", true).map_err(refused)?;
    let last = encoding.get_ids().last().copied();
    // The first exports call it 2 and mean the largest id of the text.
    let largest = encoding.get_ids().iter().max().copied();
    let end = wanted.config.end_token().filter(|id| *id != 2).or(largest);
    if last == end {
        return Ok(());
    }
    Err(ModelError::Unfit {
        path: path.to_owned(),
        problem: "the tokenizer does not end a text with the model's end marker",
        found: format!("ids {:?} for \"a photo\"", encoding.get_ids()),
        wanted: end.map_or("an end marker".into(), |id| format!("{id} at the end")),
    })
}

/// The id that fills the padding: as the tokenizer's files say, else 0.
fn pad_id(tokenizer: &Tokenizer, folders: &[PathBuf]) -> Result<u32, ModelError> {
    if let Some((_, value)) = read_first(folders, "tokenizer.json")?
        && let Some(id) = value["padding"]["pad_id"].as_u64()
    {
        return Ok(u32::try_from(id).unwrap_or(0));
    }
    for name in ["tokenizer_config.json", "special_tokens_map.json"] {
        let Some((_, value)) = read_first(folders, name)? else { continue };
        let token = content(&value["pad_token"]);
        if let Some(id) = token.and_then(|token| tokenizer.token_to_id(token)) {
            return Ok(id);
        }
    }
    Ok(0)
}

/// A token, written as text or as a table with its content.
fn content(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value["content"].as_str())
}
