//! One item, a list and a stream give the same vectors; so does the command line.

use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use pairwright::encoder::{Encoder, EncoderOptions, OnnxEncoder};
use pairwright::image::DecodeOptions;
use pairwright::model::{ModelSource, Precision};
use pairwright::server::pb;
use pairwright::server::pb::embed_stream_request::Input;
use pairwright::server::pb::embed_stream_response::Result as Streamed;
use pairwright::server::pb::embedding_service_client::EmbeddingServiceClient;
use pairwright::server::pb::image_embedding_result::Result as ImageOutcome;
use pairwright::server::pb::info_service_client::InfoServiceClient;
use pairwright::server::pb::instruction_service_client::InstructionServiceClient;
use pairwright::server::pb::match_query::ImageSource;
use pairwright::server::pb::match_result::Result as Matched;
use pairwright::server::pb::matching_service_client::MatchingServiceClient;
use pairwright::server::pb::text_embedding_result::Result as TextOutcome;
use tonic::transport::Channel;

use crate::support::serve::{Server, image, root, samples};

const CLOSE: f32 = 1e-4;

fn photos() -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = fs_err::read_dir(samples())
        .expect("samples")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "jpg"))
        .collect();
    paths.sort();
    paths.iter().map(|path| fs_err::read(path).expect("a photo")).collect()
}

fn texts() -> Vec<String> {
    let long = "a long walk through the old town ".repeat(60);
    ["A cat.", "Write an ad for the item in the image.", "ein Hund läuft über die Wiese 🐕", &long]
        .map(str::to_owned)
        .to_vec()
}

fn assert_close(name: &str, one: &[Vec<f32>], other: &[Vec<f32>]) {
    assert_eq!(one.len(), other.len(), "{name}");
    for (at, (one, other)) in one.iter().zip(other).enumerate() {
        let worst = one.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= CLOSE, "{name}, item {at}: {worst}");
    }
}

async fn images_of(
    client: &mut EmbeddingServiceClient<Channel>,
    list: Vec<Vec<u8>>,
) -> Vec<Vec<f32>> {
    let images = list.into_iter().map(image).collect();
    let request = pb::EmbedImagesRequest { images, lane: 0 };
    let reply = client.embed_images(request).await.expect("answered").into_inner();
    let vector = |result: pb::ImageEmbeddingResult| match result.result {
        Some(ImageOutcome::Embedding(found)) => found.vector.expect("a vector").values,
        other => panic!("{other:?}"),
    };
    reply.results.into_iter().map(vector).collect()
}

async fn texts_of(
    client: &mut EmbeddingServiceClient<Channel>,
    texts: Vec<String>,
) -> Vec<Vec<f32>> {
    let request = pb::EmbedTextsRequest { texts, lane: 0 };
    let reply = client.embed_texts(request).await.expect("answered").into_inner();
    let vector = |result: pb::TextEmbeddingResult| match result.result {
        Some(TextOutcome::Embedding(found)) => found.vector.expect("a vector").values,
        other => panic!("{other:?}"),
    };
    reply.results.into_iter().map(vector).collect()
}

async fn streamed(
    client: &mut EmbeddingServiceClient<Channel>,
    inputs: Vec<Input>,
) -> Vec<Vec<f32>> {
    let requests = inputs.into_iter().enumerate().map(|(at, input)| pb::EmbedStreamRequest {
        correlation_id: at.to_string(),
        input: Some(input),
        lane: 0,
    });
    let requests: Vec<_> = requests.collect();
    let answers = client.embed_stream(futures::stream::iter(requests)).await.expect("a stream");
    let answers: Vec<_> = answers.into_inner().collect().await;
    let vector = |(at, answer): (usize, Result<pb::EmbedStreamResponse, tonic::Status>)| {
        let answer = answer.expect("an answer");
        assert_eq!(answer.correlation_id, at.to_string(), "in the order of the requests");
        match answer.result {
            Some(Streamed::Image(found)) => found.vector.expect("a vector").values,
            Some(Streamed::Text(found)) => found.vector.expect("a vector").values,
            other => panic!("{other:?}"),
        }
    };
    answers.into_iter().enumerate().map(vector).collect()
}

