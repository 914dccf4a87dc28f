//! What the three kinds of work with a language model have in common: places that fill as soon as
//! there is work, and the same end for the same failure.

use std::process::{Child, Command, Output};

use crate::evaluate::Desk;
use crate::support::run::{
    Llm, PHOTOS, World, assert_code, finish, pairwright, said, start, wait_until,
};
use crate::support::stub_llm::Fault;

/// A process that ends with its test, however that ends.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // One that is gone already is none the worse.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Pairs come one by one while no call ever comes back: each must be asked for all the same.
#[test]
fn places_fill_though_no_call_has_come_back() {
    const PAIRS: usize = 30;
    let world = World::new();
    for number in 0..PAIRS {
        let name = format!("{number:02}");
        world.add_photo(PHOTOS[number % PHOTOS.len()], &name);
        world.write(&format!("photos/{name}.txt"), format!("Photo {number} shows a thing."));
    }
    world.configure(
        "llm.max_in_flight = 200\nllm.deadline_s = 600.0\nencoder.batch_size = 1\n\
         matching.hubness = \"none\"\n",
    );
    let llm = Llm::default();
    llm.stub.always(Fault::Hang);
    let _run = Ended(start(&mut world.command(&world.path("out"), &llm.target())));
    wait_until("a call for every pair is under way", || llm.stub.most_at_once() == PAIRS);
}

/// A spent quota is the LLM's end, and no full disk, whichever command meets it.
#[test]
fn a_spent_quota_ends_every_kind_of_work_alike() {
    let llm = Llm::default();
    llm.stub.always(Fault::Status(429, "insufficient_quota"));
    let told = |output: &Output| {
        assert_code(output, 4);
        assert!(said(output).contains("quota"), "{}", said(output));
    };

    let world = World::with_photos(&PHOTOS);
    told(&world.run("run", &llm));

    let line =
        |n: usize| format!("{{\"id\": \"d{n}\", \"description\": \"A number {n} on a wall.\"}}\n");
    world.write("descriptions.jsonl", (0..8).map(line).collect::<String>());
    let command = |words: &[&str]| {
        let mut command: Command = pairwright(words);
        command.args(["--llm", &llm.target(), "--config"]).arg(world.path("config.toml"));
        command
    };
    let mut generate = command(&["instructions", "generate"]);
    generate.arg("--descriptions").arg(world.path("descriptions.jsonl"));
    told(&finish(generate.arg("--out").arg(world.path("generation"))));

    let desk = Desk::with_two();
    let mut judge = command(&["evaluate", "judge"]);
    judge.arg("--questions").arg(desk.path("q.jsonl"));
    judge.arg("--a").arg(desk.path("a.jsonl")).arg("--b").arg(desk.path("b.jsonl"));
    told(&finish(judge.arg("--out").arg(world.path("verdicts"))));
}
