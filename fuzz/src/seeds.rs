//! The fuzz targets' first inputs.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageFormat};
use pairwright::server::pb;
use prost::Message;

use crate::files::{FILES, project};
use crate::input;

/// The largest picture of the golden tests that is taken over as it is: libFuzzer's pace depends
/// on the size of its inputs.
const LARGEST: u64 = 64 << 10;

/// Writes `kind`'s seeds to the folder that the environment names, if it names one, and ends the
/// process. A part of the targets, since what is instrumented links with libFuzzer only.
pub fn write_if_asked(kind: Kind) {
    let Some(folder) = std::env::var_os("PAIRWRIGHT_FUZZ_SEEDS") else { return };
    let inputs = match kind {
        Kind::Images => images(),
        Kind::Requests => requests(),
        Kind::Files => files(),
        Kind::Replies => replies(),
    };
    let saved = inputs.and_then(|inputs| save(Path::new(&folder), inputs));
    saved.expect("the seeds are written");
    std::process::exit(0);
}

/// Which target's seeds.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Images,
    Requests,
    Files,
    Replies,
}

fn save(folder: &Path, inputs: Vec<Vec<u8>>) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (number, input) in inputs.iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number:03}")), input)?;
    }
    println!("{} seeds in {}", inputs.len(), folder.display());
    Ok(())
}

fn photo(side: u32) -> std::io::Result<DynamicImage> {
    let file = std::fs::read(project().join("samples/photos/tabby-cat.jpg"))?;
    Ok(image::load_from_memory(&file).expect("a sample photo").thumbnail(side, side))
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).expect("encoding to memory");
    bytes.into_inner()
}

/// What each kind of server sends under each condition, from the tests of the client.
fn replies() -> std::io::Result<Vec<Vec<u8>>> {
    let rows = std::fs::read_to_string(project().join("tests/llm/shapes.jsonl"))?;
    let sent = |line: &str| -> std::io::Result<Vec<u8>> {
        let row: serde_json::Value = serde_json::from_str(line)?;
        let text = ["stream", "raw"].iter().find_map(|name| row[*name].as_str());
        Ok(text.map_or_else(|| row["body"].to_string(), str::to_owned).into_bytes())
    };
    rows.lines().map(sent).collect()
}

/// A sound file of each kind.
fn files() -> std::io::Result<Vec<Vec<u8>>> {
    let one = |(at, file): (usize, &crate::files::File)| {
        Ok([vec![at as u8], std::fs::read(project().join(file.sample))?].concat())
    };
    FILES.iter().enumerate().map(one).collect()
}

/// Small photos of each kind, and the small ones among the pictures of the golden tests (CMYK,
/// progressive, palettes, animations, orientations).
fn images() -> std::io::Result<Vec<Vec<u8>>> {
    let small = photo(40)?;
    let kinds = [
        small.clone(),
        DynamicImage::ImageRgba8(small.to_rgba8()),
        DynamicImage::ImageLuma8(small.to_luma8()),
        DynamicImage::ImageLumaA8(small.to_luma_alpha8()),
        DynamicImage::ImageRgb16(small.to_rgb16()),
    ];
    let mut files = Vec::new();
    for (at, kind) in kinds.iter().enumerate() {
        files.push(encoded(kind, ImageFormat::Png));
        if at != 3 {
            files.push(encoded(kind, ImageFormat::Tiff));
        }
        if at < 2 {
            let others = [ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Bmp];
            files.extend(others.map(|format| encoded(kind, format)));
        }
    }
    files.push(encoded(&kinds[2], ImageFormat::Jpeg));
    let jpeg = encoded(&small, ImageFormat::Jpeg);
    files.extend((1..=8).map(|orientation| turned(&jpeg, orientation)));
    for kind in ["images", "jxl", "avif"] {
        for entry in std::fs::read_dir(project().join("tests/golden").join(kind))? {
            let entry = entry?;
            let is_reference =
                kind != "images" && entry.path().extension().is_none_or(|end| end != kind);
            if entry.metadata()?.len() <= LARGEST && !is_reference {
                files.push(std::fs::read(entry.path())?);
            }
        }
    }
    Ok(files)
}

/// A JPEG with an EXIF block that holds an orientation.
fn turned(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut segment =
        b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01".to_vec();
    segment.extend([0, orientation, 0, 0, 0, 0, 0, 0]);
    [&jpeg[..2], &segment, &jpeg[2..]].concat()
}

/// Sound requests of every method, and some that are refused.
fn requests() -> std::io::Result<Vec<Vec<u8>>> {
    let content = encoded(&photo(24)?, ImageFormat::Jpeg);
    let named = |name: &str| pb::GetJobRequest { name: name.into() }.encode_to_vec();
    let mut inputs = vec![input("/pairwright.v1.InfoService/GetServerInfo", &[Vec::new()])];
    for method in ["CancelJob", "GetJob", "ResumeJob", "WatchJob", "ListJobPairs"] {
        inputs.push(input(&format!("/pairwright.v1.JobService/{method}"), &[named("jobs/none")]));
    }
    let list = pb::ListJobsRequest { page_size: 10, page_token: "a".into(), state: 3 };
    inputs.push(input("/pairwright.v1.JobService/ListJobs", &[list.encode_to_vec()]));
    inputs.extend(embedding(&content));
    inputs.extend(instructions(&content));
    inputs.extend(matching(&content));
    inputs.extend(answers());
    inputs.extend(language_jobs());
    Ok(inputs)
}

