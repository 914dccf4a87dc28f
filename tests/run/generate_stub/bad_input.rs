//! Bad settings, and an LLM that answers anything but instructions.

use super::*;
use crate::support::stub_llm::Fault;

/// A chat completion whose text is `$text` (JSON-escaped).
macro_rules! reply {
    ($text:literal) => {
        concat!(
            r#"{"id":"x","object":"chat.completion","created":0,"model":"stub-model","choices":["#,
            r#"{"index":0,"message":{"role":"assistant","content":""#,
            $text,
            r#""},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#
        )
    };
}

/// Raw verdicts and reply outcomes with their counts.
fn outcomes(out: &Path) -> Vec<String> {
    let sql = "SELECT code || ' ' || n FROM (
        SELECT verdict code, count(*) n FROM raws GROUP BY 1
        UNION ALL SELECT outcome, count(*) FROM readings WHERE role = 'augment' GROUP BY 1)";
    query(out, sql)
}

/// Half of the calls get `body`, the others go well: the run goes on, and the loss is counted and
/// in the report.
#[track_caller]
fn half_bad(body: &'static str, code: &str) {
    let ground = Ground::quick();
    ground.configure("generate.attempts = 1\n");
    ground.llm.stub.script((0..DESCRIPTIONS / 2).map(|_| Fault::Body(body)));
    let out = ground.generate("out");
    let seen = outcomes(&out);
    let wanted = format!("{code} {}", DESCRIPTIONS / 2);
    assert!(seen.contains(&wanted), "{wanted} is not in {seen:?}");
    assert!(!files(&out)[0].is_empty(), "the run went on");
    let report = fs_err::read_to_string(out.join("report.html")).expect("a report");
    assert!(report.contains(&format!("<code>{code}</code>")), "the report says why");
    let said = said(&ground.try_generate("out"));
    assert!(said.contains(&format!("{:>6}  ", DESCRIPTIONS / 2)) && said.contains(code), "{said}");
}

#[test]
fn prose_is_counted() {
    half_bad(reply!("The wall is white. A number hangs there. It is large."), "reply_prose");
}

