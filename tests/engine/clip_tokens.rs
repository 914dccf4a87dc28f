//! CLIP's tokenizer against transformers' on 10,000 varied strings
//! (`tests/golden/clip_tokens.py`).

use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use crate::support::paths;
use pairwright::base::hash;
use pairwright::encoder::TextTokenizer;
use pairwright::model::manifest::{BuiltinTokenizer, Padding, Pooling, TextSpec, TokenizerSpec};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    text: String,
    count: usize,
    hash: String,
    cut: bool,
    ids: Option<Vec<u32>>,
}

fn golden() -> Vec<Golden> {
    let file = fs_err::File::open(paths::golden().join("clip_tokens.jsonl.gz")).expect("golden");
    let lines = BufReader::new(flate2::read::GzDecoder::new(file)).lines();
    lines.map(|line| serde_json::from_str(&line.expect("text")).expect("a line")).collect()
}

fn tokenizer(spec: TokenizerSpec, folder: &str) -> TextTokenizer {
    let folder = paths::golden().join(folder);
    let spec = TextSpec {
        file: String::new(),
        tokenizer: spec,
        input_ids: String::new(),
        attention_mask: None,
        token_type_ids: None,
        output: String::new(),
        pooling: Pooling::None,
        context_length: 77,
        padding: Padding::Longest,
        pad_id: 0,
        prompt: None,
        mean: None,
    };
    let file = |name: &str| -> PathBuf { folder.join(name) };
    TextTokenizer::open(&spec, file).expect("the tokenizer opens")
}

#[test]
fn ten_thousand_texts_have_the_ids_of_the_reference() {
    let tokenizer = tokenizer(TokenizerSpec::Builtin { builtin: BuiltinTokenizer::ClipBpe }, "");
    let golden = golden();
    assert_eq!(golden.len(), 10_000);
    let mut wrong = Vec::new();
    for Golden { text, count, hash, cut, ids } in &golden {
        let tokens = tokenizer.tokenize(text).expect("tokenises");
        let bytes: Vec<u8> = tokens.ids().iter().flat_map(|id| id.to_le_bytes()).collect();
        let same = hash::sha256_hex(&bytes).starts_with(hash)
            && ids.as_ref().is_none_or(|ids| ids == tokens.ids());
        if !same || (tokens.count(), tokens.truncated()) != (*count, *cut) {
            wrong.push((text, tokens.ids().to_vec(), ids));
        }
    }
    assert!(golden.iter().filter(|one| one.cut).count() > 100);
    assert!(wrong.is_empty(), "{} differ, such as {:?}", wrong.len(), &wrong[..wrong.len().min(5)]);
}

#[test]
fn vocabulary_files_and_tokenizer_json_give_the_same_ids() {
    let json = tokenizer(TokenizerSpec::File("tokenizer.json".into()), "clip/clip");
    let (vocab, merges) = ("vocab.json".to_owned(), "merges.txt".to_owned());
    let files = tokenizer(TokenizerSpec::ClipFiles { vocab, merges }, "clip/clip-fixed");
    for Golden { text, .. } in golden() {
        let (a, b) = (json.tokenize(&text).expect("json"), files.tokenize(&text).expect("files"));
        assert_eq!(a, b, "{text:?}");
    }
}
