//! Reading runs while and after jobs write them.

use std::sync::Arc;

use pairwright::Failure;
use pairwright::dataset::store::AnsweredPair;
use pairwright::index::IndexConfig;
use pairwright::jobs::{JobManager, ManagerOptions};
use pairwright::matching::{PhotoQuery, PhotoSearch, PhotosFound};

use super::server::{Server, answering, backend, matching, shared, slow};
use crate::support::run::{Llm, PHOTOS};

/// Width of the bundled encoder's embeddings.
const WIDTH: usize = 384;

/// All photos of a job's run, by their similarity with some vector.
fn search(
    server: &Server,
    manager: &JobManager,
    job: &str,
    photos: &Arc<PhotoSearch>,
) -> PhotosFound {
    let query = PhotoQuery { vector: vec![1.0; WIDTH], k: 100, min_similarity: -1.0 };
    server.block(manager.search_photos(job, Arc::clone(photos), query)).expect("searched")
}

/// A search with the encoder that embedded a run.
fn photos(server: &Server, run: &str) -> Arc<PhotoSearch> {
    let encoder = server.query(run, "SELECT DISTINCT encoder FROM embeddings").remove(0);
    Arc::new(PhotoSearch::new(&IndexConfig::default(), &encoder, WIDTH))
}

#[test]
fn photos_are_found_and_pairs_read_page_by_page() {
    let server = Server::new(&PHOTOS);
    let llm = Llm::default();
    let more = format!(
        "answer.attempts = 1\nmatching.per_image = 2\nfilters.min_words = 45\n\
         [llm]\ntarget = \"openai:{}\"\nmodel = \"stub-model\"\n",
        llm.stub.base_url
    );
    let config = server.config(&more);
    let resources = pairwright::run::Resources { backend: Some(backend(&config)), ..shared() };
    let manager = server.open(resources, ManagerOptions::default());
    let job = server.succeed(&manager, answering("read", config));

    let found = search(&server, &manager, &job.id, &photos(&server, "read"));
    let mut ids: Vec<_> = found.photos.iter().map(|one| one.id.as_str()).collect();
    ids.sort_unstable();
    assert_eq!((ids, found.searched), (PHOTOS.to_vec(), PHOTOS.len()));
    assert!(found.photos.is_sorted_by(|a, b| a.similarity >= b.similarity));
    for one in &found.photos {
        assert!(one.image.to_string().ends_with(&format!("{}.jpg", one.id)));
        assert!(!one.description.is_empty());
    }

    let (mut pairs, mut token) = (Vec::<AnsweredPair>::new(), String::new());
    loop {
        let page = server.block(manager.pairs("read", 5, &token)).expect("a run");
        pairs.extend(page.pairs.into_iter().map(|(pair, _)| pair));
        let Some(next) = page.next_token else { break };
        token = next;
    }
    assert_eq!(pairs.len(), 2 * PHOTOS.len());
    let verdicts = |wanted: &str| {
        let answers = pairs.iter().filter_map(|(_, answer)| answer.as_ref());
        answers.filter(|one| (one.verdict.code() == "accepted") == (wanted == "accepted")).count()
    };
    let accepted = server.query("read", "SELECT count(*) FROM answers WHERE verdict = 'accepted'");
    assert_eq!(verdicts("accepted").to_string(), accepted[0]);
    assert_eq!(verdicts("accepted") + verdicts("refused"), pairs.len());
    assert!(pairs.iter().all(|(one, _)| one.score.is_finite() && !one.instruction.is_empty()));
    let wrong = server.block(manager.pairs("read", 5, "x")).expect_err("no token");
    assert_eq!(wrong.code(), "bad_page_token");
    for run in ["none", "../read"] {
        let error = server.block(manager.pairs(run, 5, "")).expect_err("no such run");
        assert!(matches!(error.code(), "run_not_found" | "invalid_run_id"), "{error}");
    }
    server.close(manager);
}

#[test]
fn photos_are_found_as_they_come_and_pairs_without_answers_are_shown() {
    let server = Server::new(&PHOTOS);
    let manager = server.open(slow(150), ManagerOptions::default());
    let spec = matching("grow", server.config("encoder.batch_size = 2"));
    let job = server.block(manager.submit(spec, None)).expect("submitted");
    server.until(&manager, &job.id, "some photos are embedded", |record| {
        record.progress.phases.iter().any(|one| one.phase.name() == "embed" && one.done >= 2)
    });
    let photos = photos(&server, "grow");
    let early = search(&server, &manager, &job.id, &photos);
    assert!((2..6).contains(&early.searched), "{early:?}");
    server.end(&manager, &job.id);
    let late = search(&server, &manager, &job.id, &photos);
    // What the first search had read was not read again.
    assert_eq!((late.searched, photos.added()), (6, 6));
    let page = server.block(manager.pairs("grow", 100, "")).expect("a run");
    assert_eq!((page.pairs.len(), page.next_token), (6, None));
    assert!(page.pairs.iter().all(|((pair, answer), _)| answer.is_none() && pair.rank == 1));
    server.close(manager);
}
