//! What an instruction requires, from its creation to the match that it is left out of.

use std::time::{Duration, Instant};

use futures::StreamExt;
use pairwright::server::pb;
use pairwright::server::pb::answer_service_client::AnswerServiceClient;
use pairwright::server::pb::instruction_service_client::InstructionServiceClient;
use pairwright::server::pb::match_query::ImageSource;
use pairwright::server::pb::match_result::Result as Matched;
use pairwright::server::pb::matching_service_client::MatchingServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::support::serve::{Server, image, item_reason, photo, reason};
use crate::support::stub_llm::eyes::{asked, shown};
use crate::support::stub_llm::{Eyes, Fault, StubLlm, StubOptions};

/// An instruction of the category `water`.
fn new(id: &str, text: &str, requires: &[&str], tag: &str) -> pb::CreateInstructionRequest {
    let phrases = requires.iter().map(|&phrase| phrase.to_owned()).collect();
    pb::CreateInstructionRequest {
        instruction_id: id.into(),
        instruction: Some(pb::Instruction {
            text: text.into(),
            category: "water".into(),
            requires: Some(pb::Requirements { phrases }),
            tags: vec![tag.into()],
            ..Default::default()
        }),
    }
}

/// Two draws of the category `water`, however dissimilar, by these checks or the server's own.
fn options(kinds: Option<&[i32]>, tags: &[&str]) -> pb::MatchOptions {
    pb::MatchOptions {
        per_image: Some(2),
        min_similarity: Some(-1.0),
        check: kinds.map(|kinds| pb::Checks { kinds: kinds.to_vec() }),
        filter: Some(pb::InstructionFilter {
            categories: vec!["water".into()],
            tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        }),
        ..Default::default()
    }
}

fn dogs() -> pb::MatchQuery {
    pb::MatchQuery {
        image_source: Some(ImageSource::Image(image(photo("two-dogs")))),
        caption: "Two dogs lean out of an opening in a wooden house.".into(),
        ..Default::default()
    }
}

async fn matched(
    client: &mut MatchingServiceClient<Channel>,
    query: pb::MatchQuery,
    options: pb::MatchOptions,
) -> pb::Match {
    let request = pb::MatchRequest { queries: vec![query], options: Some(options), lane: 0 };
    let reply = client.r#match(request).await.expect("answered").into_inner();
    match reply.results.into_iter().next().and_then(|one| one.result) {
        Some(Matched::Match(found)) => found,
        other => panic!("{other:?}"),
    }
}

/// The ids of what was drawn, sorted.
fn drawn(found: &pb::Match) -> Vec<&str> {
    let mut ids: Vec<&str> = found.picks.iter().map(|pick| pick.instruction.as_str()).collect();
    ids.sort_unstable();
    ids
}

