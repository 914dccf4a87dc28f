//! A finished run made through the store's own API: no photo, no encoder, no LLM. For what reads
//! runs of a size that nobody would wait for otherwise.

use std::path::Path;

use pairwright::base::db::DbError;
use pairwright::dataset::ImageRef;
use pairwright::dataset::record::{
    AnswerRow, CandidateScore, Instruction, Measured, SourceRecord, Verdict,
};
use pairwright::dataset::store::{
    DecodedItem, ImageOutcome, MatchRow, PairRow, StampedRecord, Store,
};
use serde_json::json;

const CONF: &str = "made";

/// Photos and answers kept in one transaction.
const BATCH: usize = 1_000;

/// Makes a run of `photos` accepted samples in `folder`, which takes the measures of sentence
/// similarity; every fiftieth has no value of them. Equal calls make equal runs.
pub fn make(folder: &Path, photos: usize) {
    let store = Store::create(&folder.join("run.sqlite")).expect("a store");
    let settings = "[measure]\nenabled = [\"sentence_similarity_min\", \"sentence_similarity_mean\"]\n\
        [source]\npath = \"/photos\"\n";
    fs_err::write(folder.join("run.toml"), settings).expect("written");
    keep_settings(&store).expect("settings");
    let library: Vec<_> = ["poem", "menu", "story"].map(instruction).into();
    store.put_instructions(&library, "library").expect("instructions");
    let pass = store.begin_pass().expect("pass");
    let numbers: Vec<usize> = (0..photos).collect();
    for batch in numbers.chunks(BATCH) {
        let records: Vec<StampedRecord> = batch.iter().map(|number| record(*number)).collect();
        store.put_records(pass, &records).expect("records");
    }
    loop {
        let items = store.new_items(pass, 0, BATCH).expect("items");
        if items.is_empty() {
            break;
        }
        let decoded: Vec<_> = items
            .into_iter()
            .map(|item| {
                let outcome = ImageOutcome::Ready(DecodedItem {
                    image_sha256: item.id.clone(),
                    item_key: format!("key-{}", item.id),
                    width: 640,
                    height: 480,
                    format: "jpeg".into(),
                    vector: vec![1.0, 0.0],
                    caption: None,
                    look: 0,
                    twin: None,
                });
                (item, outcome)
            })
            .collect();
        store.put_images(pass, CONF, CONF, &decoded).expect("images");
    }
    while match_some(&store, pass, &library) {}
    while answer_some(&store) {}
}

fn keep_settings(store: &Store) -> Result<(), DbError> {
    let matching = json!({
        "conf": CONF, "library": "library", "library_origin": "made", "strategy": "top1",
        "encoder": {"name": "made", "hash": CONF, "embedding_dim": 2, "stand_in": false,
            "notice": null, "files": [], "quality": []},
        "caption_weight": 0.0, "min_similarity": -1.0, "temperature": 0.05, "quota": null,
        "image_root": null, "source": "made",
    });
    let answering = json!({
        "conf": CONF, "filter_conf": CONF, "prompt_hash": "made", "system": "", "user": "",
        "llm": "made", "backend": "made", "notice": null,
        "sampling": pairwright::llm::SamplingSettings::default(),
    });
    store.database().set_meta_json("settings:match", &matching)?;
    store.database().set_meta_json("settings:answer", &answering)
}

fn instruction(id: &str) -> Instruction {
    let (id, text) = (id.to_owned(), format!("Write a {id} about the photo."));
    Instruction { id, text, category: Some("writing".into()), ..Instruction::default() }
}

fn record(number: usize) -> StampedRecord {
    let record = SourceRecord {
        id: format!("photo-{number:06}"),
        image: ImageRef::file(format!("/photos/{number:06}.jpg")),
        description: "A grey cat sleeps on a red chair beside a window. ".repeat(4),
        descriptions: Vec::new(),
        origin: "made".into(),
        license: None,
    };
    (record, "1:1".into())
}

fn match_some(store: &Store, pass: i64, library: &[Instruction]) -> bool {
    let items = store.items_to_match(pass, CONF, CONF, 0, BATCH).expect("items");
    let candidate = |one: &Instruction, at: usize| CandidateScore {
        id: one.id.clone(),
        similarity: 0.3 - 0.01 * at as f64,
        score: 0.3 - 0.01 * at as f64,
        checks: Vec::new(),
    };
    let rows: Vec<_> = items
        .iter()
        .map(|item| {
            let drawn = &library[item.seq as usize % library.len()];
            let candidates = (0..16).map(|at| candidate(&library[at % library.len()], at));
            MatchRow {
                seq: item.seq,
                item_key: item.item_key.clone(),
                candidates: candidates.collect(),
                refused_by: None,
                pairs: vec![PairRow {
                    pair_key: format!("pair-{}", item.item_key),
                    rank: 1,
                    instruction_key: drawn.key(),
                    similarity: share(item.seq as u64),
                    score: share(item.seq as u64),
                    probability: None,
                }],
                rejection: None,
            }
        })
        .collect();
    store.put_matches(CONF, &rows).expect("matches");
    !rows.is_empty()
}

fn answer_some(store: &Store) -> bool {
    let pairs = store.pairs_to_answer(CONF, CONF, 1, (-1, 0), BATCH).expect("pairs");
    let row = |key: &str, seq: i64| AnswerRow {
        answer_key: format!("answer-{key}"),
        pair_key: key.to_owned(),
        attempt: 1,
        text: format!("Grey fur on red wood, number {seq}.\nThe afternoon forgets you. ").repeat(8),
        finish: "stop".into(),
        llm: "made".into(),
        seed: 1,
        examples: Vec::new(),
        prompt_tokens: 200,
        completion_tokens: 40 + seq as u64 % 100,
        verdict: Verdict::Pass,
        reasoning: None,
        filters: vec!["empty".into()],
    };
    let answers: Vec<_> = pairs.iter().map(|(pair, _)| row(&pair.key, pair.seq)).collect();
    let kept = store
        .database()
        .together(|| answers.iter().try_for_each(|answer| store.put_answer(CONF, CONF, answer)));
    kept.expect("answers");
    for (name, more) in [("sentence_similarity_min", 0.0), ("sentence_similarity_mean", 0.05)] {
        let value = |seq: i64| (seq % 50 != 0).then(|| share(7 * seq as u64) + more);
        let values = pairs.iter().zip(&answers);
        let values = values.map(|((pair, _), answer)| {
            (answer.answer_key.clone(), Measured::number(value(pair.seq)))
        });
        store.put_measures(name, "1", &values.collect::<Vec<_>>()).expect("measures");
    }
    !pairs.is_empty()
}

/// A number in [0, 1) that looks random, the same for the same `number`.
fn share(number: u64) -> f64 {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f64 / (1u64 << 24) as f64
}
