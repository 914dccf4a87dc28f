//! What a library does, call by call.

use super::*;
use crate::ErrorKind;
use crate::base::failure::Failure;
use crate::index::Ask;
use crate::instruction::Library;
use crate::matching::{MatchRules, Matcher, MatchingConfig, QuotaBook, Strategy};
use crate::model::manifest::ModelDefaults;

#[test]
fn what_is_created_is_read_searched_and_deleted() {
    let home = Home::new();
    let store = home.open();
    assert!(store.is_empty());
    let created = store.create(vec![new("a", Some("poem")), new("b", None)]).expect("stored");
    let a = created[0].as_ref().expect("created");
    assert_eq!((&*a.id, &*a.text, a.category.as_deref()), ("a", "Do a.", Some("poem")));
    assert!(a.create_time > 1_600_000_000_000_000, "{}", a.create_time);
    assert_eq!(store.get("a").as_ref(), Some(a));
    assert_eq!(store.categories(), [("poem".into(), 1)]);
    let found = store.search(&vector("Do b."), 5, None).expect("found");
    assert_eq!(ids(&found), ["b", "a"]);
    assert!((found[0].1 - 1.0).abs() < 1e-6);
    let outcomes = store.delete(&["a", "nobody", "a"]).expect("deleted");
    let missing = |id: &str| Err(NoInstruction { id: id.into() });
    assert_eq!(outcomes, [Ok(()), missing("nobody"), missing("a")]);
    assert_eq!((store.get("a"), store.len()), (None, 1));
    assert_eq!(store.categories(), []);
    assert_eq!(ids(&store.search(&vector("Do a."), 5, None).expect("found")), ["b"]);
}

#[test]
fn each_item_has_its_own_outcome() {
    let home = Home::new();
    let store = home.open();
    create(&store, vec![new("a", None)]);
    let same_text = |id: Option<&str>, text: &str| NewInstruction {
        id: id.map(str::to_owned),
        text: text.to_owned(),
        ..new("x", None)
    };
    let outcomes = store
        .create(vec![
            same_text(Some("a"), "Other."),
            same_text(Some("c"), " Do a. "),
            same_text(None, "Once."),
            same_text(None, "Once.\n"),
            same_text(Some("c"), "Twice."),
            NewInstruction { vector: vec![1.0; DIM - 1], ..new("d", None) },
        ])
        .expect("stored");
    let exists = ["instruction_id_exists", "instruction_text_exists"];
    let expected = [exists[0], exists[1], "created", exists[0], "created", "vector_wrong_width"];
    assert_eq!(codes(&outcomes), expected);
    let named = outcomes[1].as_ref().expect_err("taken");
    assert!(matches!(named, CreateError::TextExists { id } if id == "a"), "{named}");
    assert_eq!(named.kind(), ErrorKind::AlreadyExists);
    assert_eq!(store.len(), 3);
}

#[test]
fn a_freed_id_and_text_can_be_used_again_under_a_new_row() {
    let home = Home::new();
    let store = home.open();
    create(&store, vec![new("a", None)]);
    let first = store.get("a").expect("there").row;
    store.delete(&["a"]).expect("deleted")[0].as_ref().expect("was there");
    create(&store, vec![new("a", None)]);
    assert!(store.get("a").expect("there").row > first);
    assert_agree(&store, MODEL);
}

#[test]
fn the_revision_counts_changes_only() {
    let home = Home::new();
    let store = home.open();
    let begin = store.revision();
    create(&store, vec![new("a", None), new("b", None)]);
    assert_eq!(store.revision(), begin + 1);
    store.create(vec![new("a", None)]).expect("refused");
    store.delete(&["nobody"]).expect("refused");
    store.create(Vec::new()).expect("nothing");
    assert_eq!(store.revision(), begin + 1);
    store.delete(&["a"]).expect("deleted");
    assert_eq!(store.revision(), begin + 2);
    drop(store);
    assert_eq!(home.open().revision(), begin + 2);
}