const TEXT: i32 = pb::CheckKind::Text as i32;
const BOAT: &str = "instructions/boat-ad";
const POEM: &str = "instructions/any-poem";

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_apply_is_not_drawn_and_says_why() {
    let server = Server::start(&[]);
    let channel = server.connect().await;
    let mut library = InstructionServiceClient::new(channel.clone());
    for one in [
        new("boat-ad", "Write an ad for the boat in the image.", &["boat"], "sale"),
        new("any-poem", "Write a poem about the image.", &[], "verse"),
    ] {
        let asked = one.instruction.clone().expect("given");
        let created = library.create_instruction(one).await.expect("created").into_inner();
        let get = pb::GetInstructionRequest { name: created.name, ..Default::default() };
        let read = library.get_instruction(get).await.expect("there").into_inner();
        assert_eq!((read.requires, read.tags), (asked.requires, asked.tags));
    }
    let nothing = library.create_instruction(new("x", "Sing.", &["it"], "song")).await;
    let nothing = nothing.expect_err("it names nothing");
    assert_eq!(reason(&nothing), "INSTRUCTION_REQUIRES_NAMES_NOTHING");

    let mut client = MatchingServiceClient::new(channel);
    let found = matched(&mut client, dogs(), options(Some(&[]), &[])).await;
    assert_eq!(drawn(&found), [POEM, BOAT], "nothing is checked, only the category counts");
    assert_eq!((found.candidates.len(), found.refused_count), (2, 0));

    for kinds in [Some(&[TEXT][..]), None] {
        let found = matched(&mut client, dogs(), options(kinds, &[])).await;
        assert_eq!(drawn(&found), [POEM], "{kinds:?}");
        assert_eq!((found.candidates.len(), found.refused_count), (1, 1));
        let refused = &found.refused_candidates[0];
        assert_eq!(refused.instruction, BOAT);
        let text = refused.checks.iter().find(|found| found.kind == TEXT).expect("a text check");
        assert_eq!(text.missing, ["boat"]);
    }

    let found = matched(&mut client, dogs(), options(Some(&[TEXT]), &["sale", "none"])).await;
    assert_eq!(found.no_match_reason, "no_applicable_instruction");
    assert!(found.no_match_message.contains("boat"), "{}", found.no_match_message);

    // A vector says nothing in words, so that the text check has nothing to go by.
    let vector = pb::Embedding { values: (0..384).map(|at| (at % 7) as f32 - 3.0).collect() };
    let vector = pb::MatchQuery {
        image_source: Some(ImageSource::ImageEmbedding(vector)),
        ..Default::default()
    };
    let found = matched(&mut client, vector, options(Some(&[TEXT]), &["sale"])).await;
    assert_eq!(drawn(&found), [BOAT]);

    for (kinds, wanted) in [(&[9][..], "ENUM_UNKNOWN"), (&[TEXT, TEXT], "BAD_MATCHING_SETTINGS")] {
        let options = Some(options(Some(kinds), &[]));
        let request = pb::MatchRequest { queries: vec![dogs()], options, lane: 0 };
        assert_eq!(reason(&client.r#match(request).await.expect_err("refused")), wanted);
    }
}

const LLM: i32 = pb::CheckKind::Llm as i32;

/// Chat completions that no verdicts can be read from.
const PROSE: Fault = Fault::Body(
    r#"{"choices": [{"message": {"role": "assistant", "content": "Two fine dogs, I would say."}, "finish_reason": "stop"}]}"#,
);
const HALF: Fault = Fault::Body(
    r#"{"choices": [{"message": {"role": "assistant", "content": "{\"1\": true, \"2\": fal"}, "finish_reason": "length"}]}"#,
);

/// A server with a library of three instructions, of which the stub refuses one.
async fn with_model(llm: &str) -> (Server, Channel) {
    with_flags(&["--llm", llm]).await
}

async fn with_flags(flags: &[&str]) -> (Server, Channel) {
    let server = Server::start(flags);
    let channel = server.connect().await;
    let mut library = InstructionServiceClient::new(channel.clone());
    for one in [
        new("boat-ad", "Write an ad for the boat in the image.", &["boat"], "sale"),
        new("dog-diary", "Write a diary entry of the dog.", &["dog"], "verse"),
        new("any-poem", "Write a poem about the image.", &[], "verse"),
    ] {
        library.create_instruction(one).await.expect("created");
    }
    (server, channel)
}

async fn failed(client: &mut MatchingServiceClient<Channel>) -> tonic_types::Status {
    let options = Some(options(Some(&[LLM]), &[]));
    let request = pb::MatchRequest { queries: vec![dogs()], options, lane: 0 };
    let reply = client.r#match(request).await.expect("answered").into_inner();
    match reply.results.into_iter().next().and_then(|one| one.result) {
        Some(Matched::Error(status)) => status,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_language_model_refuses_candidates_when_a_request_asks_for_it() {
    let stub = StubLlm::start(StubOptions::default()).await;
    let (_server, channel) = with_model(&format!("openai:{}", stub.base_url)).await;
    let mut client = MatchingServiceClient::new(channel.clone());

    matched(&mut client, dogs(), options(None, &[])).await;
    assert_eq!(stub.calls(), 0, "no default asks a model");

    // Both draws fall on what is left; one question was asked, and nothing about the poem.
    let found = matched(&mut client, dogs(), options(Some(&[LLM]), &[])).await;
    assert_eq!(drawn(&found), [POEM, "instructions/dog-diary"]);
    assert_eq!((found.candidates.len(), found.refused_count), (2, 1));
    let refused = &found.refused_candidates[0];
    assert_eq!((refused.instruction.as_str(), refused.checks.len()), (BOAT, 1));
    assert_eq!(
        (refused.checks[0].kind, &refused.checks[0].missing[..]),
        (LLM, &["boat".into()][..])
    );
    let asked = stub.requests().pop().expect("asked").to_string();
    assert!(asked.contains("Two dogs lean out") && asked.contains("the boat in the image"));
    assert!(!asked.contains("a poem about"), "it requires nothing: {asked}");
    assert_eq!(stub.calls(), 1);

    let found = matched(&mut client, dogs(), options(Some(&[LLM]), &["sale"])).await;
    assert_eq!(found.no_match_reason, "no_applicable_instruction");

    // What the text check refused is not asked about.
    let calls = stub.calls();
    let found = matched(&mut client, dogs(), options(Some(&[LLM, TEXT]), &["sale"])).await;
    assert_eq!((found.refused_count, stub.calls()), (1, calls));

    // Without a caption the model has nothing to go by.
    let silent = pb::MatchQuery { caption: String::new(), ..dogs() };
    let found = matched(&mut client, silent, options(Some(&[LLM]), &["sale"])).await;
    assert_eq!((drawn(&found), found.candidates[0].checks[0].score), (vec![BOAT], None));
    assert_eq!(stub.calls(), calls);

    // One reply that cannot be read is asked for again; two fail the query and nothing else.
    for unread in [PROSE, HALF] {
        stub.script([unread]);
        let found = matched(&mut client, dogs(), options(Some(&[LLM]), &[])).await;
        assert_eq!(found.refused_count, 1);
    }
    let calls = stub.calls();
    stub.script([HALF, PROSE]);
    let status = failed(&mut client).await;
    assert_eq!(
        (status.code, item_reason(&status)),
        (Code::Unavailable as i32, "LLM_CHECK_UNREADABLE".into())
    );
    assert_eq!(stub.calls(), calls + 2);
    stub.script([Fault::Status(400, "no such thing")]);
    let refused = item_reason(&failed(&mut client).await);
    assert!(refused.starts_with("LLM_"), "{refused}");
    matched(&mut client, dogs(), options(Some(&[LLM]), &[])).await;

    let options = Some(options(Some(&[LLM]), &[]));
    // A stream's head comes at once, so that only the question itself can keep the deadline.
    stub.always(Fault::Hang);
    let message = pb::MatchStreamRequest { options, query: Some(dogs()), lane: 0 };
    let open = futures::stream::iter([message]).chain(futures::stream::pending());
    let mut request = Request::new(open);
    request.set_timeout(Duration::from_secs(2));
    let began = Instant::now();
    let mut answers = client.match_stream(request).await.expect("a stream").into_inner();
    let status = answers.message().await.expect_err("the model hangs");
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
    );
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_language_model_its_check_is_refused() {
    let (_server, channel) = with_model("local:/no/such/model.gguf").await;
    let mut client = MatchingServiceClient::new(channel);
    let options_of = |kind| Some(options(Some(&[kind]), &[]));
    let request =
        |kind| pb::MatchRequest { queries: vec![dogs()], options: options_of(kind), lane: 0 };
    let status = client.r#match(request(LLM)).await.expect_err("there is no model");
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Unavailable, "ANSWER_BACKEND_DOWN")
    );
    client.r#match(request(TEXT)).await.expect("needs none");
}

/// The answer to this pair, or the reason why there is none.
async fn answered(
    client: &mut AnswerServiceClient<Channel>,
    description: &str,
    photo: &str,
) -> Result<pb::Answer, String> {
    let pair = pb::Pair {
        description: description.into(),
        task: Some(pb::pair::Task::InstructionText("Write a note.".into())),
        image: (!photo.is_empty()).then(|| image(self::photo(photo))),
    };
    let request = pb::GenerateAnswerRequest { pair: Some(pair), options: None };
    let mut events = match client.generate_answer(request).await {
        Ok(events) => events.into_inner(),
        Err(status) => return Err(reason(&status)),
    };
    loop {
        match events.message().await.map_err(|status| reason(&status))?.and_then(|one| one.event) {
            Some(pb::generate_answer_response::Event::Answer(answer)) => return Ok(answer),
            Some(_) => {}
            None => panic!("no answer at the end"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn photos_of_calls_are_shown_to_a_model_that_sees() {
    let stub = StubLlm::start(StubOptions::default()).await;
    let config = tempfile::NamedTempFile::new().expect("temp file");
    fs_err::write(config.path(), "[check]\nsee = \"image\"\n").expect("write");
    let (llm, config) = (format!("openai:{}", stub.base_url), config.into_temp_path());
    let path = config.to_string_lossy();
    let (server, channel) = with_flags(&["--llm", &llm, "--config", &path]).await;
    let mut client = MatchingServiceClient::new(channel.clone());
    // No caption is needed where the photo is shown.
    let silent = pb::MatchQuery { caption: String::new(), ..dogs() };
    let found = matched(&mut client, silent, options(Some(&[LLM]), &[])).await;
    assert_eq!(drawn(&found), [POEM, "instructions/dog-diary"]);
    assert_eq!(found.refused_candidates[0].checks[0].score, Some(0.0));
    let question = stub.requests().pop().expect("asked");
    assert!(shown(&question).is_some() && asked(&question).contains("the boat in the image"));
    assert_eq!(stub.calls(), 2, "asked first whether it sees");
    // A caption alone is read.
    let text = pb::MatchQuery { image_source: None, ..dogs() };
    matched(&mut client, text, options(Some(&[LLM]), &[])).await;
    let question = stub.requests().pop().expect("asked");
    assert!(shown(&question).is_none() && asked(&question).contains("Two dogs lean out"));

    let mut client = AnswerServiceClient::new(channel);
    for (description, with_photo) in [("", true), ("Two dogs.", true), ("Two dogs.", false)] {
        let photo = if with_photo { "two-dogs" } else { "" };
        answered(&mut client, description, photo).await.expect("an answer");
        let request = stub.requests().pop().expect("asked");
        assert_eq!(shown(&request).is_some(), with_photo);
        assert_eq!(request.to_string().contains("Two dogs."), !description.is_empty());
    }
    let nothing = answered(&mut client, "", "").await;
    assert_eq!(nothing.expect_err("nothing to go by"), "FIELD_REQUIRED");
    let sights = stub.requests();
    let sights = sights.iter().filter(|request| asked(request).contains("four squares"));
    assert_eq!(sights.count(), 1, "asked once");
    server.until_metric("pw_llm_role_calls{role=\"answer\"}", |calls| calls >= 3.0).await;
    server.until_metric("pw_llm_role_calls{role=\"check\"}", |calls| calls >= 2.0).await;

    let stub = StubLlm::start(StubOptions { eyes: Eyes::Blind, ..Default::default() }).await;
    let (_server, channel) = with_model(&format!("openai:{}", stub.base_url)).await;
    let mut client = AnswerServiceClient::new(channel);
    let blind = answered(&mut client, "Two dogs.", "two-dogs").await;
    assert_eq!(blind.expect_err("it does not see"), "LLM_BLIND");
    answered(&mut client, "Two dogs.", "").await.expect("it reads");
}
