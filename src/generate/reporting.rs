//! Fills the generation's report from its store.

use std::path::Path;

use crate::Error;
use crate::encoder::Embedding;
use crate::instruction::diversity::{Diversity, VerbUse};
use crate::instruction::lineage::{ACCEPTED, GenerationStore, RawRow};
use crate::instruction::prompt::Prompts;
use crate::report::{
    self, ClusterFacts, GenerationReport, KeyValue, Loss, PromptText, SetFacts, StageTime,
    TriedFacts, VerbFacts,
};

use super::map::{cluster_map, hue};
use super::summary::GenerationSummary;
use super::vectors::Vectors;

const REPORT: &str = "report";

/// Examples shown of each loss, members of each cluster, and root verbs of each set.
const EXAMPLES: usize = 4;
const MEMBERS: usize = 4;
const VERBS: usize = 16;
/// Objects named with each verb.
const OBJECTS: usize = 4;

/// Writes the page, and keeps what it says for a run's own report.
///
/// # Errors
/// The store cannot be read or the page cannot be written.
pub fn write(
    path: &Path,
    summary: &GenerationSummary,
    prompts: [&Prompts; 2],
    vectors: &mut Vectors<'_>,
) -> Result<(), Error> {
    let store = vectors.store;
    let raws: Vec<RawRow> = store.raws()?;
    let mut accepted: Vec<&RawRow> = raws.iter().filter(|row| row.verdict == ACCEPTED).collect();
    accepted.sort_by_key(|row| row.place);
    let texts: Vec<&str> = accepted.iter().map(|row| row.text.as_str()).collect();
    let embedded = vectors.of(&texts)?;
    let page = Page { store, summary, raws: &raws, accepted: &accepted, embedded: &embedded };
    let sets = page.sets(vectors)?;
    let data = page.data(sets, prompts)?;
    store.database().set_meta_json(REPORT, &data)?;
    Ok(report::write_generation(&data, path)?)
}

/// What the last page said.
///
/// # Errors
/// The store cannot be read.
pub fn report_of(store: &GenerationStore) -> Result<Option<GenerationReport>, Error> {
    Ok(store.database().meta_json(REPORT)?)
}

struct Page<'a> {
    store: &'a GenerationStore,
    summary: &'a GenerationSummary,
    raws: &'a [RawRow],
    accepted: &'a [&'a RawRow],
    embedded: &'a [Embedding],
}

