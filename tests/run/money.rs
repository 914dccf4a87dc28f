//! What a run spends: caps that end it and let it go on, previews, and calls by the batch, killed at
//! every step.

use std::cell::RefCell;
use std::path::Path;

use crate::judged::values;
use crate::support::run::{
    Llm, PHOTOS, World, assert_code, assert_same_exports, count, exported_ids, exports, finish,
    said, start, wait_until,
};
use crate::support::stub_llm::{BatchEnd, Step};

const BATCHED: &str = "llm.batch = true\nllm.batch_gather_s = 0.3\nllm.batch_poll_s = 0.05\n\
    matching.per_image = 3\n";

/// Patient enough that all calls of such a small run meet in a batch or two.
const TOGETHER: &str = "llm.batch_gather_s = 3.0\n";

const PLAIN: &str = "matching.per_image = 3\nllm.max_in_flight = 2\n";

/// A world, and what a run with calls one by one makes of it.
fn expected() -> (World, [Vec<u8>; 3], usize) {
    let world = World::with_photos(&PHOTOS);
    world.configure(PLAIN);
    let llm = Llm::default();
    assert_code(&world.run("plain", &llm), 0);
    let made = exports(&world.path("plain"));
    (world, made, llm.stub.calls())
}

/// Tokens that the ledger of a folder counts.
fn spent(out: &Path) -> (u64, u64) {
    let ledger = rusqlite::Connection::open(out.join("llm.sqlite")).expect("a ledger");
    let sql = "SELECT sum(prompt_tokens + completion_tokens), sum(estimated_calls) FROM spending";
    ledger.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).expect("a sum")
}

#[test]
fn a_run_by_the_batch_makes_the_same_and_a_second_one_asks_nothing() {
    let (world, made, calls) = expected();
    world.configure(&format!("{BATCHED}llm.batch_max_requests = 5\nllm.batch_max_open = 4\n"));
    let llm = Llm::default();
    assert_code(&world.run("out", &llm), 0);
    let out = world.path("out");
    assert_same_exports(&out, &made, "by the batch");
    assert_eq!((llm.paid_once(), llm.stub.calls()), (calls, 0));
    assert!(llm.stub.batches_made() >= calls / 5, "{}", llm.stub.batches_made());
    let plain = spent(&world.path("plain"));
    assert_eq!(spent(&out), plain, "the same calls take the same tokens");
    let batches = llm.stub.batches_made();
    assert_code(&world.run("out", &llm), 0);
    assert_eq!(llm.stub.batches_made(), batches, "nothing was left to ask");
}

#[test]
fn a_run_by_the_batch_killed_at_every_step_pays_for_nothing_twice() {
    let (world, made, calls) = expected();
    world.configure(BATCHED);
    let llm = Llm::default();
    let out = world.path("out");
    // The last one twice: what a broken file brought before is not counted again.
    let steps = [Step::Upload, Step::Create, Step::Poll, Step::Content, Step::Content];
    for step in steps {
        llm.kill_at(step, &mut world.command(&out, &llm.target()));
    }
    let output = finish(&mut world.command(&out, &llm.target()));
    assert_code(&output, 0);
    assert_same_exports(&out, &made, "after kills");
    assert_eq!(llm.paid_once(), calls);
    assert_eq!(spent(&out), spent(&world.path("plain")), "{}", said(&output));
}

#[test]
fn a_judge_by_the_batch_killed_at_every_step_is_paid_once_and_rates_the_same() {
    let world = World::with_photos(&PHOTOS);
    let judged = |judge: &Llm, how: &str| {
        // What it claims is never in the answer, so that each sample has a second asking, too.
        world.configure(&format!(
            "measure.enabled = [\"relevance\", \"formatting\", \"unsupported_share\"]\n\
             measure.judge.llm.target = \"{}\"\n{how}",
            judge.target()
        ));
    };
    let (llm, plain, judge) = (Llm::default(), Llm::default(), Llm::default());
    judged(&plain, "");
    assert_code(&world.run("plain", &llm), 0);
    let expected = values(&world.path("plain"));
    assert_eq!(expected.len(), 3 * exported_ids(&world.path("plain")).len());
    assert!(expected.iter().any(|row| row.contains("relevance | ")), "{expected:?}");

    judged(
        &judge,
        "measure.judge.llm.batch = true\nmeasure.judge.llm.batch_gather_s = 0.3\n\
         measure.judge.llm.batch_poll_s = 0.05\n",
    );
    let out = world.path("out");
    for step in [Step::Upload, Step::Create, Step::Poll, Step::Content] {
        judge.kill_at(step, &mut world.command(&out, &llm.target()));
    }
    assert_code(&world.run("out", &llm), 0);
    assert_eq!(values(&out), expected);
    assert_same_exports(&out, &exports(&world.path("plain")), "judged by the batch");
    assert_eq!((judge.paid_once(), judge.stub.calls()), (plain.stub.calls(), 0));
}

