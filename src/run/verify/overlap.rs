//! Whether an export and the benchmark that was held out of its run share anything.

mod carried;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use serde_json::Value;

use super::{Finding, Part};
use crate::Error;
use crate::base::hash;
use crate::dataset::sink::{ExportFormat, IMAGE_TOKEN, SinkError};
use crate::dataset::store::{ExportRow, HeldOut, Store, plain_words};
use crate::run::holding::near_duplicates;

/// What is held out, in the form in which exports are compared with it.
pub(super) struct Overlap {
    held: HeldOut,
    /// Held-out instructions without regard to case, spaces and punctuation, near copies included.
    texts: BTreeMap<String, String>,
    /// Photos of the run that are near-duplicates of held-out ones, found anew: not the marks.
    near: BTreeMap<String, String>,
}

/// What an exported row is made of.
struct Used {
    id: String,
    instruction: String,
    /// SHA-256 of the photo.
    image: String,
}

impl Overlap {
    /// Reads what a run holds out; none in a run without a benchmark.
    pub fn read(store: &Store, encoder: &str) -> Result<Option<Self>, Error> {
        let Some(benchmark) = store.held_benchmark()? else { return Ok(None) };
        let held = store.held_out()?;
        let found = near_duplicates(store, encoder, &held.images, benchmark.near)?;
        let near = found.into_iter().map(|one| (one.image_sha256, one.near)).collect();
        let texts =
            held.instructions.values().map(|text| (plain_words(text), text.clone())).collect();
        Ok(Some(Self { held, texts, near }))
    }

    /// What the benchmark's own files say is held out.
    pub fn check_benchmark(&self, store: &Store) -> Result<Finding, Error> {
        let folder = store.held_benchmark()?.map(|benchmark| benchmark.folder).unwrap_or_default();
        let check = format!(
            "the benchmark in {} is what the run holds out: {} instructions, {} photos, {} near-duplicates",
            folder.display(),
            self.held.instructions.len(),
            self.held.images.len(),
            self.held.near.len()
        );
        let path = folder.join("questions.jsonl");
        let problems = match rows(&path) {
            Ok(rows) => rows.iter().filter_map(|row| self.not_held(&folder, row)).collect(),
            Err(error) => vec![error.to_string()],
        };
        Ok(Finding::new(check, problems))
    }

    fn not_held(&self, folder: &Path, row: &Value) -> Option<String> {
        let field = |name: &str| row[name].as_str().unwrap_or_default();
        let id = &row["question_id"];
        if !self.texts.contains_key(&plain_words(field("text"))) {
            return Some(format!("question {id}: its instruction is not held out"));
        }
        let path = folder.join("images").join(field("image"));
        match hash::sha256_file(&path) {
            Err(error) => Some(format!("question {id}: {error}")),
            Ok(sha256) if self.held.images.contains(&sha256) => None,
            Ok(_) => Some(format!("question {id}: its photo is not held out")),
        }
    }

