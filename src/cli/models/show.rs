//! What `models` prints.

use std::fmt::{Display, Write};

use indicatif::HumanBytes;
use serde_json::{Value, json};

use crate::encoder::{Encoder, OnnxEncoder};
use crate::model::catalog::{Catalog, CatalogFile, CatalogModel, ModelKind};
use crate::model::store::{Store, command, local_folder};
use crate::model::{ModelError, ModelFolder, Precision};

/// Every model: as a table, or as JSON.
pub fn list(catalog: &Catalog, store: &Store, json: bool) -> String {
    // Of the many sentence embedders only those that were fetched.
    let shown = |model: &&CatalogModel| {
        model.kind == ModelKind::Dual || store.pulled(model).next().is_some()
    };
    let models = catalog.models().iter().filter(shown);
    if json {
        let all: Vec<Value> = models.map(|model| row(model, store)).collect();
        return format!("{}\n", Value::from(all));
    }
    let mut text = format!(
        "{:<28} {:<22} {:<10} {:>5}  {:<22} {}\n",
        "name", "precisions (* here)", "hashes", "width", "licence", "note"
    );
    for model in models {
        line(
            &mut text,
            format_args!(
                "{:<28} {:<22} {:<10} {:>5}  {:<22} {}",
                model.name,
                precisions(model, store),
                hashes(model),
                model.width.map_or_else(|| "?".to_owned(), |width| width.to_string()),
                model.license,
                model.note
            ),
        );
    }
    text
}

fn row(model: &CatalogModel, store: &Store) -> Value {
    let here: Vec<Precision> = store.pulled(model).collect();
    let one = |precision: Precision| {
        let files = model.files(precision).unwrap_or_default();
        json!({
            "precision": precision,
            "here": here.contains(&precision),
            "pinned": files.iter().filter(|file| file.sha256.is_some()).count(),
            "files": files.len(),
            "bytes": size(&files),
        })
    };
    json!({
        "name": model.name,
        "repo": model.repo,
        "revision": model.repo.as_ref().map(|_| &model.revision),
        "path": model.path.as_deref().map(local_folder),
        "license": model.license,
        "note": model.note,
        "width": model.width,
        "context_length": model.context_length,
        "image_size": model.image_size,
        "hashes": hashes(model),
        "precisions": model.precisions().map(one).collect::<Vec<_>>(),
    })
}

fn precisions(model: &CatalogModel, store: &Store) -> String {
    if model.path.is_some() {
        return "folder*".into();
    }
    let here: Vec<Precision> = store.pulled(model).collect();
    let mark = |one: Precision| format!("{one}{}", if here.contains(&one) { "*" } else { "" });
    model.precisions().map(mark).collect::<Vec<_>>().join(" ")
}

/// How sure the files are: by hashes of the catalog, or by those of the first download.
fn hashes(model: &CatalogModel) -> &'static str {
    if model.path.is_some() {
        return "manifest";
    }
    let files = |one| model.files(one).unwrap_or_default();
    let all: Vec<&CatalogFile> = model.precisions().flat_map(files).collect();
    match all.iter().filter(|file| file.sha256.is_some()).count() {
        0 => "first use",
        pinned if pinned == all.len() => "pinned",
        _ => "partly",
    }
}

/// The size of files in bytes, where that of each is known.
fn size(files: &[&CatalogFile]) -> Option<u64> {
    files.iter().map(|file| file.bytes).sum()
}

/// What is known of a model of the catalog.
pub fn entry(model: &CatalogModel, store: &Store) -> String {
    let mut text = String::new();
    let mut field = |name: &str, value: Option<&dyn Display>| {
        if let Some(value) = value {
            line(&mut text, format_args!("{name:<15} {value}"));
        }
    };
    let path = model.path.as_deref().map(|path| local_folder(path).display().to_string());
    let revision = model.repo.as_ref().map(|_| &model.revision);
    let logit = model.logit.map(|logit| format!("{} * cosine + {}", logit.scale, logit.bias));
    field("name", Some(&model.name));
    field("note", Some(&model.note).filter(|note| !note.is_empty()).map(|note| note as _));
    field("repository", model.repo.as_ref().map(|repo| repo as _));
    field("revision", revision.map(|revision| revision as _));
    field("folder", path.as_ref().map(|path| path as _));
    field("licence", Some(&model.license));
    field("width", model.width.as_ref().map(|width| width as _));
    field("context", model.context_length.as_ref().map(|context| context as _));
    field("image size", model.image_size.as_ref().map(|size| size as _));
    field("preprocessing", model.preprocess.as_ref().map(|words| words as _));
    field("tokenizer", model.tokenizer.as_ref().map(|words| words as _));
    field("pooling", model.pooling.as_ref().map(|words| words as _));
    field("logit", logit.as_ref().map(|logit| logit as _));
    for precision in model.precisions() {
        line(&mut text, format_args!("\n{precision}: {}", state(model, precision, store)));
        for file in model.files(precision).unwrap_or_default() {
            line(&mut text, format_args!("  {}", file_line(file)));
        }
    }
    text
}

fn state(model: &CatalogModel, precision: Precision, store: &Store) -> String {
    match store.missing(model, precision) {
        Ok(missing) if missing.is_empty() => {
            format!("in {}", store.folder(model, precision).display())
        }
        Ok(_) => format!("not here: `{}`", command(model, precision)),
        Err(error) => error.to_string(),
    }
}

fn file_line(file: &CatalogFile) -> String {
    let bytes = file.bytes.map_or_else(String::new, |bytes| HumanBytes(bytes).to_string());
    let hash = file.sha256.as_deref().unwrap_or("first use");
    format!("{:<34} {bytes:>12}  {hash}", file.local())
}

/// What is known of a model folder.
pub fn folder(folder: &ModelFolder) -> String {
    let manifest = &folder.manifest;
    let mut text = String::new();
    let mut field = |name: &str, value: &dyn Display| {
        line(&mut text, format_args!("{name:<15} {value}"));
    };
    field("name", &manifest.name);
    field("folder", &folder.path.display());
    field("revision", &manifest.revision);
    field("manifest", &if folder.detected { "read from the export's files" } else { "model.toml" });
    field("licence", &manifest.license);
    field("width", &manifest.embedding_dim);
    field("context", &manifest.text.context_length);
    field("image size", &manifest.vision.preprocess.crop);
    field("hash", &folder.hash);
    for file in &manifest.files {
        let bytes = HumanBytes(file.bytes).to_string();
        line(&mut text, format_args!("  {:<34} {bytes:>12}  {}", file.name, file.sha256));
    }
    text
}

/// Says whether a folder's graphs open, at `precision` where there are several.
///
/// # Errors
/// Why they do not.
pub fn opened(
    precision: Option<Precision>,
    encoder: Result<OnnxEncoder, ModelError>,
) -> Result<(), ModelError> {
    let name = precision.map_or_else(|| "opens".to_owned(), |one| format!("opens ({one})"));
    match encoder {
        Ok(encoder) => println!("{name:<15} yes, on {}", encoder.device()),
        Err(error) => {
            println!("{name:<15} no");
            return Err(error);
        }
    }
    Ok(())
}

fn line(text: &mut String, words: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{words}");
}