#[test]
fn a_stop_does_not_wait_for_a_batch_whose_answers_come_at_the_next_start() {
    let (world, made, calls) = expected();
    world.configure(BATCHED);
    let llm = Llm::default();
    let out = world.path("out");
    llm.stub.hang_at(Some(Step::Poll));
    let child = start(&mut world.command(&out, &llm.target()));
    wait_until("the batch is looked at", || llm.stub.is_hanging());
    crate::support::run::signal(child.id(), "INT");
    let output = child.wait_with_output().expect("it ended");
    assert_code(&output, 130);
    llm.stub.hang_at(None);
    assert_code(&world.run("out", &llm), 0);
    assert_same_exports(&out, &made, "after a stop");
    assert_eq!(llm.paid_once(), calls);
}

#[test]
fn a_batch_that_nobody_needs_any_more_holds_up_no_new_one() {
    let (world, made, calls) = expected();
    let one = format!("{BATCHED}llm.batch_max_open = 1\n");
    world.configure(&format!("seed = 5\n{one}"));
    let llm = Llm::default();
    let out = world.path("out");
    llm.stub.script_batches([BatchEnd::Never]);
    llm.kill_at(Step::Poll, &mut world.command(&out, &llm.target()));
    // Other calls: those of the open batch are nobody's.
    world.configure(&one);
    let child = RefCell::new(start(&mut world.command(&out, &llm.target())));
    wait_until("the run has ended beside it", || {
        child.borrow_mut().try_wait().expect("its state").is_some()
    });
    assert_same_exports(&out, &made, "beside a batch that stays open");
    assert_eq!(llm.paid_once(), calls);
}

#[test]
fn what_a_batch_leaves_is_asked_again_and_what_it_refuses_is_a_refusal() {
    let (world, made, calls) = expected();
    world.configure(&format!("{BATCHED}{TOGETHER}"));
    let llm = Llm::default();
    let ends = [BatchEnd::Expired(1), BatchEnd::Failed("Enqueued token limit reached")];
    llm.stub.script_batches(ends);
    assert_code(&world.run("expired", &llm), 0);
    assert_same_exports(&world.path("expired"), &made, "after an expired and a failed batch");
    assert_eq!(llm.paid_once(), calls);
    assert!(llm.stub.batches_made() >= 3, "{}", llm.stub.batches_made());

    let llm = Llm::default();
    llm.stub.script_batches([BatchEnd::Cancelled(1)]);
    let output = world.run("cancelled", &llm);
    assert!([3, 4].contains(&output.status.code().expect("a code")), "{}", said(&output));
    assert!(said(&output).contains("llm_batch"), "{}", said(&output));
    assert!(llm.paid_once() < calls, "who cancelled it did not want its calls made again");
    assert_code(&world.run("cancelled", &llm), 0);
    assert_same_exports(&world.path("cancelled"), &made, "after a cancelled batch");
    assert_eq!(llm.paid_once(), calls);

    let llm = Llm::default();
    llm.stub.script_batches([BatchEnd::PartlyRefused(3, 400, "flagged by the content policy")]);
    let out = world.path("refused");
    let output = world.run("refused", &llm);
    assert_code(&output, 0);
    let refused = count(&out, "SELECT count(*) FROM rejections WHERE code = 'llm_content_policy'");
    assert!((1..=calls / 3).contains(&refused), "{}", said(&output));
    assert_eq!(exported_ids(&out).len() + refused, calls);
}

#[test]
fn answers_without_usage_are_counted_by_their_characters() {
    let (world, made, calls) = expected();
    world.configure(BATCHED);
    let llm = Llm::default();
    llm.stub.script_batches(vec![BatchEnd::WithoutUsage; calls]);
    let output = world.run("out", &llm);
    assert_code(&output, 0);
    assert_eq!(exported_ids(&world.path("out")).len(), calls);
    assert_eq!(made.len(), 3);
    let (tokens, estimated) = spent(&world.path("out"));
    assert_eq!(estimated, calls as u64);
    assert!(tokens > 0 && said(&output).contains("about "), "{}", said(&output));
}