fn image(source: pb::image::Source) -> pb::Image {
    pb::Image { source: Some(source) }
}

fn sources(content: &[u8]) -> Vec<pb::Image> {
    use pb::image::Source;
    vec![
        image(Source::Content(content.to_vec().into())),
        image(Source::Path("one_pixel.png".into())),
        image(Source::Path("../up.png".into())),
        image(Source::Uri("http://127.0.0.1/a.jpg".into())),
        pb::Image { source: None },
    ]
}

fn embedding(content: &[u8]) -> Vec<Vec<u8>> {
    use pb::embed_stream_request::Input;
    let images = pb::EmbedImagesRequest { images: sources(content), lane: 1 };
    let texts = pb::EmbedTextsRequest { texts: vec!["a moose".into(), " ".into()], lane: 2 };
    let stream = |input| {
        let id = "7".into();
        pb::EmbedStreamRequest { correlation_id: id, input: Some(input), lane: 0 }.encode_to_vec()
    };
    let photos = sources(content).into_iter().map(|one| stream(Input::Image(one)));
    let messages: Vec<Vec<u8>> = photos.chain([stream(Input::Text("a panda".into()))]).collect();
    vec![
        input("/pairwright.v1.EmbeddingService/EmbedImages", &[images.encode_to_vec()]),
        input("/pairwright.v1.EmbeddingService/EmbedTexts", &[texts.encode_to_vec()]),
        input("/pairwright.v1.EmbeddingService/EmbedStream", &messages),
    ]
}

fn instructions(content: &[u8]) -> Vec<Vec<u8>> {
    use pb::search_instructions_request::Query;
    let create = |values: Vec<f32>| pb::CreateInstructionRequest {
        instruction_id: "memo".into(),
        instruction: Some(pb::Instruction {
            text: "Write a memo.".into(),
            category: "work".into(),
            requires: Some(pb::Requirements { phrases: vec!["desk".into()] }),
            tags: vec!["office".into()],
            embedding: Some(pb::Embedding { values }).filter(|one| !one.values.is_empty()),
            ..Default::default()
        }),
    };
    let batch = pb::BatchCreateInstructionsRequest {
        requests: vec![create(vec![]), create(vec![0.1; 384]), Default::default()],
    };
    let list = pb::ListInstructionsRequest {
        page_size: 5,
        category: "creative-writing".into(),
        include_embedding: true,
        ..Default::default()
    };
    let name = "instructions/haiku-from-image".to_owned();
    let get = pb::GetInstructionRequest { name: name.clone(), include_embedding: true };
    let delete =
        pb::DeleteInstructionRequest { name: "instructions/memo".into(), allow_missing: true };
    let queries = [
        Query::Text("a poem".into()),
        Query::Image(sources(content).remove(0)),
        Query::Embedding(pb::Embedding { values: vec![0.05; 384] }),
        Query::Instruction(name),
    ];
    let search = |query| pb::SearchInstructionsRequest {
        query: Some(query),
        top_k: 3,
        min_similarity: Some(-0.5),
        ..Default::default()
    };
    let method = |name: &str| format!("/pairwright.v1.InstructionService/{name}");
    let one = |name: &str, message: Vec<u8>| input(&method(name), &[message]);
    let mut inputs = vec![
        one("CreateInstruction", create(vec![]).encode_to_vec()),
        one("BatchCreateInstructions", batch.encode_to_vec()),
        one("GetInstruction", get.encode_to_vec()),
        one("ListInstructions", list.encode_to_vec()),
        one("DeleteInstruction", delete.encode_to_vec()),
    ];
    let searches = queries.map(|query| one("SearchInstructions", search(query).encode_to_vec()));
    inputs.extend(searches);
    inputs
}

fn options() -> pb::MatchOptions {
    pb::MatchOptions {
        strategy: 3,
        per_image: Some(2),
        pool: Some(8),
        min_similarity: Some(-1.0),
        temperature: Some(0.05),
        top_k: Some(4),
        top_p: Some(0.9),
        mmr_lambda: Some(0.5),
        caption_weight: Some(0.3),
        record_candidates: Some(4),
        seed: Some(7),
        target_recall: Some(0.9),
        check: Some(pb::Checks { kinds: vec![1, 2] }),
        filter: Some(pb::InstructionFilter {
            categories: vec!["creative-writing".into()],
            tags: vec![],
        }),
    }
}

