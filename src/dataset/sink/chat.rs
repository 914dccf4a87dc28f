//! Rows of conversations, as each trainer wants them in JSON.

use serde::Serialize;

use super::Record;
use super::text::IMAGE_TOKEN;
use crate::base::json;

/// A turn with the words that LLaVA's trainers use.
#[derive(Serialize)]
struct Said<'a> {
    from: &'static str,
    value: &'a str,
}

/// A turn with the words of chat interfaces.
#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Serialize)]
struct LlavaRow<'a> {
    id: &'a str,
    image: &'a str,
    conversations: Vec<Said<'a>>,
}

#[derive(Serialize)]
struct FactoryRow<'a> {
    id: &'a str,
    conversations: Vec<Said<'a>>,
    images: [&'a str; 1],
}

#[derive(Serialize)]
struct SwiftRow<'a> {
    id: &'a str,
    messages: Vec<Message<'a>>,
    images: [&'a str; 1],
}

/// Beside the photo in a tar. No field is ever null: loaders take a column's type from the first
/// rows.
#[derive(Serialize)]
struct TarRow<'a> {
    id: &'a str,
    conversations: Vec<Said<'a>>,
    image_sha256: &'a str,
    width: u32,
    height: u32,
}

/// The instructions, of which the first one opens with the photo's mark on a line of its own.
fn questions(record: &Record<'_>) -> Vec<String> {
    let mut questions: Vec<String> =
        record.samples.iter().map(|sample| sample.instruction.clone()).collect();
    questions[0].insert_str(0, &format!("{IMAGE_TOKEN}\n"));
    questions
}

fn said<'a>(record: &Record<'a>, questions: &'a [String]) -> Vec<Said<'a>> {
    let turns = questions.iter().zip(record.samples).flat_map(|(question, sample)| {
        [Said { from: "human", value: question }, Said { from: "gpt", value: &sample.answer }]
    });
    turns.collect()
}

/// LLaVA's row: `<image>` and a line feed open the first human turn and stand nowhere else.
pub(super) fn llava(
    line: &mut Vec<u8>,
    record: &Record<'_>,
    image: &str,
) -> serde_json::Result<()> {
    let questions = questions(record);
    json::append(
        line,
        &LlavaRow { id: record.id(), image, conversations: said(record, &questions) },
    )
}

/// LLaMA-Factory's `sharegpt` row with a list of photos.
pub(super) fn factory(
    line: &mut Vec<u8>,
    record: &Record<'_>,
    image: &str,
) -> serde_json::Result<()> {
    let questions = questions(record);
    let row =
        FactoryRow { id: record.id(), conversations: said(record, &questions), images: [image] };
    json::append(line, &row)
}

/// The row of ms-swift: messages and a list of photos.
pub(super) fn swift(
    line: &mut Vec<u8>,
    record: &Record<'_>,
    image: &str,
) -> serde_json::Result<()> {
    let questions = questions(record);
    let turns = questions.iter().zip(record.samples).flat_map(|(question, sample)| {
        [
            Message { role: "user", content: question },
            Message { role: "assistant", content: &sample.answer },
        ]
    });
    let row = SwiftRow { id: record.id(), messages: turns.collect(), images: [image] };
    json::append(line, &row)
}

/// What stands beside a photo in a tar.
pub(super) fn beside_photo(line: &mut Vec<u8>, record: &Record<'_>) -> serde_json::Result<()> {
    let questions = questions(record);
    let lineage = &record.first().lineage;
    let row = TarRow {
        id: record.id(),
        conversations: said(record, &questions),
        image_sha256: &lineage.image_sha256,
        width: lineage.width,
        height: lineage.height,
    };
    json::append(line, &row)
}

/// What LLaMA-Factory reads before the data: each split's file, and how its columns are called.
pub(super) fn factory_index<'a>(splits: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let entry = |(split, file): (&str, &str)| {
        let name = match split {
            super::record::TRAIN => "pairwright".to_owned(),
            split => format!("pairwright_{split}"),
        };
        let about = serde_json::json!({
            "file_name": file,
            "formatting": "sharegpt",
            "columns": {"messages": "conversations", "images": "images"},
            "tags": {
                "role_tag": "from", "content_tag": "value",
                "user_tag": "human", "assistant_tag": "gpt",
            },
        });
        (name, about)
    };
    let index: serde_json::Map<_, _> = splits.map(entry).collect();
    let mut text = format!("{:#}", serde_json::Value::Object(index)).into_bytes();
    text.push(b'\n');
    text
}
