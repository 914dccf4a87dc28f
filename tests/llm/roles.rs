//! What each role makes of what servers send: answers of the service and of a run, generated
//! instructions, judgements. Whatever comes, a cut or refused text is never taken for a whole one,
//! and what could pass later is kept as a failure that is asked again.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use pairwright::config::{Config, LibrarySeed};
use pairwright::evaluate::{self, EvaluationFolder, JudgeOptions, JudgeRequest};
use pairwright::generate::{Generation, GenerationFolder};
use pairwright::llm::LlmConfig;
use pairwright::run::{Job, RunFolder};
use pairwright::server::layers::Explain;
use pairwright::server::pb::answer_service_client::AnswerServiceClient;
use pairwright::server::pb::generate_answer_response::Event;
use pairwright::server::{in_process, pb};
use pairwright::work::{Silent, Stop};
use serde_json::Value;
use tonic::service::Routes;

use crate::stage::{Stage, TEXT};
use crate::support::paths::{model, root};
use crate::support::serve::reason;

/// Rows in work at the same time.
const AT_ONCE: usize = 4;

/// What a role made of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Accepted,
    /// A reply came and was refused under this code.
    Refused(String),
    /// The call failed with this code, and is made again at the next start.
    Failed(String),
}

use Outcome::{Accepted, Failed, Refused};

/// What the row comes to, if it is not what was expected. `text` and `cut` say under which codes
/// the role refuses a server's own refusal and a reply that was cut at the limit; none, any.
fn differs(row: &Value, was_played: bool, came: &Outcome, cut: &[&str]) -> Option<String> {
    let expect = &row["expect"];
    let one_of = |codes: &[&str], code: &str| codes.is_empty() || codes.contains(&code);
    let unfinished = ["content_filter", "unfinished"];
    let fine = match (came, expect["fault"].as_str()) {
        (_, None | Some(_)) if !was_played => *came == Accepted,
        (Accepted, Some("learnt")) => true,
        // Asked again at once without the schema.
        (Accepted, Some("not_pair")) => row["headers"]["X-Only"] == "json",
        (Failed(code), Some("not_pair")) => {
            !["llm_content_policy", "llm_context_too_long"].contains(&code.as_str())
        }
        (Failed(code), Some(fault)) => code == fault,
        (_, Some(_)) => false,
        (Accepted, None) => expect["answer"].is_string(),
        (Refused(_), None) if expect["text"].is_string() => true,
        (Refused(code), None) if expect["truncated"] == true => one_of(cut, code),
        // A filter or an abort may be told as a fault too: what matters is that it is no answer.
        (Refused(code), None) => expect["unfinished"] == true && one_of(&unfinished, code),
        (Failed(_), None) => expect["unfinished"] == true,
    };
    let (server, condition) = (&row["server"], &row["condition"]);
    (!fine).then(|| format!("{server} {condition}: expected {expect}, came {came:?}"))
}

/// Puts every row that `takes` to `ask` and tells what came of it otherwise than expected.
async fn play<F: Future<Output = Outcome>>(
    stage: &Stage,
    role: &str,
    cut: &[&str],
    takes: impl Fn(&Value) -> bool,
    ask: impl Fn(usize) -> F,
) {
    let taken: Vec<usize> =
        stage.rows.iter().enumerate().filter(|(_, row)| takes(row)).map(|(at, _)| at).collect();
    let asked = futures::stream::iter(&taken).map(|at| {
        let asked = ask(*at);
        async move { (*at, asked.await) }
    });
    let came: Vec<(usize, Outcome)> = asked.buffer_unordered(AT_ONCE).collect().await;
    let wrong: Vec<String> = came
        .iter()
        .filter_map(|(at, came)| differs(&stage.rows[*at], stage.was_played(role, *at), came, cut))
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), taken.len(), wrong.join("\n"));
}

/// Only whole replies are asked for outside the service.
fn is_whole(row: &Value) -> bool {
    row["stream"].is_null()
}

