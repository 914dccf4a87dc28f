use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::{Float64Builder, ListBuilder, StringBuilder, StructBuilder};
use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef};

use super::super::{ExtraColumns, MeasureColumn, Record, Sample};
use super::column::{Column, Held, nullable, required};
use super::{chat, photo};
use crate::dataset::record::CandidateScore;

/// Which columns a file has.
#[derive(Debug, Clone)]
pub(in super::super) enum Layout {
    /// A row for each sample with all that is known of it, and the photo's name or the photo.
    Lineage { extra: ExtraColumns, carries_photo: bool },
    /// As FineVision: photos, texts, ratings.
    FineVision,
    /// As TRL's conversational datasets: a prompt and a completion, or all messages.
    Trl { is_multi: bool },
}

impl Layout {
    /// Every column in the order of the file.
    fn arrays(&self, rows: &[Held]) -> Vec<Column> {
        match self {
            Self::Lineage { extra, carries_photo } => lineage(rows, extra, *carries_photo),
            Self::FineVision => chat::finevision(rows),
            Self::Trl { is_multi } => chat::trl(rows, *is_multi),
        }
    }

    /// What `datasets` is to take a column for, where that is not its type.
    pub fn features(&self) -> Option<serde_json::Value> {
        let image = serde_json::json!({"_type": "Image"});
        let features = match self {
            Self::Lineage { carries_photo: false, .. } => return None,
            Self::Lineage { .. } => serde_json::json!({"image": image}),
            Self::FineVision | Self::Trl { .. } => serde_json::json!({"images": [image]}),
        };
        Some(serde_json::json!({"info": {"features": features}}))
    }
}

/// Rows held until they make a row group.
pub(super) struct Columns {
    schema: SchemaRef,
    layout: Layout,
    held: Vec<Held>,
    bytes: usize,
}

impl Columns {
    pub fn new(layout: Layout) -> Self {
        let columns = layout.arrays(&[]).into_iter();
        let fields: Vec<Field> = columns.map(|column| column.field()).collect();
        let metadata =
            layout.features().map(|features| (super::FEATURES.to_owned(), features.to_string()));
        let metadata: HashMap<String, String> = metadata.into_iter().collect();
        let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
        Self { schema, layout, held: Vec::new(), bytes: 0 }
    }

    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    pub fn rows(&self) -> usize {
        self.held.len()
    }

    /// The length of the long texts and of the photos held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn push(&mut self, record: &Record<'_>, image: &str) {
        let (samples, bytes) = (record.samples.to_vec(), record.bytes());
        for Sample { instruction, answer, lineage, .. } in &samples {
            let reasoning = lineage.reasoning.as_ref().map_or(0, String::len);
            self.bytes += instruction.len() + answer.len() + lineage.description.len();
            self.bytes += reasoning;
        }
        self.bytes += bytes.len();
        self.held.push(Held { samples, image: image.to_owned(), bytes });
    }

    /// What is held as one batch; nothing is held afterwards.
    pub fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        let columns = self.layout.arrays(&self.held).into_iter();
        let arrays = columns.map(|column| column.values).collect();
        self.held.clear();
        self.bytes = 0;
        RecordBatch::try_new(self.schema(), arrays)
    }
}

/// All that is known of each sample.
fn lineage(rows: &[Held], extra: &ExtraColumns, carries_photo: bool) -> Vec<Column> {
    let samples: Vec<&Sample> = rows.iter().map(|row| &row.samples[0]).collect();
    let samples = &samples[..];
    let image = match carries_photo {
        true => photo::one("image", rows),
        false => required(
            "image",
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.image))),
        ),
    };
    let mut columns = fields(samples, image);
    if extra.reasoning {
        columns.push(optional("reasoning", samples, |s| s.lineage.reasoning.as_deref()));
    }
    if extra.license {
        columns.push(optional("license", samples, |s| s.lineage.license.as_deref()));
    }
    columns.extend(extra.measures.iter().map(|one| measure(one, samples)));
    columns
}

/// What a measure says, null where it says nothing.
fn measure(column: &MeasureColumn, samples: &[&Sample]) -> Column {
    let values = || samples.iter().map(|sample| sample.measures.get(&column.measure));
    let values: ArrayRef = if column.is_word {
        Arc::new(values().map(|value| value?.word()).collect::<StringArray>())
    } else {
        Arc::new(values().map(|value| value?.number()).collect::<Float64Array>())
    };
    nullable(format!("measure_{}", column.measure), values)
}