fn matching(content: &[u8]) -> Vec<Vec<u8>> {
    use pb::match_query::ImageSource;
    let query = |source| pb::MatchQuery {
        id: "a".into(),
        image_source: Some(source),
        caption: "a cat on a bed".into(),
    };
    let vector = query(ImageSource::ImageEmbedding(pb::Embedding { values: vec![0.05; 384] }));
    let photo = query(ImageSource::Image(sources(content).remove(0)));
    let queries = vec![photo.clone(), vector.clone(), pb::MatchQuery::default()];
    let unary = pb::MatchRequest { queries, options: Some(options()), lane: 0 };
    let first = pb::MatchStreamRequest { options: Some(options()), query: None, lane: 0 };
    let second = pb::MatchStreamRequest { options: None, query: Some(vector), lane: 1 };
    let stream = [first.encode_to_vec(), second.encode_to_vec()];
    let search = pb::SearchImagesRequest {
        job: "jobs/none".into(),
        query: Some(pb::search_images_request::Query::Text("a cat".into())),
        top_k: 3,
        min_similarity: Some(0.0),
    };
    let source = |path: &str| pb::Source { path: path.into(), format: 1, images: String::new() };
    let batch = |path: &str| pb::BatchMatchRequest {
        source: Some(source(path)),
        options: Some(options()),
        hubness: 1,
        max_share: Some(0.5),
        generate_answers: false,
        run_id: String::new(),
        request_id: "once".into(),
        measures: vec!["length_words".into()],
        keep: vec!["length_words > 3".into()],
    };
    let method = |name: &str| format!("/pairwright.v1.MatchingService/{name}");
    vec![
        input(&method("Match"), &[unary.encode_to_vec()]),
        input(&method("MatchStream"), &stream),
        input(&method("SearchImages"), &[search.encode_to_vec()]),
        input(&method("BatchMatch"), &[batch(".").encode_to_vec()]),
        input(&method("BatchMatch"), &[batch("../..").encode_to_vec()]),
    ]
}

fn answers() -> Vec<Vec<u8>> {
    use pb::pair::Task;
    let options = Some(pb::AnswerOptions { max_attempts: Some(1), seed: Some(3) });
    let pair = |task| {
        let description = "A cat sleeps on a bed.".into();
        Some(pb::Pair { description, task: Some(task), image: None })
    };
    let text = pair(Task::InstructionText("Write a haiku.".into()));
    let stored = pair(Task::Instruction("instructions/haiku-from-image".into()));
    let one = pb::GenerateAnswerRequest { pair: text.clone(), options };
    let stream = [text, stored, None].map(|pair| {
        pb::AnswerPairsRequest { correlation_id: "1".into(), pair, options }.encode_to_vec()
    });
    vec![
        input("/pairwright.v1.AnswerService/GenerateAnswer", &[one.encode_to_vec()]),
        input("/pairwright.v1.AnswerService/AnswerPairs", &stream),
    ]
}

/// Jobs that live on the language model, and reading what they made.
fn language_jobs() -> Vec<Vec<u8>> {
    let source = Some(pb::Source { path: ".".into(), format: 1, images: String::new() });
    let generate = pb::GenerateRequest {
        source,
        seeds: vec!["Write a poem about the image.".into(), "Plan a trip to the scene.".into()],
        description_limit: Some(1),
        seeds_per_prompt: Some(2),
        instructions_per_description: Some(1),
        min_cluster_count: Some(2),
        max_cluster_count: Some(3),
        seed: Some(1),
        run_id: "one".into(),
        ..Default::default()
    };
    let judge = pb::JudgeRequest {
        questions: "one_pixel.txt".into(),
        first_answers: "one_pixel.txt".into(),
        second_answers: "../one_pixel.txt".into(),
        images: ".".into(),
        sight: 1,
        rule: 2,
        empty_answers: 2,
        attempts: Some(1),
        temperature: Some(0.5),
        max_tokens: Some(9),
        ..Default::default()
    };
    let (job, name) = (|| "jobs/none".to_owned(), || "jobs/none".to_owned());
    let compare = pb::CompareRequest { job: job(), other_job: job(), rule: 1 };
    let page_token = || "3".to_owned();
    let rows =
        pb::ListJobInstructionsRequest { name: name(), page_size: 2, page_token: page_token() };
    let verdicts =
        pb::ListJobVerdictsRequest { name: name(), page_size: 2, page_token: page_token() };
    let evaluation = |name: &str| format!("/pairwright.v1.EvaluationService/{name}");
    let jobs = |name: &str| format!("/pairwright.v1.JobService/{name}");
    vec![
        input("/pairwright.v1.InstructionService/Generate", &[generate.encode_to_vec()]),
        input(&evaluation("Judge"), &[judge.encode_to_vec()]),
        input(&evaluation("Compare"), &[compare.encode_to_vec()]),
        input(
            &evaluation("GetEvaluation"),
            &[pb::GetEvaluationRequest { job: job() }.encode_to_vec()],
        ),
        input(&jobs("ListJobInstructions"), &[rows.encode_to_vec()]),
        input(&jobs("ListJobVerdicts"), &[verdicts.encode_to_vec()]),
    ]
}