#[test]
fn a_query_is_checked_with_and_without_category() {
    let home = Home::new();
    let store = home.open();
    create(&store, vec![new("a", Some("poem"))]);
    for category in [None, Some("poem"), Some("none")] {
        let code = |query: &[f32], k| store.search(query, k, category).expect_err("refused").code();
        assert_eq!(code(&[1.0; DIM], 0), "zero_k");
        assert_eq!(code(&[1.0; 3], 1), "vector_wrong_width");
        assert_eq!(code(&[0.0; DIM], 1), "vector_zero");
        assert_eq!(code(&[f32::NAN; DIM], 1), "vector_not_finite");
    }
    assert!(store.search(&[1.0; DIM], 1, Some("none")).expect("none").is_empty());
}

#[test]
fn one_process_works_in_a_folder() {
    let home = Home::new();
    let store = home.open();
    let refused = home.try_open().err().expect("held");
    assert_eq!((refused.code(), refused.kind()), ("library_busy", ErrorKind::FailedPrecondition));
    drop(store);
    home.open();
}

#[test]
fn an_empty_library_is_seeded_once_and_as_a_whole() {
    let home = Home::new();
    let store = home.open();
    let embed = |texts: &[&str]| Ok(texts.iter().map(|text| vector(text)).collect());
    let library = Library::read(None).expect("built in");
    let mut unsound = library.clone();
    unsound.instructions[3].id = "a space".to_owned();
    let refused = store.seed_if_empty(&unsound, &embed).expect_err("an id");
    assert_eq!(refused.code(), "bad_instruction_id");
    assert!(refused.to_string().contains("a space"), "{refused}");
    assert!(store.is_empty());
    assert_eq!(store.seed_if_empty(&library, &embed).expect("seeded"), library.instructions.len());
    assert_eq!(store.seed_if_empty(&library, &embed).expect("not empty"), 0);
    assert_agree(&store, MODEL);
    let path = home.file("job.jsonl");
    let exported = store.export_jsonl(&path).expect("written");
    let read = Library::read(Some(&path)).expect("a library");
    assert_eq!((&read.hash, &read.instructions), (&library.hash, &library.instructions));
    assert_eq!((exported.hash, exported.instructions), (library.hash, library.instructions.len()));
    assert_eq!(exported.revision, store.revision());
}

#[test]
fn an_encoder_that_answers_too_little_seeds_nothing() {
    let home = Home::new();
    let store = home.open();
    let library = Library::read(None).expect("built in");
    let short = |texts: &[&str]| Ok(texts.iter().skip(1).map(|text| vector(text)).collect());
    let refused = store.seed_if_empty(&library, &short).expect_err("one vector is missing");
    assert_eq!(refused.code(), "library_embedding_failed");
    assert!(store.is_empty());
}

#[test]
fn an_empty_library_is_not_exported() {
    let home = Home::new();
    let path = home.file("job.jsonl");
    let refused = home.open().export_jsonl(&path).expect_err("nothing to export");
    assert_eq!(refused.code(), "library_empty");
    assert!(!path.exists());
}

#[test]
fn a_match_under_way_survives_a_delete() {
    let home = Home::new();
    let store = home.open();
    create(&store, numbered(0..20));
    let config = MatchingConfig { strategy: Strategy::Mmr, per_image: 3, ..Default::default() };
    let defaults = ModelDefaults { min_similarity: -1.0, caption_weight: 0.0 };
    let rules = MatchRules::new(&config, defaults).expect("sound");
    let matcher = Matcher::new(rules, store.live_index(), None).expect("needs no statistics");
    let query = matcher.query(&vector("a photo"), None).expect("sound");
    let candidates = matcher.candidates(&[query]).expect("found").remove(0);
    let best = store.by_key(&candidates[0].id).expect("named");
    store.delete(&[&best.id]).expect("deleted")[0].as_ref().expect("was there");
    let outcome = matcher.draw(candidates, &mut QuotaBook::unlimited(), 1).expect("drawn");
    let picked: Vec<_> = outcome.picks.iter().filter_map(|pick| store.by_key(&pick.id)).collect();
    assert_eq!(picked.len(), 3);
    assert!(picked.contains(&best), "the most similar one comes first in mmr");
}

