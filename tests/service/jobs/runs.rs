//! Reading runs while and after jobs write them.

use pairwright::Failure;
use pairwright::jobs::ManagerOptions;

use super::server::{Server, answering, backend, matching, shared, slow};
use crate::support::run::{Llm, PHOTOS};

#[test]
fn images_and_pairs_are_read_page_by_page() {
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
    server.succeed(&manager, answering("read", config));

    let (mut images, mut after) = (Vec::new(), 0);
    loop {
        let page = server.block(manager.run_images("read", after, 4)).expect("a run");
        let Some(last) = page.last() else { break };
        after = last.seq;
        images.extend(page);
    }
    let ids: Vec<_> = images.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids, PHOTOS);
    for one in &images {
        let length = one.vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        assert!(
            (length - 1.0).abs() < 1e-4
                && one.image.to_string().ends_with(&format!("{}.jpg", one.id))
        );
        assert!(!one.description.is_empty());
    }

    let (mut pairs, mut token) = (Vec::new(), String::new());
    loop {
        let page = server.block(manager.pairs("read", 5, &token)).expect("a run");
        pairs.extend(page.pairs);
        let Some(next) = page.next_token else { break };
        token = next;
    }
    assert_eq!(pairs.len(), 2 * PHOTOS.len());
    let verdicts = |wanted: &str| {
        let answers = pairs.iter().filter_map(|one| one.answer.as_ref());
        answers.filter(|one| (one.verdict == "accepted") == (wanted == "accepted")).count()
    };
    let accepted = server.query("read", "SELECT count(*) FROM answers WHERE verdict = 'accepted'");
    assert_eq!(verdicts("accepted").to_string(), accepted[0]);
    assert_eq!(verdicts("accepted") + verdicts("refused"), pairs.len());
    assert!(pairs.iter().all(|one| one.score.is_finite() && !one.instruction.is_empty()));
    let wrong = server.block(manager.pairs("read", 5, "x")).expect_err("no token");
    assert_eq!(wrong.code(), "invalid_page_token");
    for run in ["none", "../read"] {
        let error = server.block(manager.run_images_stamp(run)).expect_err("no such run");
        assert!(matches!(error.code(), "run_not_found" | "invalid_run_id"), "{error}");
    }
    server.close(manager);
}

#[test]
fn a_stamp_changes_as_photos_come_and_pairs_without_answers_are_shown() {
    let server = Server::new(&PHOTOS);
    let manager = server.open(slow(150), ManagerOptions::default());
    let spec = matching("grow", server.config("encoder.batch_size = 2"));
    let job = server.block(manager.submit(spec)).expect("submitted");
    server.until(&manager, &job.id, "some photos are embedded", |record| {
        record.progress.phases.iter().any(|one| one.phase.name() == "embed" && one.done >= 2)
    });
    let early = server.block(manager.run_images_stamp("grow")).expect("it has begun");
    assert!((2..6).contains(&early.count), "{early:?}");
    server.end(&manager, &job.id);
    let late = server.block(manager.run_images_stamp("grow")).expect("a run");
    assert_eq!((late.count, &late.encoder), (6, &early.encoder));
    let page = server.block(manager.pairs("grow", 100, "")).expect("a run");
    assert_eq!((page.pairs.len(), page.next_token), (6, None));
    assert!(page.pairs.iter().all(|one| one.answer.is_none() && one.rank == 1));
    server.close(manager);
}
