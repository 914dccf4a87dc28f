//! `verify`: whether a run is what it says, from the database to the last exported row.

mod overlap;
mod photos;

use std::path::{Path, PathBuf};

use crate::Error;
use crate::base::{hash, tokens};
use crate::dataset::record::Sample;
use crate::dataset::sink::{self, ExportFormat, FileEntry, Manifest, SinkError, llava};
use crate::dataset::store::{ExportRow, SampleContext, Store};
use crate::image::{DecodeOptions, PreprocessConfig, Preprocessor};
use crate::llm::reasoning;
use crate::measure::keep::KeepCounts;

use self::overlap::Overlap;
use super::settings::Settings;
use super::{RunError, RunFolder, exporting};

/// Findings listed of one kind before only their number is told.
const LISTED: usize = 20;

/// One check and what it found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was checked, in words.
    pub check: String,
    /// What is wrong, empty when nothing is.
    pub problems: Vec<String>,
}

impl Finding {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    fn new(check: impl Into<String>, mut problems: Vec<String>) -> Self {
        let more = problems.len().saturating_sub(LISTED);
        if more > 0 {
            problems.truncate(LISTED);
            problems.push(format!("and {more} more"));
        }
        Self { check: check.into(), problems }
    }
}

/// Checks a run: SQLite's own check, each sample's text for what a model left in it, each export's bytes against the record of its writing, the
/// LLaVA file row by row with every photo decoded, each sample's photo against its hash, and, where a benchmark is held
/// out, that no export shares an instruction, a photo or a near-duplicate of one with it.
///
/// With `trust_stamps` a photo is taken for the one that was embedded where its size and its time of change are those of
/// then, and is neither read nor decoded.
///
/// # Errors
/// The run cannot be read at all; what is merely wrong with it is a [`Finding`].
pub fn verify(
    folder: &RunFolder,
    decode: DecodeOptions,
    trust_stamps: bool,
) -> Result<Vec<Finding>, Error> {
    let store = folder.store()?;
    let settings = Settings::read(&store)?;
    let Some(context) = settings.sample_context() else {
        let path = folder.path().to_owned();
        return Err(RunError::StepMissing { path, step: "verify", needs: "run" }.into());
    };
    let preprocessor = Preprocessor::new(PreprocessConfig::default(), decode)?;
    let photos = photos::Look { preprocessor, trust_stamps };
    let integrity = store.database().check_integrity().err().map(|error| error.to_string());
    let mut findings = vec![Finding::new("run.sqlite is whole", integrity.into_iter().collect())];
    findings.extend(check_samples(&store, &context, &photos)?);
    let overlap = Overlap::read(&store, context.encoder_hash)?;
    if let Some(overlap) = &overlap {
        findings.push(overlap.check_benchmark(&store)?);
    }
    let kept = exporting::kept(&store)?;
    for export in store.exports()? {
        let path = Path::new(&export.path);
        let manifest = sink::is_folder(path).then(|| Manifest::read(path)).transpose();
        findings.push(check_export(&export, manifest.as_ref()));
        // Where the manifest cannot be read, which was told of, nothing says what the rows are in.
        let Ok(manifest) = manifest else { continue };
        let left_out = manifest.as_ref().map_or(0, |one| one.left_out);
        let kept = kept.get(&export.name);
        findings.extend(kept.map(|counts| check_kept(&export, left_out, counts)));
        let parts = parts(path, manifest.as_ref(), context.image_root);
        if let Some(overlap) = &overlap {
            findings.extend(overlap.check(&export, &parts));
        }
        if export.name == ExportFormat::Llava.name() {
            findings.extend(parts.iter().map(|part| check_llava(part, &photos)));
        }
    }
    Ok(findings)
}

/// Each sample's photo, and what later releases refuse and an earlier one may have accepted:
/// reasoning in an answer, and placeholder tokens in an answer or its instruction.
fn check_samples(
    store: &Store,
    context: &SampleContext<'_>,
    photos: &photos::Look,
) -> Result<[Finding; 3], Error> {
    let (mut reasoning, mut placeholders, mut samples) = (Vec::new(), Vec::new(), 0u64);
    let mut photos = photos::Hashes::new(store, photos);
    store.each_sample(context, |Sample { id, instruction, answer, lineage, .. }| {
        samples += 1;
        if reasoning::contains(&answer) {
            reasoning.push(format!("{id}: the answer holds a model's reasoning or its marks"));
        }
        let found = [("answer", &answer), ("instruction", &instruction)];
        let found = found.iter().find_map(|(what, text)| Some((what, tokens::placeholder(text)?)));
        placeholders.extend(found.map(|(what, token)| format!("{id}: the {what} holds {token:?}")));
        photos.take(id, lineage.item_id)
    })?;
    let finding = |what: &str, problems: Vec<String>| {
        let check = match problems.len() {
            0 => format!("{what} in none of {samples} samples"),
            count => format!("{what} in {count} of {samples} samples"),
        };
        Finding::new(check, problems)
    };
    let texts = [finding("reasoning", reasoning), finding("placeholder tokens", placeholders)];
    let [reasoning, placeholders] = texts;
    Ok([photos.finish(samples), reasoning, placeholders])
}