pub fn config(url: &str) -> Config {
    let mut config = Config::default();
    config.model.path = Some(model());
    config.llm = LlmConfig {
        target: format!("openai:{url}").parse().expect("a target"),
        model: Some("m".into()),
        max_attempts: 1,
        ..LlmConfig::default()
    };
    config.answer.attempts = 1;
    config
}

pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Rows of text of the store in `folder`.
pub fn texts(store: &Path, sql: &str) -> Vec<String> {
    let store = rusqlite::Connection::open(store).expect("a store");
    let mut statement = store.prepare(sql).expect("a query");
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).expect("rows");
    rows.map(|row| row.expect("text")).collect()
}

/// Work that blocks its thread.
pub async fn blocking<T: Send + 'static, F: Future<Output = T>>(
    work: impl FnOnce() -> F + Send + 'static,
) -> T {
    let handle = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || handle.block_on(work())).await.expect("no panic")
}

/// A service in this process, and its folder.
pub struct Service {
    client: AnswerServiceClient<Explain<Routes>>,
    _data: tempfile::TempDir,
}

impl Service {
    pub async fn open(mut config: Config) -> Self {
        let data = folder();
        config.serve.data = Some(data.path().to_owned());
        config.serve.library.seed = LibrarySeed::None;
        config.serve.queue.sessions = 1;
        let service = in_process(config).await.expect("the service opens");
        Self { client: AnswerServiceClient::new(service), _data: data }
    }

    /// The answer, or the status in its place. The pieces told on the way come to its text.
    pub async fn ask(&self, description: String) -> Result<pb::Answer, tonic::Status> {
        let task = pb::pair::Task::InstructionText("Write about the place.".into());
        let pair = pb::Pair { description, task: Some(task), image: None };
        let request = pb::GenerateAnswerRequest { pair: Some(pair), options: None };
        let mut events = self.client.clone().generate_answer(request).await?.into_inner();
        let mut told = String::new();
        loop {
            match events.message().await?.expect("an end").event.expect("an event") {
                Event::Delta(piece) => told.push_str(&piece),
                Event::Retry(_) => unreachable!("one attempt"),
                Event::Answer(answer) => {
                    assert_eq!(told.trim(), answer.text);
                    return Ok(answer);
                }
            }
        }
    }

    async fn answered(&self, row: usize) -> Outcome {
        match self.ask(Stage::asking("A pier in the fog.", row)).await {
            Err(status) => Failed(reason(&status).to_lowercase()),
            Ok(answer) if answer.accepted => {
                assert_eq!(answer.text, TEXT);
                Accepted
            }
            Ok(answer) => Refused(answer.rejection_reason),
        }
    }
}