#[test]
fn half_a_json_is_counted() {
    half_bad(reply!(r#"{\"instructions\": [\"Write a po"#), "reply_bad_json");
}

#[test]
fn nothing_is_counted() {
    half_bad(reply!(""), "reply_empty");
}

#[test]
fn another_language_is_counted() {
    half_bad(
        reply!(r#"{\"instructions\": [\"Schreibe ein Gedicht über das Bild.\"]}"#),
        "wrong_language",
    );
}

#[test]
fn the_seed_verbatim_is_counted() {
    half_bad(
        reply!(
            r#"{\"instructions\": [\"Write a limerick about what is happening in the image.\"]}"#
        ),
        "seed_copy",
    );
}

#[test]
fn what_a_half_json_does_hold_is_used() {
    let ground = Ground::quick();
    ground.configure("generate.attempts = 1\n");
    let body =
        reply!(r#"{\"instructions\": [\"Compose a hymn to the shadows of the image.\", \"Wri"#);
    ground.llm.stub.script([Fault::Body(body)]);
    let out = ground.generate("out");
    assert_eq!(count(&out, "SELECT count(*) FROM raws WHERE text LIKE 'Compose a hymn%'"), 1);
    assert!(outcomes(&out).contains(&"half_json 1".to_owned()), "{:?}", outcomes(&out));
}

#[test]
fn a_bad_reply_is_asked_again() {
    let ground = Ground::quick();
    ground.llm.stub.script([Fault::Body(reply!("No idea. None at all. Sorry."))]);
    let out = ground.generate("out");
    assert!(outcomes(&out).contains(&"reply_prose 1".to_owned()));
    let again = "SELECT count(*) FROM calls WHERE role = 'augment' AND attempt = 2";
    assert!(count(&out, again) >= 1);
}

#[test]
fn fewer_than_two_instructions_are_refused_with_what_was_lost() {
    let ground = Ground::quick();
    ground.configure("generate.attempts = 1\n");
    ground.llm.stub.always(Fault::Body(reply!(
        r#"{\"instructions\": [\"Compose a hymn to the shadows of the image.\"]}"#
    )));
    let output = ground.try_generate("out");
    assert_code(&output, 2);
    let said = said(&output);
    assert!(said.contains("1 distinct instructions are left"), "{said}");
    assert!(said.contains(&format!("duplicate {}", DESCRIPTIONS - 1)), "{said}");
    let report = fs_err::read_to_string(ground.world.path("out/report.html")).expect("a report");
    assert!(report.contains("<code>duplicate</code>") && report.contains("Nothing was clustered"));
}

#[test]
fn no_instruction_at_all_is_an_end_of_its_own() {
    let ground = Ground::quick();
    ground.configure("generate.attempts = 1\n");
    ground.llm.stub.always(Fault::Body(reply!("No idea. None at all. Sorry.")));
    let output = ground.try_generate("out");
    assert_code(&output, 7);
    let said = said(&output);
    assert!(said.contains(&format!("reply_prose {DESCRIPTIONS}")), "{said}");
}

#[test]
fn a_k_out_of_range_is_refused() {
    let ground = Ground::quick();
    ground.configure("cluster.k = 0\n");
    let output = ground.try_generate("out");
    assert_code(&output, 2);
    assert!(said(&output).contains("cluster.k is 0, must be 1 to"), "{}", said(&output));
    assert_eq!(ground.llm.stub.calls(), 0, "refused before anything is asked");

    ground.configure("cluster.k = 5000\n");
    let output = ground.try_generate("out");
    assert_code(&output, 2);
    assert!(said(&output).contains("k is 5000, must be 1 to"), "{}", said(&output));
    ground.configure("");
    ground.generate("out");
}

#[test]
fn a_cluster_that_fails_is_reported_and_the_others_go_on() {
    let ground = Ground::quick();
    ground.configure("cluster.k = 4\nsummarize.attempts = 2\n");
    let out = ground.generate("out");
    let augmented = count(&out, "SELECT count(*) FROM calls WHERE role = 'augment'");
    // Another folder asks the same: after the augment calls come the clusters', in their order.
    let bad = Fault::Body(reply!("The wall is white. It is large. It is far."));
    ground.configure("cluster.k = 4\nsummarize.attempts = 2\nllm.max_in_flight = 1\n");
    ground.llm.stub.script((0..augmented).map(|_| Fault::None).chain([bad.clone(), bad]));
    let output = ground.try_generate("other");
    assert_code(&output, 0);
    let other = ground.world.path("other");
    let verdicts = query(&other, "SELECT verdict FROM finals ORDER BY cluster");
    assert_eq!((verdicts.len(), verdicts[0].as_str()), (4, "reply_prose"), "{verdicts:?}");
    assert!(verdicts[1..].iter().all(|verdict| verdict != "reply_prose"), "{verdicts:?}");
    assert_eq!(count(&other, "SELECT count(*) FROM refusals WHERE cluster = 0"), 2);
    assert!(said(&output).contains("final: reply_prose"), "{}", said(&output));
}

#[test]
fn a_server_that_takes_no_schema_is_asked_without() {
    let ground = Ground::quick();
    ground.configure("llm.max_in_flight = 1\n");
    ground.llm.stub.script([Fault::Status(400, "response_format is not supported")]);
    ground.llm.stub.always(Fault::Body(reply!("1. Compose a hymn to the shadows of the image.")));
    let output = ground.try_generate("out");
    assert_code(&output, 2);
    let requests = ground.llm.stub.requests();
    assert!(requests.iter().skip(1).all(|request| request["response_format"].is_null()));
    assert!(said(&output).contains("response_format is left out"), "{}", said(&output));
    let out = ground.world.path("out");
    assert_eq!(count(&out, "SELECT count(*) FROM failures"), 0, "no call was lost");
}

#[test]
fn a_refused_key_ends_it_and_the_same_command_goes_on() {
    let ground = Ground::quick();
    let halves = (0..DESCRIPTIONS / 2).map(|_| Fault::None);
    ground.llm.stub.script(halves.chain([Fault::Status(401, "no")]));
    assert_code(&ground.try_generate("out"), 4);
    let out = ground.world.path("out");
    let kept = count(&out, "SELECT count(*) FROM calls");
    assert!(kept >= DESCRIPTIONS / 2 - 4, "{kept} replies were kept");
    ground.generate("out");
    assert_eq!(files(&out), files(&ground.generate("fresh")));
}

#[test]
fn bad_inputs_are_refused_by_name() {
    let ground = Ground::quick();
    ground
        .world
        .write("seeds.txt", "Write a poem about the image.\nwrite a poem about the image!\n");
    let mut command = ground.command(&ground.world.path("out"));
    let output = finish(command.arg("--seeds").arg(ground.world.path("seeds.txt")));
    assert_code(&output, 2);
    assert!(said(&output).contains("holds only 1 distinct seeds"), "{}", said(&output));
    ground.world.write("descriptions.jsonl", "{}\n");
    let output = ground.try_generate("out");
    assert_code(&output, 2);
    assert!(said(&output).contains("holds no description"), "{}", said(&output));
    let output = finish(&mut pairwright(&["instructions", "list", "--out", "/nowhere"]));
    assert_code(&output, 2);
    assert!(said(&output).contains("no generated instructions at /nowhere"), "{}", said(&output));
}

/// A refusal that nobody has a class for, of every call: named, and nothing of it is final.
#[test]
fn a_server_that_refuses_all_is_named_and_asked_again() {
    // Given up after so many refusals in a row; or each call is refused before that.
    for (places, said_so) in
        [(4, "the LLM backend cannot be used"), (32, "24 calls to the LLM failed")]
    {
        let ground = Ground::quick();
        ground.configure(&format!("llm.max_in_flight = {places}\n"));
        ground.llm.stub.always(Fault::Status(418, "this server is a teapot"));
        let output = ground.try_generate("out");
        assert_code(&output, 4);
        let text = said(&output);
        assert!(text.contains(said_so) && text.contains("this server is a teapot"), "{text}");
        ground.llm.stub.always(Fault::None);
        let out = ground.generate("out");
        assert_eq!(count(&out, "SELECT count(*) FROM failures"), 0);
        let asked = count(&out, "SELECT count(DISTINCT subject) FROM calls WHERE role = 'augment'");
        assert_eq!(asked, DESCRIPTIONS, "each description has its reply");
    }
}

#[test]
fn credit_that_ends_in_the_middle_changes_no_byte() {
    let ground = Ground::quick();
    let expected = files(&ground.generate("whole"));
    let needed = ground.llm.stub.calls();
    ground.llm.stub.script(std::iter::repeat_n(Fault::None, 10));
    ground.llm.stub.always(Fault::Status(429, "insufficient_quota"));
    let output = ground.try_generate("out");
    assert_code(&output, 4);
    assert!(said(&output).contains("insufficient_quota"), "{}", said(&output));
    let kept = count(&ground.world.path("out"), "SELECT count(*) FROM calls");
    assert_eq!(kept, 10, "what was paid for is kept");
    ground.llm.stub.always(Fault::None);
    let before = ground.llm.stub.calls();
    assert_eq!(files(&ground.generate("out")), expected);
    assert_eq!(ground.llm.stub.calls() - before, needed - kept, "nothing is asked twice");
}

#[test]
fn a_description_that_is_refused_among_others_is_refused_for_good() {
    let ground = Ground::quick();
    ground.configure("llm.max_in_flight = 1\n");
    ground.llm.stub.script([Fault::None, Fault::Status(418, "not this one")]);
    let out = ground.generate("out");
    assert_eq!(query(&out, "SELECT subject FROM failures WHERE refused = 2"), ["d1"]);
    let calls = ground.llm.stub.calls();
    ground.generate("out");
    assert_eq!(ground.llm.stub.calls(), calls);
}
