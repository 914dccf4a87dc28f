use super::*;
use crate::dataset::sink::{FileEntry, SplitCounts};

fn data() -> CardData {
    let file = |split: &str, number: u32| FileEntry {
        path: format!("data/{split}-{number:05}.parquet"),
        split: Some(split.into()),
        rows: 10,
        bytes: 1_000,
        sha256: "a".repeat(64),
    };
    let counts = SplitCounts { rows: 10, samples: 10 };
    CardData {
        title: "Photos: \"a\" <script>\n---\nlicense: mit".into(),
        license: Some("cc-by-4.0".into()),
        manifest: Manifest {
            format: ExportFormat::ParquetImages,
            splits: [("train".to_owned(), counts), ("atest".to_owned(), counts)].into(),
            left_out: 2,
            rated: BTreeMap::new(),
            files: vec![file("atest", 0), file("train", 0), file("train", 1)],
        },
        photos: 5,
        photo_licenses: [("CC BY | <b>".to_owned(), 3), (String::new(), 2)].into(),
        categories: [("| a | <img src=x onerror=y> [b](javascript:c)".to_owned(), 20)].into(),
        measures: vec![CardMeasure {
            name: "length_words".into(),
            meaning: "words of the answer".into(),
            samples: 20,
            mean: Some(41.25),
            least: Some(3.0),
            most: Some(120.0),
        }],
        made: vec![("language model".into(), "`x`\n# heading https://evil.example".into())],
        refused: vec![("filter: too_short".into(), 3)],
        keep: vec!["length_words >= 3".into()],
        generated_with: "pairwright 0".into(),
    }
}

#[test]
fn the_header_is_what_the_hub_reads() {
    let card = card(&data());
    let header = card.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n"));
    let (header, body) = header.expect("a header");
    assert!(
        header.starts_with("pretty_name: \"Photos: \\\"a\\\" <script>\\n---\\nlicense: mit\"\n")
    );
    assert!(
        header.contains("\nlicense: \"cc-by-4.0\"\n") && header.matches("license:").count() == 2
    );
    assert!(header.contains("\nsize_categories:\n- n<1K\n"));
    let files = "  - split: train\n    path: \"data/train-*.parquet\"\n  - split: atest\n    path: \
                 \"data/atest-*.parquet\"";
    assert!(header.ends_with(files), "{header}");
    assert!(body.contains("20 samples of 5 photos") && body.contains("2 samples are missing"));
    assert!(body.contains("| 41.250 | 3.000 | 120.000 |"));
    assert!(body.contains("| 3 |\n| (none told) | 2 |"), "{body}");
}

#[test]
fn nothing_from_records_becomes_markup() {
    let card = card(&data());
    let body = card.split("\n---\n").skip(1).collect::<String>();
    for markup in ["<img", "<b>", "<script", "](javascript", "\n# heading", "https://", "| a |"] {
        assert!(!body.contains(markup), "{markup} in {body}");
    }
}

#[test]
fn croissant_names_every_data_file_with_its_hash() {
    let page: serde_json::Value = serde_json::from_str(&croissant(&data())).expect("JSON");
    assert_eq!(page["@type"], "sc:Dataset");
    let files = page["distribution"].as_array().expect("files");
    assert_eq!(files.len(), 3);
    assert!(files.iter().all(|file| file["sha256"] == "a".repeat(64)));
    let sets = page["recordSet"].as_array().expect("sets");
    assert_eq!(sets[0]["field"][1]["source"]["fileObject"]["@id"], "data/train-00000.parquet");
}
