//! Folders made by an earlier release (`tests/golden/made-by-*`): the program of today opens them,
//! resumes them without a call for what is there, and writes the same bytes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use pairwright::base::hash;
use pairwright::server::pb;
use serde_json::{Value, json};

use crate::support::run::{
    EXPORTS, Llm, World, assert_code, finish, pairwright, query, root, said,
};
use crate::support::serve;

/// Where the release made them.
const MADE_AT: &str = "/tmp/pairwright-0.1.0";

fn golden() -> PathBuf {
    root().join("tests/golden/made-by-0.1.0")
}

/// The replies that the release got, by the prompt and its seed; what was not asked then is an
/// error. An evaluation's replies do not depend on the seed.
#[derive(Default)]
struct Replies {
    by_seed: HashMap<(String, u64), String>,
    by_prompt: HashMap<String, String>,
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    answered: usize,
    unknown: Vec<String>,
}

struct Replay {
    target: String,
    replies: Arc<Replies>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Replay {
    fn start() -> Self {
        let mut replies = Replies::default();
        let text = fs_err::read_to_string(golden().join("replies.jsonl")).expect("replies");
        for line in text.lines() {
            let row: Value = serde_json::from_str(line).expect("JSON");
            let field = |name: &str| row[name].as_str().expect("a text").to_owned();
            let (prompt, text) = (field("prompt"), field("text"));
            replies.by_prompt.insert(prompt.clone(), text.clone());
            replies.by_seed.insert((prompt, row["seed"].as_u64().expect("a seed")), text);
        }
        let replies = Arc::new(replies);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let models = Json(json!({"object": "list", "data": [{"id": "stub-model"}]}));
        let router = Router::new()
            .route("/v1/models", get(async move || models.clone()))
            .route("/v1/chat/completions", post(chat))
            .with_state(Arc::clone(&replies));
        let address = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            tokio::spawn(async move { axum::serve(listener, router).await });
            address
        });
        Self { target: format!("openai:http://{address}/v1"), replies, runtime: Some(runtime) }
    }

    /// The calls answered so far; none may be one that the release did not make.
    #[track_caller]
    fn calls(&self) -> usize {
        let calls = self.replies.calls.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(calls.unknown.is_empty(), "asked what was not asked before: {:#?}", calls.unknown);
        calls.answered
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        // Not waited for: a test that is async itself may not.
        self.runtime.take().expect("held until now").shutdown_background();
    }
}

