//! A model's tokenizer, opened; CLIP's byte-pair encoding is made from a vocabulary and its merges
//! as transformers' `CLIPTokenizer` makes it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use tokenizers::Tokenizer;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::normalizers::{Lowercase, NFC, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::tokenizer::{AddedToken, SplitDelimiterBehavior};

use super::ModelError;
use super::manifest::{BuiltinTokenizer, TokenizerSpec};

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
            let opened = from_files(&read(&vocab)?, &read(&merges)?);
            (vocab, opened)
        }
        TokenizerSpec::Builtin { builtin: BuiltinTokenizer::ClipBpe } => {
            ("the built-in CLIP vocabulary".into(), built_in())
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

/// The 48,894 merges of OpenAI's CLIP (`models/clip-bpe/README.md`).
const MERGES: &str = include_str!("../../models/clip-bpe/merges.txt");

const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";

/// Marks the last piece of a word.
const WORD_END: &str = "</w>";

/// Words, as CLIP tells them apart before it looks at pairs: the markers, English contractions,
/// runs of letters, single digits, runs of anything else that is not white space.
const WORDS: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// The tokenizer of OpenAI's CLIP, 49,408 tokens.
///
/// # Errors
/// None with the built-in vocabulary; the signature is that of its parts.
fn built_in() -> tokenizers::Result<Tokenizer> {
    let merges = parse_merges(MERGES);
    tokenizer(vocabulary(&merges), merges)
}

/// The tokenizer of a `vocab.json` and a `merges.txt`.
///
/// # Errors
/// The two do not belong together, or the markers are missing.
fn from_files(vocab: &str, merges: &str) -> tokenizers::Result<Tokenizer> {
    let vocab: std::collections::HashMap<String, u32> = serde_json::from_str(vocab)?;
    tokenizer(vocab.into_iter().collect(), parse_merges(merges))
}

/// One merge a line; a first line may name the version.
fn parse_merges(text: &str) -> Merges {
    let lines = text.lines().filter(|line| !line.starts_with("#version"));
    let pairs = lines.filter_map(|line| line.trim_end().split_once(' '));
    pairs.map(|(left, right)| (left.to_owned(), right.to_owned())).collect()
}

/// The bytes, the bytes that end a word, what each merge makes, the two markers: in this order.
fn vocabulary(merges: &Merges) -> Vocab {
    let bytes = byte_letters();
    let ends = bytes.iter().map(|letter| format!("{letter}{WORD_END}"));
    let made = merges.iter().map(|(left, right)| format!("{left}{right}"));
    let all = bytes.iter().map(char::to_string).chain(ends).chain(made);
    all.chain([START.to_owned(), END.to_owned()]).zip(0..).collect()
}

/// The letter that stands for each byte, in the order of the ids: bytes that print stand for
/// themselves and come first, the others follow from U+0100 on (GPT-2's `bytes_to_unicode`).
fn byte_letters() -> Vec<char> {
    let printed = ('!'..='~').chain('\u{a1}'..='\u{ac}').chain('\u{ae}'..='\u{ff}');
    let printed: Vec<char> = printed.collect();
    let rest = 256 - printed.len() as u32;
    printed.into_iter().chain((0..rest).filter_map(|n| char::from_u32(0x100 + n))).collect()
}

fn tokenizer(vocab: Vocab, merges: Merges) -> tokenizers::Result<Tokenizer> {
    let marker = |name: &str| {
        let id = vocab.get(name).copied();
        id.map(|id| (name.to_owned(), id)).ok_or_else(|| format!("the vocabulary has no {name}"))
    };
    let (start, end) = (marker(START)?, marker(END)?);
    let bpe = BPE::builder()
        .vocab_and_merges(vocab, merges)
        .unk_token(END.to_owned())
        .end_of_word_suffix(WORD_END.to_owned())
        .build()?;
    let mut tokenizer = Tokenizer::new(bpe);
    let spaces =
        Replace::new(tokenizers::normalizers::replace::ReplacePattern::Regex(r"\s+".into()), " ")?;
    tokenizer.with_normalizer(Some(Normalizers::new(vec![
        NFC.into(),
        spaces.into(),
        Lowercase.into(),
    ])))?;
    let words =
        Split::new(SplitPattern::Regex(WORDS.into()), SplitDelimiterBehavior::Removed, true)?;
    let bytes = ByteLevel::new(false, true, true);
    tokenizer.with_pre_tokenizer(Some(PreTokenizers::new(vec![words.into(), bytes.into()])));
    tokenizer.with_post_processor(Some(
        RobertaProcessing::new(end, start).trim_offsets(false).add_prefix_space(false),
    ));
    let markers = [START, END].map(|name| AddedToken::from(name, true));
    tokenizer.add_special_tokens(markers)?;
    Ok(tokenizer)
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

    #[test]
    fn ids_are_openais() {
        let tokenizer = built_in().expect("the built-in vocabulary");
        assert_eq!(tokenizer.get_vocab_size(true), 49_408);
        let ids = |text: &str| tokenizer.encode(text, true).expect("encodes").get_ids().to_vec();
        // The example of transformers' documentation of CLIPTokenizer.
        assert_eq!(ids("a photo of a cat"), [49406, 320, 1125, 539, 320, 2368, 49407]);
        assert_eq!(ids(""), [49406, 49407]);
        assert_eq!(ids("A  Photo\nof a CAT"), ids("a photo of a cat"));
    }

    #[test]
    fn a_vocabulary_without_markers_is_refused() {
        let error = from_files(r#"{"a": 0}"#, "").expect_err("no markers");
        assert!(error.to_string().contains("<|startoftext|>"), "{error}");
    }
}
