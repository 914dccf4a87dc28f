//! `kill -9` at any moment loses nothing, repeats nothing that was finished, and changes no byte.

use std::time::Instant;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::support::run::start;
use crate::support::stub_llm::Step;

const KILLS: usize = 20;
const KILLS_PER_FOLDER: usize = 4;
const IN_FLIGHT: usize = 4;
const SEED: u64 = 31_337;

/// The pool that grows is what an interruption could get wrong.
const CONFIG: &str = "generate.pool = \"accepted\"\ngenerate.round = 5\ncluster.k = 8\n";

#[test]
fn twenty_kills_change_no_byte() {
    let ground = Ground::new(Duration::from_millis(40));
    ground.configure(CONFIG);
    let started = Instant::now();
    let expected = files(&ground.generate("whole"));
    let whole = started.elapsed();
    let needed = ground.llm.stub.calls();
    assert_eq!(needed, ground.llm.distinct(), "an uninterrupted generation asks nothing twice");

    let mut draws = ChaCha8Rng::seed_from_u64(SEED);
    let (mut kills, mut rounds, mut seen) = (0, 0, Vec::new());
    while kills < KILLS {
        rounds += 1;
        let out = ground.world.path(&format!("killed-{rounds}"));
        // By progress, not by time, and a kill for each part of the whole: however slow the
        // machine is, the kills meet every stage.
        for part in (0..=KILLS_PER_FOLDER).map(|part| part * needed / KILLS_PER_FOLDER) {
            let mut child = start(&mut ground.command(&out));
            if part < needed && kills < KILLS {
                let target = part + draws.random_range(0..needed / KILLS_PER_FOLDER);
                let enough = ground.llm.stub.calls() + target.saturating_sub(stored_calls(&out));
                while ground.llm.stub.calls() < enough && child.try_wait().expect("ours").is_none()
                {
                    std::thread::sleep(Duration::from_millis(1));
                }
                std::thread::sleep(Duration::from_millis(draws.random_range(0..60)));
                child.kill().expect("kill -9");
            }
            let output = child.wait_with_output().expect("it ended");
            if output.status.code().is_some() {
                assert_code(&output, 0);
                break;
            }
            kills += 1;
            seen.push(state(&out));
        }
        assert!(files(&out) == expected, "seed {SEED}; kills:\n{}", seen.join("\n"));
    }
    // A test that never met the later stages would prove little.
    for stage in [AUGMENTING, SUMMARIZING] {
        assert!(seen.iter().any(|state| stage(state)), "kills:\n{}", seen.join("\n"));
    }
    println!("{whole:?} uninterrupted; {rounds} folders; kills:\n{}", seen.join("\n"));
    assert_eq!(ground.llm.distinct(), needed, "interrupted generations ask what the other asked");
    let (calls, most) = (ground.llm.stub.calls(), (rounds + 1) * needed + kills * IN_FLIGHT);
    assert!(calls <= most, "{calls} calls, at most {most} without repeating finished work");
}

#[test]
fn a_generation_by_the_batch_killed_at_every_step_is_paid_once_and_makes_the_same() {
    let ground = Ground::quick();
    let clusters = "cluster.k = 8\n";
    ground.configure(clusters);
    let expected = files(&ground.generate("plain"));
    let calls = ground.llm.stub.calls();
    // Patient enough that all calls of a stage meet in one batch.
    let batched = "llm.batch = true\nllm.batch_gather_s = 2.0\nllm.batch_poll_s = 0.05\n";
    ground.configure(&format!("{clusters}{batched}"));
    let out = ground.world.path("out");
    // Until the answers of the first batch are read, nothing is kept of its stage.
    let unanswered: fn(&str) -> bool = |state| state.starts_with("0 calls");
    for stage in [unanswered, SUMMARIZING] {
        for step in [Step::Upload, Step::Create, Step::Poll, Step::Content] {
            ground.llm.kill_at(step, &mut ground.command(&out));
            let state = state(&out);
            assert!(stage(&state), "{step:?}: {state}");
        }
    }
    assert_code(&finish(&mut ground.command(&out)), 0);
    assert_eq!(files(&out), expected);
    assert_eq!((ground.llm.paid_once(), ground.llm.stub.calls()), (calls, calls));
}

/// Replies, but nothing clustered yet.
const AUGMENTING: fn(&str) -> bool =
    |state| !state.starts_with("0 calls") && state.contains(" 0 clusters");

/// Clustered, and not all summed up: the finals are written at the end of the stage.
const SUMMARIZING: fn(&str) -> bool =
    |state| state.contains(" 8 clusters") && state.contains(" 0 finals");

/// Replies that a killed generation has kept.
fn stored_calls(out: &Path) -> usize {
    let number = |state: String| state.split(' ').next()?.parse().ok();
    number(state(out)).unwrap_or(0)
}

/// How far a killed generation was.
fn state(out: &Path) -> String {
    if !out.join("instructions.sqlite").is_file() {
        return "no store".into();
    }
    let store = rusqlite::Connection::open(out.join("instructions.sqlite")).expect("a store");
    let tables = ["calls", "vectors", "raws", "clusters", "finals"].map(|table| {
        let sql = format!("SELECT count(*) FROM {table}");
        let rows: i64 = store.query_row(&sql, [], |row| row.get(0)).unwrap_or(-1);
        format!("{rows} {table}")
    });
    tables.join(", ")
}