async fn chat(
    State(replies): State<Arc<Replies>>,
    Json(body): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let messages = body["messages"].as_array().expect("messages");
    let line = |message: &Value| {
        let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
        format!("{}: {}\n", text("role"), text("content"))
    };
    let asked: String = messages.iter().map(line).collect();
    let prompt = hash::sha256_hex(asked.as_bytes());
    let seed = body["seed"].as_u64().unwrap_or_default();
    let is_evaluation = asked.contains("[Answer A]") || messages.len() == 1;
    let found = match is_evaluation {
        true => replies.by_prompt.get(&prompt),
        false => replies.by_seed.get(&(prompt, seed)),
    };
    let mut calls = replies.calls.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(text) = found else {
        calls.unknown.push(format!("seed {seed}\n{asked}"));
        let refusal = json!({"error": {"message": "not asked before", "type": "server_error"}});
        return (StatusCode::BAD_REQUEST, Json(refusal));
    };
    calls.answered += 1;
    let (prompt_tokens, completion_tokens) = (asked.len() / 4, text.len() / 4);
    let reply = json!({
        "id": "x", "object": "chat.completion", "created": 0, "model": "stub-model",
        "choices": [{"index": 0, "finish_reason": "stop",
            "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens},
    });
    (StatusCode::OK, Json(reply))
}

/// A copy of one of the folders, its paths made those of this repository.
struct Old {
    place: tempfile::TempDir,
    name: &'static str,
}

impl Old {
    fn open(name: &'static str) -> Self {
        let old = Self { place: tempfile::tempdir().expect("temp dir"), name };
        copy(&golden().join(name), &old.path());
        old
    }

    fn path(&self) -> PathBuf {
        self.place.path().join(self.name)
    }

    /// Runs `arguments` over it.
    fn resume(&self, arguments: &[&str], replay: &Replay) -> Output {
        let mut command = pairwright(arguments);
        command.args(["--llm", &replay.target, "--out"]).arg(self.path());
        finish(&mut command)
    }

    #[track_caller]
    fn assert_like(&self, finished: &str, files: &[&str]) {
        for file in files {
            let read = |folder: &Path| comparable(&folder.join(file));
            let (found, expected) = (read(&self.path()), read(&golden().join(finished)));
            assert!(
                found == expected,
                "{file} of {} differs:\n{}\n-- expected:\n{}",
                self.name,
                String::from_utf8_lossy(&found),
                String::from_utf8_lossy(&expected)
            );
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).expect("create");
    for entry in fs_err::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else if target.extension().is_some_and(|ending| ending == "toml") {
            let text = fs_err::read_to_string(entry.path()).expect("a file");
            let inputs = golden().join("inputs");
            let text = text.replace(&format!("{MADE_AT}/inputs"), inputs.to_str().expect("UTF-8"));
            let text = text.replace(MADE_AT, root().to_str().expect("UTF-8"));
            fs_err::write(target, text).expect("write");
        } else {
            fs_err::copy(entry.path(), target).expect("copy");
        }
    }
}

/// A file's bytes; of an evaluation's results without what tells place and port, of a lineage
/// without the keys of its calls, which are today's.
fn comparable(path: &Path) -> Vec<u8> {
    let bytes = fs_err::read(path).expect("a file");
    if path.ends_with("lineage.jsonl") {
        let text = String::from_utf8(bytes).expect("UTF-8");
        let mut parts = text.split(r#""key":""#);
        let first = parts.next().expect("a part").to_owned();
        let rest = parts.map(|part| part.split_once('"').expect("a key's end").1);
        return rest.fold(first, |text, part| text + part).into_bytes();
    }
    if !path.ends_with("results.json") {
        return bytes;
    }
    let mut results: Value = serde_json::from_slice(&bytes).expect("JSON");
    results["judge"]["backend"] = Value::Null;
    results["made_by"] = Value::Null;
    for file in ["questions", "first", "second"] {
        results[file]["path"] = Value::Null;
    }
    serde_json::to_vec_pretty(&results).expect("JSON")
}

/// The calls that the release made in the session that ended in this folder.
fn calls(folder: &str) -> usize {
    let text = fs_err::read(golden().join("calls.json")).expect("calls");
    let calls: Value = serde_json::from_slice(&text).expect("JSON");
    usize::try_from(calls[folder].as_u64().expect("a count")).expect("fits")
}

fn pairs(out: &Path) -> Vec<String> {
    query(out, "SELECT pair_key, rank, similarity, score, probability FROM pairs ORDER BY 1")
}

#[test]
fn a_finished_run_asks_nothing_and_gives_the_same_bytes() {
    for name in ["run", "generated"] {
        let (old, replay) = (Old::open(name), Replay::start());
        let before = pairs(&old.path());
        assert_code(&old.resume(&["run"], &replay), 0);
        assert_eq!(replay.calls(), 0, "{name}");
        assert_eq!(pairs(&old.path()), before, "{name}");
        old.assert_like(name, &EXPORTS);
        let old_keys = "SELECT conf FROM answers UNION SELECT filter_conf FROM answers
            UNION SELECT conf FROM pairs UNION SELECT conf FROM matches
            UNION SELECT conf FROM rejections WHERE conf <> ''";
        let sql = format!("SELECT conf FROM ({old_keys}) WHERE instr(conf, '-') = 0");
        assert_eq!(query(&old.path(), &sql), Vec::<String>::new(), "{name}");
        assert_code(&finish(pairwright(&["verify", "--out"]).arg(old.path())), 0);
    }
}

/// A setting that is not the run's own gives none of its keys: that is said, and the rows stay.
#[test]
fn answers_whose_key_nothing_gives_are_told_and_kept() {
    let (old, replay) = (Old::open("run"), Replay::start());
    let file = old.path().join("run.toml");
    let text = fs_err::read_to_string(&file).expect("a file");
    fs_err::write(&file, text.replace("[answer]\n", "[answer]\nexamples_per_prompt = 1\n"))
        .expect("write");
    let output = old.resume(&["run"], &replay);
    assert!(
        said(&output).contains("9 answers of release 0.1.0 belong to other settings"),
        "{}",
        said(&output)
    );
    assert_eq!(
        query(&old.path(), "SELECT count(*) FROM answers WHERE instr(conf, '-') = 0"),
        ["9"]
    );
}

#[test]
fn an_interrupted_run_asks_only_what_is_missing() {
    let (old, replay) = (Old::open("run.unfinished"), Replay::start());
    let before = pairs(&old.path());
    assert_code(&old.resume(&["run"], &replay), 0);
    assert_eq!(replay.calls(), calls("run"));
    assert_eq!(pairs(&old.path()), before);
    old.assert_like("run", &EXPORTS);
}

/// `answer` and `export` find what an old `run` left, without its encoder.
#[test]
fn the_second_half_alone_goes_on_in_an_old_run() {
    let (old, replay) = (Old::open("run.unfinished"), Replay::start());
    assert_code(&old.resume(&["answer"], &replay), 0);
    assert_eq!(replay.calls(), calls("run"));
    assert_code(&finish(pairwright(&["export", "--out"]).arg(old.path())), 0);
    old.assert_like("run", &EXPORTS);
}

#[test]
fn generations_go_on_where_they_ended() {
    let files = ["library.jsonl", "lineage.jsonl"];
    for (name, expected) in [("library", 0), ("library.unfinished", calls("library"))] {
        let (old, replay) = (Old::open(name), Replay::start());
        assert_code(&old.resume(&["instructions", "generate"], &replay), 0);
        assert_eq!(replay.calls(), expected, "{name}");
        old.assert_like("library", &files);
    }
    let (old, replay) = (Old::open("generated"), Replay::start());
    assert_code(&old.resume(&["run"], &replay), 0);
    assert_eq!(replay.calls(), 0);
    old.assert_like("generated", &["instructions/library.jsonl", "instructions/lineage.jsonl"]);
}

/// As a later release would find a run that began with other built-in texts and defaults than its
/// own: the run goes on with those that it keeps, unless the user sets others.
#[test]
fn a_run_keeps_the_prompts_and_settings_it_began_with() {
    let world = World::with_photos(&["coffee-cup", "moose"]);
    let llm = Llm::default();
    assert_code(&world.run("out", &llm), 0);
    let (out, calls) = (world.path("out"), llm.stub.calls());
    let store = rusqlite::Connection::open(out.join("run.sqlite")).expect("a store");
    let edit = |name: &str, from: &str, to: &str| {
        let sql = "UPDATE meta SET value = replace(value, ?2, ?3) WHERE name LIKE ?1";
        let name = format!("began with: {name}%");
        assert_eq!(store.execute(sql, [name.as_str(), from, to]).expect("edited"), 1, "{name}");
    };
    edit("answer prompts", "You are looking", "You were looking");
    edit("answer.settings", "\"temperature\":0.7", "\"temperature\":0.25");
    assert_code(&world.run("out", &llm), 0);
    assert!(llm.stub.calls() > calls, "other prompts are asked anew");
    let request = llm.stub.requests().pop().expect("a request");
    assert!(request["messages"][0]["content"].to_string().contains("You were looking"));
    assert_eq!(request["temperature"], 0.25);
    let calls = llm.stub.calls();
    assert_code(&world.run("out", &llm), 0);
    assert_eq!(llm.stub.calls(), calls, "and then kept");

    fs_err::create_dir(world.path("own")).expect("create");
    world.write("own/answer.system.txt", "Be brief.");
    world.write("own/answer.user.txt", "{description} {instruction}");
    let own = world.path("own");
    let mut command = world.command(&out, &llm.target());
    assert_code(&finish(command.arg("--prompts").arg(own)), 0);
    let request = llm.stub.requests().pop().expect("a request");
    assert_eq!(request["messages"][0]["content"], "Be brief.");
}

fn inputs<const N: usize>(arguments: [&str; N]) -> Vec<String> {
    let input = |name: &str| golden().join("inputs").join(name).to_str().expect("UTF-8").to_owned();
    let given = |one: &str| if one.contains(".jsonl") { input(one) } else { one.to_owned() };
    arguments.map(given).to_vec()
}

#[test]
fn evaluations_go_on_where_they_ended() {
    let judge = inputs([
        "evaluate",
        "judge",
        "--questions",
        "questions.jsonl",
        "--a",
        "a.jsonl",
        "--b",
        "b.jsonl",
        "--seed",
        "7",
    ]);
    let answer = inputs([
        "evaluate",
        "answer",
        "--questions",
        "questions.jsonl",
        "--see",
        "caption",
        "--seed",
        "7",
    ]);
    let kinds = [
        ("judged", "judged.unfinished", judge, &["results.json", "verdicts.csv"][..]),
        ("answered", "answered.unfinished", answer, &["answers.jsonl"]),
    ];
    for (finished, unfinished, arguments, files) in kinds {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (old, replay) = (Old::open(finished), Replay::start());
        assert_code(&old.resume(&arguments, &replay), 0);
        assert_eq!(replay.calls(), 0, "{finished}");
        old.assert_like(finished, files);
        let (old, replay) = (Old::open(unfinished), Replay::start());
        assert_code(&old.resume(&arguments, &replay), 0);
        assert_eq!(replay.calls(), calls(finished), "{unfinished}");
    }
}

/// The library that callers made, the finished jobs, and the same work asked for again.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_service_goes_on() {
    use pb::evaluation_service_client::EvaluationServiceClient;
    use pb::instruction_service_client::InstructionServiceClient;
    use pb::job_service_client::JobServiceClient;
    use pb::matching_service_client::MatchingServiceClient;

    let replay = tokio::task::block_in_place(Replay::start);
    let place = tempfile::tempdir().expect("temp dir");
    copy(&golden().join("service"), &place.path().join("data"));
    let inputs = golden().join("inputs");
    let inputs = inputs.to_str().expect("UTF-8");
    let flags = ["--llm", &replay.target, "--image-root", inputs];
    let server = serve::Server::over(place.path(), &flags);
    let channel = server.connect().await;

    let mut library = InstructionServiceClient::new(channel.clone());
    let page = library.list_instructions(pb::ListInstructionsRequest::default()).await;
    let own = page.expect("a page").into_inner().instructions;
    assert!(own.len() >= 5 && own.iter().all(|one| one.name.starts_with("instructions/own-")));

    let mut jobs = JobServiceClient::new(channel.clone());
    let page = jobs.list_jobs(pb::ListJobsRequest::default()).await.expect("a page").into_inner();
    assert_eq!(page.jobs.len(), 3);
    assert!(page.jobs.iter().all(|job| job.state() == pb::JobState::Succeeded), "{page:#?}");

    let source = || {
        Some(pb::Source {
            path: format!("{inputs}/photos.jsonl"),
            images: serve::samples().to_str().expect("UTF-8").to_owned(),
            ..Default::default()
        })
    };
    let seeds = fs_err::read_to_string(golden().join("inputs/seeds.txt")).expect("seeds");
    let batch = pb::BatchMatchRequest {
        source: source(),
        options: Some(pb::MatchOptions { seed: Some(7), ..Default::default() }),
        generate_answers: true,
        run_id: "batch".into(),
        ..Default::default()
    };
    let generate = pb::GenerateRequest {
        source: source(),
        seeds: seeds.lines().map(str::to_owned).collect(),
        cluster_count: Some(3),
        seed: Some(7),
        run_id: "generated".into(),
        ..Default::default()
    };
    let judge = pb::JudgeRequest {
        questions: format!("{inputs}/questions.jsonl"),
        first_answers: format!("{inputs}/a.jsonl"),
        second_answers: format!("{inputs}/b.jsonl"),
        seed: Some(7),
        run_id: "judged".into(),
        ..Default::default()
    };
    let started = [
        MatchingServiceClient::new(channel.clone()).batch_match(batch).await,
        library.generate(generate).await,
        EvaluationServiceClient::new(channel).judge(judge).await,
    ];
    for job in started {
        let name = job.expect("a job").into_inner().name;
        let watched = jobs.watch_job(pb::WatchJobRequest { name: name.clone() }).await;
        let mut watched = watched.expect("a watch").into_inner();
        while watched.message().await.expect("a message").is_some() {}
        let done = jobs.get_job(pb::GetJobRequest { name }).await.expect("the job").into_inner();
        assert_eq!(done.state(), pb::JobState::Succeeded, "{done:?}");
    }
    assert_eq!(replay.calls(), 0);
    let (old, new) = (golden().join("service/runs"), place.path().join("data/runs"));
    for name in EXPORTS {
        let read = |runs: &Path| fs_err::read(runs.join("batch").join(name)).expect("an export");
        assert!(read(&old) == read(&new), "{name}");
    }
    for name in ["library.jsonl", "lineage.jsonl"] {
        let read = |runs: &Path| comparable(&runs.join("generated").join(name));
        assert!(read(&old) == read(&new), "{name}");
    }
    let read = |runs: &Path| comparable(&runs.join("judged/results.json"));
    assert_eq!(String::from_utf8(read(&old)), String::from_utf8(read(&new)));
}
