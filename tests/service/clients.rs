//! Clients that nobody here wrote: `buf curl` and Python's grpcio, both by reflection alone.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::run::Llm;
use crate::support::serve::{Server, root, samples};

/// The clients' Python environment that `make test` sets up, or `None` with a loud word.
pub fn clients() -> Option<PathBuf> {
    let bin = root().join("runtime/clients/bin");
    if bin.join("python").exists() && bin.join("buf").exists() {
        return Some(bin);
    }
    eprintln!(
        "SKIPPED: {} is not there (make clients), so no foreign client was tried",
        bin.display()
    );
    None
}

/// What a command prints; it must pass.
pub fn output(command: &mut Command) -> String {
    let done = command.output().expect("runs");
    let stdout = String::from_utf8_lossy(&done.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}\n{stdout}\n{stderr}");
    stdout
}

/// Two questions and two models' answers to them.
pub fn benchmark(folder: &Path) {
    let write = |name: &str, row: &dyn Fn(usize) -> Value| {
        let rows = (0..2).map(|id| format!("{}\n", row(id)));
        fs_err::write(folder.join(name), rows.collect::<String>()).expect("write");
    };
    write(
        "q.jsonl",
        &|id| json!({"question_id": id, "image": "x.jpg", "text": "Write.", "caption": "A cat."}),
    );
    write("a.jsonl", &|id| json!({"question_id": id, "text": "One.", "model_id": "m"}));
    write("b.jsonl", &|id| json!({"question_id": id, "text": "Two.", "model_id": "n"}));
}

#[test]
fn grpcio_lists_describes_and_calls_every_method() {
    let Some(bin) = clients() else { return };
    let llm = Llm::default();
    let server = Server::start(&["--llm", &llm.target()]);
    benchmark(&server.folder().join("photos"));
    let told = output(
        Command::new(bin.join("python"))
            .arg(root().join("tests/clients/tour.py"))
            .arg(&server.address)
            .arg("--photo")
            .arg(samples().join("tabby-cat.jpg"))
            .args(["--path", "two-dogs.jpg", "--source"])
            .arg(samples()),
    );
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let services: Vec<&str> =
        told["services"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    for service in ["Answer", "Embedding", "Evaluation", "Info", "Instruction", "Job", "Matching"] {
        let name = format!("pairwright.v1.{service}Service");
        assert!(services.contains(&name.as_str()), "{services:?}");
        assert_eq!(told["health"][&name], "SERVING", "{name}");
    }
    assert!(services.contains(&"grpc.health.v1.Health"), "{services:?}");
    assert_eq!(told["health"][""], "SERVING");
    assert_eq!(told["match_request"][0], json!(["queries", 1]));
    let calls = &told["calls"];
    let embedded = calls["EmbeddingService/EmbedImages"]["results"].as_array().expect("results");
    assert!(embedded[0]["embedding"].is_object() && embedded[1]["embedding"].is_object());
    assert_eq!(embedded[2]["error"]["details"][0]["reason"], "IMAGE_EMPTY_FILE");
    let streamed = calls["EmbeddingService/EmbedStream"].as_array().expect("a stream");
    let ids: Vec<_> = streamed.iter().map(|one| one["correlation_id"].as_str()).collect();
    assert_eq!(ids, [Some("a"), Some("b"), Some("c")]);
    assert_eq!(streamed[2]["error"]["details"][0]["reason"], "FIELD_REQUIRED");
    let picks = calls["MatchingService/Match"]["results"][0]["match"]["picks"].as_array();
    assert_eq!(picks.map(Vec::len), Some(2), "{calls}");
    let last = calls["JobService/WatchJob"].as_array().and_then(|all| all.last()).expect("a job");
    assert_eq!(last["job"]["state"], "JOB_STATE_SUCCEEDED", "{last}");
    assert_eq!(calls["JobService/ResumeJob"]["code"], "FAILED_PRECONDITION");
    let pairs = calls["JobService/ListJobPairs"]["pairs"].as_array().expect("pairs");
    assert_eq!(pairs.len(), 5);
    assert_eq!(calls["MatchingService/SearchImages"]["results"].as_array().map(Vec::len), Some(3));
    let events = calls["AnswerService/GenerateAnswer"].as_array().expect("events");
    let deltas: String = events.iter().filter_map(|event| event["delta"].as_str()).collect();
    let answer = &events.last().expect("an end")["answer"];
    assert_eq!(answer["text"].as_str().map(str::trim), Some(deltas.trim()));
    let answers = calls["AnswerService/AnswerPairs"].as_array().expect("answers");
    assert_eq!(answers.len(), 2);
    let made = calls["JobService/ListJobInstructions"]["instructions"].as_array();
    assert_eq!(made.map(Vec::len), Some(2), "{calls}");
    // The stub's prose holds no verdict.
    let judged = &calls["EvaluationService/GetEvaluation"]["strict"]["total"];
    assert_eq!(judged["unparsed_count"], "2", "{judged}");
    let verdicts = calls["JobService/ListJobVerdicts"]["verdicts"].as_array().expect("verdicts");
    assert_eq!(verdicts[1]["strict"], "OUTCOME_UNPARSED");
    assert_eq!(calls["EvaluationService/Compare"]["left_out_count"], "2");
    // One for each of the 28 methods.
    assert_eq!(calls.as_object().map(serde_json::Map::len), Some(28));
}

#[test]
fn buf_curl_lists_and_calls() {
    let Some(bin) = clients() else { return };
    let server = Server::start(&[]);
    let base = format!("http://{}", server.address);
    let curl = |args: &[&str]| {
        output(
            Command::new(bin.join("buf"))
                .args(["curl", "--http2-prior-knowledge", "--protocol", "grpc"])
                .args(args),
        )
    };
    let methods = curl(&["--list-methods", &base]);
    assert!(methods.contains("pairwright.v1.MatchingService/BatchMatch"), "{methods}");
    let info = curl(&["-d", "{}", &format!("{base}/pairwright.v1.InfoService/GetServerInfo")]);
    let info: Value = serde_json::from_str(&info).expect("JSON");
    assert_eq!(info["model"]["ref"]["name"], "pairwright-mini");
    let texts = r#"{"texts": ["A cat on a sofa.", ""]}"#;
    let texts = curl(&["-d", texts, &format!("{base}/pairwright.v1.EmbeddingService/EmbedTexts")]);
    let texts: Value = serde_json::from_str(&texts).expect("JSON");
    assert!(texts["results"][0]["embedding"]["tokenCount"].as_i64() > Some(2), "{texts}");
    assert_eq!(texts["results"][1]["error"]["code"], 3, "{texts}");
}

#[test]
fn the_contract_passes_lint_and_breaks_nothing() {
    let Some(bin) = clients() else { return };
    let buf = |args: &[&str]| output(Command::new(bin.join("buf")).args(args).current_dir(root()));
    buf(&["lint"]);
    buf(&["breaking", "--against", "tests/golden/contract.binpb"]);
}
