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
    self, ExportFormat, ExtraColumns, MANIFEST, MeasureColumn, Photo, Sink, SinkSummary,
};
use crate::dataset::store::{SampleContext, StampedPhoto, Store};
use crate::image::{Format, ImageLimits};
use crate::measure::MeasureName;
use crate::measure::keep::{Keep, KeepCounts, KeepError, Subject};
use crate::sandbox::remote;

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
/// taken, a sample is not fit for a format, no photo can be had for a format that carries them, or a
/// file cannot be written; what was exported before is then still there.
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
    let license = store.has_licenses()?;
    let extra = ExtraColumns { measures: taken.columns(), reasoning, license };
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
        pictured: Figures::default(),
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
    let Writer { sinks, left_out, figures, pictured, .. } = writer;
    let mut exported = Exported { written: Vec::new(), keep: counts, untaken, left_out };
    if exported.keep.kept == 0 {
        // What they have begun goes with them.
        drop(sinks);
        formats.iter().try_for_each(|format| withdraw(store, *format, &dataset))?;
    } else {
        require_photos(&sinks, &exported.left_out, folder.path())?;
        for sink in sinks {
            let format = sink.format();
            let figures = if sink.wants_photos() { &pictured } else { &figures };
            let mut closed = sink.close()?;
            carding::put(&mut closed, figures, store, &settings, config)?;
            let earlier = place(store, format, &dataset)?;
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
    /// Of the samples whose photos are there, which are all that formats with photos hold.
    pictured: Figures,
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
        } else {
            self.pictured.add(samples);
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
        // A link can lead to files of this machine alone.
        let file = image.path().filter(|path| !remote::is_remote(path)).map(Path::to_owned);
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

/// Refuses to put a folder without a row in the place of an export that had some. Photos that are
/// all away are more often a disk that is not there than samples that are gone for good.
fn require_photos(sinks: &[Sink], left_out: &LeftOut, run: &Path) -> Result<(), RunError> {
    let bare = sinks.iter().find(|sink| sink.wants_photos() && sink.samples() == 0);
    match bare.filter(|_| left_out.samples > 0) {
        None => Ok(()),
        Some(sink) => Err(RunError::NoPhotos {
            path: run.to_owned(),
            format: sink.format().name(),
            samples: left_out.samples,
            first: left_out.first.clone().unwrap_or_default(),
        }),
    }
}

/// Where a format was last written.
fn place(store: &Store, format: ExportFormat, dataset: &Path) -> Result<Option<PathBuf>, DbError> {
    let row = store.exports()?.into_iter().find(|row| row.name == format.name());
    Ok(row.and_then(|row| own_place(Path::new(&row.path), format, dataset)))
}

/// The place below `dataset` of an export that was kept as written to `path`. The path itself says
/// nothing of where it is now: in a copied run it leads to the files of the run it was copied from,
/// which are not this run's to remove.
fn own_place(path: &Path, format: ExportFormat, dataset: &Path) -> Option<PathBuf> {
    match sink::is_folder(path) {
        true => Some(dataset.join(format.name()).join(MANIFEST)),
        false => format.file_name().map(|name| dataset.join(name)),
    }
}

/// Removes an earlier export, whose samples are all gone.
fn withdraw(store: &Store, format: ExportFormat, dataset: &Path) -> Result<(), Error> {
    if let Some(path) = place(store, format, dataset)? {
        sink::remove(&path)?;
    }
    Ok(store.remove_export(format.name())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::sink::SinkOptions;

    #[test]
    fn an_earlier_export_is_looked_for_in_the_runs_own_folder_alone() {
        let dataset = Path::new("/copy/dataset");
        let place = |path: &str, format| own_place(Path::new(path), format, dataset);
        let llava = ExportFormat::Llava;
        let file = place("/run/dataset/llava.json", llava);
        assert_eq!(file, Some("/copy/dataset/llava.json".into()));
        let folder = place("/run/dataset/llava/manifest.json", llava);
        assert_eq!(folder, Some("/copy/dataset/llava/manifest.json".into()));
        assert_eq!(place("/run/dataset/trl", ExportFormat::Trl), None);
    }

    #[test]
    fn a_format_that_carries_photos_is_not_written_without_one() {
        let folder = tempfile::tempdir().expect("temp dir");
        let create = |format| {
            Sink::create(format, folder.path(), &SinkOptions::default()).expect("a writable folder")
        };
        let sinks = [create(ExportFormat::Jsonl), create(ExportFormat::Swift)];
        let mut left_out = LeftOut::default();
        require_photos(&sinks, &left_out, folder.path()).expect("nothing was left out");
        left_out = LeftOut { samples: 2, first: Some("a.jpg: gone".into()) };
        let error = require_photos(&sinks, &left_out, folder.path()).expect_err("no photo");
        assert_eq!(error.code(), "export_no_photos");
        assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
        assert!(error.to_string().contains("`swift`"), "{error}");
        require_photos(&sinks[..1], &left_out, folder.path()).expect("it carries none");
    }
}
