//! Reasoning that was split off a reply: kept apart where that is asked for, trained on never.

use std::path::Path;
use std::sync::Arc;

use pairwright::evaluate::{self, EvaluationFolder, JudgeOptions, JudgeRequest};
use pairwright::llm::{ChatRequest, Message, SamplingSettings, connect};
use pairwright::run::{Job, RunFolder};
use pairwright::work::{Silent, Stop};
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::roles::{Service, blocking, config, folder, one_photo, texts};
use crate::support::stub_llm::{Fault, StubLlm, StubOptions};

/// Reasoning by a field and by marks, and an answer that a judge gives as well.
const BODY: &str = r#"{"choices": [{"message": {"content":
    "<think>Is it A?</think>Answer A is better.", "reasoning_content": "Look at the boats. "},
    "finish_reason": "stop"}]}"#;

const THOUGHT: &str = "Look at the boats. Is it A?";

async fn stub() -> StubLlm {
    let stub = StubLlm::start(StubOptions::default()).await;
    stub.always(Fault::Body(BODY));
    stub
}

async fn run(out: &Path, photos: &Path, url: &str, keep: bool) {
    let mut config = config(url);
    config.llm.keep_reasoning = keep;
    config.source.path = Some(photos.to_owned());
    config.matching.check = Some(Vec::new());
    config.filters.min_words = 1;
    let folder = RunFolder::take(out).expect("a folder");
    let job = Job::new(folder, config, Arc::new(Silent), Stop::default());
    blocking(move || async move { job.run().await }).await.expect("a run");
}

/// `reasoning` in the lineage of each line of `samples.jsonl`.
fn exported(out: &Path) -> Vec<Option<String>> {
    let lines = fs_err::read_to_string(out.join("dataset/samples.jsonl")).expect("an export");
    let row = |line| serde_json::from_str::<Value>(line).expect("JSON");
    let reasoning = |line| row(line)["lineage"]["reasoning"].as_str().map(str::to_owned);
    lines.lines().map(reasoning).collect()
}

fn has_column(out: &Path) -> bool {
    let file = std::fs::File::open(out.join("dataset/samples.parquet")).expect("an export");
    let reader = SerializedFileReader::new(file).expect("Parquet");
    let schema = reader.metadata().file_metadata().schema_descr();
    schema.columns().iter().any(|column| column.name() == "reasoning")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_keeps_it_beside_the_answer_and_exports_it_with_the_lineage_only() {
    let (stub, place) = (stub().await, one_photo());
    let (photos, kept, dropped) =
        (place.path().join("photos"), place.path().join("kept"), place.path().join("dropped"));
    run(&kept, &photos, &stub.base_url, true).await;
    let calls = stub.calls();
    let all = exported(&kept);
    assert!(!all.is_empty() && all.iter().all(|one| one.as_deref() == Some(THOUGHT)), "{all:?}");
    assert!(has_column(&kept));
    let llava = fs_err::read_to_string(kept.join("dataset/llava.json")).expect("an export");
    assert!(llava.contains("Answer A is better.") && !llava.contains("boats"), "{llava}");

    // No key depends on it: nothing is asked again, and what was kept stays.
    run(&kept, &photos, &stub.base_url, false).await;
    assert_eq!((stub.calls(), exported(&kept)), (calls, all));

    run(&dropped, &photos, &stub.base_url, false).await;
    let column = "SELECT ifnull(reasoning, 'none') FROM answers";
    assert!(texts(&dropped.join("run.sqlite"), column).iter().all(|one| one == "none"));
    assert!(exported(&dropped).iter().all(Option::is_none) && !has_column(&dropped));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_tells_it_where_it_is_to_keep_it() {
    let stub = stub().await;
    for keep in [true, false] {
        let mut config = config(&stub.base_url);
        config.llm.keep_reasoning = keep;
        let answer = Service::open(config).await.ask("A pier.".into()).await.expect("an answer");
        assert_eq!(answer.text, "Answer A is better.");
        assert_eq!(answer.reasoning.as_deref(), keep.then_some(THOUGHT));
    }
}

#[tokio::test]
async fn a_client_says_that_there_was_some_and_gives_it_only_where_asked_to() {
    let stub = stub().await;
    for keep in [true, false] {
        let mut llm = config(&stub.base_url).llm;
        llm.keep_reasoning = keep;
        let request =
            ChatRequest::new(vec![Message::user("Which?")], SamplingSettings::default(), 1);
        let model = connect(&llm).await.expect("connected");
        let reply = model.chat(&request, &CancellationToken::new()).await.expect("answered");
        assert_eq!((reply.reasoned, reply.reasoning.is_some()), (true, keep));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_judge_s_is_kept_beside_its_reply() {
    let (stub, place) = (stub().await, folder());
    let write = |name: &str, row: &str| {
        let path = place.path().join(name);
        fs_err::write(&path, row).expect("written");
        path
    };
    let mut options = JudgeOptions { llm: config(&stub.base_url).llm, ..Default::default() };
    options.llm.keep_reasoning = true;
    let question = r#"{"question_id": 0, "image": "0.jpg", "caption": "A cat.", "text": "Write."}"#;
    let request = JudgeRequest {
        questions: write("q.jsonl", question),
        first: write("a.jsonl", r#"{"question_id": 0, "text": "One.", "model_id": "a"}"#),
        second: write("b.jsonl", r#"{"question_id": 0, "text": "Two.", "model_id": "b"}"#),
        options,
    };
    let out = EvaluationFolder::take(&place.path().join("out")).expect("a folder");
    evaluate::judge(&request, &out, &Stop::default(), &Silent).await.expect("judged");
    let store = place.path().join("out/evaluation.sqlite");
    assert_eq!(texts(&store, "SELECT reasoning FROM replies"), [THOUGHT, THOUGHT]);
}
