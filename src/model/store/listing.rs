//! What a repository holds, for a catalog entry of one's own.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::hub::Fault;
use super::{Hub, ModelStoreError};
use crate::base::hub::causes;
use crate::model::Precision;
use crate::model::catalog::{CatalogFile, CatalogModel, is_sha256, valid_repo};

/// The largest answer that is read, in bytes: repositories have some hundred files.
const MAX_ANSWER: usize = 16 << 20;

/// Files beside the graphs that an export is opened with.
const COMMON: [&str; 9] = [
    "config.json",
    "preprocessor_config.json",
    "open_clip_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "LICENSE",
];

/// Where exports keep their graphs.
const FOLDERS: [&str; 2] = ["onnx/", ""];

/// What is put after a graph's name for each precision, best first.
const ENDINGS: [(Precision, &[&str]); 4] = [
    (Precision::Fp32, &[""]),
    (Precision::Fp16, &["_fp16"]),
    (Precision::Int8, &["_quantized", "_int8", "_uint8"]),
    (Precision::Q4, &["_q4", "_q4f16"]),
];

#[derive(Deserialize)]
struct Info {
    sha: String,
    siblings: Vec<Sibling>,
    #[serde(default, rename = "cardData")]
    card: Option<Card>,
}

#[derive(Deserialize)]
struct Card {
    #[serde(default)]
    license: Option<String>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: Option<String>,
}

/// Makes a catalog entry from what the hub tells of a repository: its commit, and the files of each
/// precision, pinned by the hashes the hub gives for large ones.
///
/// # Errors
/// The hub cannot be asked, or the repository holds no export of a form that is known.
pub async fn list_repository(
    hub: &Hub,
    name: &str,
    repo: &str,
    revision: &str,
) -> Result<CatalogModel, ModelStoreError> {
    let no_export = |problem| ModelStoreError::NoExport { repo: repo.to_owned(), problem };
    valid_repo(repo).map_err(no_export)?;
    let info = ask(hub, repo, revision).await?;
    let license = info.card.and_then(|card| card.license);
    let mut model = CatalogModel::new(name);
    model.repo = Some(repo.to_owned());
    model.revision = info.sha;
    if let Some(license) = license {
        model.license = license;
    }
    let files: BTreeMap<String, CatalogFile> =
        info.siblings.into_iter().map(|file| (file.rfilename.clone(), pinned(file))).collect();
    fill(&mut model, &files).map_err(no_export)?;
    Ok(model)
}

async fn ask(hub: &Hub, repo: &str, revision: &str) -> Result<Info, ModelStoreError> {
    let url = hub.info_url(repo, revision);
    let answer = |message: String| ModelStoreError::Answer { url: url.clone(), message };
    let address = reqwest::Url::parse(&url).map_err(|error| answer(error.to_string()))?;
    let response = hub.get(&address, 0).await.map_err(|fault| match fault {
        Fault::Status { status, code, .. } => ModelStoreError::answered(
            repo,
            &url,
            status,
            code.as_deref(),
            hub.options.token.is_some(),
        ),
        Fault::Transport(error) => answer(causes(&error)),
        Fault::Html | Fault::Redirects => answer("it redirects without end".into()),
    })?;
    if response.content_length().is_some_and(|bytes| bytes > MAX_ANSWER as u64) {
        return Err(answer("it is too long".into()));
    }
    let bytes = response.bytes().await.map_err(|error| answer(causes(&error)))?;
    serde_json::from_slice(&bytes).map_err(|error| answer(error.to_string()))
}

fn pinned(file: Sibling) -> CatalogFile {
    let mut pinned = CatalogFile::new(file.rfilename);
    pinned.bytes = file.size;
    pinned.sha256 = file.lfs.and_then(|lfs| lfs.sha256).filter(|hash| is_sha256(hash));
    pinned
}