#[test]
fn a_batch_of_queries_names_the_wrong_one_by_its_position() {
    let home = Home::new();
    let store = home.open();
    create(&store, numbered(0..5));
    let (sound, zero) = (vector("q"), vec![0.0; DIM]);
    let mut queries = vec![sound.as_slice(); 70];
    let found = store.live_index().search_many(&queries, Ask::top(2)).expect("found");
    assert!(found.len() == 70 && found.iter().all(|hits| *hits == found[0]));
    queries[50] = &zero;
    let refused = store.live_index().search_many(&queries, Ask::top(2)).expect_err("one is zero");
    assert!(refused.to_string().starts_with("query 50 "), "{refused}");
}

/// All ids that paging gives, and the pages' sizes.
fn paged(
    store: &InstructionStore,
    size: usize,
    category: Option<&str>,
) -> (Vec<String>, Vec<usize>) {
    let (mut token, mut ids, mut sizes) = (None, Vec::new(), Vec::new());
    loop {
        let page = store.list(size, token.as_deref(), category).expect("a page");
        ids.extend(page.instructions.iter().map(|one| one.id.to_string()));
        sizes.push(page.instructions.len());
        token = page.next_token;
        if token.is_none() {
            return (ids, sizes);
        }
    }
}

#[test]
fn pages_show_each_instruction_once_in_order() {
    let home = Home::new();
    let store = home.open();
    let category = |number: usize| ["even", "odd"][number % 2];
    create(&store, (0..7).map(|n| new(&format!("n{n}"), Some(category(n)))).collect());
    let (ids, sizes) = paged(&store, 3, None);
    assert_eq!(ids, ["n0", "n1", "n2", "n3", "n4", "n5", "n6"]);
    assert_eq!(sizes, [3, 3, 1]);
    assert_eq!(paged(&store, 7, None).1, [7]);
    assert_eq!(paged(&store, 0, None).1, [1; 7]);
    let (ids, sizes) = paged(&store, 2, Some("odd"));
    assert_eq!((ids, sizes), (vec!["n1".into(), "n3".into(), "n5".into()], vec![2, 1]));
    assert_eq!(store.list(1, None, Some("odd")).expect("a page").total, 3);
    assert_eq!(paged(&store, 2, Some("none")), (vec![], vec![0]));
}

#[test]
fn changes_between_pages_neither_repeat_nor_hide() {
    let home = Home::new();
    let store = home.open();
    create(&store, numbered(0..6));
    let first = store.list(2, None, None).expect("a page");
    store.delete(&["n0", "n1", "n3"]).expect("deleted");
    create(&store, numbered(6..7));
    let rest = store.list(9, first.next_token.as_deref(), None).expect("a page");
    let ids: Vec<_> = rest.instructions.iter().map(|one| &*one.id).collect();
    assert_eq!((ids, rest.next_token), (vec!["n2", "n4", "n5", "n6"], None));
}

#[test]
fn tokens_are_bound_to_library_and_filter_and_survive_a_restart() {
    let home = Home::new();
    let store = home.open();
    create(&store, vec![new("a", Some("x")), new("b", Some("x"))]);
    let token = store.list(1, None, Some("x")).expect("a page").next_token.expect("more");
    assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    let refused = |token: &str, category| {
        let error = store.list(1, Some(token), category).expect_err("refused");
        assert_eq!(error.code(), "bad_page_token", "{token:?}");
    };
    refused(&token, None);
    refused(&token, Some("y"));
    for wrong in ["", "AAAA", "?", "AQ==", &token[1..], &format!("{token}A"), &"A".repeat(23)] {
        refused(wrong, Some("x"));
    }
    let other = Home::new();
    assert!(other.open().list(1, Some(&token), Some("x")).is_err());
    drop(store);
    let page = home.open().list(1, Some(&token), Some("x")).expect("a page");
    assert_eq!(&*page.instructions[0].id, "b");
}
