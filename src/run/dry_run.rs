//! A dry run: what thresholds would do to a run's samples, without doing it, and beside it what a
//! random choice of the same size would do: a threshold that does not look better than chance is
//! not worth its loss.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::Error;
use crate::base::hash;
use crate::config::Config;
use crate::dataset::record::{MeasureValue, Sample};
use crate::dataset::store::{SampleContext, Store};
use crate::measure::keep::{Field, Findings, Keep, KeepCounts, KeepError, Subject, Value};

use super::RunError;
use super::exporting::Taken;
use super::settings::Settings;

/// Characters shown of an instruction and of an answer.
const EXCERPT: usize = 160;

/// What each expression would leave out, and all of them together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DryRun {
    /// Samples that an export without thresholds has.
    pub samples: u64,
    /// Of the random groups and of what is shown.
    pub seed: u64,
    pub expressions: Vec<Effect>,
    pub together: Effect,
}

/// What one expression would do, or all together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Effect {
    /// Unset for all together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
    /// Samples that would go.
    pub left_out: u64,
    /// The share of all samples that they are, 0 to 1.
    pub share: f64,
    /// Those of them that no other expression leaves out.
    pub alone: u64,
    /// Samples without a value.
    pub missing: u64,
    /// Size of the random group: as many as would go, or all that would stay where these are fewer.
    pub random: u64,
    /// The mean of each measure, of the similarity and of the length in the three groups.
    pub means: Vec<Means>,
    /// Some of those that would go.
    pub shown: Vec<Shown>,
    /// Some of the random group.
    pub shown_random: Vec<Shown>,
}

/// Means of one measure or field; `None` where no sample of the group has a value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Means {
    pub name: &'static str,
    /// Of those that would go.
    pub left_out: Option<f64>,
    /// Of the random group among those that would stay.
    pub random: Option<f64>,
    /// Of all that would stay.
    pub kept: Option<f64>,
}

/// A sample as a dry run shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shown {
    pub id: String,
    /// Of what the expressions look at.
    pub values: BTreeMap<&'static str, MeasureValue>,
    /// Its beginning, on one line.
    pub instruction: String,
    /// Its beginning, on one line.
    pub answer: String,
}

/// How a dry run chooses and shows.
#[derive(Debug, Clone, Copy)]
pub struct DryRunOptions {
    pub seed: u64,
    /// Samples shown of each group.
    pub show: usize,
}

/// Holds `keep` against every sample of a run; nothing is written.
///
/// # Errors
/// There is no expression, the run has no answers yet, an expression looks at a measure that it has
/// not taken, or the store's.
pub fn dry_run(
    run: &Path,
    store: &Store,
    config: &Config,
    keep: &Keep,
    options: DryRunOptions,
) -> Result<DryRun, Error> {
    if keep.is_empty() {
        return Err(KeepError::NoExpression.into());
    }
    let settings = Settings::read(store)?;
    let Some(context) = settings.sample_context() else {
        let path = run.to_owned();
        return Err(RunError::StepMissing { path, step: "filter", needs: "run" }.into());
    };
    let taken = Taken::read(store, &context, &config.measure.enabled)?;
    taken.require(keep, run, store.has_samples(&context)?)?;
    let measures = taken.names();
    let mut survey = Survey::new(keep, &taken);
    store.each_measured_sample(&context, &measures, |sample| {
        survey.add(keep, &sample);
        Ok::<(), Error>(())
    })?;
    let each = 0..keep.expressions().len();
    let chosen = each.map(Some).chain([None]).map(|place| survey.choose(place, options));
    let chosen: Vec<Chosen> = chosen.collect();
    let mut effects = survey.effects(keep, &chosen);
    show(store, &context, keep, &measures, &chosen, &mut effects)?;
    let together = effects.pop().unwrap_or_else(|| survey.effect(keep, None, &Chosen::default()));
    Ok(DryRun {
        samples: survey.counts.samples,
        seed: options.seed,
        expressions: effects,
        together,
    })
}

/// What is known of every sample after one reading: a few numbers each.
struct Survey {
    /// What has a mean.
    subjects: Vec<Subject>,
    /// The numbers of every sample, one row each; NaN where there is none.
    values: Vec<f64>,
    findings: Vec<Findings>,
    counts: KeepCounts,
}