/// The columns that every export has; `image` is the photo, or its name in this export.
fn fields(samples: &[&Sample], image: Column) -> Vec<Column> {
    vec![
        text("id", samples, |s| &s.id),
        image,
        text("instruction", samples, |s| &s.instruction),
        text("answer", samples, |s| &s.answer),
        text("item_id", samples, |s| &s.lineage.item_id),
        text("image_sha256", samples, |s| &s.lineage.image_sha256),
        count("width", samples, |s| s.lineage.width),
        count("height", samples, |s| s.lineage.height),
        text("description", samples, |s| &s.lineage.description),
        text("instruction_id", samples, |s| &s.lineage.instruction_id),
        optional("category", samples, |s| s.lineage.category.as_deref()),
        number("similarity", samples, |s| Some(s.lineage.similarity)),
        number("score", samples, |s| Some(s.lineage.score)),
        Column { nullable: true, ..number("probability", samples, |s| s.lineage.probability) },
        count("rank", samples, |s| s.lineage.rank),
        text("strategy", samples, |s| &s.lineage.strategy),
        required("candidates", candidates(samples)),
        required("examples", texts(samples, |s| &s.lineage.examples)),
        text("prompt_hash", samples, |s| &s.lineage.prompt_hash),
        text("llm", samples, |s| &s.lineage.llm),
        long("seed", samples, |s| s.lineage.seed),
        long("prompt_tokens", samples, |s| s.lineage.prompt_tokens),
        long("completion_tokens", samples, |s| s.lineage.completion_tokens),
        text("encoder", samples, |s| &s.lineage.encoder),
        text("encoder_hash", samples, |s| &s.lineage.encoder_hash),
        required("filters_passed", texts(samples, |s| &s.lineage.filters_passed)),
    ]
}

fn text(name: &'static str, samples: &[&Sample], get: impl Fn(&Sample) -> &String) -> Column {
    required(name, Arc::new(StringArray::from_iter_values(samples.iter().map(|one| get(one)))))
}

fn optional(
    name: &'static str,
    samples: &[&Sample],
    get: impl Fn(&Sample) -> Option<&str>,
) -> Column {
    nullable(name, Arc::new(samples.iter().map(|one| get(one)).collect::<StringArray>()))
}

fn long(name: &'static str, samples: &[&Sample], field: impl Fn(&Sample) -> u64) -> Column {
    required(name, Arc::new(UInt64Array::from_iter_values(samples.iter().map(|one| field(one)))))
}

fn count(name: &'static str, samples: &[&Sample], get: impl Fn(&Sample) -> u32) -> Column {
    required(name, Arc::new(UInt32Array::from_iter_values(samples.iter().map(|one| get(one)))))
}

fn number(name: &'static str, samples: &[&Sample], get: impl Fn(&Sample) -> Option<f64>) -> Column {
    required(name, Arc::new(samples.iter().map(|one| get(one)).collect::<Float64Array>()))
}

fn texts(samples: &[&Sample], get: impl Fn(&Sample) -> &Vec<String>) -> ArrayRef {
    let item = Field::new_list_field(DataType::Utf8, false);
    let mut list = ListBuilder::new(StringBuilder::new()).with_field(item);
    for sample in samples {
        list.append_value(get(sample).iter().map(Some));
    }
    Arc::new(list.finish())
}

fn candidates(samples: &[&Sample]) -> ArrayRef {
    let fields = Fields::from(vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("similarity", DataType::Float64, false),
        Field::new("score", DataType::Float64, false),
    ]);
    let item = Field::new_list_field(DataType::Struct(fields.clone()), false);
    let rows = StructBuilder::from_fields(fields, 0);
    let mut list = ListBuilder::new(rows).with_field(item);
    for sample in samples {
        for candidate in &sample.lineage.candidates {
            append(list.values(), candidate);
        }
        list.append(true);
    }
    Arc::new(list.finish())
}

fn append(rows: &mut StructBuilder, candidate: &CandidateScore) {
    let CandidateScore { id, similarity, score, .. } = candidate;
    let known = "the builders are made from the fields above";
    rows.field_builder::<StringBuilder>(0).expect(known).append_value(id);
    rows.field_builder::<Float64Builder>(1).expect(known).append_value(*similarity);
    rows.field_builder::<Float64Builder>(2).expect(known).append_value(*score);
    rows.append(true);
}
