use std::collections::BTreeSet;

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ::parquet::file::reader::{FileReader, SerializedFileReader};

use super::super::MeasureColumn;
use super::super::tests::{reasoned, sample};
use super::*;
use crate::dataset::record::MeasureValue;

fn write(path: &Path, samples: impl IntoIterator<Item = Sample>) -> SinkSummary {
    let mut sink = Box::new(ParquetSink::create(path, &reasoned()).expect("a writable folder"));
    for sample in samples {
        sink.push(&sample).expect("a good sample");
    }
    sink.finish().expect("room on the disk")
}

/// Rows of each row group.
fn groups(path: &Path) -> Vec<i64> {
    let file = std::fs::File::open(path).expect("the export");
    let reader = SerializedFileReader::new(file).expect("a Parquet file");
    let metadata = reader.metadata();
    assert_eq!(metadata.file_metadata().created_by(), Some("pairwright"));
    metadata.row_groups().iter().map(|group| group.num_rows()).collect()
}

#[test]
fn row_groups_are_bounded_by_rows_and_bytes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("samples.parquet");
    write(&path, (0..2_500).map(sample));
    assert_eq!(groups(&path), [1_000, 1_000, 500]);
    let long = |number| {
        let mut sample = sample(number);
        sample.lineage.description = "x".repeat(6 << 20);
        sample
    };
    write(&path, (0..4).map(long));
    assert_eq!(groups(&path), [3, 1]);
    write(&path, []);
    assert_eq!(groups(&path), Vec::<i64>::new());
}

#[test]
fn every_field_of_a_sample_has_its_column() {
    let mut fields = serde_json::to_value(sample(0)).expect("a sample");
    let top = fields.as_object_mut().expect("an object");
    let lineage = top.remove("lineage").expect("the lineage");
    let lineage = lineage.as_object().expect("an object");
    // Parquet has a column for each measure; see the next test.
    let expected: BTreeSet<&str> = top.keys().chain(lineage.keys()).map(String::as_str).collect();
    let schema = Columns::new(&reasoned()).schema();
    let names: BTreeSet<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, expected);
}

#[test]
fn measures_have_columns_with_nulls_where_they_say_nothing() {
    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::Float64Type;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("samples.parquet");
    let column = |measure: &str, is_word| MeasureColumn { measure: measure.into(), is_word };
    let measures =
        vec![column("blind_gap", false), column("language", true), column("never", false)];
    let extra = ExtraColumns { measures, ..ExtraColumns::default() };
    let mut sink = Box::new(ParquetSink::create(&path, &extra).expect("a writable folder"));
    let values = [
        vec![
            ("blind_gap", MeasureValue::Number(0.5)),
            ("language", MeasureValue::Text("de".into())),
        ],
        vec![
            ("blind_gap", MeasureValue::Text("much".into())),
            ("other", MeasureValue::Number(1.0)),
        ],
    ];
    for (number, values) in (0..).zip(values) {
        let values = values.into_iter().map(|(name, value)| (name.to_owned(), value));
        let sample = Sample { measures: values.collect(), ..sample(number) };
        sink.push(&sample).expect("a good sample");
    }
    sink.finish().expect("room on the disk");
    let file = std::fs::File::open(&path).expect("the export");
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
    let batch = builder.build().expect("a reader").next().expect("a batch").expect("readable");
    let column = |name: &str| batch.column_by_name(name).expect("a column");
    let gaps = column("measure_blind_gap").as_primitive::<Float64Type>();
    assert_eq!(gaps.iter().collect::<Vec<_>>(), [Some(0.5), None]);
    let languages = column("measure_language").as_string::<i32>();
    assert_eq!(languages.iter().collect::<Vec<_>>(), [Some("de"), None]);
    assert_eq!(column("measure_never").null_count(), 2);
    assert!(batch.column_by_name("measure_other").is_none());
}

#[test]
fn values_come_back_as_they_were() {
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Float64Type, UInt32Type, UInt64Type};
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("samples.parquet");
    write(&path, (0..4).map(sample));
    let file = std::fs::File::open(&path).expect("the export");
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
    let mut batches = builder.build().expect("a reader");
    let batch = batches.next().expect("a batch").expect("readable");
    let column = |name: &str| batch.column_by_name(name).expect("a column");
    for row in 0..4 {
        let expected = sample(row as u32);
        let lineage = &expected.lineage;
        assert_eq!(column("answer").as_string::<i32>().value(row), expected.answer);
        assert_eq!(column("height").as_primitive::<UInt32Type>().value(row), lineage.height);
        assert_eq!(column("seed").as_primitive::<UInt64Type>().value(row), lineage.seed);
        let category = column("category").as_string::<i32>().iter().nth(row).flatten();
        assert_eq!(category, lineage.category.as_deref());
        let reasoning = column("reasoning").as_string::<i32>().iter().nth(row).flatten();
        assert_eq!(reasoning, lineage.reasoning.as_deref());
        let probability = column("probability").as_primitive::<Float64Type>().iter().nth(row);
        assert_eq!(probability.flatten(), lineage.probability);
        let candidates = column("candidates").as_list::<i32>().value(row);
        let ids = candidates.as_struct().column(0).as_string::<i32>().clone();
        assert_eq!(ids.iter().flatten().collect::<Vec<_>>(), ["line-about", "other"]);
        let examples = column("examples").as_list::<i32>().value(row);
        assert_eq!(examples.as_string::<i32>().value(1), "ex-2");
    }
}
