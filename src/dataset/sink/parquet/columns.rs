use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::builder::{Float64Builder, ListBuilder, StringBuilder, StructBuilder};
use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef};

use super::super::{ExtraColumns, MeasureColumn, Sample};
use crate::dataset::record::CandidateScore;

/// Samples held until they make a row group.
pub(super) struct Columns {
    schema: SchemaRef,
    extra: ExtraColumns,
    held: Vec<Sample>,
    bytes: usize,
}

impl Columns {
    pub fn new(extra: &ExtraColumns) -> Self {
        let columns = arrays(&[], extra).into_iter();
        let fields: Vec<Field> = columns.map(|column| column.field()).collect();
        let schema = Arc::new(Schema::new(fields));
        Self { schema, extra: extra.clone(), held: Vec::new(), bytes: 0 }
    }

    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    pub fn rows(&self) -> usize {
        self.held.len()
    }

    /// The length of the long texts held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn push(&mut self, sample: &Sample) {
        let description = &sample.lineage.description;
        let reasoning = sample.lineage.reasoning.as_ref().map_or(0, String::len);
        self.bytes += sample.instruction.len() + sample.answer.len() + description.len();
        self.bytes += reasoning;
        self.held.push(sample.clone());
    }

    /// What is held as one batch; nothing is held afterwards.
    pub fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        let columns = arrays(&self.held, &self.extra).into_iter();
        let arrays = columns.map(|column| column.values).collect();
        self.held.clear();
        self.bytes = 0;
        RecordBatch::try_new(self.schema(), arrays)
    }
}

struct Column {
    name: Cow<'static, str>,
    nullable: bool,
    values: ArrayRef,
}

impl Column {
    fn field(&self) -> Field {
        Field::new(&*self.name, self.values.data_type().clone(), self.nullable)
    }
}

/// Every column in the order of the file.
fn arrays(samples: &[Sample], extra: &ExtraColumns) -> Vec<Column> {
    let mut columns = fields(samples);
    if extra.reasoning {
        columns.push(optional("reasoning", samples, |s| s.lineage.reasoning.as_deref()));
    }
    columns.extend(extra.measures.iter().map(|one| measure(one, samples)));
    columns
}

/// What a measure says, null where it says nothing.
fn measure(column: &MeasureColumn, samples: &[Sample]) -> Column {
    let values = || samples.iter().map(|sample| sample.measures.get(&column.measure));
    let values: ArrayRef = if column.is_word {
        Arc::new(values().map(|value| value?.word()).collect::<StringArray>())
    } else {
        Arc::new(values().map(|value| value?.number()).collect::<Float64Array>())
    };
    Column { name: format!("measure_{}", column.measure).into(), nullable: true, values }
}

/// The columns that every export has.
fn fields(samples: &[Sample]) -> Vec<Column> {
    vec![
        text("id", samples, |s| &s.id),
        text("image", samples, |s| &s.image),
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

fn required(name: &'static str, values: ArrayRef) -> Column {
    Column { name: name.into(), nullable: false, values }
}

fn text(name: &'static str, samples: &[Sample], get: impl Fn(&Sample) -> &String) -> Column {
    required(name, Arc::new(StringArray::from_iter_values(samples.iter().map(get))))
}

fn optional(
    name: &'static str,
    samples: &[Sample],
    get: impl Fn(&Sample) -> Option<&str>,
) -> Column {
    Column {
        name: name.into(),
        nullable: true,
        values: Arc::new(samples.iter().map(get).collect::<StringArray>()),
    }
}

fn long(name: &'static str, samples: &[Sample], field: impl Fn(&Sample) -> u64) -> Column {
    required(name, Arc::new(UInt64Array::from_iter_values(samples.iter().map(field))))
}

fn count(name: &'static str, samples: &[Sample], get: impl Fn(&Sample) -> u32) -> Column {
    required(name, Arc::new(UInt32Array::from_iter_values(samples.iter().map(get))))
}

fn number(name: &'static str, samples: &[Sample], get: impl Fn(&Sample) -> Option<f64>) -> Column {
    required(name, Arc::new(samples.iter().map(get).collect::<Float64Array>()))
}

fn texts(samples: &[Sample], get: impl Fn(&Sample) -> &Vec<String>) -> ArrayRef {
    let item = Field::new_list_field(DataType::Utf8, false);
    let mut list = ListBuilder::new(StringBuilder::new()).with_field(item);
    for sample in samples {
        list.append_value(get(sample).iter().map(Some));
    }
    Arc::new(list.finish())
}

fn candidates(samples: &[Sample]) -> ArrayRef {
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
