//! The card of an exported dataset: a `README.md` with the header that the hub reads, and
//! `croissant.json`. Whatever comes from records or models is escaped.

mod croissant;
mod escape;

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use self::escape::{code, json, text};
use super::format::{count, fixed};
use crate::dataset::sink::{ExportFormat, Manifest, TRAIN};

pub use croissant::croissant;

/// The name of the card.
pub const CARD: &str = "README.md";
/// The name of the card for programs.
pub const CROISSANT: &str = "croissant.json";

/// Licences of photos that a card lists: addresses may be as many as photos.
const LICENSES: usize = 30;

/// What is told of an exported dataset.
#[derive(Debug, Clone)]
pub struct CardData {
    pub title: String,
    /// By the hub's short name; none is told where it is not known.
    pub license: Option<String>,
    pub manifest: Manifest,
    /// Photos that the samples are of.
    pub photos: u64,
    /// Photos by what their source calls their licence; those of which it tells none under an empty
    /// name.
    pub photo_licenses: BTreeMap<String, u64>,
    /// Samples by category; those without one under an empty name.
    pub categories: BTreeMap<String, u64>,
    pub measures: Vec<CardMeasure>,
    /// How it was made, each ready to be read: models, prompts, settings.
    pub made: Vec<(String, String)>,
    /// What was left out on the way, by stage and code.
    pub refused: Vec<(String, u64)>,
    /// Expressions that each sample had to pass.
    pub keep: Vec<String>,
    /// Program and version.
    pub generated_with: String,
}

/// What a measure says of the exported samples.
#[derive(Debug, Clone, PartialEq)]
pub struct CardMeasure {
    pub name: String,
    pub meaning: String,
    /// Samples that have a value.
    pub samples: u64,
    /// Of the values that are numbers; none of words.
    pub mean: Option<f64>,
    pub least: Option<f64>,
    pub most: Option<f64>,
}

/// A split with the pattern of its files.
struct Split<'a> {
    split: &'a str,
    path: String,
}

impl CardData {
    /// Each split that has rows.
    fn splits(&self) -> Vec<Split<'_>> {
        let mut splits = Vec::new();
        for file in self.manifest.data() {
            let Some(split) = file.split.as_deref() else { continue };
            if splits.iter().all(|one: &Split<'_>| one.split != split) {
                let first = format!("{split}-00000.");
                let path = file.path.replace(&first, &format!("{split}-*."));
                splits.push(Split { split, path });
            }
        }
        // The one to train on first.
        splits.sort_by_key(|one| (one.split != TRAIN, one.split));
        splits
    }

    fn rows(&self) -> u64 {
        self.manifest.splits.values().map(|split| split.rows).sum()
    }
}

/// The text of `README.md`.
pub fn card(data: &CardData) -> String {
    let mut page = String::new();
    // Writing to a String cannot fail.
    let _ = header(&mut page, data);
    let _ = body(&mut page, data);
    page
}

fn header(page: &mut String, data: &CardData) -> fmt::Result {
    writeln!(page, "---")?;
    writeln!(page, "pretty_name: {}", json(&data.title))?;
    if let Some(license) = &data.license {
        writeln!(page, "license: {}", json(license))?;
    }
    writeln!(page, "task_categories:\n- visual-question-answering\n- image-text-to-text")?;
    writeln!(page, "tags:\n- visual-instruction-tuning\n- synthetic\n- pairwright")?;
    writeln!(page, "size_categories:\n- {}", size(data.rows()))?;
    writeln!(page, "configs:\n- config_name: default\n  data_files:")?;
    for Split { split, path } in data.splits() {
        writeln!(page, "  - split: {split}\n    path: {}", json(&path))?;
    }
    writeln!(page, "---\n")
}

/// The hub's word for a number of rows.
fn size(rows: u64) -> &'static str {
    match rows {
        0..1_000 => "n<1K",
        1_000..10_000 => "1K<n<10K",
        10_000..100_000 => "10K<n<100K",
        100_000..1_000_000 => "100K<n<1M",
        1_000_000..10_000_000 => "1M<n<10M",
        10_000_000..100_000_000 => "10M<n<100M",
        _ => "100M<n<1B",
    }
}