/// Places of samples in a run, in its order.
#[derive(Default)]
struct Chosen {
    random: Vec<usize>,
    shown: Vec<usize>,
    shown_random: Vec<usize>,
}

impl Survey {
    fn new(keep: &Keep, taken: &Taken) -> Self {
        let fields = [Field::Similarity, Field::CompletionTokens].map(Subject::Field);
        let numbers = taken.subjects().into_iter().filter(|one| !one.is_word());
        let subjects = numbers.chain(fields).collect();
        Self { subjects, values: Vec::new(), findings: Vec::new(), counts: keep.counts() }
    }

    fn add(&mut self, keep: &Keep, sample: &Sample) {
        let number = |subject: &Subject| match subject.value(sample) {
            Some(Value::Number(number)) => number,
            Some(Value::Word(_)) | None => f64::NAN,
        };
        self.values.extend(self.subjects.iter().map(number));
        let findings = keep.look(sample);
        self.counts.add(findings);
        self.findings.push(findings);
    }

    /// Places of the samples that the expression at `place`, or any of them, would leave out, and of
    /// those that it would not.
    fn split(&self, place: Option<usize>) -> (Vec<usize>, Vec<usize>) {
        (0..self.findings.len()).partition(|index| {
            let findings = self.findings[*index];
            place.map_or(!findings.keeps(), |place| findings.refused_by(place))
        })
    }

    fn choose(&self, place: Option<usize>, options: DryRunOptions) -> Chosen {
        let (left_out, kept) = self.split(place);
        let name = place.map_or_else(String::new, |place| place.to_string());
        let seed = hash::seed(options.seed, &["filter --dry-run", &name]);
        let mut source = ChaCha8Rng::seed_from_u64(seed);
        let mut some = |among: &[usize], count: usize| {
            let count = count.min(among.len());
            let places = index::sample(&mut source, among.len(), count);
            let mut found: Vec<usize> = places.into_iter().map(|place| among[place]).collect();
            found.sort_unstable();
            found
        };
        let random = some(&kept, left_out.len());
        let shown = some(&left_out, options.show);
        let shown_random = some(&random, options.show);
        Chosen { random, shown, shown_random }
    }

    fn effects(&self, keep: &Keep, chosen: &[Chosen]) -> Vec<Effect> {
        let count = keep.expressions().len();
        let effect = |(place, chosen): (usize, &Chosen)| {
            self.effect(keep, (place < count).then_some(place), chosen)
        };
        chosen.iter().enumerate().map(effect).collect()
    }

    fn effect(&self, keep: &Keep, place: Option<usize>, chosen: &Chosen) -> Effect {
        let (left_out, kept) = self.split(place);
        let counts = place.map(|place| &self.counts.expressions[place]);
        let missing = self.findings.iter().filter(|one| one.missing != 0).count() as u64;
        let means = self.subjects.iter().enumerate().map(|(column, subject)| Means {
            name: subject.name(),
            left_out: self.mean(column, &left_out),
            random: self.mean(column, &chosen.random),
            kept: self.mean(column, &kept),
        });
        let count = left_out.len() as u64;
        Effect {
            expression: place.map(|place| keep.expressions()[place].to_string()),
            left_out: count,
            share: count as f64 / self.findings.len().max(1) as f64,
            alone: counts.map_or(count, |counts| counts.alone),
            missing: counts.map_or(missing, |counts| counts.missing),
            random: chosen.random.len() as u64,
            means: means.collect(),
            shown: Vec::new(),
            shown_random: Vec::new(),
        }
    }

    fn mean(&self, column: usize, places: &[usize]) -> Option<f64> {
        let value = |place: &usize| self.values[place * self.subjects.len() + column];
        let values = places.iter().map(value).filter(|value| !value.is_nan());
        let (sum, count) = values.fold((0.0, 0u64), |(sum, count), one| (sum + one, count + 1));
        (count > 0).then(|| sum / count as f64)
    }
}

