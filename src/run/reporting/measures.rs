//! The report's measures: their values, where the thresholds cut them, and what lies at the cuts.

use std::collections::BTreeMap;

use crate::Error;
use crate::dataset::record::Sample;
use crate::measure::keep::{
    Expression, Findings, Keep, KeepCounts, Literal, Operator, Subject, Value,
};
use crate::report::histogram::{Histogram, Layout};
use crate::report::{EdgeSample, MeasureReport, MeasuredValues, ThresholdReport};

use super::Page;
use super::cards::Thumbnails;
use crate::run::exporting::Taken;

/// Bins of a histogram.
const BINS: usize = 40;

/// Samples shown on each side of a cut.
const EDGE: usize = 3;

/// Words of a measure that are listed.
const WORDS: usize = 40;

/// What one reading of all samples leaves of one measure or field.
struct Column {
    subject: Subject,
    /// By place in the run; NaN where there is none. Empty where the values are words.
    numbers: Vec<f64>,
    words: BTreeMap<String, u64>,
    missing: u64,
}

impl Page<'_> {
    /// Every measure taken and every field that a threshold looks at, and what the thresholds do
    /// together.
    pub(super) fn measured(&self) -> Result<(Vec<MeasureReport>, KeepCounts), Error> {
        let keep = Keep::parse(&self.config.export.keep)?;
        let mut counts = keep.counts();
        let Some(context) = &self.context else { return Ok((Vec::new(), counts)) };
        let taken = Taken::read(self.store, context, &self.config.measure.enabled)?;
        let mut columns = columns(&keep, &taken);
        if columns.is_empty() {
            return Ok((Vec::new(), counts));
        }
        let names = taken.names();
        let mut findings: Vec<Findings> = Vec::new();
        self.store.each_measured_sample(context, &names, |sample| {
            columns.iter_mut().for_each(|column| column.add(&sample));
            let found = keep.look(&sample);
            counts.add(found);
            findings.push(found);
            Ok::<(), Error>(())
        })?;
        let edges: Vec<_> = keep
            .expressions()
            .iter()
            .enumerate()
            .map(|(place, one)| edge(place, one, &columns, &findings))
            .collect();
        let samples = self.samples_at(&edges, &names)?;
        let report = |column: Column| {
            let own = keep.expressions().iter().enumerate();
            let own = own.filter(|(_, one)| one.subject == column.subject);
            let thresholds = own.map(|(place, one)| ThresholdReport {
                expression: one.to_string(),
                cut: cut(one, &column),
                left_out: counts.expressions[place].left_out,
                alone: counts.expressions[place].alone,
                edge: edges[place]
                    .iter()
                    .filter_map(|at| {
                        let passes = !findings[*at].refused_by(place);
                        Some(EdgeSample {
                            value: column.numbers[*at],
                            passes,
                            ..samples.get(at)?.clone()
                        })
                    })
                    .collect(),
            });
            MeasureReport {
                name: column.subject.name().to_owned(),
                meaning: column.subject.meaning().to_owned(),
                samples: counts.samples,
                missing: column.missing,
                thresholds: thresholds.collect(),
                values: column.values(),
            }
        };
        Ok((columns.into_iter().map(report).collect(), counts.clone()))
    }

    /// The samples at these places, with their photos.
    fn samples_at(
        &self,
        edges: &[Vec<usize>],
        names: &[&str],
    ) -> Result<BTreeMap<usize, EdgeSample>, Error> {
        let mut found = BTreeMap::new();
        let Some(context) = self.context.as_ref().filter(|_| !edges.iter().all(Vec::is_empty))
        else {
            return Ok(found);
        };
        let thumbnails = Thumbnails::new(self.config, self.access)?;
        let mut place = 0;
        self.store.each_measured_sample(context, names, |sample| {
            if edges.iter().any(|edge| edge.contains(&place)) {
                let photo = self.store.photo_of(&sample.lineage.item_id)?;
                let shown = EdgeSample {
                    value: 0.0,
                    passes: true,
                    thumbnail: photo.and_then(|photo| thumbnails.make(&photo.image)),
                    id: sample.id,
                    width: sample.lineage.width,
                    height: sample.lineage.height,
                    description: sample.lineage.description,
                    instruction: sample.instruction,
                    answer: sample.answer,
                };
                found.insert(place, shown);
            }
            place += 1;
            Ok::<(), Error>(())
        })?;
        Ok(found)
    }
}