/// Photos and texts alone, in lists and in streams of `server`, and by the engine from `model`.
async fn agree(server: &Server, model: ModelSource) {
    let mut client = EmbeddingServiceClient::new(server.connect().await);
    let photos = photos();
    let listed = images_of(&mut client, photos.clone()).await;
    let mut alone = Vec::new();
    for photo in &photos {
        alone.extend(images_of(&mut client, vec![photo.clone()]).await);
    }
    let inputs = photos.iter().map(|photo| Input::Image(image(photo.clone()))).collect();
    let stream = streamed(&mut client, inputs).await;
    assert_close("images: alone and in a list", &alone, &listed);
    assert_close("images: alone and in a stream", &alone, &stream);

    let encoder = OnnxEncoder::open(model, &EncoderOptions::default(), DecodeOptions::default());
    let encoder = encoder.expect("a model");
    let prepare = |photo: &Vec<u8>| encoder.preprocessor().prepare(photo).expect("decodes").0;
    let pixels: Vec<_> = photos.iter().map(prepare).collect();
    assert_close(
        "images: service and engine",
        &alone,
        &encoder.embed_images(&pixels).expect("embeds"),
    );

    let texts = texts();
    let listed = texts_of(&mut client, texts.clone()).await;
    let mut alone = Vec::new();
    for text in &texts {
        alone.extend(texts_of(&mut client, vec![text.clone()]).await);
    }
    let stream = streamed(&mut client, texts.iter().cloned().map(Input::Text).collect()).await;
    assert_close("texts: alone and in a list", &alone, &listed);
    assert_close("texts: alone and in a stream", &alone, &stream);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_list_and_stream_agree_with_each_other_and_with_the_engine() {
    agree(&Server::start(&[]), (&root().join("models/mini")).into()).await;
}

/// Of a dynamically quantised graph a row's result depends on its batch, so batches are of one.
#[tokio::test(flavor = "multi_thread")]
async fn so_they_do_with_exports_of_clip_and_siglip_quantised_ones_too() {
    for (name, precision, batch) in [
        ("clip", Precision::Fp32, None),
        ("clip", Precision::Int8, Some(1)),
        ("siglip", Precision::Int8, Some(1)),
    ] {
        let path = root().join("tests/golden/clip").join(name);
        let folder = path.to_str().expect("a path");
        let flag = precision.to_string();
        let flags = ["--model", folder, "--model-precision", &flag];
        let server = Server::start(&flags);
        let precision = Some(precision);
        agree(&server, ModelSource { precision, ..ModelSource::from(&path) }).await;
        let mut info = InfoServiceClient::new(server.connect().await);
        let info = info.get_server_info(pb::GetServerInfoRequest {}).await.expect("answered");
        let limits = info.into_inner().limits.expect("limits");
        assert!(batch.is_none_or(|batch| limits.max_batch_items == batch), "{name}: {limits:?}");
    }
}

/// Names and similarities of what was drawn.
fn drawn(result: pb::MatchResult) -> Vec<(String, f64)> {
    let Some(Matched::Match(found)) = result.result else { panic!("{result:?}") };
    found.picks.into_iter().map(|pick| (pick.instruction, pick.similarity)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_draws_the_same_alone_listed_and_streamed() {
    let server = Server::start(&[]);
    let mut client = MatchingServiceClient::new(server.connect().await);
    let queries: Vec<_> = photos()
        .into_iter()
        .enumerate()
        .map(|(at, photo)| pb::MatchQuery {
            id: format!("photo-{at}"),
            image_source: Some(pb::match_query::ImageSource::Image(image(photo))),
            caption: if at % 2 == 0 { "A photo.".into() } else { String::new() },
        })
        .collect();
    let options = pb::MatchOptions {
        per_image: Some(3),
        seed: Some(5),
        min_similarity: Some(-1.0),
        ..Default::default()
    };
    let request = |queries| pb::MatchRequest { queries, options: Some(options.clone()), lane: 0 };
    let listed = client.r#match(request(queries.clone())).await.expect("answered").into_inner();
    let first = pb::MatchStreamRequest { options: Some(options.clone()), ..Default::default() };
    let rest = queries
        .iter()
        .map(|query| pb::MatchStreamRequest { query: Some(query.clone()), ..Default::default() });
    let requests: Vec<_> = std::iter::once(first).chain(rest).collect();
    let stream = client.match_stream(futures::stream::iter(requests)).await.expect("a stream");
    let stream: Vec<_> = stream.into_inner().collect().await;
    assert_eq!(stream.len(), queries.len(), "the message with options alone gets no answer");
    for ((query, listed), streamed) in queries.into_iter().zip(listed.results).zip(stream) {
        let id = query.id.clone();
        let alone = client.r#match(request(vec![query])).await.expect("answered").into_inner();
        let alone = drawn(alone.results.into_iter().next().expect("one"));
        assert_eq!(alone.len(), 3, "{id}");
        let streamed = streamed.expect("an answer").result.expect("a result");
        for other in [drawn(listed), drawn(streamed)] {
            for (one, other) in alone.iter().zip(&other) {
                assert_eq!(one.0, other.0, "{id}");
                assert!((one.1 - other.1).abs() < 1e-4, "{id}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_queries_are_matched_while_the_library_changes() {
    let server = Server::start(&[]);
    let mut embedding = EmbeddingServiceClient::new(server.connect().await);
    let vectors = images_of(&mut embedding, photos()).await;
    let query = |values: &Vec<f32>| pb::MatchQuery {
        image_source: Some(ImageSource::ImageEmbedding(pb::Embedding { values: values.clone() })),
        ..Default::default()
    };
    let queries: Vec<_> = vectors.iter().cycle().take(64).map(query).collect();
    let matching = (0..4).map(|_| {
        let (channel, queries) = (server.connect(), queries.clone());
        async move {
            let mut client = MatchingServiceClient::new(channel.await);
            for _ in 0..25 {
                let request = pb::MatchRequest { queries: queries.clone(), ..Default::default() };
                let matched = client.r#match(request).await.expect("answered").into_inner();
                assert_eq!(matched.results.len(), queries.len());
            }
        }
    });
    let writing = async {
        let mut client = InstructionServiceClient::new(server.connect().await);
        loop {
            let text = "Write a line about the weather.".to_owned();
            let instruction = Some(pb::Instruction { text, ..Default::default() });
            let request = pb::CreateInstructionRequest { instruction, ..Default::default() };
            let made = client.create_instruction(request).await.expect("created").into_inner();
            let request = pb::DeleteInstructionRequest { name: made.name, ..Default::default() };
            client.delete_instruction(request).await.expect("deleted");
        }
    };
    let patience = Duration::from_secs(120);
    tokio::select! {
        done = tokio::time::timeout(patience, join_all(matching)) => {
            done.expect("answered in time");
        }
        () = writing => {}
    }
}
