//! The card for programs: JSON-LD of MLCommons' Croissant 1.0.

use serde_json::{Value, json};

use super::{CardData, Split};
use crate::dataset::sink::ExportFormat;

/// The text of `croissant.json`.
pub fn croissant(data: &CardData) -> String {
    let files = data.manifest.data().map(|file| {
        json!({
            "@type": "cr:FileObject",
            "@id": file.path,
            "name": file.path,
            "contentUrl": file.path,
            "contentSize": format!("{} B", file.bytes),
            "encodingFormat": media_type(data.manifest.format),
            "sha256": file.sha256,
        })
    });
    let mut page = json!({
        "@context": context(),
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": data.title,
        "description": format!(
            "Visual instructions for {} photos: {} samples, made by {}.",
            data.photos, data.manifest.samples(), data.generated_with
        ),
        "distribution": files.collect::<Vec<_>>(),
    });
    if let Some(license) = &data.license {
        page["license"] = json!(license);
    }
    let records: Vec<Value> = data.splits().iter().filter_map(|one| records(data, one)).collect();
    if !records.is_empty() {
        page["recordSet"] = json!(records);
    }
    format!("{page:#}\n")
}

/// What a split's rows hold, of formats whose columns can be named: the texts of tables of samples.
fn records(data: &CardData, split: &Split<'_>) -> Option<Value> {
    let is_table =
        matches!(data.manifest.format, ExportFormat::ParquetImages | ExportFormat::Parquet);
    let first = data.manifest.data().find(|file| file.split.as_deref() == Some(split.split))?;
    let field = |name: &str| {
        json!({
            "@type": "cr:Field",
            "@id": format!("{}/{name}", split.split),
            "name": name,
            "dataType": "sc:Text",
            "source": {"fileObject": {"@id": first.path}, "extract": {"column": name}},
        })
    };
    let fields: Vec<Value> = ["id", "instruction", "answer"].map(field).into();
    is_table.then(|| {
        json!({
            "@type": "cr:RecordSet",
            "@id": split.split,
            "name": split.split,
            "field": fields,
        })
    })
}

fn media_type(format: ExportFormat) -> &'static str {
    match format {
        ExportFormat::Llava | ExportFormat::LlamaFactory => "application/json",
        ExportFormat::Jsonl | ExportFormat::Swift => "application/jsonlines",
        ExportFormat::WebDataset => "application/x-tar",
        ExportFormat::Parquet
        | ExportFormat::ParquetImages
        | ExportFormat::FineVision
        | ExportFormat::Trl => "application/x-parquet",
    }
}

/// The context that Croissant prescribes.
fn context() -> Value {
    json!({
        "@language": "en",
        "@vocab": "https://schema.org/",
        "citeAs": "cr:citeAs",
        "column": "cr:column",
        "conformsTo": "dct:conformsTo",
        "cr": "http://mlcommons.org/croissant/",
        "data": {"@id": "cr:data", "@type": "@json"},
        "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        "dct": "http://purl.org/dc/terms/",
        "examples": {"@id": "cr:examples", "@type": "@json"},
        "extract": "cr:extract",
        "field": "cr:field",
        "fileObject": "cr:fileObject",
        "fileProperty": "cr:fileProperty",
        "fileSet": "cr:fileSet",
        "format": "cr:format",
        "includes": "cr:includes",
        "isLiveDataset": "cr:isLiveDataset",
        "jsonPath": "cr:jsonPath",
        "key": "cr:key",
        "md5": "cr:md5",
        "parentField": "cr:parentField",
        "path": "cr:path",
        "recordSet": "cr:recordSet",
        "references": "cr:references",
        "regex": "cr:regex",
        "repeated": "cr:repeated",
        "replace": "cr:replace",
        "sc": "https://schema.org/",
        "separator": "cr:separator",
        "source": "cr:source",
        "subField": "cr:subField",
        "transform": "cr:transform",
    })
}