fn body(page: &mut String, data: &CardData) -> fmt::Result {
    let CardData { manifest, categories, measures, made, refused, keep, .. } = data;
    writeln!(page, "# {}\n", text(&data.title))?;
    writeln!(
        page,
        "Visual instructions for photos: {} samples of {} photos, made by {}. A language model wrote \
         the answers; nobody has read them all.\n",
        count(manifest.samples()),
        count(data.photos),
        text(&data.generated_with)
    )?;
    writeln!(page, "| split | rows | samples |\n|---|---:|---:|")?;
    for (split, counts) in &manifest.splits {
        writeln!(page, "| {} | {} | {} |", text(split), count(counts.rows), count(counts.samples))?;
    }
    writeln!(page, "\n## Layout\n\n{}", layout(manifest.format))?;
    writeln!(page, "`manifest.json` lists every file with its SHA-256.")?;
    if !made.is_empty() {
        writeln!(page, "\n## How it was made\n\n| | |\n|---|---|")?;
        for (name, value) in made {
            writeln!(page, "| {} | {} |", text(name), text(value))?;
        }
    }
    if !keep.is_empty() {
        writeln!(page, "\nEach sample passes all of these:\n")?;
        keep.iter().try_for_each(|one| writeln!(page, "- {}", code(one)))?;
    }
    if categories.keys().any(|name| !name.is_empty()) {
        writeln!(page, "\n## Categories\n\n| category | samples |\n|---|---:|")?;
        for (name, samples) in categories {
            let name = if name.is_empty() { "(none)".into() } else { text(name) };
            writeln!(page, "| {name} | {} |", count(*samples))?;
        }
    }
    if !measures.is_empty() {
        writeln!(page, "\n## Measures\n\n| measure | says | samples | mean | least | most |")?;
        writeln!(page, "|---|---|---:|---:|---:|---:|")?;
        for CardMeasure { name, meaning, samples, mean, least, most } in measures {
            let number = |value: &Option<f64>| value.map_or("".into(), |value| fixed(value, 3));
            let (mean, least, most) = (number(mean), number(least), number(most));
            let (name, meaning, samples) = (code(name), text(meaning), count(*samples));
            writeln!(page, "| {name} | {meaning} | {samples} | {mean} | {least} | {most} |")?;
        }
    }
    for (name, rated) in &manifest.rated {
        let null = manifest.samples().saturating_sub(*rated);
        if null > 0 {
            writeln!(page, "\nThe rating {} is null of {} samples.", code(name), count(null))?;
        }
    }
    if !refused.is_empty() {
        writeln!(
            page,
            "\n## What was refused on the way\n\n| stage: reason | count |\n|---|---:|"
        )?;
        refused
            .iter()
            .try_for_each(|(why, n)| writeln!(page, "| {} | {} |", text(why), count(*n)))?;
    }
    writeln!(page, "\n## Licences\n")?;
    match &data.license {
        Some(license) => writeln!(page, "The dataset: {}.", text(license))?,
        None => writeln!(page, "Whoever made the dataset told no licence of it.")?,
    }
    if data.photo_licenses.keys().any(|name| !name.is_empty()) {
        writeln!(page, "\n| licence, as the source tells it | photos |\n|---|---:|")?;
        for (name, photos) in most_first(&data.photo_licenses) {
            let name = if name.is_empty() { "(none told)".into() } else { text(name) };
            writeln!(page, "| {name} | {} |", count(photos))?;
        }
        writeln!(page)?;
    } else {
        writeln!(page, "The photos keep the licences of their source, which told none of them.")?;
    }
    writeln!(
        page,
        "Look there before the photos are passed on. What a model wrote may stand under the terms of \
         its maker."
    )?;
    limits(page, manifest)
}

/// The licences of the most photos, and those of all others together.
fn most_first(licenses: &BTreeMap<String, u64>) -> Vec<(&str, u64)> {
    let mut all: Vec<(&str, u64)> = licenses.iter().map(|(name, n)| (&**name, *n)).collect();
    all.sort_by_key(|(_, photos)| std::cmp::Reverse(*photos));
    let others: u64 = all.iter().skip(LICENSES).map(|(_, photos)| photos).sum();
    all.truncate(LICENSES);
    all.extend((others > 0).then_some(("other licences", others)));
    all
}

fn limits(page: &mut String, manifest: &Manifest) -> fmt::Result {
    writeln!(page, "\n## Known limits\n")?;
    writeln!(
        page,
        "- Answers were written by a language model from what it was given of a photo, and \
         filtered by rules; claims that the photo does not bear out can be among them.\n\
         - Instructions were matched to photos by an image-text encoder, whose mistakes are theirs.\n\
         - The photos show what their source shows, people among it, with its biases."
    )?;
    if manifest.splits.len() > 1 {
        writeln!(
            page,
            "- Splits part photos by their bytes: photos that are nearly the same may be on two \
             sides."
        )?;
    }
    if manifest.left_out > 0 {
        let left_out = count(manifest.left_out);
        writeln!(page, "- {left_out} samples are missing, since their photos could not be read.")?;
    }
    Ok(())
}

fn layout(format: ExportFormat) -> &'static str {
    match format {
        ExportFormat::Llava => "LLaVA's conversation JSON; `image` is a path from this folder on.",
        ExportFormat::Jsonl => "JSON lines with every field of every sample.",
        ExportFormat::Parquet => "Every field of every sample as columns; `image` is a path.",
        ExportFormat::ParquetImages => {
            "Every field of every sample as columns; `image` is the photo itself."
        }
        ExportFormat::FineVision => {
            "FineVision's: `images`, `texts` of `user` and `assistant`, `source`, four ratings."
        }
        ExportFormat::WebDataset => {
            "WebDataset shards: `KEY.jpg` (whatever the photo's format) and `KEY.json`."
        }
        ExportFormat::LlamaFactory => {
            "LLaMA-Factory's: this folder is its `dataset_dir`; `dataset_info.json` names the data."
        }
        ExportFormat::Swift => {
            "For ms-swift: JSON lines of `messages` and `images`, paths from this folder on."
        }
        ExportFormat::Trl => "For TRL: `images` with messages of `role` and `content`.",
    }
}

#[cfg(test)]
mod tests;