/// Chooses the files of each precision.
fn fill(model: &mut CatalogModel, files: &BTreeMap<String, CatalogFile>) -> Result<(), String> {
    if files.contains_key("model.toml") {
        // A folder of this project's own form: its manifest tells which files belong to it.
        let all = files.values().filter(|file| !file.path.starts_with('.')).cloned().collect();
        model.set(Precision::Fp32, all);
        return Ok(());
    }
    model.common = COMMON.iter().filter_map(|name| files.get(*name).cloned()).collect();
    for (precision, endings) in ENDINGS {
        if let Some(graphs) = graphs(files, endings) {
            model.set(precision, graphs);
        }
    }
    if model.precisions().next().is_some() {
        return Ok(());
    }
    let found: Vec<&str> =
        files.keys().filter(|name| name.ends_with(".onnx")).map(String::as_str).take(10).collect();
    let found = if found.is_empty() { "no .onnx file".to_owned() } else { found.join(", ") };
    Err(format!(
        "it has {found}; wanted are onnx/vision_model.onnx and onnx/text_model.onnx, or \
         onnx/model.onnx with both towers; write its entry by hand (docs/models.md)"
    ))
}

/// The graphs with the first of `endings` that is there: two towers, or one graph with both.
fn graphs(files: &BTreeMap<String, CatalogFile>, endings: &[&str]) -> Option<Vec<CatalogFile>> {
    let places = FOLDERS.iter().flat_map(|folder| endings.iter().map(move |end| (folder, end)));
    let with_data = |names: &[String]| {
        let graphs: Option<Vec<CatalogFile>> =
            names.iter().map(|name| files.get(name).cloned()).collect();
        let data = names.iter().filter_map(|name| files.get(&format!("{name}_data")).cloned());
        graphs.map(|graphs| graphs.into_iter().chain(data).collect())
    };
    let towers = |folder: &str, end: &str| {
        ["vision_model", "text_model"].map(|tower| format!("{folder}{tower}{end}.onnx"))
    };
    let mut pairs = places.clone().map(|(folder, end)| with_data(&towers(folder, end)));
    let mut both = places.map(|(folder, end)| with_data(&[format!("{folder}model{end}.onnx")]));
    pairs.find_map(|found| found).or_else(|| both.find_map(|found| found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> BTreeMap<String, CatalogFile> {
        names.iter().map(|name| ((*name).to_owned(), CatalogFile::new(*name))).collect()
    }

    fn chosen(names: &[&str]) -> Result<Vec<(Precision, Vec<String>)>, String> {
        let mut model = CatalogModel::new("m");
        fill(&mut model, &files(names))?;
        let paths = |precision| {
            let files = model.files(precision).expect("there");
            files.iter().map(|file| file.path.clone()).collect()
        };
        Ok(model.precisions().map(|precision| (precision, paths(precision))).collect())
    }

    #[test]
    fn towers_come_before_a_graph_with_both_and_bring_their_data() {
        let found = chosen(&[
            "config.json",
            "onnx/model.onnx",
            "onnx/text_model.onnx",
            "onnx/vision_model.onnx",
            "onnx/vision_model.onnx_data",
            "onnx/model_uint8.onnx",
            "model.safetensors",
        ]);
        let towers = [
            "config.json",
            "onnx/vision_model.onnx",
            "onnx/text_model.onnx",
            "onnx/vision_model.onnx_data",
        ];
        let both = ["config.json", "onnx/model_uint8.onnx"];
        let strings = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let wanted = vec![(Precision::Fp32, strings(&towers)), (Precision::Int8, strings(&both))];
        assert_eq!(found, Ok(wanted));
    }

    #[test]
    fn a_repository_without_graphs_says_what_it_has() {
        let text = chosen(&["a.onnx", "b.bin"]).expect_err("nothing known");
        assert!(text.contains("it has a.onnx; wanted"), "{text}");
        let text = chosen(&["b.bin"]).expect_err("nothing known");
        assert!(text.contains("no .onnx file"), "{text}");
    }
}
