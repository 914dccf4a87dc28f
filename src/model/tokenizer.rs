//! A model's tokenizer, opened.

use std::path::{Path, PathBuf};

use tokenizers::Tokenizer;

use super::manifest::{BuiltinTokenizer, TokenizerSpec};
use super::{ModelError, clip_bpe};

/// Opens a tokenizer; `file` tells where a file is. It neither pads nor cuts: the first is done
/// per batch, the second so that it can be reported.
///
/// # Errors
/// A file is missing or is no tokenizer.
pub fn open(spec: &TokenizerSpec, file: impl Fn(&str) -> PathBuf) -> Result<Tokenizer, ModelError> {
    let (path, opened) = match spec {
        TokenizerSpec::File(name) => (file(name), Tokenizer::from_file(file(name))),
        TokenizerSpec::ClipFiles { vocab, merges } => {
            let (vocab, merges) = (file(vocab), file(merges));
            let opened = clip_bpe::from_files(&read(&vocab)?, &read(&merges)?);
            (vocab, opened)
        }
        TokenizerSpec::Builtin { builtin: BuiltinTokenizer::ClipBpe } => {
            ("the built-in CLIP vocabulary".into(), clip_bpe::built_in())
        }
    };
    let refused = |error: tokenizers::Error| ModelError::Tokenizer {
        path: path.clone(),
        message: error.to_string(),
    };
    let mut tokenizer = opened.map_err(refused)?;
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(refused)?;
    Ok(tokenizer)
}

fn read(path: &Path) -> Result<String, ModelError> {
    fs_err::read_to_string(path).map_err(|source| ModelError::Io { path: path.to_owned(), source })
}