#[test]
fn a_cap_ends_the_run_and_a_higher_one_goes_on() {
    let (world, made, calls) = expected();
    let (whole, _) = spent(&world.path("plain"));
    for (cap, prices) in [
        (format!("llm.max_tokens_total = {}\n", whole / 2 + 400), ""),
        (
            format!("llm.max_cost = {}\n", (whole / 2 + 400) as f64 / 1e6 * 2.0),
            "llm.price_per_million_prompt_tokens = 2.0\n\
             llm.price_per_million_completion_tokens = 2.0\n",
        ),
    ] {
        let llm = Llm::default();
        let name = if prices.is_empty() { "tokens" } else { "cost" };
        let out = world.path(name);
        let few = "answer.settings.max_tokens = 200\n";
        world.configure(&format!("{PLAIN}{prices}{few}"));
        assert_code(&world.run(&format!("{name}-whole"), &llm), 0);
        let made = exports(&world.path(&format!("{name}-whole")));
        let llm = Llm::default();
        world.configure(&format!("{PLAIN}{cap}{prices}{few}"));
        let output = world.run(name, &llm);
        assert_code(&output, 6);
        let told = said(&output);
        assert!(told.contains("stopped: the spending cap llm.max_"), "{told}");
        assert!(told.contains("the same command makes them"), "{told}");
        let (tokens, _) = spent(&out);
        assert!(tokens <= whole / 2 + 400, "{tokens} of {whole}: {told}");
        assert!(tokens > whole / 4, "{tokens} of {whole}: {told}");
        assert!(!exported_ids(&out).is_empty(), "what was done is exported");
        assert_eq!(count(&out, "SELECT count(*) FROM failures"), 0, "no call has failed");
        // Under the same cap nothing more is asked.
        let before = llm.stub.calls();
        assert_code(&world.run(name, &llm), 6);
        assert!(llm.stub.calls() <= before + 1, "{} after {before}", llm.stub.calls());
        world.configure(&format!("{PLAIN}{prices}{few}"));
        let output = world.run(name, &llm);
        assert_code(&output, 0);
        assert_same_exports(&out, &made, "after a higher cap");
        assert_eq!(llm.stub.calls(), calls, "nothing is asked twice");
        if !prices.is_empty() {
            assert!(said(&output).contains("cost 0."), "{}", said(&output));
        }
    }
    assert_eq!(made.len(), 3);
}

#[test]
fn a_cap_holds_before_a_batch_is_made() {
    let (world, made, calls) = expected();
    let (whole, _) = spent(&world.path("plain"));
    let few = "answer.settings.max_tokens = 200\n";
    let llm = Llm::default();
    let cap = format!("llm.max_tokens_total = {}\n", whole / 2 + 400);
    world.configure(&format!("{BATCHED}{cap}{few}"));
    assert_code(&world.run("out", &llm), 6);
    let (tokens, _) = spent(&world.path("out"));
    assert!(tokens > 0 && tokens <= whole / 2 + 400, "{tokens} of {whole}");
    world.configure(&format!("{BATCHED}{few}"));
    assert_code(&world.run("out", &llm), 0);
    assert_eq!(llm.paid_once(), calls);
    assert_eq!(exported_ids(&world.path("out")).len(), calls);
    assert_eq!(made.len(), 3);
}

#[test]
fn a_preview_is_part_of_the_run() {
    let world = World::with_photos(&PHOTOS);
    world.configure("matching.hubness = \"none\"\n");
    let llm = Llm::default();
    let run = |out: &str, more: &[&str]| {
        let mut command = world.command(&world.path(out), &llm.target());
        let output = finish(command.args(more));
        assert_code(&output, 0);
        said(&output)
    };
    run("whole", &[]);
    let whole = llm.stub.calls();
    let told = run("out", &["--limit", "2"]);
    let out = world.path("out");
    assert!(told.contains("only the first 2"), "{told}");
    let preview = exported_ids(&out);
    assert!(preview.is_subset(&exported_ids(&world.path("whole"))) && !preview.is_empty());
    let asked = llm.stub.calls() - whole;
    assert!(asked >= 2 && asked < whole);
    run("out", &["--limit", "0"]);
    assert_same_exports(&out, &exports(&world.path("whole")), "a preview that went on");
    assert_eq!(llm.stub.calls(), 2 * whole, "nothing is asked twice");
}