fn check_export(export: &ExportRow, manifest: Result<&Option<Manifest>, &SinkError>) -> Finding {
    let path = Path::new(&export.path);
    let mut problems: Vec<String> = changed(path, &export.sha256).into_iter().collect();
    match manifest {
        // What is in a manifest that was changed says nothing of the other files.
        _ if !problems.is_empty() => {}
        Err(error) => problems.push(error.to_string()),
        Ok(manifest) => {
            let wrong = |file: &FileEntry| {
                let why = changed(&path.with_file_name(&file.path), &file.sha256)?;
                Some(format!("{}: {why}", file.path))
            };
            let files = manifest.iter().flat_map(|manifest| &manifest.files);
            problems.extend(files.filter_map(wrong));
        }
    }
    Finding::new(format!("{} is as it was written", export.path), problems)
}

/// Why a file is not what it was.
fn changed(path: &Path, sha256: &str) -> Option<String> {
    match hash::sha256_file(path) {
        Err(error) => Some(error.to_string()),
        Ok(found) if found != sha256 => {
            Some(format!("SHA-256 is {found}, was written as {sha256}"))
        }
        Ok(_) => None,
    }
}

/// A data file of an export.
struct Part<'a> {
    path: PathBuf,
    /// The folder that its photos' names begin at.
    root: Option<&'a Path>,
}

/// The data files of the export that was written to `path`.
fn parts<'a>(path: &'a Path, manifest: Option<&Manifest>, root: Option<&'a Path>) -> Vec<Part<'a>> {
    let Some(manifest) = manifest else { return vec![Part { path: path.to_owned(), root }] };
    let root = manifest.photos().next().and(path.parent()).or(root);
    let part = |file: &FileEntry| Part { path: path.with_file_name(&file.path), root };
    manifest.data().map(part).collect()
}

/// An export under `export.keep` holds what was kept, but for what its manifest says was left out,
/// and nothing else is missing from it.
fn check_kept(export: &ExportRow, left_out: u64, counts: &KeepCounts) -> Finding {
    let KeepCounts { samples, kept, .. } = counts;
    let ExportRow { path, rows, .. } = export;
    let check =
        format!("{path} has {kept} of {samples} samples, the others kept back by export.keep");
    let problem = (rows.saturating_add(left_out) != *kept).then(|| match left_out {
        0 => format!("{rows} rows were written"),
        _ => format!("{rows} rows were written and {left_out} samples left out"),
    });
    Finding::new(check, problem.into_iter().collect())
}

fn check_llava(part: &Part<'_>, photos: &photos::Look) -> Finding {
    let decode = |paths: &[PathBuf]| photos.decode(paths);
    // Those of the samples were looked at, and were decoded when they were embedded.
    let decode: Option<&llava::DecodeCheck<'_>> =
        if photos.trust_stamps { None } else { Some(&decode) };
    let path = part.path.display();
    let report = match llava::check(&part.path, part.root, decode) {
        Ok(report) => report,
        Err(error) => {
            return Finding::new(
                format!("the rows of {path} can be read"),
                vec![error.to_string()],
            );
        }
    };
    let listed = report.problems.iter().take(LISTED);
    let mut problems: Vec<String> =
        listed.map(|one| format!("row {} ({}): {}", one.row, one.code, one.message)).collect();
    if report.total() > problems.len() as u64 {
        let counts: Vec<String> =
            report.counts.iter().map(|(code, count)| format!("{count} {code}")).collect();
        problems.push(format!("in all: {}", counts.join(", ")));
    }
    let rows = report.rows;
    let check = match report.total() {
        0 => format!("{rows} rows of {path} fit for training"),
        wrong => format!("{wrong} of {rows} rows of {path} unfit for training"),
    };
    Finding { check, problems }
}
