//! The export stage: derived files, written again from the store each time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::base::db::DbError;
use crate::base::failure::Failure;
use crate::base::hash;
use crate::config::{Config, Draws};
use crate::dataset::Photos;
use crate::dataset::record::Sample;
use crate::dataset::sink::{
    self, ExportFormat, ExtraColumns, MeasureColumn, Photo, Sink, SinkSummary,
};
use crate::dataset::store::{SampleContext, StampedPhoto, Store};
use crate::image::{Format, ImageLimits};
use crate::measure::MeasureName;
use crate::measure::keep::{Keep, KeepCounts, KeepError, Subject};

use super::carding::{self, Figures};
use super::holding::hold_near_duplicates;
use super::settings::Settings;
use super::{RunError, RunFolder};
use crate::work::{Phase, Progress};
use crate::{Error, ErrorKind};

/// What an export did.
#[derive(Debug, Default)]
pub struct Exported {
    /// One for each format; none where no sample was left.
    pub written: Vec<SinkSummary>,
    /// What `export.keep` did.
    pub keep: KeepCounts,
    /// Measures of `export.keep` that were not taken of every sample yet, and of how many not.
    pub untaken: Vec<(String, u64)>,
    pub left_out: LeftOut,
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
    photos: &dyn Photos,
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
    let options = config.export.sink_options(extra);
    let create = |format: &ExportFormat| Sink::create(*format, &dataset, &options);
    let sinks = formats.iter().map(create).collect::<Result<Vec<_>, _>>()?;
    let draws = config.export.draws(config.seed);
    let mut writer = Writer {
        store,
        photos,
        limits: &config.image.limits,
        draws,
        sinks,
        figures: Figures::default(),
        left_out: LeftOut::default(),
    };
    let (mut counts, mut samples) = (keep.counts(), 0);
    // Those of one photo follow each other.
    let mut held: Vec<Sample> = Vec::new();
    store.each_measured_sample(&context, &names, |sample| {
        samples += 1;
        progress.advance(Phase::Export, 1);
        if !writer.draws.takes(&sample) {
            return Ok(());
        }
        let findings = keep.look(&sample);
        counts.add(findings);
        if findings.keeps() {
            if held.first().is_some_and(|one| one.lineage.item_id != sample.lineage.item_id) {
                writer.push(&std::mem::take(&mut held))?;
            }
            held.push(sample);
        }
        Ok::<(), Error>(())
    })?;
    writer.push(&held)?;
    let untaken = taken.untaken(&keep, samples);
    let Writer { sinks, left_out, figures, .. } = writer;
    let mut exported = Exported { written: Vec::new(), keep: counts, untaken, left_out };
    if exported.keep.kept == 0 {
        // What they have begun goes with them.
        drop(sinks);
        formats.iter().try_for_each(|format| withdraw(store, *format))?;
    } else {
        for sink in sinks {
            let format = sink.format();
            let mut closed = sink.close()?;
            carding::put(&mut closed, &figures, store, &settings, config)?;
            let earlier = place(store, format)?;
            let summary = closed.commit()?;
            // A file where a folder was, or the other way round.
            if let Some(path) = earlier.filter(|path| *path != summary.path) {
                sink::remove(&path)?;
            }
            store.put_export(format.name(), &summary)?;
            exported.written.push(summary);
        }
    }
    remember(store, formats, &exported.keep)?;
    progress.finish(Phase::Export);
    Ok(exported)
}

/// Gives the samples of a photo to every format, with the photo where a format carries it.
struct Writer<'a> {
    store: &'a Store,
    photos: &'a dyn Photos,
    limits: &'a ImageLimits,
    draws: Draws,
    sinks: Vec<Sink>,
    figures: Figures,
    left_out: LeftOut,
}

/// Samples that stand in no export that carries photos.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    pub samples: u64,
    /// What was wrong with the first one's photo.
    pub first: Option<String>,
}

impl Writer<'_> {
    fn push(&mut self, samples: &[Sample]) -> Result<(), Error> {
        let Some(first) = samples.first() else { return Ok(()) };
        self.figures.add(samples);
        let wanted = self.sinks.iter().any(Sink::wants_photos);
        let photo = if wanted { self.photo(first)? } else { Ok(None) };
        if let Err(why) = &photo {
            self.left_out.samples += samples.len() as u64;
            let words = || format!("{}: {why}", first.image);
            self.left_out.first.get_or_insert_with(words);
        }
        let split = self.draws.split(&first.lineage.image_sha256);
        for sink in &mut self.sinks {
            match &photo {
                Err(_) if sink.wants_photos() => sink.leave_out(samples.len() as u64),
                photo => {
                    let photo = photo.as_ref().ok().and_then(Option::as_ref);
                    sink.push_all(samples, photo, split)?;
                }
            }
        }
        Ok(())
    }

    /// The photo as it was embedded, or why it cannot be had any more. A failure that could pass
    /// ends the export: an earlier one stays, and the next try may be whole.
    fn photo(&self, sample: &Sample) -> Result<Result<Option<Photo>, String>, Error> {
        let Some(StampedPhoto { image, sha256, .. }) =
            self.store.photo_of(&sample.lineage.item_id)?
        else {
            return Ok(Err("its item is gone".into()));
        };
        let bytes = match self.photos.read(&image, self.limits) {
            Ok(bytes) => bytes,
            Err(error) => {
                return match error.kind() {
                    ErrorKind::NotFound | ErrorKind::InvalidInput => Ok(Err(error.to_string())),
                    _ => Err(error.into()),
                };
            }
        };
        if hash::sha256_hex(&bytes) != sha256 {
            return Ok(Err("it was changed since it was embedded".into()));
        }
        let format = match Format::sniff(&bytes) {
            Ok(format) => format,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let file = image.path().map(Path::to_owned);
        Ok(Ok(Some(Photo { bytes: bytes.into(), format, file })))
    }
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

/// Where a format was last written.
fn place(store: &Store, format: ExportFormat) -> Result<Option<PathBuf>, DbError> {
    let row = store.exports()?.into_iter().find(|row| row.name == format.name());
    Ok(row.map(|row| row.path.into()))
}

/// Removes an earlier export, whose samples are all gone.
fn withdraw(store: &Store, format: ExportFormat) -> Result<(), Error> {
    if let Some(path) = place(store, format)? {
        sink::remove(&path)?;
    }
    Ok(store.remove_export(format.name())?)
}
