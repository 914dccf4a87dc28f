//! The export stage: derived files, written again from the store each time.

use std::collections::BTreeMap;
use std::path::Path;

use crate::Error;
use crate::base::db::DbError;
use crate::config::Config;
use crate::dataset::sink::{ExportFormat, ExtraColumns, MeasureColumn, SinkError, SinkSummary};
use crate::dataset::store::{SampleContext, Store};
use crate::measure::MeasureName;
use crate::measure::keep::{Keep, KeepCounts, KeepError, Subject};

use super::holding::hold_near_duplicates;
use super::settings::Settings;
use super::{RunError, RunFolder};
use crate::work::{Phase, Progress};

/// What an export did.
#[derive(Debug, Default)]
pub struct Exported {
    /// One for each format; none where no sample was left.
    pub written: Vec<SinkSummary>,
    /// What `export.keep` did.
    pub keep: KeepCounts,
    /// Measures of `export.keep` that were not taken of every sample yet, and of how many not.
    pub untaken: Vec<(String, u64)>,
}

/// Writes the accepted samples that `export.keep` lets pass in every format asked for. Equal runs
/// give equal bytes. Where there is no sample, no file is left either: loaders choke on empty ones,
/// or take them for a dataset.
///
/// # Errors
/// The run has no matches or answers yet, an expression looks at a measure that the run has not
/// taken, a sample is not fit for a format, or a file cannot be written; what was exported before is
/// then still there.
pub fn export(
    folder: &RunFolder,
    store: &Store,
    config: &Config,
    progress: &dyn Progress,
) -> Result<Exported, Error> {
    let settings = Settings::read(store)?;
    let Some(context) = settings.sample_context() else {
        let needs = if settings.matching.is_some() { "answer" } else { "match" };
        let path = folder.path().to_owned();
        return Err(RunError::StepMissing { path, step: "export", needs }.into());
    };
    // Photos may have come since a benchmark was held out.
    hold_near_duplicates(store, context.encoder_hash)?;
    let keep = Keep::parse(&config.export.keep)?;
    let taken = Taken::read(store, &context, &config.measure.enabled)?;
    let has_samples = store.has_samples(&context)?;
    taken.require(&keep, folder.path(), has_samples)?;
    let names = taken.names();
    let reasoning = store.has_reasoning(context.answer_conf)?;
    let extra = ExtraColumns { measures: taken.columns(), reasoning };
    let formats = &config.export.formats;
    let dataset = folder.path().join("dataset");
    let create = |format: &ExportFormat| format.create(&dataset, &extra);
    let mut sinks = formats.iter().map(create).collect::<Result<Vec<_>, _>>()?;
    let mut counts = keep.counts();
    store.each_measured_sample(&context, &names, |sample| {
        let findings = keep.look(&sample);
        counts.add(findings);
        if findings.keeps() {
            for sink in &mut sinks {
                sink.push(&sample)?;
            }
        }
        progress.advance(Phase::Export, 1);
        Ok::<(), Error>(())
    })?;
    let untaken = taken.untaken(&keep, counts.samples);
    let mut exported = Exported { written: Vec::new(), keep: counts, untaken };
    if exported.keep.kept == 0 {
        // What they have begun goes with them.
        drop(sinks);
        formats.iter().try_for_each(|format| withdraw(store, *format, &dataset))?;
    } else {
        for sink in sinks {
            let name = sink.name();
            let summary = sink.finish()?;
            store.put_export(name, &summary)?;
            exported.written.push(summary);
        }
    }
    remember(store, formats, &exported.keep)?;
    progress.finish(Phase::Export);
    Ok(exported)
}

/// The name of the value that holds what [`kept`] gives.
const KEPT: &str = "export:keep";

/// What `export.keep` did when each format was last written, by the format's name; formats that
/// were written without it are not there.
///
/// # Errors
/// SQLite's, or a damaged row.
pub fn kept(store: &Store) -> Result<BTreeMap<String, KeepCounts>, DbError> {
    Ok(store.database().meta_json(KEPT)?.unwrap_or_default())
}

fn remember(store: &Store, formats: &[ExportFormat], counts: &KeepCounts) -> Result<(), DbError> {
    let before = kept(store)?;
    let mut now = before.clone();
    for format in formats {
        match counts.expressions.is_empty() {
            true => now.remove(format.name()),
            false => now.insert(format.name().to_owned(), counts.clone()),
        };
    }
    if now == before { Ok(()) } else { store.database().set_meta_json(KEPT, &now) }
}

/// The measures that a run takes and that were taken of some of its samples.
pub(super) struct Taken(Vec<(MeasureName, u64)>);

impl Taken {
    /// In the order of `enabled`.
    pub fn read(
        store: &Store,
        context: &SampleContext<'_>,
        enabled: &[MeasureName],
    ) -> Result<Self, DbError> {
        let counts = store.measures_taken(context)?;
        let count = |name: &MeasureName| Some((*name, *counts.get(name.name())?));
        Ok(Self(enabled.iter().filter_map(count).collect()))
    }

    /// Their names.
    pub fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|(name, _)| name.name()).collect()
    }

    /// As what expressions look at.
    pub fn subjects(&self) -> Vec<Subject> {
        self.0.iter().map(|(name, _)| Subject::Measure(*name)).collect()
    }

    fn columns(&self) -> Vec<MeasureColumn> {
        let column = |(name, _): &(MeasureName, u64)| MeasureColumn {
            measure: name.name().to_owned(),
            is_word: name.is_word(),
        };
        self.0.iter().map(column).collect()
    }

    fn of(&self, name: MeasureName) -> u64 {
        self.0.iter().find(|(taken, _)| *taken == name).map_or(0, |(_, count)| *count)
    }

    /// Refuses an expression over a measure that the run does not take, or has not taken of any of
    /// its samples: that would let everything pass.
    pub fn require(&self, keep: &Keep, run: &Path, has_samples: bool) -> Result<(), KeepError> {
        match keep.measures().find(|(_, name)| has_samples && self.of(*name) == 0) {
            None => Ok(()),
            Some((one, name)) => Err(KeepError::NotTaken {
                expression: one.to_string(),
                name: name.name(),
                run: run.display().to_string(),
            }),
        }
    }

    /// Measures of `keep` that some of `samples` lack.
    fn untaken(&self, keep: &Keep, samples: u64) -> Vec<(String, u64)> {
        let mut lacking: Vec<_> = keep
            .measures()
            .map(|(_, name)| (name.name().to_owned(), samples.saturating_sub(self.of(name))))
            .filter(|(_, lack)| *lack > 0)
            .collect();
        lacking.dedup();
        lacking
    }
}

/// Removes an earlier export, whose samples are all gone.
fn withdraw(store: &Store, format: ExportFormat, dataset: &Path) -> Result<(), Error> {
    let path = dataset.join(format.file_name());
    match fs_err::remove_file(&path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(SinkError::Io { path, source }.into())
        }
        _ => Ok(store.remove_export(format.name())?),
    }
}
