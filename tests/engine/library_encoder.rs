//! The instruction library with the bundled encoder: seeded, searched, opened again.

use crate::support::paths;
use pairwright::encoder::{Encoder, EncoderError, EncoderOptions, OnnxEncoder};
use pairwright::image::DecodeOptions;
use pairwright::index::IndexConfig;
use pairwright::instruction::Library;
use pairwright::instruction::store::InstructionStore;

#[test]
fn the_built_in_library_is_found_by_its_own_texts_before_and_after_a_restart() {
    let encoder =
        OnnxEncoder::open(&paths::model(), &EncoderOptions::default(), DecodeOptions::default())
            .expect("the bundled encoder opens; run `make setup` once");
    let embed = |texts: &[&str]| -> Result<Vec<Vec<f32>>, EncoderError> {
        Ok(encoder.embed_texts(texts)?.into_iter().map(|text| text.vector).collect())
    };
    let folder = tempfile::tempdir().expect("a folder");
    let open = |embed| {
        let config = IndexConfig::default();
        InstructionStore::open(folder.path(), encoder.hash(), encoder.dim(), &config, embed)
    };
    let library = Library::read(None).expect("built in");
    let store = open(&embed).expect("opens");
    assert_eq!(store.seed_if_empty(&library, &embed).expect("seeded"), library.instructions.len());
    let check = |store: &InstructionStore| {
        for one in &library.instructions {
            let vector = embed(&[one.text.as_str()]).expect("embeds").remove(0);
            for category in [None, one.category.as_deref()] {
                let found = store.search(&vector, 3, category).expect("found");
                assert_eq!((&*found[0].0.id, &*found[0].0.text), (&*one.id, &*one.text));
                assert!(found[0].1 > 0.9999, "{}: {}", one.id, found[0].1);
            }
        }
    };
    check(&store);
    drop(store);
    let asleep = |texts: &[&str]| -> Result<Vec<Vec<f32>>, EncoderError> {
        Err(EncoderError::Tokenize { message: format!("{} texts need no embedding", texts.len()) })
    };
    check(&open(&asleep).expect("opens again"));
}