/// Reads the run once more for the texts of the samples that are shown.
fn show(
    store: &Store,
    context: &SampleContext<'_>,
    keep: &Keep,
    measures: &[&str],
    chosen: &[Chosen],
    effects: &mut [Effect],
) -> Result<(), Error> {
    let mut place = 0;
    store.each_measured_sample(context, measures, |sample| {
        for (number, (chosen, effect)) in chosen.iter().zip(effects.iter_mut()).enumerate() {
            // An expression shows what it looks at itself; all together show all of it.
            let own = keep.expressions().get(number);
            let subjects = || match own {
                Some(one) => std::slice::from_ref(one).iter(),
                None => keep.expressions().iter(),
            };
            if chosen.shown.binary_search(&place).is_ok() {
                effect.shown.push(shown(&sample, subjects().map(|one| one.subject)));
            }
            if chosen.shown_random.binary_search(&place).is_ok() {
                effect.shown_random.push(shown(&sample, subjects().map(|one| one.subject)));
            }
        }
        place += 1;
        Ok(())
    })
}

fn shown(sample: &Sample, subjects: impl Iterator<Item = Subject>) -> Shown {
    let value = |subject: Subject| {
        let value = match subject.value(sample)? {
            Value::Number(number) => MeasureValue::Number(number),
            Value::Word(word) => MeasureValue::Text(word.to_owned()),
        };
        Some((subject.name(), value))
    };
    Shown {
        id: sample.id.clone(),
        values: subjects.filter_map(value).collect(),
        instruction: excerpt(&sample.instruction),
        answer: excerpt(&sample.answer),
    }
}

/// The beginning of a text on one line, without what could move a terminal's cursor.
fn excerpt(text: &str) -> String {
    let mut line = String::new();
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    for word in words.filter(|word| !word.is_empty()) {
        let length = line.chars().count();
        if length + word.chars().count() > EXCERPT {
            let rest = EXCERPT.saturating_sub(length);
            line.extend(word.chars().take(rest));
            line.push('…');
            break;
        }
        line.push_str(word);
        line.push(' ');
    }
    line.trim_end().to_owned()
}

impl fmt::Display for DryRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.expressions.iter().map(Effect::name);
        let width = names.map(|name| name.chars().count()).max().unwrap_or(0).max(12);
        writeln!(f, "{:width$}  left out   share     alone  no value", "")?;
        for effect in self.expressions.iter().chain([&self.together]) {
            let Effect { left_out, share, alone, missing, .. } = effect;
            writeln!(
                f,
                "{:width$}  {left_out:>8}  {:>5.1} %  {alone:>8}  {missing:>8}",
                effect.name(),
                100.0 * share
            )?;
        }
        writeln!(f, "of {} samples; nothing was changed; seed {}", self.samples, self.seed)?;
        let several = self.expressions.len() > 1;
        self.expressions
            .iter()
            .chain(several.then_some(&self.together))
            .try_for_each(|effect| effect.write_groups(f))
    }
}

impl Effect {
    fn name(&self) -> &str {
        self.expression.as_deref().unwrap_or("all together")
    }

    /// The three groups side by side, and samples of the first two.
    fn write_groups(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{}: {} left out, beside {} drawn at random from those that stay",
            self.name(),
            self.left_out,
            self.random
        )?;
        if self.left_out == 0 {
            return Ok(());
        }
        let width = self.means.iter().map(|one| one.name.len()).max().unwrap_or(0);
        writeln!(f, "  {:width$}  {:>10} {:>10} {:>10}", "mean of", "left out", "random", "kept")?;
        for Means { name, left_out, random, kept } in &self.means {
            let [left_out, random, kept] = [left_out, random, kept].map(|mean| match mean {
                Some(mean) => format!("{mean:.4}"),
                None => "-".to_owned(),
            });
            writeln!(f, "  {name:width$}  {left_out:>10} {random:>10} {kept:>10}")?;
        }
        let groups = [("left out", &self.shown), ("random", &self.shown_random)];
        for (group, samples) in groups {
            for Shown { id, values, instruction, answer } in samples {
                let values = values.iter().map(|(name, value)| match value {
                    MeasureValue::Number(number) if number.fract() == 0.0 => {
                        format!("{name} {number}")
                    }
                    MeasureValue::Number(number) => format!("{name} {number:.4}"),
                    MeasureValue::Text(word) => format!("{name} {}", excerpt(word)),
                });
                let values: Vec<String> = values.collect();
                writeln!(f, "  {group}: {id}  {}", values.join(", "))?;
                writeln!(f, "    {instruction}\n    {answer}")?;
            }
        }
        Ok(())
    }
}
