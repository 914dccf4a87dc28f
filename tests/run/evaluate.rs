//! `pairwright evaluate` on the published files and on small ones, with scripted judges on a local
//! server. What needs the published files is skipped, loudly, where they are not.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

mod bad_input;
mod benchmark;
mod local;
mod published;
mod refusals;
mod small;

use crate::support::judge_stub::JudgeStub;
use crate::support::run::{finish, pairwright, root};

/// The published benchmark beside the project, or `None` with a loud word: it is not part of it.
pub fn published() -> Option<PathBuf> {
    let path = root().join("../shared/data/mm-instruct-eval");
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("SKIPPED: {} is not there, so nothing was judged", path.display());
    None
}

/// A folder for questions, answers and evaluations.
pub struct Desk {
    folder: tempfile::TempDir,
}

impl Default for Desk {
    fn default() -> Self {
        let desk = Self { folder: tempfile::tempdir().expect("temp dir") };
        desk.write(
            "config.toml",
            "llm.backoff_base_s = 0.01\nllm.backoff_cap_s = 0.05\nllm.deadline_s = 4\n",
        );
        desk
    }
}

impl Desk {
    /// With two questions, and answers of two models to them.
    pub fn with_two() -> Self {
        let desk = Self::default();
        desk.write("q.jsonl", [question(0, "A cat."), question(1, "A dog.")].join("\n"));
        desk.write("a.jsonl", [answer(0, "short", "m"), answer(1, "rather long", "m")].join("\n"));
        desk.write("b.jsonl", [answer(1, "short", "n"), answer(0, "rather long", "n")].join("\n"));
        desk
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs_err::write(self.path(name), content).expect("write");
    }

    /// `evaluate judge` of the files `q.jsonl`, `a.jsonl`, `b.jsonl` into `out`.
    pub fn judge(&self, judge: &JudgeStub, out: &str, more: &[&str]) -> Output {
        let files = ["q.jsonl", "a.jsonl", "b.jsonl"].map(|name| self.path(name));
        let [questions, a, b] = files.each_ref().map(PathBuf::as_path);
        self.judge_files([questions, a, b], judge, out, more)
    }

    pub fn judge_files(
        &self,
        [questions, a, b]: [&Path; 3],
        judge: &JudgeStub,
        out: &str,
        more: &[&str],
    ) -> Output {
        let mut command = pairwright(&["evaluate", "judge", "--llm", &judge.target()]);
        command.arg("--questions").arg(questions).arg("--a").arg(a).arg("--b").arg(b);
        command.arg("--config").arg(self.path("config.toml"));
        finish(command.arg("--out").arg(self.path(out)).args(more))
    }

    pub fn results(&self, out: &str) -> Value {
        let text = fs_err::read(self.path(out).join("results.json")).expect("results");
        serde_json::from_slice(&text).expect("JSON")
    }
}

pub fn question(id: i64, caption: &str) -> String {
    serde_json::json!({
        "question_id": id, "image": format!("{id}.jpg"), "text": format!("Do task {id}."),
        "caption": caption, "category": if id % 2 == 0 { "even" } else { "odd" },
    })
    .to_string()
}

pub fn answer(id: i64, text: &str, model: &str) -> String {
    let prompt = format!("Do task {id}.");
    serde_json::json!({"question_id": id, "prompt": prompt, "text": text, "model_id": model})
        .to_string()
}

/// First, tie, second, unparsed under a rule.
pub fn tally(results: &Value, rule: &str) -> [u64; 4] {
    let total = &results[rule]["total"];
    let count = |value: &Value| value.as_u64().expect("a count");
    let shares = ["first", "tie", "second"].map(|name| count(&total[name]["count"]));
    assert_eq!(count(&total["missing"]), 0, "{total}");
    [shares[0], shares[1], shares[2], count(&total["unparsed"])]
}
