//! Which tokenizer belongs to a text graph, and whether it really does.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenizers::Tokenizer;
use tokenizers::models::ModelWrapper;

use super::config::{Config, Family, find, read_first};
use crate::model::ModelError;
use crate::model::manifest::{BuiltinTokenizer, TokenizerSpec};
use crate::model::onnx::EndMarker;
use crate::model::tokenizer;

/// Tokens of OpenAI's CLIP, whose vocabulary is built in.
const CLIP_TOKENS: usize = 49_408;

/// A text graph's tokenizer.
pub(super) struct Words {
    pub spec: TokenizerSpec,
    /// Its files, in the order in which they are hashed.
    pub files: Vec<PathBuf>,
    pub pad_id: u32,
    pub frame: Frame,
    /// Longest text in tokens, where its files say one.
    pub max_length: Option<usize>,
}

/// What a tokenizer puts around a text, which tells how the graph reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    /// `[CLS]` and `[SEP]`, or `<s>` and `</s>`: the graph looks both ways, and takes the first place
    /// or the mean.
    Bert,
    /// An end marker, or nothing.
    Other,
}

/// Tokenised to see what comes around it.
const SAMPLE: &str = "a photo";

/// More tokens than any text model takes.
const LONGEST: usize = 100_000;

/// What the graph says of its ids.
pub(super) struct Wanted<'a> {
    pub graph: &'a Path,
    /// Rows of its table of tokens, where the graph shows it.
    pub rows: Option<usize>,
    /// How it finds the end of a text, where it looks for it.
    pub end: Option<EndMarker>,
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
    let refused = |error: tokenizers::Error| ModelError::Tokenizer {
        path: shown.clone(),
        message: error.to_string(),
    };
    let sample = tokenizer.encode(SAMPLE, true).map_err(refused)?;
    let special = Special::read(&tokenizer, folders)?;
    let frame = frame(&tokenizer, sample.get_ids(), &special, wanted);
    match frame {
        Frame::Bert => check_frame(&tokenizer, sample.get_ids(), &special, &shown)?,
        Frame::Other if wanted.end.is_some() || wanted.config.family() == Family::Clip => {
            check_end(&tokenizer, sample.get_ids(), &special, &shown, wanted)?;
        }
        Frame::Other => {}
    }
    let pad_id = pad_id(&tokenizer, folders, &special, frame, wanted.config)?;
    Ok(Words { spec, files, pad_id, frame, max_length: special.max_length })
}