impl Page<'_> {
    fn data(&self, sets: Vec<SetFacts>, prompts: [&Prompts; 2]) -> Result<GenerationReport, Error> {
        let folder = &self.summary.folder;
        let clusters = self.clusters()?;
        Ok(GenerationReport {
            title: folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            folder: folder.display().to_string(),
            generated_with: format!("pairwright {}", env!("CARGO_PKG_VERSION")),
            notices: self.notices(),
            tiles: self.tiles(),
            losses: self.losses()?,
            map: cluster_map(self.store, self.accepted, self.embedded)?,
            largest: clusters.iter().map(|cluster| cluster.size).max().unwrap_or(0),
            clusters,
            tried: self.tried(),
            sets,
            facts: self.facts()?,
            prompts: prompts.into_iter().flat_map(prompt_texts).collect(),
            stages: self.stages()?,
        })
    }

    fn notices(&self) -> Vec<String> {
        let resume =
            format!("pairwright instructions generate --out {}", self.summary.folder.display());
        let failed = self.summary.failures.iter().filter(|failure| !failure.refused).count();
        let mut notices = Vec::new();
        if failed > 0 {
            notices.push(format!("{failed} LLM calls failed; to try them again: {resume}"));
        }
        if self.summary.clusters.is_none() {
            notices.push("Too few instructions were left to be clustered.".to_owned());
        }
        notices
    }

    fn tiles(&self) -> Vec<KeyValue> {
        let GenerationSummary { seeds, descriptions, library, clusters, usage, .. } = self.summary;
        let count = |of, code| self.summary.count(of, code);
        vec![
            KeyValue::new("Seeds", seeds),
            KeyValue::new("Descriptions", descriptions),
            KeyValue::new("Raw instructions", count("raw", None)),
            KeyValue::new("Accepted", count("raw", Some(ACCEPTED))),
            KeyValue::new("Clusters", clusters.as_ref().map_or(0, |facts| facts.k)),
            KeyValue::new("Final instructions", count("final", Some(ACCEPTED))),
            KeyValue::new("Library", library),
            KeyValue::new("LLM tokens", usage.1 + usage.2),
        ]
    }

    fn losses(&self) -> Result<Vec<Loss>, Error> {
        let refusals = self.store.refusals()?;
        let mut losses = Vec::new();
        for of in ["reply", "raw", "final"] {
            for (code, count, share) in self.summary.lost(of) {
                let raw = self.raws.iter().filter(|row| of == "raw" && row.verdict == code);
                let raw = raw.map(|row| KeyValue::new(&row.text, &row.reason));
                let last = refusals.iter().filter(|row| of == "final" && row.code == code);
                let last = last.map(|row| KeyValue::new(&row.text, &row.reason));
                losses.push(Loss {
                    of: of.to_owned(),
                    code: code.to_owned(),
                    count,
                    percent: 100.0 * share,
                    examples: raw.chain(last).take(EXAMPLES).collect(),
                });
            }
        }
        Ok(losses)
    }

    fn clusters(&self) -> Result<Vec<ClusterFacts>, Error> {
        let inertias: Vec<f64> = self.store.clusters()?.iter().map(|row| row.inertia).collect();
        let lineage = self.store.lineage()?.into_iter();
        Ok(lineage
            .map(|row| {
                let nearest = row.members.iter().take(MEMBERS);
                let into =
                    row.merged_into.map(|into| format!("into cluster {into}, {}", row.reason));
                ClusterFacts {
                    number: row.cluster as u64,
                    size: row.size as u64,
                    hue: hue(row.cluster),
                    inertia: inertias.get(row.cluster).copied().unwrap_or_default(),
                    reason: into.unwrap_or(row.reason),
                    verdict: row.verdict,
                    text: row.text,
                    nearest: nearest
                        .map(|one| KeyValue::new(&one.description, &one.text))
                        .collect(),
                }
            })
            .collect())
    }

    fn tried(&self) -> Vec<TriedFacts> {
        let Some(facts) = &self.summary.clusters else { return Vec::new() };
        let best = facts.tried.iter().map(|one| one.silhouette).fold(f64::NEG_INFINITY, f64::max);
        let tried = facts.tried.iter().map(|one| TriedFacts {
            k: one.k as u64,
            silhouette: one.silhouette,
            inertia: one.inertia,
            chosen: one.silhouette >= best,
        });
        tried.collect()
    }

    fn sets(&self, vectors: &mut Vectors<'_>) -> Result<Vec<SetFacts>, Error> {
        let seeds: Vec<String> = self.store.seeds()?.into_iter().map(|seed| seed.text).collect();
        let library: Vec<String> = self.store.library()?.into_iter().map(|one| one.text).collect();
        let raw: Vec<&str> = self.accepted.iter().map(|row| row.text.as_str()).collect();
        let (seeds, library) = (borrowed(&seeds), borrowed(&library));
        Ok(vec![
            set("Seeds", &seeds, &vectors.of(&seeds)?),
            set("Accepted raw instructions", &raw, self.embedded),
            set("Library", &library, &vectors.of(&library)?),
        ])
    }

    fn facts(&self) -> Result<Vec<KeyValue>, Error> {
        let resolved: toml::Table =
            self.store.database().meta_json("resolved")?.unwrap_or_default();
        let told =
            |value: &toml::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let mut facts: Vec<KeyValue> =
            resolved.iter().map(|(name, value)| KeyValue::new(name, told(value))).collect();
        if let Some(one) = &self.summary.clusters {
            facts.push(KeyValue::new("inertia", format!("{:.3}", one.inertia)));
            facts.push(KeyValue::new("K-means starts", one.restarts));
            facts.push(KeyValue::new("iterations of the best", one.iterations));
        }
        Ok(facts)
    }

    fn stages(&self) -> Result<Vec<StageTime>, Error> {
        let times = self.store.stage_times()?.into_iter();
        Ok(times.map(|(name, items, seconds)| StageTime { name, items, seconds }).collect())
    }
}

fn borrowed(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

fn prompt_texts(prompts: &Prompts) -> Vec<PromptText> {
    let text = |(name, text): &(&str, String)| PromptText {
        name: (*name).to_owned(),
        hash: prompts.hash.clone(),
        text: text.clone(),
    };
    prompts.texts.iter().map(text).collect()
}

fn set(name: &str, texts: &[&str], vectors: &[Embedding]) -> SetFacts {
    let Diversity { count, distinct, mean_similarity, not_questions, mean_words, verbs } =
        Diversity::new(texts, vectors);
    SetFacts {
        name: name.to_owned(),
        count: count as u64,
        distinct,
        similarity: mean_similarity,
        not_questions: 100.0 * not_questions,
        mean_words,
        verb_count: verbs.len() as u64,
        verbs: verbs.iter().take(VERBS).map(|one| verb(one, count)).collect(),
    }
}

fn verb(one: &VerbUse, count: usize) -> VerbFacts {
    let objects = one.objects.iter().take(OBJECTS);
    let objects: Vec<String> = objects.map(|(object, n)| format!("{object} {n}")).collect();
    VerbFacts {
        verb: one.verb.clone(),
        count: one.count as u64,
        percent: 100.0 * one.count as f64 / count.max(1) as f64,
        objects: objects.join(", "),
    }
}