/// Whether what a row says holds for later calls, too: the service takes its server for gone, or
/// learns from it.
fn lasts(row: &Value) -> bool {
    let lasting = ["llm_unauthorized", "llm_quota_exhausted", "llm_not_found", "learnt"];
    lasting.iter().any(|fault| row["expect"]["fault"] == *fault)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_answers_with_whole_texts_only() {
    let stage = Stage::open(TEXT).await;
    // Row 0 is a whole answer.
    let (url, whole) = (stage.url_of_any("service"), 0);
    let shared = Service::open(config(&url)).await;
    let ask_shared = async |row| {
        let came = shared.answered(row).await;
        assert_eq!(shared.answered(whole).await, Accepted, "after {}", stage.rows[row]);
        came
    };
    play(&stage, "service", &["truncated"], |row| !lasts(row), ask_shared).await;
    let ask_alone = async |row| Service::open(config(&url)).await.answered(row).await;
    play(&stage, "service", &["truncated"], lasts, ask_alone).await;
}

/// A folder with one photo and its caption in `photos`.
pub fn one_photo() -> tempfile::TempDir {
    let place = folder();
    let photos = place.path().join("photos");
    fs_err::create_dir(&photos).expect("create");
    let photo = root().join("samples/photos/moose.jpg");
    fs_err::copy(photo, photos.join("moose.jpg")).expect("copied");
    fs_err::write(photos.join("moose.txt"), "A moose stands in the snow.").expect("written");
    place
}

/// A run over one photo that was matched and asks for its one answer.
async fn matched_run() -> tempfile::TempDir {
    let run = one_photo();
    let mut config = config("http://127.0.0.1:9/v1");
    config.source.path = Some(run.path().join("photos"));
    config.matching.check = Some(Vec::new());
    config.matching.per_image = 1;
    let out = RunFolder::take(&run.path().join("out")).expect("a folder");
    let job = Job::new(out, config, Arc::new(Silent), Stop::default());
    blocking(move || async move { job.match_only().await }).await.expect("matched");
    run
}

async fn answer_run(out: &Path, url: &str) {
    let folder = RunFolder::take(out).expect("a folder");
    let job = Job::new(folder, config(url), Arc::new(Silent), Stop::default());
    blocking(move || async move { job.answer_only().await }).await.expect("answered");
}

async fn answered_by_a_run(stage: &Stage, matched: &Path, row: usize) -> Outcome {
    let run = folder();
    let out = run.path().join("out");
    fs_err::create_dir(&out).expect("create");
    fs_err::copy(matched.join("out/run.sqlite"), out.join("run.sqlite")).expect("copied");
    answer_run(&out, &stage.url("run", row)).await;
    let store = out.join("run.sqlite");
    let verdicts = texts(&store, "SELECT verdict FROM answers");
    let failures = texts(&store, "SELECT code FROM failures");
    let rejections = "SELECT code FROM rejections WHERE stage = 'answer'";
    assert!(texts(&store, rejections).is_empty(), "{}: nothing is final", stage.rows[row]);
    let came = match (verdicts.as_slice(), failures.as_slice()) {
        ([verdict], []) if verdict == "accepted" => Accepted,
        ([verdict], []) => Refused(verdict.clone()),
        ([], [code]) => Failed(code.clone()),
        other => panic!("{}: {other:?}", stage.rows[row]),
    };
    if let Failed(_) = came {
        answer_run(&out, &stage.url("fine", row)).await;
        assert_eq!(texts(&store, "SELECT verdict FROM answers"), ["accepted"], "asked again");
        assert!(texts(&store, "SELECT code FROM failures").is_empty());
    }
    came
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_keeps_whole_texts_and_asks_again_for_the_others() {
    let (stage, matched) = (Stage::open(TEXT).await, matched_run().await);
    let ask = |row| answered_by_a_run(&stage, matched.path(), row);
    play(&stage, "run", &["truncated"], is_whole, ask).await;
}

/// One instruction for every description: the generation ends when all were asked for, as there is
/// nothing to cluster.
const INSTRUCTION: &str = "Explain to a child which sounds belong to the scene in the image.";

/// `proven`: the codes that were seen to be asked again, which is looked at once for each.
async fn generated(stage: &Stage, proven: &Mutex<HashSet<String>>, row: usize) -> Outcome {
    let place = folder();
    let descriptions = place.path().join("d.jsonl");
    let line = |id: &str, what: &str| serde_json::json!({"id": id, "description": format!("{what} stands beside a road.")});
    let lines = format!("{}\n{}\n", line("a", "A moose"), line("b", "An old lighthouse"));
    fs_err::write(&descriptions, lines).expect("written");
    let seeds = place.path().join("seeds.txt");
    fs_err::write(&seeds, "Write a limerick about the weather in the image.\n").expect("written");
    let out = place.path().join("out");
    let generate = |url: String| {
        let mut config = config(&url);
        config.generate.descriptions = Some(descriptions.clone());
        // Seeds are embedded one by one, in every generation anew.
        (config.generate.seeds, config.generate.seeds_per_prompt) = (Some(seeds.clone()), 1);
        let folder = GenerationFolder::take(&out).expect("a folder");
        let generation = Generation::new(folder, config, Arc::new(Silent), Stop::default());
        blocking(move || async move { generation.run().await })
    };
    generate(stage.url("generate", row)).await.expect_err("too few instructions");
    let store = out.join("instructions.sqlite");
    let of = |table: &str, column: &str| {
        texts(&store, &format!("SELECT {column} FROM {table} WHERE role = 'augment'"))
    };
    let failures = of("failures", "code || refused");
    let Some(code) = failures.first() else {
        let read = of("readings", "outcome");
        if let Some(code) = read.iter().find(|outcome| !FORMS.contains(&outcome.as_str())) {
            return Refused(code.clone());
        }
        // Both descriptions get the same instruction, so that one of the two is refused as a copy.
        let verdicts = texts(&store, "SELECT verdict FROM raws ORDER BY place");
        return match verdicts.iter().any(|verdict| verdict == "accepted") {
            true => Accepted,
            false => Refused(verdicts[0].clone()),
        };
    };
    let code = code.strip_suffix('0').expect("nothing is final").to_owned();
    if proven.lock().expect("no panic").insert(code.clone()) {
        generate(stage.url("fine", row)).await.expect_err("too few instructions");
        let (left, read) = (of("failures", "code"), of("readings", "outcome"));
        assert!(left.is_empty() && read == ["line"; 2], "{}: {left:?} {read:?}", stage.rows[row]);
    }
    Failed(code)
}

/// The forms in which instructions can be read.
const FORMS: [&str; 4] = ["json", "half_json", "list", "line"];

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_reads_whole_replies_and_asks_again_for_the_others() {
    let (stage, proven) = (Stage::open(INSTRUCTION).await, Mutex::default());
    let ask = |row| generated(&stage, &proven, row);
    play(&stage, "generate", &["truncated"], is_whole, ask).await;
}

async fn judged(stage: &Stage, row: usize) -> Outcome {
    let place = folder();
    let file = |name: &str, row: Value| {
        let path = place.path().join(name);
        fs_err::write(&path, row.to_string()).expect("written");
        path
    };
    let question = serde_json::json!({
        "question_id": 0, "image": "0.jpg", "caption": "A cat.", "text": "Write about it."});
    let answer = |model: &str| {
        serde_json::json!({"question_id": 0, "text": format!("An answer of {model}."),
            "model_id": model})
    };
    let [questions, first, second] =
        [file("q.jsonl", question), file("a.jsonl", answer("a")), file("b.jsonl", answer("b"))];
    let out = place.path().join("out");
    let judge = async |url: String| {
        let options = JudgeOptions { llm: config(&url).llm, attempts: 1, ..Default::default() };
        let (questions, first, second) = (questions.clone(), first.clone(), second.clone());
        let request = JudgeRequest { questions, first, second, options };
        let folder = EvaluationFolder::take(&out).expect("a folder");
        evaluate::judge(&request, &folder, &Stop::default(), &Silent).await
    };
    let ended = judge(stage.url("judge", row)).await;
    let store = out.join("evaluation.sqlite");
    let (replies, failures) =
        ("SELECT verdict || reason FROM replies", "SELECT code FROM failures");
    if let Some(code) = texts(&store, failures).first() {
        let final_ones = "SELECT code FROM failures WHERE refused > 0";
        assert!(texts(&store, final_ones).is_empty(), "{}: nothing is final", stage.rows[row]);
        assert!(texts(&store, replies).is_empty(), "{}", stage.rows[row]);
        judge(stage.url("fine", row)).await.expect("judged");
        assert_eq!(texts(&store, replies), ["A", "A"], "asked again");
        return Failed(code.clone());
    }
    ended.unwrap_or_else(|error| panic!("{}: {error}", stage.rows[row]));
    match texts(&store, replies).as_slice() {
        [one, other] if one == "A" && other == "A" => Accepted,
        [one, other] if one == other => Refused(one.clone()),
        other => panic!("{}: {other:?}", stage.rows[row]),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_judge_is_heard_where_it_ended_by_itself() {
    // The second half alone names somebody, so that what is cut is no verdict.
    let stage = Stage::open("My verdict at last: [[A]]").await;
    play(&stage, "judge", &[], is_whole, |row| judged(&stage, row)).await;
}