/// The measures taken, then the fields that expressions look at, each once.
fn columns(keep: &Keep, taken: &Taken) -> Vec<Column> {
    let mut subjects: Vec<Subject> = taken.subjects();
    for one in keep.expressions() {
        if !subjects.contains(&one.subject) {
            subjects.push(one.subject);
        }
    }
    let column =
        |subject| Column { subject, numbers: Vec::new(), words: BTreeMap::new(), missing: 0 };
    subjects.into_iter().map(column).collect()
}

impl Column {
    fn add(&mut self, sample: &Sample) {
        let value = self.subject.value(sample);
        self.missing += u64::from(value.is_none());
        match value {
            Some(Value::Word(word)) => *self.words.entry(word.to_owned()).or_default() += 1,
            Some(Value::Number(number)) => self.numbers.push(number),
            None if self.subject.is_word() => {}
            None => self.numbers.push(f64::NAN),
        }
    }

    fn known(&self) -> impl Iterator<Item = f64> {
        self.numbers.iter().copied().filter(|number| !number.is_nan())
    }

    /// Whether its values are counts, whose bins hold whole numbers.
    fn counts(&self) -> bool {
        self.known().all(|number| number >= 0.0 && number.fract() == 0.0)
    }

    fn values(self) -> MeasuredValues {
        if self.subject.is_word() {
            let mut words: Vec<_> = self.words.into_iter().collect();
            words.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
            words.truncate(WORDS);
            return MeasuredValues::Words(words);
        }
        let low = self.known().fold(f64::INFINITY, f64::min);
        let high = self.known().fold(f64::NEG_INFINITY, f64::max);
        let layout = match self.counts() && low.is_finite() {
            true => Layout::nice_counts(low as u64, high as u64, BINS),
            false => Layout::nice(low, high, BINS),
        };
        MeasuredValues::Numbers(Histogram::of(layout, self.known()))
    }
}

/// Where an expression cuts the chart of its measure. A bin of whole numbers reaches up to the next
/// one, so that `<= 3` cuts behind the 3.
fn cut(expression: &Expression, column: &Column) -> Option<f64> {
    let Literal::Number(at) = expression.literal else { return None };
    match expression.operator {
        Operator::AtMost | Operator::Above if column.counts() => Some(at.floor() + 1.0),
        Operator::Below | Operator::AtLeast if column.counts() => Some(at.ceil()),
        Operator::Equal | Operator::NotEqual => None,
        _ => Some(at),
    }
}

/// Places of the samples nearest to an expression's number on both sides, by their values.
fn edge(place: usize, one: &Expression, columns: &[Column], findings: &[Findings]) -> Vec<usize> {
    let (Literal::Number(at), Some(column)) =
        (&one.literal, columns.iter().find(|column| column.subject == one.subject))
    else {
        return Vec::new();
    };
    if matches!(one.operator, Operator::Equal | Operator::NotEqual) {
        return Vec::new();
    }
    let distance = |at_place: &usize| (column.numbers[*at_place] - at).abs();
    let nearest = |refused: bool| {
        let known = |at: &usize| {
            !column.numbers[*at].is_nan() && findings[*at].refused_by(place) == refused
        };
        let mut places: Vec<usize> = (0..findings.len()).filter(known).collect();
        places.sort_by(|a, b| distance(a).total_cmp(&distance(b)).then(a.cmp(b)));
        places.truncate(EDGE);
        places
    };
    let mut places = [nearest(true), nearest(false)].concat();
    places.sort_by(|a, b| column.numbers[*a].total_cmp(&column.numbers[*b]).then(a.cmp(b)));
    places
}
