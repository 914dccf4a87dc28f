use std::collections::BTreeSet;

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ::parquet::file::reader::{FileReader, SerializedFileReader};

use super::super::tests::{photo, reasoned, sample};
use super::super::{ExtraColumns, MeasureColumn, RATINGS, Sample, TRAIN};
use super::*;
use crate::dataset::record::MeasureValue;

fn lineage(extra: ExtraColumns) -> Layout {
    Layout::Lineage { extra, carries_photo: false }
}

fn write(path: &Path, samples: impl IntoIterator<Item = Sample>) {
    write_as(path, lineage(reasoned()), samples);
}

fn write_as(path: &Path, layout: Layout, samples: impl IntoIterator<Item = Sample>) {
    let mut rows = Box::new(ParquetRows::create(path, layout).expect("a writable folder"));
    let photo = photo(7);
    for sample in samples {
        let samples = std::slice::from_ref(&sample);
        let record = Record { samples, photo: Some(&photo), split: TRAIN };
        rows.push(&record, &sample.image).expect("a good sample");
    }
    rows.finish().and_then(|file| file.commit(0)).expect("room on the disk");
}

fn reader(path: &Path) -> ParquetRecordBatchReaderBuilder<std::fs::File> {
    let file = std::fs::File::open(path).expect("the export");
    ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file")
}

fn first_batch(path: &Path) -> arrow_array::RecordBatch {
    reader(path).build().expect("a reader").next().expect("a batch").expect("readable")
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
    let fields = top.remove("lineage").expect("the lineage");
    let fields = fields.as_object().expect("an object");
    // Parquet has a column for each measure; see the next test.
    let expected: BTreeSet<&str> = top.keys().chain(fields.keys()).map(String::as_str).collect();
    let schema = Columns::new(lineage(reasoned())).schema();
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
    let samples = (0..).zip(values).map(|(number, values)| {
        let values = values.into_iter().map(|(name, value)| (name.to_owned(), value));
        Sample { measures: values.collect(), ..sample(number) }
    });
    write_as(&path, lineage(extra), samples);
    let batch = first_batch(&path);
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
    let batch = first_batch(&path);
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

#[test]
fn photos_are_structs_that_datasets_takes_for_pictures() {
    use arrow_array::cast::AsArray;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("samples.parquet");
    for (layout, column) in [
        (Layout::Lineage { extra: reasoned(), carries_photo: true }, "image"),
        (Layout::FineVision, "images"),
        (Layout::Trl { is_multi: false }, "images"),
    ] {
        write_as(&path, layout, (0..3).map(sample));
        let about = reader(&path).schema().metadata()["huggingface"].clone();
        let batch = first_batch(&path);
        assert!(about.contains(&format!("\"{column}\":")) && about.contains("Image"), "{about}");
        let photos = batch.column_by_name(column).expect("a column");
        let photos = match photos.as_list_opt::<i32>() {
            Some(list) => list.value(1),
            None => photos.slice(1, 1),
        };
        let (bytes, paths) = (photos.as_struct().column(0), photos.as_struct().column(1));
        assert_eq!(bytes.as_binary::<i32>().value(0), photo(7).bytes);
        assert_eq!(paths.as_string::<i32>().value(0), "1.jpg");
    }
}

#[test]
fn ratings_are_null_where_no_judge_gave_one() {
    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("samples.parquet");
    let rated = |number| {
        let measures = [("relevance".to_owned(), MeasureValue::Number(4.0))];
        let measures = if number == 0 { measures.into() } else { Default::default() };
        Sample { measures, ..sample(number) }
    };
    write_as(&path, Layout::FineVision, (0..2).map(rated));
    let batch = first_batch(&path);
    for name in RATINGS {
        let list =
            batch.column_by_name(&format!("{name}_ratings")).expect("a column").as_list::<i32>();
        let least = batch.column_by_name(&format!("{name}_min")).expect("a column");
        let least = least.as_primitive::<Int64Type>();
        let expected = (name == "relevance").then_some(4);
        let values = list.value(0);
        assert_eq!(values.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [expected]);
        assert_eq!(least.iter().collect::<Vec<_>>(), [expected, None]);
        assert_eq!(list.value(1).null_count(), 1, "{name}");
    }
}