/// A graph that looks for an end marker has CLIP's frame whatever its tokenizer calls its tokens.
fn frame(tokenizer: &Tokenizer, ids: &[u32], special: &Special, wanted: &Wanted) -> Frame {
    let word_pieces = matches!(tokenizer.get_model(), ModelWrapper::WordPiece(_));
    let begun = special.first.is_some() && ids.first().copied() == special.first;
    match wanted.end.is_none() && wanted.config.family() != Family::Siglip {
        true if word_pieces || begun => Frame::Bert,
        _ => Frame::Other,
    }
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
        why: "it is built in only for a CLIP (model_type in config.json) of 49408 tokens; for any \
              other, transformers' AutoTokenizer.from_pretrained(NAME).save_pretrained(DIR) \
              writes it",
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
fn check_end(
    tokenizer: &Tokenizer,
    ids: &[u32],
    special: &Special,
    path: &Path,
    wanted: &Wanted,
) -> Result<(), ModelError> {
    let largest = ids.iter().max().copied();
    let end = match wanted.end {
        Some(EndMarker::Id(id)) => u32::try_from(id).ok(),
        // The first exports call it 2 and mean the largest id of the text.
        Some(EndMarker::Largest) | None => {
            wanted.config.end_token().filter(|id| *id != 2).or(special.end).or(largest)
        }
    };
    if ids.last().copied() == end {
        return Ok(());
    }
    Err(ModelError::Unfit {
        path: path.to_owned(),
        problem: "the tokenizer does not end a text with the model's end marker",
        found: format!("ids {ids:?} for {SAMPLE:?}"),
        wanted: end.map_or("an end marker".into(), |id| {
            format!("{id} ({}) at the end", tokenizer.id_to_token(id).unwrap_or_default())
        }),
    })
}

/// BERT reads a text off its first place, and both marks count in every mean.
fn check_frame(
    tokenizer: &Tokenizer,
    ids: &[u32],
    special: &Special,
    path: &Path,
) -> Result<(), ModelError> {
    let Special { first, end, .. } = *special;
    if ids.first().copied() == first && ids.last().copied() == end && first.is_some() {
        return Ok(());
    }
    let name = |id: Option<u32>, usual: &str| match id {
        Some(id) => format!("{id} ({})", tokenizer.id_to_token(id).unwrap_or_default()),
        None => usual.to_owned(),
    };
    Err(ModelError::Unfit {
        path: path.to_owned(),
        problem: "the tokenizer does not put a text between the marks of its model",
        found: format!("ids {ids:?} for {SAMPLE:?}"),
        wanted: format!(
            "{} first and {} last, as its post_processor adds them: write it anew with \
             transformers' AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)",
            name(first, "[CLS] or <s>"),
            name(end, "[SEP] or </s>")
        ),
    })
}

/// The ids of tokens with a part to play.
#[derive(Debug, Clone, Copy, Default)]
struct Special {
    /// Begins a text where the tokenizer has BERT's frame.
    first: Option<u32>,
    /// Ends one.
    end: Option<u32>,
    padding: Option<u32>,
    /// Longest text in tokens, where that is a length and not "any".
    max_length: Option<usize>,
}

impl Special {
    /// As `tokenizer_config.json` and `special_tokens_map.json` name them, else by their usual
    /// names in BERT's and in RoBERTa's vocabularies.
    fn read(tokenizer: &Tokenizer, folders: &[PathBuf]) -> Result<Self, ModelError> {
        let mut settings = Vec::new();
        for name in ["tokenizer_config.json", "special_tokens_map.json"] {
            settings.extend(read_first(folders, name)?.map(|(_, value)| value));
        }
        let id = |name: &str| tokenizer.token_to_id(name);
        let said = |key: &str| settings.iter().find_map(|value| id(content(&value[key])?));
        let length = settings.iter().find_map(|value| value["model_max_length"].as_u64());
        let length = length.and_then(|length| usize::try_from(length).ok());
        Ok(Self {
            first: said("cls_token").or_else(|| id("[CLS]")).or_else(|| id("<s>")),
            end: said("sep_token")
                .or_else(|| said("eos_token"))
                .or_else(|| id("[SEP]"))
                .or_else(|| id("</s>")),
            padding: said("pad_token"),
            // "Any length" is written as a number far larger than any model's.
            max_length: length.filter(|length| (1..=LONGEST).contains(length)),
        })
    }
}

/// The id that fills the padding: as the tokenizer's files say, else 0; with BERT's frame, else by
/// its usual names or as the model's configuration says.
fn pad_id(
    tokenizer: &Tokenizer,
    folders: &[PathBuf],
    special: &Special,
    frame: Frame,
    config: &Config,
) -> Result<u32, ModelError> {
    if let Some((_, value)) = read_first(folders, "tokenizer.json")?
        && let Some(id) = value["padding"]["pad_id"].as_u64()
    {
        return Ok(u32::try_from(id).unwrap_or(0));
    }
    let usual = || ["[PAD]", "<pad>"].iter().find_map(|name| tokenizer.token_to_id(name));
    let by_frame = || match frame {
        Frame::Bert => usual().or_else(|| config.pad_token()),
        Frame::Other => None,
    };
    Ok(special.padding.or_else(by_frame).unwrap_or(0))
}

/// A token, written as text or as a table with its content.
fn content(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value["content"].as_str())
}
