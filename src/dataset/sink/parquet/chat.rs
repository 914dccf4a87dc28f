//! Columns of conversations: FineVision's and TRL's.

use std::sync::Arc;

use arrow_array::builder::{Int64Builder, ListBuilder, StringBuilder, StructBuilder};
use arrow_array::{ArrayRef, Int64Array, StringArray};
use arrow_schema::{DataType, Field, Fields};

use super::super::{ratings, record};
use super::column::{Column, Held, nullable, required};
use super::photo;
use crate::dataset::record::{MeasureValue, Sample};

/// Where rows of FineVision come from, in its own column.
const SOURCE: &str = "pairwright";

/// FineVision's columns with its names and types: `images`, `texts` of `user` and `assistant`,
/// `source`, and of each rating one number a turn and the least of them; null where no judge gave
/// one.
pub(super) fn finevision(rows: &[Held]) -> Vec<Column> {
    let source = StringArray::from_iter_values(rows.iter().map(|_| SOURCE));
    let mut columns = vec![
        photo::listed("images", rows),
        nullable(
            "texts",
            turns(rows, ["user", "assistant"], |sample| {
                vec![[sample.instruction.as_str(), sample.answer.as_str()]]
            }),
        ),
        nullable("source", Arc::new(source)),
    ];
    for name in ratings::RATINGS {
        let rated = |sample: &Sample| rating(sample, name);
        let mut list = ListBuilder::new(Int64Builder::new());
        for row in rows {
            list.append_value(row.samples.iter().map(rated));
        }
        let least = |row: &Held| row.samples.iter().filter_map(rated).min();
        let least: Int64Array = rows.iter().map(least).collect();
        columns.push(nullable(format!("{name}_ratings"), Arc::new(list.finish())));
        columns.push(nullable(format!("{name}_min"), Arc::new(least)));
    }
    columns
}

fn rating(sample: &Sample, name: &str) -> Option<i64> {
    let value = sample.measures.get(name).and_then(MeasureValue::number)?;
    // Ratings are whole numbers from 1 to 5; the mean of several askings is rounded.
    Some(value.round() as i64)
}

/// TRL's columns: `id`, `images`, and `prompt` and `completion`, one message each; or `messages`
/// where a conversation may have several turns.
pub(super) fn trl(rows: &[Held], is_multi: bool) -> Vec<Column> {
    let ids = StringArray::from_iter_values(rows.iter().map(|row| record::id(&row.samples)));
    let mut columns = vec![required("id", Arc::new(ids)), photo::listed("images", rows)];
    let named = ["role", "content"];
    let (user, assistant) = ("user", "assistant");
    if is_multi {
        columns.push(nullable(
            "messages",
            turns(rows, named, |sample| {
                vec![[user, sample.instruction.as_str()], [assistant, sample.answer.as_str()]]
            }),
        ));
        return columns;
    }
    let prompt = turns(rows, named, |sample| vec![[user, sample.instruction.as_str()]]);
    let completion = turns(rows, named, |sample| vec![[assistant, sample.answer.as_str()]]);
    columns.extend([nullable("prompt", prompt), nullable("completion", completion)]);
    columns
}

/// A list of structs of two texts in each row: what `of` makes of each sample.
fn turns<'a>(
    rows: &'a [Held],
    names: [&str; 2],
    of: impl Fn(&'a Sample) -> Vec<[&'a str; 2]>,
) -> ArrayRef {
    let fields = Fields::from(names.map(|name| Field::new(name, DataType::Utf8, true)).to_vec());
    let mut list = ListBuilder::new(StructBuilder::from_fields(fields, 0));
    for row in rows {
        for turn in row.samples.iter().flat_map(&of) {
            let structs = list.values();
            for (column, text) in turn.into_iter().enumerate() {
                let known = "the builders are made from the fields above";
                structs.field_builder::<StringBuilder>(column).expect(known).append_value(text);
            }
            structs.append(true);
        }
        list.append(true);
    }
    Arc::new(list.finish())
}
