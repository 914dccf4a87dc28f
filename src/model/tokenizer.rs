//! A model's tokenizer, opened.

use std::panic::{AssertUnwindSafe, catch_unwind};
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
        TokenizerSpec::File(name) => (file(name), from_file(&file(name))),
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

fn from_file(path: &Path) -> tokenizers::Result<Tokenizer> {
    // The crate panics on a file that ends inside some of its parts.
    let opened = catch_unwind(AssertUnwindSafe(|| Tokenizer::from_file(path)));
    opened.unwrap_or_else(|_| Err("it is cut short or damaged".into()))
}

fn read(path: &Path) -> Result<String, ModelError> {
    fs_err::read_to_string(path).map_err(|source| ModelError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/clip/clip");
        let whole = fs_err::read(whole.join("tokenizer.json")).expect("a tokenizer");
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("tokenizer.json");
        for length in (0..whole.len() - 1).step_by(97) {
            fs_err::write(&path, &whole[..length]).expect("written");
            let opened = open(&TokenizerSpec::File("tokenizer.json".into()), |_| path.clone());
            let error = opened.expect_err("cut short").to_string();
            assert!(error.contains("tokenizer.json"), "{length}: {error}");
        }
    }
}
