//! What the cards of a run's exports tell.

use std::collections::BTreeMap;

use crate::Error;
use crate::config::Config;
use crate::dataset::record::{MeasureValue, Sample};
use crate::dataset::sink::Closed;
use crate::dataset::store::Store;
use crate::measure::MeasureName;
use crate::report::card::{CARD, CROISSANT, CardData, CardMeasure, card, croissant};

use super::settings::Settings;

/// What a dataset is called unless it has a title.
const TITLE: &str = "Pairwright";

/// Figures over the samples that an export takes, added up one by one.
#[derive(Debug, Default)]
pub(super) struct Figures {
    photos: u64,
    categories: BTreeMap<String, u64>,
    measures: BTreeMap<String, Values>,
    /// Photos by what their source calls their licence; those of which it tells none under an empty
    /// name.
    licenses: BTreeMap<String, u64>,
}

#[derive(Debug, Default)]
struct Values {
    samples: u64,
    numbers: u64,
    sum: f64,
    least: Option<f64>,
    most: Option<f64>,
}

impl Figures {
    /// Adds all samples of a photo.
    pub fn add(&mut self, samples: &[Sample]) {
        self.photos += 1;
        let license = samples.first().and_then(|sample| sample.lineage.license.clone());
        *self.licenses.entry(license.unwrap_or_default()).or_default() += 1;
        for sample in samples {
            let category = sample.lineage.category.clone().unwrap_or_default();
            *self.categories.entry(category).or_default() += 1;
            for (name, value) in &sample.measures {
                self.measures.entry(name.clone()).or_default().add(value);
            }
        }
    }

    fn measures(&self) -> Vec<CardMeasure> {
        let about = |(name, values): (&String, &Values)| CardMeasure {
            name: name.clone(),
            meaning: MeasureName::named(name).map_or("", |one| one.about().meaning).to_owned(),
            samples: values.samples,
            mean: (values.numbers > 0).then(|| values.sum / values.numbers as f64),
            least: values.least,
            most: values.most,
        };
        self.measures.iter().map(about).collect()
    }
}

impl Values {
    fn add(&mut self, value: &MeasureValue) {
        self.samples += 1;
        if let Some(number) = value.number() {
            self.numbers += 1;
            self.sum += number;
            self.least = Some(self.least.map_or(number, |least| least.min(number)));
            self.most = Some(self.most.map_or(number, |most| most.max(number)));
        }
    }
}

/// Puts the card into an export that is a folder.
pub(super) fn put(
    closed: &mut Closed,
    figures: &Figures,
    store: &Store,
    settings: &Settings,
    config: &Config,
) -> Result<(), Error> {
    let Some(manifest) = closed.manifest().cloned() else { return Ok(()) };
    let refused = store.rejection_counts(settings.match_conf(), settings.answer_conf())?;
    let data = CardData {
        title: config.export.title.clone().unwrap_or_else(|| TITLE.to_owned()),
        license: config.export.license.clone(),
        manifest,
        photos: figures.photos,
        photo_licenses: figures.licenses.clone(),
        categories: figures.categories.clone(),
        measures: figures.measures(),
        made: made(settings, config),
        refused: refused
            .into_iter()
            .map(|one| (format!("{}: {}", one.stage, one.code), one.count))
            .collect(),
        keep: config.export.keep.clone(),
        generated_with: concat!("Pairwright ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    closed.put(CARD, card(&data).as_bytes())?;
    Ok(closed.put(CROISSANT, croissant(&data).as_bytes())?)
}

/// Models, prompts and settings, those that the samples depend on. Nothing here tells of a machine.
fn made(settings: &Settings, config: &Config) -> Vec<(String, String)> {
    let mut made = Vec::new();
    let mut add = |name: &str, value: String| made.push((name.to_owned(), value));
    if let Some(matching) = &settings.matching {
        let encoder = &matching.encoder;
        let kind = if encoder.stand_in { " (a stand-in, not CLIP)" } else { "" };
        add("image-text encoder", format!("{}{kind}, SHA-256 {}", encoder.name, encoder.hash));
        add("instruction library", format!("key {}", matching.library));
        add("sampling of instructions", matching.strategy.clone());
        add("checks of instructions", listed(&matching.checks));
    }
    if let Some(answering) = &settings.answering {
        add("language model", answering.llm.clone());
        add("the model sees", answering.see.name().to_owned());
        add("prompts", format!("key {}", answering.prompt_hash));
        let sampling = &answering.sampling;
        let values = format!(
            "temperature {}, top_p {}, at most {} tokens",
            sampling.temperature, sampling.top_p, sampling.max_tokens
        );
        add("sampling of answers", values);
        add("filters of answers", listed(&answering.filters));
    }
    add("seed", config.seed.to_string());
    if !config.export.mix.is_empty() {
        add("shares of categories", config.export.mix.join(", "));
    }
    if !config.export.splits.is_empty() {
        add("shares of splits", config.export.splits.join(", "));
    }
    made
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
