//! What an operator meets: starting, refusing to start, health, metrics, overload, the end.

use std::time::Duration;

use pairwright::server::pb;
use pairwright::server::pb::answer_service_client::AnswerServiceClient;
use pairwright::server::pb::embedding_service_client::EmbeddingServiceClient;
use pairwright::server::pb::info_service_client::InfoServiceClient;
use pairwright::server::pb::instruction_service_client::InstructionServiceClient;
use pairwright::server::pb::matching_service_client::MatchingServiceClient;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use crate::support::serve::{Server, command, image, photo, reason};
use crate::support::stub_llm::{StubLlm, StubOptions};

#[test]
fn wrong_settings_refuse_to_start_with_name_value_and_range() {
    let folder = tempfile::tempdir().expect("temp dir");
    let refusals = [
        (vec!["--max-items", "0"], "serve.limits.max_items is 0, must be 1 to"),
        (vec!["--max-queue-items", "0"], "serve.queue.max_queue_items is 0, must be 1 to 1000000"),
        (vec!["--listen", "0.0.0.0:0"], "--allow-insecure"),
        (vec!["--model", "/nowhere"], "/nowhere"),
        (vec!["--tls-cert", "/nowhere.pem"], "serve.tls.key"),
    ];
    for (flags, wanted) in refusals {
        let mut start = command(folder.path());
        let done = start.args(&flags).output().expect("runs");
        let told = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "{flags:?}: {told}");
        assert!(told.contains(wanted), "{flags:?}: {told}");
    }
    let mut start = command(folder.path());
    let done = start.env("PAIRWRIGHT__SERVE__LIMITS__MAX_STREAMS", "0").output().expect("runs");
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(told.contains("serve.limits.max_streams is 0"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_folder_and_one_port_belong_to_one_server() {
    let server = Server::start(&[]);
    let second = ["--listen", "127.0.0.1:0"];
    let done = command(server.folder()).args(second).output().expect("runs");
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(!done.status.success() && told.contains("another process"), "{told}");
    let other = tempfile::tempdir().expect("temp dir");
    let done = command(other.path()).args(["--listen", &server.address]).output().expect("runs");
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(!done.status.success() && told.contains(&server.address), "{told}");
}

pub async fn health(server: &Server, service: &str) -> ServingStatus {
    let mut client = HealthClient::new(server.connect().await);
    let request = HealthCheckRequest { service: service.to_owned() };
    client.check(request).await.expect("known").into_inner().status()
}

pub async fn until_health(server: &Server, service: &str, wanted: ServingStatus) {
    for _ in 0..300 {
        if health(server, service).await == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{service} never became {wanted:?}: {}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_answer_backend_is_told_and_comes_back() {
    let stub = StubLlm::start(StubOptions::default()).await;
    let target = format!("openai:{}", stub.base_url);
    let port: u16 = stub
        .base_url
        .trim_end_matches("/v1")
        .rsplit(':')
        .next()
        .expect("port")
        .parse()
        .expect("a number");
    // One attempt a call: the retries of the client to the model have their own tests.
    let config = tempfile::NamedTempFile::new().expect("temp file");
    fs_err::write(config.path(), "[llm]\nmax_attempts = 1\n").expect("write");
    let path = config.path().to_string_lossy();
    let server = Server::start(&["--llm", &target, "--config", &path]);
    let answers = "pairwright.v1.AnswerService";
    until_health(&server, answers, ServingStatus::Serving).await;
    drop(stub);
    let mut client = AnswerServiceClient::new(server.connect().await);
    let ask = || pb::GenerateAnswerRequest {
        pair: Some(pb::Pair {
            description: "A dog on a meadow.".into(),
            task: Some(pb::pair::Task::InstructionText("Write a note.".into())),
            image: None,
        }),
        options: None,
    };
    // Calls meet the dead server until it counts as down; then they are refused at once.
    let mut last = None;
    for _ in 0..200 {
        let mut stream = client.generate_answer(ask()).await.expect("a stream").into_inner();
        let status = stream.message().await.expect_err("no server");
        let down = reason(&status) == "ANSWER_BACKEND_DOWN";
        last = Some(status);
        if down {
            break;
        }
    }
    let status = last.expect("asked");
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Unavailable, "ANSWER_BACKEND_DOWN")
    );
    assert!(status.get_details_retry_info().is_some());
    until_health(&server, answers, ServingStatus::NotServing).await;
    assert_eq!(health(&server, "pairwright.v1.EmbeddingService").await, ServingStatus::Serving);
    assert_eq!(health(&server, "").await, ServingStatus::Serving);
    let options = StubOptions { port, ..StubOptions::default() };
    let _again = StubLlm::start(options).await;
    until_health(&server, answers, ServingStatus::Serving).await;
    let mut stream = client.generate_answer(ask()).await.expect("a stream").into_inner();
    assert!(stream.message().await.expect("answered").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_times_more_callers_than_places_are_all_answered() {
    let server = Server::start(&["--max-queue-items", "8"]);
    let calls = (0..80).map(|_| async {
        let mut client = EmbeddingServiceClient::new(server.connect().await);
        let request = pb::EmbedImagesRequest { images: vec![image(photo("moose"))], lane: 0 };
        let mut codes = Vec::new();
        for _ in 0..5 {
            match client.embed_images(request.clone()).await {
                Ok(_) => codes.push(Code::Ok),
                Err(status) => {
                    assert_eq!(reason(&status), "OVERLOADED", "{status:?}");
                    let hint = status.metadata().get("retry-after").expect("retry-after");
                    assert!(hint.to_str().expect("text").parse::<u64>().expect("seconds") >= 1);
                    codes.push(status.code());
                }
            }
        }
        codes
    });
    let codes: Vec<Code> = futures::future::join_all(calls).await.concat();
    assert_eq!(codes.len(), 400);
    assert!(codes.contains(&Code::Ok) && codes.contains(&Code::ResourceExhausted), "{codes:?}");
    assert!(codes.iter().all(|code| matches!(code, Code::Ok | Code::ResourceExhausted)));
    let mut info = InfoServiceClient::new(server.connect().await);
    let told = info.get_server_info(pb::GetServerInfoRequest {}).await.expect("info").into_inner();
    assert!(told.queues.iter().all(|queue| queue.waiting_count == 0), "{told:?}");
    assert_eq!(told.limits.expect("limits").max_queue_items, 8);
    let refused = codes.iter().filter(|code| **code == Code::ResourceExhausted).count();
    assert_eq!(server.metric("pw_queue_overloaded").await, refused as f64);
    let method = "pw_request_count{method=\"/pairwright.v1.EmbeddingService/EmbedImages\"}";
    assert_eq!(server.metric(method).await, 400.0);
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

/// A graph measures itself some seconds after its instructions came.
#[tokio::test(flavor = "multi_thread")]
async fn a_graph_tells_what_its_searches_find() {
    let folder = tempfile::tempdir().expect("temp dir");
    let config = folder.path().join("config.toml");
    fs_err::write(&config, "index.kind = \"usearch\"\n").expect("written");
    let seed = folder.path().join("seed.jsonl");
    let line =
        |at| format!("{{\"id\": \"i{at}\", \"text\": \"Say {at} words about what you see.\"}}\n");
    fs_err::write(&seed, (0..300).map(line).collect::<String>()).expect("written");
    let (config, seed) = (config.to_string_lossy(), seed.to_string_lossy());
    let server = Server::start(&["--config", &config, "--library-seed", &seed]);
    server.until_metric("pw_index_recall{modality=\"text\"}", |recall| recall >= 0.98).await;
    let mut info = InfoServiceClient::new(server.connect().await);
    let told = info.get_server_info(pb::GetServerInfoRequest {}).await.expect("info").into_inner();
    let search = told.library.and_then(|library| library.search).expect("how it searches");
    let [text] = &search.recall[..] else { panic!("{search:?}") };
    assert_eq!((&*search.kind, &*text.modality), ("usearch", "text"));
    assert!(text.recall >= 0.98 && text.width >= 16, "{text:?}");
    assert_eq!((text.query_count, text.vector_count), (75, 300));
    // The photos of this call alone are too few to measure with; a wish is heard all the same.
    let mut matching = MatchingServiceClient::new(server.connect().await);
    let embedding = pb::Embedding { values: (0u16..384).map(f32::from).collect() };
    let query = pb::MatchQuery {
        image_source: Some(pb::match_query::ImageSource::ImageEmbedding(embedding)),
        ..Default::default()
    };
    let options = pb::MatchOptions {
        target_recall: Some(0.999),
        min_similarity: Some(-1.0),
        ..Default::default()
    };
    let request = pb::MatchRequest { queries: vec![query], options: Some(options), lane: 0 };
    let found = matching.r#match(request).await.expect("answered").into_inner();
    assert!(
        matches!(found.results[0].result, Some(pb::match_result::Result::Match(_))),
        "{found:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_scope_what_a_caller_may_do() {
    let folder = tempfile::tempdir().expect("temp dir");
    let file = folder.path().join("keys.toml");
    let new = |name: &str, scope: &str| {
        let mut make = std::process::Command::new(env!("CARGO_BIN_EXE_pairwright"));
        make.args(["keys", "new", "--name", name, "--scope", scope, "--file"]).arg(&file);
        let done = make.output().expect("runs");
        let printed = String::from_utf8(done.stdout).expect("text");
        let key = printed.split_whitespace().find(|word| word.starts_with("pw_"));
        key.unwrap_or_else(|| panic!("{printed}")).to_owned()
    };
    let (reader, writer) = (new("reader", "read"), new("writer", "write"));
    let server = Server::start(&["--api-keys", &file.to_string_lossy()]);
    let mut client = InstructionServiceClient::new(server.connect().await);
    let bearer = |key: &str| MetadataValue::try_from(format!("Bearer {key}")).expect("ASCII");
    let list = |key: Option<&str>| {
        let mut request = Request::new(pb::ListInstructionsRequest::default());
        if let Some(key) = key {
            request.metadata_mut().insert("authorization", bearer(key));
        }
        request
    };
    let create = |key: &str, id: &str| {
        let instruction = pb::Instruction { text: format!("Write {id}."), ..Default::default() };
        let mut request = Request::new(pb::CreateInstructionRequest {
            instruction_id: id.into(),
            instruction: Some(instruction),
        });
        request.metadata_mut().insert("authorization", bearer(key));
        request
    };
    let status = client.list_instructions(list(None)).await.expect_err("no key");
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Unauthenticated, "API_KEY_MISSING")
    );
    let status = client.list_instructions(list(Some("pw_wrong"))).await.expect_err("wrong");
    assert_eq!(reason(&status), "API_KEY_INVALID");
    client.list_instructions(list(Some(&reader))).await.expect("may read");
    let status = client.create_instruction(create(&reader, "a")).await.expect_err("may not write");
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::PermissionDenied, "API_KEY_SCOPE")
    );
    // Nor may it have a language model asked by a method that otherwise only reads.
    let check = pb::Checks { kinds: vec![pb::CheckKind::Llm.into()] };
    let query = pb::MatchQuery { caption: "A dog runs.".into(), ..Default::default() };
    let mut asking = Request::new(pb::MatchRequest {
        queries: vec![query],
        options: Some(pb::MatchOptions { check: Some(check), ..Default::default() }),
        ..Default::default()
    });
    asking.metadata_mut().insert("authorization", bearer(&reader));
    let mut matching = MatchingServiceClient::new(server.connect().await);
    let status = matching.r#match(asking).await.expect_err("may not spend");
    assert_eq!(reason(&status), "API_KEY_SCOPE");
    client.create_instruction(create(&writer, "a")).await.expect("may write");
    assert!(!server.log().contains(&writer), "a key was logged");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_drains_and_the_library_is_saved() {
    let folder = tempfile::tempdir().expect("temp dir");
    let mut server = Server::over(folder.path(), &[]);
    let channel = server.connect().await;
    let images: Vec<_> = (0..64).map(|_| image(photo("moose"))).collect();
    let mut client = EmbeddingServiceClient::new(channel);
    let call = tokio::spawn(async move {
        client.embed_images(pb::EmbedImagesRequest { images, lane: 0 }).await
    });
    let method = "pw_request_count{method=\"/pairwright.v1.EmbeddingService/EmbedImages\"}";
    server.until_metric(method, |count| count == 1.0).await;
    assert!(server.terminate().success(), "{}", server.log());
    let reply = call.await.expect("the call").expect("a call under way is finished");
    assert_eq!(reply.into_inner().results.len(), 64);
    assert!(folder.path().join("data/instructions.index").is_file());
}
