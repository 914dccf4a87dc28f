//! Bad input gets a precise status, never a panic, and never costs the next caller a place.

use std::io::Write;
use std::time::Duration;

use futures::StreamExt;
use pairwright::server::pb;
use pairwright::server::pb::embedding_service_client::EmbeddingServiceClient;
use pairwright::server::pb::info_service_client::InfoServiceClient;
use pairwright::server::pb::instruction_service_client::InstructionServiceClient;
use pairwright::server::pb::job_service_client::JobServiceClient;
use pairwright::server::pb::matching_service_client::MatchingServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::support::serve::{Server, connect, image, info, item_reason, photo, reason, samples};

fn images(images: Vec<pb::Image>) -> pb::EmbedImagesRequest {
    pb::EmbedImagesRequest { images, lane: 0 }
}

fn query(vector: Vec<f32>) -> pb::MatchQuery {
    let embedding = pb::Embedding { values: vector };
    pb::MatchQuery {
        image_source: Some(pb::match_query::ImageSource::ImageEmbedding(embedding)),
        ..Default::default()
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T, Status>, code: Code, wanted: &str) -> Status {
    let status = result.err().unwrap_or_else(|| panic!("{wanted}: was answered"));
    assert_eq!((status.code(), reason(&status).as_str()), (code, wanted), "{status:?}");
    status
}

/// Nothing is held, and no panic was logged.
async fn assert_sound(server: &Server) {
    let mut info = InfoServiceClient::new(server.connect().await);
    let begun = std::time::Instant::now();
    loop {
        let told = info.get_server_info(pb::GetServerInfoRequest {}).await.expect("info");
        let queues = told.into_inner().queues;
        if queues.iter().all(|queue| queue.waiting_count == 0) {
            break;
        }
        // The server's own probe may wait, for a moment.
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{queues:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let mut embedding = EmbeddingServiceClient::new(server.connect().await);
    let good = images(vec![image(photo("tabby-cat"))]);
    embedding.embed_images(good).await.expect("still serves");
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_refused_by_name_value_and_limit() {
    let server = Server::start(&["--max-items", "40"]);
    let channel = server.connect().await;
    embedding_requests(&mut EmbeddingServiceClient::new(channel.clone())).await;
    instruction_requests(&mut InstructionServiceClient::new(channel.clone())).await;
    matching_requests(&mut MatchingServiceClient::new(channel.clone())).await;
    job_requests(&mut JobServiceClient::new(channel.clone())).await;
    batch_requests(&mut MatchingServiceClient::new(channel)).await;
    assert_sound(&server).await;
}

async fn embedding_requests(client: &mut EmbeddingServiceClient<Channel>) {
    let invalid = Code::InvalidArgument;
    refused(client.embed_images(images(vec![])).await, invalid, "FIELD_REQUIRED");
    let many = images(vec![image(vec![1]); 41]);
    let status = refused(client.embed_images(many).await, invalid, "TOO_MANY_ITEMS");
    let told = info(&status).metadata;
    assert_eq!((told["limit"].as_str(), told["allowed"].as_str()), ("max_items", "40"));
    assert_eq!(told["actual"], "41");
    let strange = pb::EmbedImagesRequest { images: vec![image(vec![1])], lane: 77 };
    refused(client.embed_images(strange).await, invalid, "ENUM_UNKNOWN");
    let texts = pb::EmbedTextsRequest { texts: vec!["x".repeat(10 << 20), "fine".into()], lane: 0 };
    let results = client.embed_texts(texts).await.expect("answered").into_inner().results;
    let Some(pb::text_embedding_result::Result::Error(status)) = &results[0].result else {
        panic!("{results:?}")
    };
    assert_eq!(item_reason(status), "TEXT_TOO_LONG");
    assert!(matches!(results[1].result, Some(pb::text_embedding_result::Result::Embedding(_))));
}

async fn instruction_requests(client: &mut InstructionServiceClient<Channel>) {
    let invalid = Code::InvalidArgument;
    let create = |id: &str, text: &str, vector: Option<Vec<f32>>| pb::CreateInstructionRequest {
        instruction_id: id.into(),
        instruction: Some(pb::Instruction {
            text: text.into(),
            embedding: vector.map(|values| pb::Embedding { values }),
            ..Default::default()
        }),
    };
    let nothing = pb::CreateInstructionRequest::default();
    refused(client.create_instruction(nothing).await, invalid, "FIELD_REQUIRED");
    let cases = [
        (create("a/b", "Write.", None), "BAD_INSTRUCTION_ID"),
        (create("a", "  ", None), "FIELD_REQUIRED"),
        (create("a", "Write.", Some(vec![1.0; 3])), "VECTOR_WRONG_WIDTH"),
        (create("a", "Write.", Some(vec![f32::NAN; 384])), "VECTOR_NOT_FINITE"),
        (create("a", "Write.", Some(vec![0.0; 384])), "VECTOR_ZERO"),
    ];
    for (request, wanted) in cases {
        refused(client.create_instruction(request).await, invalid, wanted);
    }
    client.create_instruction(create("a", "Write a memo.", None)).await.expect("created");
    let again = client.create_instruction(create("a", "Another.", None)).await;
    refused(again, Code::AlreadyExists, "INSTRUCTION_ID_EXISTS");
    let again = client.create_instruction(create("b", " Write a memo. ", None)).await;
    refused(again, Code::AlreadyExists, "INSTRUCTION_TEXT_EXISTS");
    let get = |name: &str| pb::GetInstructionRequest { name: name.into(), ..Default::default() };
    refused(client.get_instruction(get("")).await, invalid, "FIELD_REQUIRED");
    refused(client.get_instruction(get("jobs/1")).await, invalid, "FIELD_INVALID");
    let missing = client.get_instruction(get("instructions/none")).await;
    refused(missing, Code::NotFound, "INSTRUCTION_NOT_FOUND");
    for page_size in [-1, 1001] {
        let list = pb::ListInstructionsRequest { page_size, ..Default::default() };
        refused(client.list_instructions(list).await, invalid, "FIELD_OUT_OF_RANGE");
    }
    let list = pb::ListInstructionsRequest { page_token: "x".into(), ..Default::default() };
    refused(client.list_instructions(list).await, invalid, "BAD_PAGE_TOKEN");
    let search = pb::SearchInstructionsRequest::default();
    refused(client.search_instructions(search).await, invalid, "FIELD_REQUIRED");
    let delete = |allow_missing| pb::DeleteInstructionRequest {
        name: "instructions/none".into(),
        allow_missing,
    };
    let missing = client.delete_instruction(delete(false)).await;
    refused(missing, Code::NotFound, "INSTRUCTION_NOT_FOUND");
    client.delete_instruction(delete(true)).await.expect("allowed");
}

async fn matching_requests(client: &mut MatchingServiceClient<Channel>) {
    let invalid = Code::InvalidArgument;
    let queries = vec![
        query(vec![1.0; 384]),
        query(vec![1.0; 5]),
        query(vec![f32::INFINITY; 384]),
        query(vec![0.0; 384]),
        pb::MatchQuery::default(),
    ];
    let request = pb::MatchRequest { queries, ..Default::default() };
    let results = client.r#match(request).await.expect("answered").into_inner().results;
    let reasons: Vec<_> = results
        .iter()
        .map(|result| match &result.result {
            Some(pb::match_result::Result::Error(status)) => item_reason(status),
            _ => "fine".to_owned(),
        })
        .collect();
    let wanted =
        ["fine", "VECTOR_WRONG_WIDTH", "VECTOR_NOT_FINITE", "VECTOR_ZERO", "FIELD_REQUIRED"];
    assert_eq!(reasons, wanted);
    let options = |options| pb::MatchRequest {
        queries: vec![query(vec![1.0; 384])],
        options: Some(options),
        lane: 0,
    };
    let default = pb::MatchOptions::default;
    let cases = [
        (pb::MatchOptions { per_image: Some(0), ..default() }, "FIELD_OUT_OF_RANGE"),
        (pb::MatchOptions { per_image: Some(-3), ..default() }, "FIELD_OUT_OF_RANGE"),
        (pb::MatchOptions { pool: Some(1001), ..default() }, "FIELD_OUT_OF_RANGE"),
        (pb::MatchOptions { strategy: 99, ..default() }, "ENUM_UNKNOWN"),
        (pb::MatchOptions { seed: Some(u64::MAX), ..default() }, "FIELD_OUT_OF_RANGE"),
        (pb::MatchOptions { target_recall: Some(1.5), ..default() }, "FIELD_OUT_OF_RANGE"),
        (pb::MatchOptions { target_recall: Some(f64::NAN), ..default() }, "FIELD_OUT_OF_RANGE"),
        (pb::MatchOptions { temperature: Some(f64::NAN), ..default() }, "BAD_MATCHING_SETTINGS"),
        (pb::MatchOptions { temperature: Some(0.0), ..default() }, "BAD_MATCHING_SETTINGS"),
        (pb::MatchOptions { top_p: Some(2.0), ..default() }, "BAD_MATCHING_SETTINGS"),
    ];
    for (case, wanted) in cases {
        refused(client.r#match(options(case)).await, invalid, wanted);
    }
}

async fn job_requests(client: &mut JobServiceClient<Channel>) {
    let get = |name: &str| pb::GetJobRequest { name: name.into() };
    refused(client.get_job(get("jobs/none")).await, Code::NotFound, "JOB_NOT_FOUND");
    refused(client.get_job(get("jobs/a/b")).await, Code::InvalidArgument, "FIELD_INVALID");
    let list = pb::ListJobsRequest { state: 42, ..Default::default() };
    refused(client.list_jobs(list).await, Code::InvalidArgument, "ENUM_UNKNOWN");
    let watch = pb::WatchJobRequest { name: "jobs/none".into() };
    refused(client.watch_job(watch).await, Code::NotFound, "JOB_NOT_FOUND");
}

async fn batch_requests(client: &mut MatchingServiceClient<Channel>) {
    let invalid = Code::InvalidArgument;
    let batch = |path: &str| pb::BatchMatchRequest {
        source: Some(pb::Source { path: path.into(), ..Default::default() }),
        ..Default::default()
    };
    let nothing = pb::BatchMatchRequest::default();
    refused(client.batch_match(nothing).await, invalid, "FIELD_REQUIRED");
    for path in ["/etc", "../..", "/work/../etc"] {
        let status = client.batch_match(batch(path)).await.expect_err(path);
        assert_eq!(reason(&status), "PATH_OUTSIDE_ROOT", "{path}: {status:?}");
    }
    let mut share = batch(&samples().to_string_lossy());
    share.max_share = Some(7.0);
    refused(client.batch_match(share).await, invalid, "BAD_MATCHING_SETTINGS");
    let mut strange = batch(&samples().to_string_lossy());
    strange.hubness = 9;
    refused(client.batch_match(strange).await, invalid, "ENUM_UNKNOWN");
    let mut run = batch(&samples().to_string_lossy());
    run.run_id = "../up".into();
    refused(client.batch_match(run).await, invalid, "INVALID_RUN_ID");
}

/// A PNG header that promises 100,000 x 100,000 pixels.
fn bomb() -> Vec<u8> {
    let mut header = b"IHDR".to_vec();
    header.extend_from_slice(&100_000u32.to_be_bytes());
    header.extend_from_slice(&100_000u32.to_be_bytes());
    header.extend_from_slice(&[8, 2, 0, 0, 0]);
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    let sum = crc(&header);
    png.extend_from_slice(&header);
    png.extend_from_slice(&sum.to_be_bytes());
    png.extend_from_slice(b"\0\0\0\0IDAT\x35\xaf\x06\x1e\0\0\0\0IEND\xae\x42\x60\x82");
    png
}

fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 }
        })
    };
    !bytes.iter().fold(u32::MAX, step)
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_images_cost_only_themselves() {
    let server = Server::start(&[]);
    std::os::unix::fs::symlink("/etc/hostname", server.folder().join("photos/link.jpg"))
        .expect("link");
    let good = photo("two-dogs");
    let path = |path: &str| pb::Image { source: Some(pb::image::Source::Path(path.into())) };
    let uri = pb::image::Source::Uri("http://127.0.0.1/a.jpg".into());
    let bad = [
        (image(vec![]), "IMAGE_EMPTY_FILE"),
        (image(b"not an image".to_vec()), "IMAGE_UNKNOWN_FORMAT"),
        (image(good[..good.len() / 2].to_vec()), "IMAGE_TRUNCATED"),
        (image(bomb()), "IMAGE_SIDE_TOO_LONG"),
        (pb::Image { source: None }, "FIELD_REQUIRED"),
        (path("missing.jpg"), "FILE_NOT_FOUND"),
        (path("../../Cargo.toml"), "PATH_OUTSIDE_ROOT"),
        (path("/etc/passwd"), "PATH_OUTSIDE_ROOT"),
        (path("link.jpg"), "PATH_OUTSIDE_ROOT"),
        (pb::Image { source: Some(uri) }, "URI_DISABLED"),
    ];
    let mut client = EmbeddingServiceClient::new(server.connect().await);
    for (one, wanted) in bad {
        let mut list = vec![image(good.clone()); 32];
        list[17] = one;
        let reply = client.embed_images(images(list)).await.expect(wanted).into_inner();
        for (at, result) in reply.results.iter().enumerate() {
            match &result.result {
                Some(pb::image_embedding_result::Result::Error(status)) => {
                    assert_eq!((at, item_reason(status).as_str()), (17, wanted), "{status:?}");
                }
                other => assert!(at != 17 && other.is_some(), "{wanted}: {at} {other:?}"),
            }
        }
    }
    assert_sound(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_leave_hang_or_come_late_hold_nothing() {
    let server = Server::start(&[]);
    let channel = server.connect().await;
    let mut client = EmbeddingServiceClient::new(channel.clone());
    let mut late = Request::new(images(vec![image(photo("moose")); 32]));
    late.set_timeout(Duration::from_millis(1));
    let status = client.embed_images(late).await.expect_err("too late");
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    // Calls given up half way.
    for _ in 0..20 {
        let call = client.embed_images(images(vec![image(photo("moose")); 32]));
        let _ = tokio::time::timeout(Duration::from_millis(15), call).await;
    }
    // Streams of which nobody reads the answers, and then all are dropped.
    let photograph = photo("moose");
    let one = move || pb::EmbedStreamRequest {
        input: Some(pb::embed_stream_request::Input::Image(image(photograph.clone()))),
        ..Default::default()
    };
    let vanishing = tokio::runtime::Runtime::new().expect("a runtime");
    for _ in 0..8 {
        let (address, messages) = (server.address.clone(), vec![one(); 100]);
        vanishing.spawn(async move {
            let mut client = EmbeddingServiceClient::new(connect(&address).await);
            let requests = futures::stream::iter(messages);
            let answers = client.embed_stream(requests).await.expect("a stream");
            std::future::pending::<()>().await;
            drop(answers);
        });
    }
    server.until_metric("pw_streams_open", |open| open == 8.0).await;
    // Others are served meanwhile.
    client.embed_images(images(vec![image(photo("moose"))])).await.expect("served");
    // Their connections close, as when a process dies.
    vanishing.shutdown_background();
    // A stream whose client stops sending half way still answers what came.
    let two = futures::stream::iter([one(), one()]);
    let mut answers = client.embed_stream(two).await.expect("a stream").into_inner();
    let mut count = 0;
    while let Some(answer) = answers.next().await {
        answer.expect("an answer");
        count += 1;
    }
    assert_eq!(count, 2);
    server.until_metric("pw_streams_open", |open| open == 0.0).await;
    server.until_metric("pw_queue_size", |waiting| waiting == 0.0).await;
    assert_sound(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_a_message_names_the_limit() {
    let server = Server::start(&["--max-message-mb", "1"]);
    let mut client = EmbeddingServiceClient::new(server.connect().await);
    let status =
        client.embed_images(images(vec![image(vec![7; 2 << 20])])).await.expect_err("large");
    let status = refused::<()>(Err(status), Code::InvalidArgument, "REQUEST_TOO_LARGE");
    let told = info(&status).metadata;
    assert_eq!((&*told["limit"], &*told["allowed"]), ("max_message_bytes", "1048576"));
    let one = pb::EmbedStreamRequest {
        input: Some(pb::embed_stream_request::Input::Image(image(vec![7; 2 << 20]))),
        ..Default::default()
    };
    let mut answers =
        client.embed_stream(futures::stream::iter([one])).await.expect("begins").into_inner();
    refused(answers.message().await, Code::InvalidArgument, "REQUEST_TOO_LARGE");
    assert_sound(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_nobody_reads_gives_its_place_back() {
    let mut settings = tempfile::NamedTempFile::with_suffix(".toml").expect("a file");
    writeln!(settings, "[serve.limits]\nmax_requests = 1\nstream_idle_seconds = 1")
        .expect("written");
    let server = Server::start(&["--config", settings.path().to_str().expect("text")]);
    let text = pb::EmbedStreamRequest {
        // Comes back with the answer, which fills the connection.
        correlation_id: "i".repeat(256),
        input: Some(pb::embed_stream_request::Input::Text("a moose".into())),
        ..Default::default()
    };
    let mut reader = EmbeddingServiceClient::new(server.connect().await);
    // Sent for ever and read never.
    let endless = futures::stream::repeat(text);
    let unread = reader.embed_stream(endless).await.expect("begins").into_inner();
    let mut other = EmbeddingServiceClient::new(server.connect().await);
    let small = || pb::EmbedTextsRequest { texts: vec!["a cat".into()], lane: 0 };
    let full = other.embed_texts(small()).await;
    refused(full, Code::ResourceExhausted, "TOO_MANY_REQUESTS");
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while other.embed_texts(small()).await.is_err() {
        assert!(std::time::Instant::now() < until, "the place never came back");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(unread);
    assert_sound(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_cut_off_while_they_are_sent_are_not_our_errors() {
    let server = Server::start(&[]);
    for _ in 0..20 {
        let mut client = EmbeddingServiceClient::new(server.connect().await);
        let call = client.embed_images(images(vec![image(vec![7; 8 << 20])]));
        let _ = tokio::time::timeout(Duration::from_millis(3), call).await;
    }
    server.until_metric("pw_connections_open", |open| open == 0.0).await;
    assert_sound(&server).await;
    assert!(!server.log().contains("ERROR"), "{}", server.log());
}