    /// Checks every row in the parts of an export; none of a format that is not known here.
    pub fn check(&self, export: &ExportRow, parts: &[Part<'_>]) -> Option<Finding> {
        let format = export.name.parse::<ExportFormat>().ok()?;
        let (check, mut problems) =
            (format!("{} shares nothing with the benchmark", export.path), Vec::new());
        for Part { path, root } in parts {
            match self.used(format, path, *root) {
                Ok(used) => problems.extend(used.iter().filter_map(|row| self.problem(row))),
                Err(error) => problems.push(error.to_string()),
            }
        }
        Some(Finding::new(check, problems))
    }

    /// The rows of one file of an export.
    fn used(
        &self,
        format: ExportFormat,
        path: &Path,
        root: Option<&Path>,
    ) -> Result<Vec<Used>, Error> {
        match format {
            ExportFormat::Llava | ExportFormat::LlamaFactory | ExportFormat::Swift => {
                self.chats(path, root)
            }
            ExportFormat::Parquet | ExportFormat::ParquetImages => parquet(path),
            ExportFormat::Jsonl => jsonl(path),
            ExportFormat::FineVision | ExportFormat::Trl => Ok(carried::in_parquet(path)?),
            ExportFormat::WebDataset => Ok(carried::in_tar(path)?),
        }
    }

    fn problem(&self, row: &Used) -> Option<String> {
        let Used { id, instruction, image } = row;
        if let Some(text) = self.texts.get(&plain_words(instruction)) {
            return Some(format!("{id}: its instruction is held out: {text:?}"));
        }
        if self.held.images.contains(image) {
            return Some(format!("{id}: its photo is held out"));
        }
        let near = self.near.get(image)?;
        Some(format!("{id}: its photo is a near-duplicate of the held-out {near:.12}…"))
    }

    /// Rows of conversations name a file only: it is read, once for each photo.
    fn chats(&self, path: &Path, root: Option<&Path>) -> Result<Vec<Used>, Error> {
        let mut known: HashMap<PathBuf, String> = HashMap::new();
        let mut used = Vec::new();
        for row in rows(path)? {
            let image = row["image"].as_str().or_else(|| row["images"][0].as_str());
            let image = image.unwrap_or_default();
            let file = root.map_or_else(|| image.into(), |root| root.join(image));
            let sha256 = match known.get(&file) {
                Some(sha256) => sha256.clone(),
                None => hash::sha256_file(&file)
                    .map_err(|source| SinkError::Read { path: file.clone(), source })?,
            };
            known.insert(file, sha256.clone());
            let turns = row["conversations"].as_array().or_else(|| row["messages"].as_array());
            // Every other turn is the user's.
            for turn in turns.into_iter().flatten().step_by(2) {
                used.push(Used {
                    id: row["id"].as_str().unwrap_or_default().to_owned(),
                    instruction: instruction(turn),
                    image: sha256.clone(),
                });
            }
        }
        Ok(used)
    }
}

/// What a user's turn says, without the photo's mark.
fn instruction(turn: &Value) -> String {
    let text = turn["value"].as_str().or_else(|| turn["content"].as_str());
    text.unwrap_or_default().replace(IMAGE_TOKEN, "")
}

/// The objects of a file that holds one a line, as JSON lines or inside an array.
fn rows(path: &Path) -> Result<Vec<Value>, SinkError> {
    let unreadable = |source| SinkError::Read { path: path.to_owned(), source };
    let file = fs_err::File::open(path).map_err(unreadable)?;
    let mut rows = Vec::new();
    for line in BufReader::new(file).lines() {
        let line = line.map_err(unreadable)?;
        let line = line.trim().trim_start_matches('[').trim_end_matches([',', ']']);
        if !line.is_empty() {
            rows.push(serde_json::from_str(line).map_err(|error| unreadable(error.into()))?);
        }
    }
    Ok(rows)
}

fn jsonl(path: &Path) -> Result<Vec<Used>, Error> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let used = |row: &Value| Used {
        id: text(&row["id"]),
        instruction: text(&row["instruction"]),
        image: text(&row["lineage"]["image_sha256"]),
    };
    Ok(rows(path)?.iter().map(used).collect())
}

fn parquet(path: &Path) -> Result<Vec<Used>, Error> {
    let unreadable = |error: parquet::errors::ParquetError| SinkError::Read {
        path: path.to_owned(),
        source: std::io::Error::other(error),
    };
    let file = std::fs::File::open(path)
        .map_err(|source| SinkError::Read { path: path.to_owned(), source })?;
    let reader = SerializedFileReader::new(file).map_err(unreadable)?;
    let wanted: BTreeSet<&str> = ["id", "instruction", "image_sha256"].into();
    let schema = reader.metadata().file_metadata().schema();
    let fields = schema.get_fields().iter().filter(|field| wanted.contains(field.name())).cloned();
    let projection = parquet::schema::types::Type::group_type_builder(schema.name())
        .with_fields(fields.collect())
        .build()
        .map_err(unreadable)?;
    let mut used = Vec::new();
    for row in reader.get_row_iter(Some(projection)).map_err(unreadable)? {
        let row = row.map_err(unreadable)?;
        // Columns come in the order of the file: id, instruction, image_sha256.
        let text = |column| row.get_string(column).cloned();
        used.push(Used {
            id: text(0).map_err(unreadable)?,
            instruction: text(1).map_err(unreadable)?,
            image: text(2).map_err(unreadable)?,
        });
    }
    Ok(used)
}
