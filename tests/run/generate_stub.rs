//! Instructions from seeds with a deterministic stub in place of the LLM: equal libraries byte for
//! byte, also after kills, nothing asked twice, and every kind of bad input counted.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

mod bad_input;
mod commands;
mod kills;
mod library;
mod run;

use crate::support::run::{Llm, World, assert_code, finish, pairwright, said};
use crate::support::stub_llm::StubOptions;

/// `DESCRIPTIONS` descriptions, a stub, and a folder for generations.
struct Ground {
    world: World,
    llm: Llm,
}

const DESCRIPTIONS: usize = 24;

impl Ground {
    fn new(delay: Duration) -> Self {
        let world = World::new();
        let ground = Self { world, llm: Llm::start(StubOptions { delay, ..Default::default() }) };
        ground.describe(DESCRIPTIONS);
        ground.configure("");
        ground
    }

    fn quick() -> Self {
        Self::new(Duration::ZERO)
    }

    fn describe(&self, count: usize) {
        let lines = (0..count).map(|n| {
            format!("{{\"id\": \"d{n}\", \"description\": \"A number {n} hangs on a wall.\"}}\n")
        });
        self.world.write("descriptions.jsonl", lines.collect::<String>());
    }

    /// Quick retries, and `more` (TOML that begins with dotted keys).
    fn configure(&self, more: &str) {
        self.world.configure(&format!("seed = 5\nllm.max_in_flight = 4\n{more}"));
    }

    fn command(&self, out: &Path) -> Command {
        let mut command = pairwright(&["instructions", "generate", "--llm", &self.llm.target()]);
        command.arg("--config").arg(self.world.path("config.toml"));
        command.arg("--descriptions").arg(self.world.path("descriptions.jsonl"));
        command.arg("--out").arg(out);
        command
    }

    /// Generates to the end and returns the folder.
    #[track_caller]
    fn generate(&self, out: &str) -> PathBuf {
        let out = self.world.path(out);
        assert_code(&finish(&mut self.command(&out)), 0);
        out
    }

    fn try_generate(&self, out: &str) -> Output {
        finish(&mut self.command(&self.world.path(out)))
    }
}

/// `library.jsonl` and `lineage.jsonl`.
fn files(out: &Path) -> [Vec<u8>; 2] {
    ["library.jsonl", "lineage.jsonl"].map(|name| fs_err::read(out.join(name)).expect("a file"))
}

fn query(out: &Path, sql: &str) -> Vec<String> {
    let store = rusqlite::Connection::open(out.join("instructions.sqlite")).expect("a store");
    let mut statement = store.prepare(sql).expect("a query");
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).expect("rows");
    rows.map(|row| row.expect("a row")).collect()
}

fn count(out: &Path, sql: &str) -> usize {
    query(out, &format!("SELECT cast(({sql}) AS TEXT)"))[0].parse().expect("a count")
}

#[test]
fn equal_seeds_give_equal_libraries_and_other_seeds_others() {
    let ground = Ground::quick();
    let one = ground.generate("one");
    let again = ground.generate("again");
    let [library, lineage] = files(&one);
    assert!(
        library.iter().filter(|byte| **byte == b'\n').count() >= 4,
        "a library worth comparing"
    );
    assert_eq!(files(&again), [library.clone(), lineage]);
    ground.configure("seed = 6\n");
    assert_ne!(files(&ground.generate("other"))[0], library);
}

#[test]
fn a_second_start_asks_nothing_and_new_descriptions_only_what_is_new() {
    let ground = Ground::quick();
    let out = ground.generate("out");
    let (calls, before) = (ground.llm.stub.calls(), files(&out));
    assert_eq!(calls, ground.llm.distinct(), "nothing is asked twice");
    ground.generate("out");
    assert_eq!((ground.llm.stub.calls(), files(&out)), (calls, before));

    let augmented = count(&out, "SELECT count(*) FROM calls WHERE role = 'augment'");
    ground.describe(DESCRIPTIONS + 3);
    ground.generate("out");
    let now = count(&out, "SELECT count(*) FROM calls WHERE role = 'augment'");
    assert!(now - augmented >= 3 && now - augmented <= 6, "{augmented} then {now}");
    assert_eq!(ground.llm.stub.calls(), ground.llm.distinct());
    // As if all had been there from the start.
    assert_eq!(files(&out), files(&ground.generate("fresh")));
}

#[test]
fn the_lineage_leads_from_each_instruction_to_seeds_and_descriptions() {
    let ground = Ground::quick();
    let out = ground.generate("out");
    let [library, lineage] = files(&out).map(|bytes| String::from_utf8(bytes).expect("UTF-8"));
    let rows: Vec<serde_json::Value> =
        lineage.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let members: usize =
        rows.iter().map(|row| row["members"].as_array().expect("a list").len()).sum();
    assert_eq!(members, count(&out, "SELECT count(*) FROM raws WHERE verdict = 'accepted'"));
    for row in &rows {
        assert_eq!(row["size"], row["members"].as_array().expect("a list").len());
        for member in row["members"].as_array().expect("a list") {
            assert!(member["description"].as_str().expect("an id").starts_with('d'));
            assert_eq!(member["seeds"].as_array().expect("a list").len(), 4);
            assert_eq!(member["call"]["model"], "stub-model");
        }
    }
    for line in library.lines() {
        let one: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let of = rows.iter().filter(|row| row["id"] == one["id"] && row["verdict"] == "accepted");
        assert_eq!(of.count(), 1, "{line}");
    }
}

#[test]
fn accepted_instructions_join_the_pool_by_option() {
    let ground = Ground::quick();
    ground.configure("generate.pool = \"accepted\"\ngenerate.round = 6\n");
    let out = ground.generate("out");
    let grown = "SELECT count(*) FROM raws WHERE seeds LIKE '%raw:%'";
    assert!(count(&out, grown) > 0, "later rounds draw what earlier ones gave");
    assert_eq!(count(&out, &format!("{grown} AND description < 6")), 0, "the first cannot");
    assert_eq!(files(&out), files(&ground.generate("again")));
}

#[test]
fn k_is_given_or_chosen() {
    let ground = Ground::quick();
    let chosen = ground.generate("chosen");
    let tried = "SELECT value FROM meta WHERE name = 'cluster'";
    let facts: serde_json::Value = serde_json::from_str(&query(&chosen, tried)[0]).expect("JSON");
    assert!(facts["tried"].as_array().expect("a list").len() > 2, "{facts}");
    ground.configure("cluster.k = 5\n");
    let given = ground.generate("chosen");
    assert_eq!(count(&given, "SELECT count(*) FROM clusters"), 5);
}
